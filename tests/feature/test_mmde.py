"""MMDE against Clarabel, against problems whose answer is known, and its map."""

from itertools import combinations

import numpy as np
import pytest
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components, minimum_spanning_tree
from scipy.spatial.distance import cdist, pdist
from sklearn.datasets import make_classification
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics.pairwise import rbf_kernel

from skadapt import MMDE, TransferClassifier, mmde
from skadapt.feature._mmde import _neighbors
from skadapt.solvers._embedding_programme import _cliques, _rigid_groups

TIGHT = {"tol": 1e-9}


def pair(n_source=12, n_target=9, d=8, shift=1.0, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n_source, d)), rng.normal(size=(n_target, d)) + shift


def stack(Xs, Xt, seed=3):
    order = np.random.default_rng(seed).permutation(len(Xs) + len(Xt))
    domain = np.repeat([1, -1], [len(Xs), len(Xt)])
    return np.vstack([Xs, Xt])[order], domain[order]


def centred_gram(X):
    X = X - X.mean(axis=0)
    return X @ X.T


def check_solution(result, Xs, Xt, n_neighbors, variance_weight, definite=1e-9):
    """Feasible, and the figures are what they say."""
    X, K = np.vstack([Xs, Xt]), result.K
    n = len(X)
    D = cdist(X, X, "sqeuclidean")
    i, j = _neighbors(D, n_neighbors).T
    found = K[i, i] + K[j, j] - 2 * K[i, j]
    np.testing.assert_allclose(found, D[i, j], atol=1e-6 * D[i, j].max())
    np.testing.assert_allclose(K.sum(axis=0), 0, atol=definite * np.abs(K).max())
    np.testing.assert_allclose(K, K.T, atol=1e-12 * np.abs(K).max())
    assert np.linalg.eigvalsh(K)[0] > -definite * np.abs(K).max()
    gap = K[: len(Xs)].mean(axis=0) - K[len(Xs) :].mean(axis=0)
    mmd = gap[: len(Xs)].mean() - gap[len(Xs) :].mean()
    assert result.mmd == pytest.approx(mmd, rel=1e-6, abs=1e-10)
    expected = mmd - variance_weight / n * np.trace(K)
    assert result.objective == pytest.approx(expected, rel=1e-6)


# The programme


@pytest.mark.parametrize("variance_weight", [0.05, 1.0, 30.0])
@pytest.mark.parametrize("n_neighbors", [2, 4])
def test_clarabel_agrees(variance_weight, n_neighbors):
    Xs, Xt = pair()
    parameters = {"n_neighbors": n_neighbors, "variance_weight": variance_weight}
    ours = mmde(Xs, Xt, **parameters, **TIGHT)
    referee = mmde(Xs, Xt, solver="cvxpy", tol=1e-8, **parameters)
    # Far above the cost of a distance: the units of the solver.
    unit = np.vstack([Xs, Xt]).var(axis=0).sum() * (1 + variance_weight)
    assert ours.objective == pytest.approx(referee.objective, abs=1e-6 * unit)
    assert ours.residual < 1e-9
    check_solution(ours, Xs, Xt, n_neighbors, variance_weight)
    check_solution(referee, Xs, Xt, n_neighbors, variance_weight, definite=1e-6)


def test_optimality_by_duality():
    """A lower bound from multipliers of the distances, computed from K alone.

    At the optimum S = C - sum y_e b_e b_e' is psd and S K = 0: multipliers that make S
    vanish on the range of K are found by least squares, S is shifted to be psd, and
    d'y is a bound.
    """
    Xs, Xt = pair(15, 15, 10)
    X, n = np.vstack([Xs, Xt]), 30
    result = mmde(Xs, Xt, n_neighbors=4, **TIGHT)
    D = cdist(X, X, "sqeuclidean")
    pairs = _neighbors(D, 4)
    l = np.repeat([1 / 15, -1 / 15], 15)  # noqa: E741
    H = np.eye(n) - 1 / n
    C = np.outer(l, l) - H / n
    E = np.zeros((len(pairs), n))
    E[np.arange(len(pairs)), pairs[:, 0]] = 1
    E[np.arange(len(pairs)), pairs[:, 1]] = -1
    values, V = np.linalg.eigh(result.K)
    V = V[:, values > 1e-5 * values[-1]]
    columns = np.stack([np.outer(e, e @ V).ravel() for e in E], axis=1)
    y = np.linalg.lstsq(columns, (C @ V).ravel(), rcond=None)[0]
    S = C - (E.T * y) @ E
    lowest = np.linalg.eigvalsh(S + np.ones((n, n)))[0]
    assert lowest > -1e-5
    bound = D[tuple(pairs.T)] @ y + min(lowest, 0) * np.trace(result.K)
    assert result.objective >= bound - 1e-9
    assert result.objective == pytest.approx(bound, rel=1e-3, abs=1e-3)


def test_rows_of_a_line_have_one_eigenvalue():
    rng = np.random.default_rng(0)
    position = np.sort(rng.uniform(size=30))
    line = position[:, np.newaxis] * [3.0, 0.0, 4.0] + 7
    result = mmde(line[::2], line[1::2], n_neighbors=3, **TIGHT)
    assert result.embedding.shape == (30, 1)
    Z = result.embedding[:, 0]
    order = np.argsort(np.r_[np.arange(0, 30, 2), np.arange(1, 30, 2)])
    expected = 5 * (position - position.mean())
    np.testing.assert_allclose(np.abs(Z[order]), np.abs(expected), atol=1e-6)


def test_much_variance_unfolds():
    """Maximum variance unfolding: a half circle becomes a line of its chords."""
    angle = np.linspace(0, np.pi, 40)
    arc = np.column_stack([np.cos(angle), np.sin(angle)])
    result = mmde(arc[::2], arc[1::2], n_neighbors=2, variance_weight=1e4)
    values = np.linalg.eigvalsh(result.K)[::-1]
    # Neighbours two steps apart at the ends keep these from being straight.
    assert values[0] > 0.98 * values.sum()
    flat = np.linalg.eigvalsh(centred_gram(arc))[::-1]
    assert flat[0] < 0.9 * flat.sum()
    assert values.sum() > 1.3 * flat.sum()


def test_all_distances_are_the_rows():
    Xs, Xt = pair()
    result = mmde(Xs, Xt, n_neighbors=20)
    expected = centred_gram(np.vstack([Xs, Xt]))
    np.testing.assert_allclose(result.K, expected, atol=1e-6)
    assert pdist(result.embedding) == pytest.approx(
        pdist(np.vstack([Xs, Xt])), rel=1e-5
    )


def test_rigid_rows_have_no_freedom():
    """In two dimensions eight neighbours fix everything: there is no interior.

    Without facial reduction the method stops at a residual of some 1e-3 here.
    """
    Xs, Xt = pair(30, 30, 2)
    result = mmde(Xs, Xt, n_neighbors=8)
    expected = centred_gram(np.vstack([Xs, Xt]))
    np.testing.assert_allclose(result.K, expected, atol=1e-4 * expected.max())


def test_groups_that_are_rigid():
    """Two triangles of the plane with a common side are one body, hinges are not."""
    X = np.array([[0, 0], [1, 0], [0, 1], [1, 1.2], [3, 0]], dtype=float)
    D = cdist(X, X, "sqeuclidean")
    hinge = [{0, 1, 2}, {1, 2, 3}]
    # A side spans a line, the triangles a plane: the second may turn out of it.
    assert len(_rigid_groups(hinge, D)) == 2
    joined = _rigid_groups([{0, 1, 2, 3}, {1, 2, 3, 4}], D)
    assert joined == [{0, 1, 2, 3, 4}]
    # A triangle of a line is spanned by the side that it shares.
    line = np.array([[0, 0], [1, 0], [2, 0], [1, 1.0]])
    D = cdist(line, line, "sqeuclidean")
    assert _rigid_groups([{0, 1, 2}, {0, 1, 3}], D) == [{0, 1, 2, 3}]


def test_cliques():
    rng = np.random.default_rng(0)
    adjacent = np.triu(rng.random((9, 9)) < 0.5, 1)
    adjacent |= adjacent.T
    neighbors = [set(np.flatnonzero(row).tolist()) for row in adjacent]
    complete = [
        set(rows)
        for size in range(1, 10)
        for rows in combinations(range(9), size)
        if all(adjacent[a, b] for a, b in combinations(rows, 2))
    ]
    maximal = [c for c in complete if not any(c < other for other in complete)]
    found = _cliques(neighbors)
    assert len(found) == len(maximal)
    assert all(c in maximal for c in found)


# The graph


def test_neighbours():
    Xs, Xt = pair()
    X = np.vstack([Xs, Xt])
    D = cdist(X, X, "sqeuclidean")
    expected = {
        (min(i, j), max(i, j)) for i in range(21) for j in np.argsort(D[i])[1:4]
    }
    assert {tuple(p) for p in _neighbors(D, 3).tolist()} == expected


def test_parts_are_joined_by_their_shortest_edges():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(30, 2)) + np.repeat(np.eye(3)[:, :2] * 50, 10, axis=0)
    D = cdist(X, X, "sqeuclidean")
    pairs = _neighbors(D, 3)
    graph = csr_array((np.ones(len(pairs)), tuple(pairs.T)), shape=(30, 30))
    assert connected_components(graph, directed=False)[0] == 1
    part = np.repeat(np.arange(3), 10)
    across = {tuple(p) for p in pairs.tolist() if part[p[0]] != part[p[1]]}
    tree = minimum_spanning_tree(D).tocoo()
    expected = {
        (min(i, j), max(i, j))
        for i, j in zip(tree.row.tolist(), tree.col.tolist())
        if part[i] != part[j]
    }
    assert across == expected
    result = mmde(X[::2], X[1::2], n_neighbors=3, tol=1e-2)
    assert np.isfinite(result.embedding).all()


def test_repeated_rows_coincide():
    Xs, Xt = pair()
    Xs = np.vstack([Xs, Xs[:3], Xt[:1]])
    result = mmde(Xs, Xt)
    Z = result.embedding
    np.testing.assert_allclose(Z[12:15], Z[:3], atol=1e-6)
    np.testing.assert_allclose(Z[15], Z[16], atol=1e-6)


# The embedding


def test_domains_come_together():
    Xs, Xt = pair(25, 25, 8)
    gap = ((Xs.mean(axis=0) - Xt.mean(axis=0)) ** 2).sum()
    found = [mmde(Xs, Xt, variance_weight=c).mmd for c in (0.1, 1.0, 10.0)]
    assert found[0] < 0.05 * gap
    assert found[0] < found[1] < found[2]


def test_embedding_is_that_of_the_kernel_matrix():
    Xs, Xt = pair()
    result = mmde(Xs, Xt)
    Z = result.embedding
    scale = np.abs(result.K).max()
    np.testing.assert_allclose(Z @ Z.T, result.K, atol=1e-5 * scale)
    values = (Z**2).sum(axis=0)
    assert (np.diff(values) <= 0).all()
    np.testing.assert_allclose(Z.T @ Z, np.diag(values), atol=1e-8 * values[0])
    two = mmde(Xs, Xt, n_components=2)
    np.testing.assert_allclose(two.embedding, Z[:, :2], atol=1e-9)


def test_estimator_in_any_order():
    Xs, Xt = pair()
    result = mmde(Xs, Xt, n_components=3)
    order = np.random.default_rng(3).permutation(21)
    X, domain = stack(Xs, Xt)
    mapper = MMDE(3).fit(X, sample_domain=domain)
    np.testing.assert_allclose(mapper.embedding_, result.embedding[order], atol=1e-5)
    assert mapper.objective_ == pytest.approx(result.objective, rel=1e-6)
    assert mapper.mmd_ == pytest.approx(result.mmd, rel=1e-4)
    np.testing.assert_allclose(
        mapper.eigenvalues_, (result.embedding**2).sum(axis=0), rtol=1e-4
    )
    assert list(mapper.get_feature_names_out()) == ["mmde0", "mmde1", "mmde2"]


def test_map_is_kernel_ridge_regression():
    X, domain = stack(*pair(30, 25))
    mapper = MMDE(3, gamma=0.1, reg=0.2).fit(X, sample_domain=domain)
    K = rbf_kernel(X, gamma=0.1)
    A = np.linalg.solve(K + 0.2 * np.eye(55), mapper.embedding_)
    new = np.random.default_rng(0).normal(size=(10, 8))
    expected = rbf_kernel(new, X, gamma=0.1) @ A
    np.testing.assert_allclose(mapper.transform(new), expected, atol=1e-10)
    error = np.linalg.norm(K @ A - mapper.embedding_)
    assert mapper.map_error_ == pytest.approx(error / np.linalg.norm(mapper.embedding_))
    exact = MMDE(3, gamma=0.1, reg=1e-10).fit(X, sample_domain=domain)
    np.testing.assert_allclose(exact.transform(X), exact.embedding_, atol=1e-6)
    assert exact.map_error_ < 1e-6 < mapper.map_error_


def test_csr_and_float32():
    X, domain = stack(*pair(20, 15))
    X[np.abs(X) < 0.4] = 0
    mapper = MMDE(3)
    Z = mapper.fit_transform(X, sample_domain=domain)
    sparse = mapper.fit_transform(csr_array(X), sample_domain=domain)
    np.testing.assert_allclose(sparse, Z, atol=1e-5 * np.abs(Z).max())
    single = mapper.fit_transform(X.astype(np.float32), sample_domain=domain)
    assert single.dtype == mapper.embedding_.dtype == np.float32
    np.testing.assert_allclose(single, Z, atol=1e-3 * np.abs(Z).max())


def test_offset_is_no_matter():
    Xs, Xt = pair()
    Z = mmde(Xs, Xt).embedding
    far = mmde(Xs + 1e5, Xt + 1e5).embedding
    np.testing.assert_allclose(far[:, :3], Z[:, :3], atol=1e-4)


def test_no_domains_is_unfolding():
    Xs, Xt = pair()
    with pytest.warns(UserWarning, match="sample_domain"):
        mapper = MMDE().fit(np.vstack([Xs, Xt]))
    assert mapper.mmd_ == 0


# Refusals and warnings


def test_too_many_rows_are_refused_with_a_cure():
    Xs, Xt = pair(300, 250, 2)
    with pytest.raises(ValueError, match="550 x 550.*max_rows=500.*use TCA"):
        mmde(Xs, Xt)
    with pytest.raises(ValueError, match="21 x 21"):
        mmde(*pair(), max_rows=20)
    mmde(*pair(), max_rows=21)


def test_refusals():
    Xs, Xt = pair()
    with pytest.raises(ValueError, match="rows are the same"):
        mmde(np.ones((3, 2)), np.ones((2, 2)))
    with pytest.raises(ValueError, match="n_components=21 is more than the rank"):
        mmde(Xs, Xt, n_components=21)
    with pytest.raises(TypeError, match="(?i)sparse"):
        MMDE(kernel=lambda a, b: a @ b).fit(
            csr_array(np.vstack([Xs, Xt])), sample_domain=np.repeat([1, -1], [12, 9])
        )


@pytest.mark.parametrize(
    "parameters",
    [
        {"n_components": 0},
        {"n_neighbors": 0},
        {"variance_weight": 0.0},
        {"solver": "scs"},
        {"max_rows": 1},
        {"tol": 0.0},
        {"max_iter": 0},
    ],
)
def test_bad_parameters_are_named(parameters):
    Xs, Xt = pair()
    X, domain = stack(Xs, Xt)
    with pytest.raises(ValueError, match=next(iter(parameters))):
        mmde(Xs, Xt, **parameters)
    with pytest.raises(ValueError, match=next(iter(parameters))):
        MMDE(**parameters).fit(X, sample_domain=domain)


def test_warning_where_it_did_not_converge():
    with pytest.warns(ConvergenceWarning, match="n_neighbors"):
        result = mmde(*pair(), max_iter=2)
    assert result.n_iter == 2
    assert np.isfinite(result.embedding).all()


def test_no_loss_where_domains_agree():
    losses = []
    for seed in range(10):
        X, truth = make_classification(
            140, 6, n_informative=4, n_redundant=0, n_classes=3, random_state=seed
        )
        domain = np.repeat([1, -1], 70)
        y = np.where(domain > 0, truth, np.nan)
        scores = [
            TransferClassifier(LogisticRegression(max_iter=1000), adapter)
            .fit(X, y, sample_domain=domain)
            .score(X[70:], truth[70:])
            for adapter in (None, MMDE(tol=1e-3))
        ]
        losses.append(scores[0] - scores[1])
    assert np.mean(losses) < 0.03
