"""SSTCA against a dense generalised eigensolver, its limits and its graph.

``(K (L + lam / n^2 G) K + mu I) W phi = K H (c K_y + (1 - c) I) H K W``, k largest phi.
"""

import numpy as np
import pytest
from scipy.linalg import eigh, subspace_angles
from scipy.sparse import csr_array
from scipy.sparse.linalg import ArpackNoConvergence
from scipy.spatial.distance import pdist, squareform
from sklearn.datasets import make_classification
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.utils import get_tags

import skadapt
from skadapt import SSTCA, TCA, TransferClassifier, sstca, transfer_components

SIZES = {
    "d < n": (40, 30, 5),
    "d > n": (20, 15, 50),
    "Lanczos": (260, 210, 12),
}
GRAM = {
    "linear": lambda X, Z: X @ Z.T,
    "rbf": lambda X, Z: np.exp(-0.1 * ((X[:, np.newaxis] - Z) ** 2).sum(axis=2)),
}


def problem(n_source, n_target, d, seed=0):
    """Two shifted samples, and classes of the source of which some are unknown."""
    rng = np.random.default_rng(seed)
    scales = np.geomspace(2.0, 0.3, d)
    Xs = rng.normal(size=(n_source, d)) * scales
    Xt = rng.normal(size=(n_target, d)) * scales + rng.normal(size=d)
    ys = np.digitize(Xs[:, 0] + Xs[:, 1], [-0.7, 0.9]).astype(float)
    ys[rng.random(n_source) < 0.2] = np.nan
    return Xs, ys, Xt


def stack(Xs, ys, Xt, seed=3):
    """Rows in mixed order."""
    order = np.random.default_rng(seed).permutation(len(Xs) + len(Xt))
    X = np.vstack([Xs, Xt])
    y = np.concatenate([ys, np.full(len(Xt), np.nan)])
    return X[order], y[order], np.repeat([1, -1], [len(Xs), len(Xt)])[order]


def same_signs(Z, reference):
    """Z with the signs of the columns of `reference`."""
    return Z * np.sign((Z * reference).sum(axis=0))


def graph_laplacian(X, n_neighbors, width):
    """By the definition, a loop over the rows."""
    D = squareform(pdist(X))
    joined = np.zeros(D.shape, dtype=bool)
    for i in range(len(X)):
        others = np.argsort(D[i])
        others = others[others != i][:n_neighbors]
        joined[i, others] = joined[others, i] = True
    M = np.where(joined, np.exp(-(D**2) / (2 * width**2)), 0)
    return np.diag(M.sum(axis=1)) - M


def matrices(K, X, y_all, n_source, *, reg, c, lam, n_neighbors=5, width=None):
    """Left and right side; y_all holds values of the labels, NaN where unknown."""
    n = len(K)
    l = np.concatenate(  # noqa: E741
        [np.full(n_source, 1 / n_source), np.full(n - n_source, -1 / (n - n_source))]
    )
    width = np.median(pdist(X)) if width is None else width
    left = (
        K @ (np.outer(l, l) + lam / n**2 * graph_laplacian(X, n_neighbors, width)) @ K
    )
    left += reg * np.eye(n)
    known = ~np.isnan(y_all)
    K_y = (y_all[:, np.newaxis] == y_all) & known & known[:, np.newaxis]
    H = np.eye(n) - 1 / n
    right = K @ H @ (c * K_y + (1 - c) * np.eye(n)) @ H @ K
    return (left + left.T) / 2, (right + right.T) / 2, l


def reference(kernel, size, **weights):
    Xs, ys, Xt = problem(*SIZES[size])
    X = np.vstack([Xs, Xt])
    K = GRAM[kernel](X, X)
    y_all = np.concatenate([ys, np.full(len(Xt), np.nan)])
    left, right, l = matrices(K, X, y_all, len(Xs), **weights)  # noqa: E741
    values, W = eigh(right, left)
    return (Xs, ys, Xt), K, l, values[::-1], W[:, ::-1], left, right


WEIGHTS = [
    {"reg": 1.0, "c": 0.5, "lam": 1e4},
    {"reg": 0.3, "c": 0.1, "lam": 0.0},
    {"reg": 5.0, "c": 0.9, "lam": 1e5, "n_neighbors": 3, "width": 0.7},
]


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("kernel", GRAM)
@pytest.mark.parametrize("size", SIZES)
def test_dense_eigensolver(size, kernel, weights):
    data, K, l, values, W, left, right = reference(kernel, size, **weights)  # noqa: E741
    parameters = {k: v for k, v in weights.items() if k not in ("c", "lam")}
    result = sstca(
        *data,
        n_components=4,
        kernel=kernel,
        gamma=0.1,
        label_weight=weights["c"],
        laplacian_weight=weights["lam"],
        **parameters,
    )
    assert result.objective == pytest.approx(values[:4].sum(), rel=1e-8)
    A = result.coefficients
    assert subspace_angles(A, W[:, :4]).max() < 1e-6
    np.testing.assert_allclose(np.linalg.norm(A, axis=0), 1, atol=1e-10)
    # Each column solves the problem as it stands.
    ratios = np.einsum("ij,ij->j", A, right @ A) / np.einsum("ij,ij->j", A, left @ A)
    np.testing.assert_allclose(ratios, values[:4], rtol=1e-8)
    np.testing.assert_allclose(result.embedding, K @ A, atol=1e-8)
    assert result.mmd == pytest.approx(((l @ K @ A) ** 2).sum(), rel=1e-6)
    assert result.residual < 1e-8
    assert (result.n_iter > 1) == (size == "Lanczos" and kernel == "rbf")


@pytest.mark.parametrize("kernel", GRAM)
@pytest.mark.parametrize("size", SIZES)
def test_without_labels_and_graph_it_is_tca(kernel, size):
    Xs, _, Xt = problem(*SIZES[size])
    parameters = {"n_components": 4, "kernel": kernel, "gamma": 0.1}
    ours = sstca(Xs, None, Xt, label_weight=0, laplacian_weight=0, **parameters)
    tca = transfer_components(Xs, Xt, **parameters)
    assert ours.objective == pytest.approx(tca.objective, rel=1e-8)
    assert ours.mmd == pytest.approx(tca.mmd, rel=1e-5)
    scale = np.abs(tca.embedding).max()
    np.testing.assert_allclose(
        same_signs(ours.embedding, tca.embedding), tca.embedding, atol=1e-6 * scale
    )


@pytest.mark.parametrize("kernel", GRAM)
@pytest.mark.parametrize("size", SIZES)
def test_labels_alone_have_the_rank_of_the_classes(kernel, size):
    Xs, ys, Xt = problem(*SIZES[size])
    parameters = {"kernel": kernel, "label_weight": 1, "laplacian_weight": 0}
    result = sstca(Xs, ys, Xt, **parameters)
    assert result.embedding.shape[1] == 3
    labelled = ~np.isnan(ys)
    _, _, _, values, W, *_ = reference("linear", size, reg=1.0, c=1.0, lam=0.0)
    if kernel == "linear":
        assert result.objective == pytest.approx(values[:3].sum(), rel=1e-8)
        assert subspace_angles(result.coefficients, W[:, :3]).max() < 1e-6
    with pytest.raises(ValueError, match="rank 3.*limits to the classes"):
        sstca(Xs, ys, Xt, n_components=4, **parameters)
    # Where every row is labelled the columns of Y add up to a constant.
    X, y = np.vstack([Xs, Xt]), np.append(ys, np.full(len(Xt), 2.0))
    y[: len(Xs)][~labelled] = 0
    domain = np.repeat([1, -1], [len(Xs), len(Xt)])
    mapper = SSTCA(train_on="labeled", **parameters).fit(X, y, sample_domain=domain)
    assert mapper.transform(X).shape[1] == 2


def test_labels_turn_the_components_to_the_classes():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 5)) * [5, 1, 1, 1, 1]
    domain, y = np.repeat([1, -1], 100), (X[:, 3] > 0).astype(float)
    found = []
    for weight in (0.0, 0.5, 1.0):
        mapper = SSTCA(1, label_weight=weight, laplacian_weight=0)
        Z = mapper.fit(X, y, sample_domain=domain).transform(X)
        found.append(abs(np.corrcoef(Z[:, 0], X[:, 3])[0, 1]))
    assert found[0] < 0.2
    assert found[2] > 0.7
    assert found[0] < found[1] < found[2]


def test_graph_keeps_neighbours_near():
    Xs, ys, Xt = problem(60, 50, 6)
    X = np.vstack([Xs, Xt])
    G = graph_laplacian(X, 5, np.median(pdist(X)))
    roughness = []
    for lam in (0.0, 1e4, 1e6):
        result = sstca(Xs, ys, Xt, n_components=3, kernel="rbf", laplacian_weight=lam)
        Z = result.embedding
        roughness.append(np.trace(Z.T @ G @ Z) / ((Z - Z.mean(axis=0)) ** 2).sum())
    assert roughness[0] > roughness[1] > roughness[2]


def test_values_as_labels():
    """With numbers the kernel is linear, whatever their unit."""
    Xs, _, Xt = problem(40, 30, 5)
    ys = Xs[:, 2] + 0.1 * np.sin(Xs[:, 0])
    result = sstca(Xs, ys, Xt, n_components=2, laplacian_weight=0)
    X = np.vstack([Xs, Xt])
    K = X @ X.T
    z = np.append((ys - ys.mean()) / ys.std(), np.zeros(30))
    l = np.append(np.full(40, 1 / 40), np.full(30, -1 / 30))  # noqa: E741
    H = np.eye(70) - 1 / 70
    right = K @ H @ (0.5 * np.outer(z, z) + 0.5 * np.eye(70)) @ H @ K
    values = eigh(right, K @ np.outer(l, l) @ K + np.eye(70), eigvals_only=True)
    assert result.objective == pytest.approx(values[-2:].sum(), rel=1e-8)
    again = sstca(Xs, 1000 * ys + 7, Xt, n_components=2, laplacian_weight=0)
    np.testing.assert_allclose(again.embedding, result.embedding, atol=1e-8)
    # Whole numbers are classes unless it is said that they are not.
    whole = np.rint(2 * ys)
    as_classes, as_numbers = (
        sstca(Xs, whole, Xt, n_components=2, label_kernel=kernel)
        for kernel in ("class", "linear")
    )
    automatic = sstca(Xs, whole, Xt, n_components=2)
    assert automatic.objective == as_classes.objective != as_numbers.objective


def test_several_values():
    Xs, _, Xt = problem(40, 30, 5)
    ys = np.column_stack([Xs[:, 2], Xs[:, 3] ** 2])
    both = sstca(Xs, ys, Xt, label_weight=1, laplacian_weight=0)
    assert both.embedding.shape[1] == 2


@pytest.mark.parametrize("kernel", GRAM)
def test_target_labels_have_a_say_only_if_asked(kernel):
    X, y, domain = stack(*problem(40, 30, 5))
    told = np.where(domain < 0, np.arange(70) % 3, y)
    mapper = SSTCA(2, kernel=kernel, gamma=0.1)
    Z = mapper.fit(X, y, sample_domain=domain).transform(X)
    again = mapper.fit(X, told, sample_domain=domain).transform(X)
    np.testing.assert_array_equal(again, Z)
    mapper.set_params(train_on="labeled")
    np.testing.assert_array_equal(
        mapper.fit(X, y, sample_domain=domain).transform(X), Z
    )
    semi = mapper.fit(X, told, sample_domain=domain).transform(X)
    assert np.abs(semi - Z).max() > 1e-3
    K = GRAM[kernel](X, X)
    order = np.argsort(-domain, kind="stable")
    left, right, _ = matrices(
        K[np.ix_(order, order)], X[order], told[order], 40, reg=1.0, c=0.5, lam=1.0
    )
    values = eigh(right, left, eigvals_only=True)
    assert mapper.objective_ == pytest.approx(values[-2:].sum(), rel=1e-8)


def test_row_order():
    Xs, ys, Xt = problem(40, 30, 5)
    result = sstca(Xs, ys, Xt, n_components=3, kernel="rbf", gamma=0.1)
    order = np.random.default_rng(3).permutation(70)
    X, y, domain = stack(Xs, ys, Xt)
    mapper = SSTCA(3, kernel="rbf", gamma=0.1)
    Z = mapper.fit(X, y, sample_domain=domain).transform(X)
    np.testing.assert_allclose(Z, result.embedding[order], atol=1e-9)


@pytest.mark.parametrize("kernel", ["linear", "rbf", "poly", "laplacian"])
def test_csr_equals_dense(kernel):
    X, y, domain = stack(*problem(40, 30, 5))
    X[np.abs(X) < 0.3] = 0
    mapper = SSTCA(3, kernel=kernel)
    Z = mapper.fit(X, y, sample_domain=domain).transform(X)
    sparse = mapper.fit(csr_array(X), y, sample_domain=domain).transform(csr_array(X))
    np.testing.assert_allclose(sparse, Z, atol=1e-7 * np.abs(Z).max())


def test_precomputed_and_callable():
    Xs, ys, Xt = problem(40, 30, 5)
    X = np.vstack([Xs, Xt])
    plain = sstca(Xs, ys, Xt, n_components=3, width=1.3)
    K = X @ X.T  # its distances are those of the rows
    given = sstca(K[:40], ys, K[40:], n_components=3, width=1.3, kernel="precomputed")
    np.testing.assert_allclose(
        same_signs(given.embedding, plain.embedding), plain.embedding, atol=1e-6
    )
    named = sstca(K[:40], ys, K[40:], n_components=3, kernel="precomputed")
    assert named.objective == pytest.approx(
        sstca(Xs, ys, Xt, n_components=3).objective, rel=1e-8
    )
    called = sstca(Xs, ys, Xt, n_components=3, width=1.3, kernel=lambda a, b: a @ b)
    np.testing.assert_allclose(
        same_signs(called.embedding, plain.embedding), plain.embedding, atol=1e-6
    )
    domain = np.repeat([1, -1], [40, 30])
    y = np.append(ys, np.full(30, np.nan))
    mapper = SSTCA(3, kernel="precomputed", width=1.3).fit(K, y, sample_domain=domain)
    new = np.random.default_rng(0).normal(size=(4, 5))
    expected = SSTCA(3, width=1.3).fit(X, y, sample_domain=domain).transform(new)
    mapped = same_signs(mapper.transform(new @ X.T), expected)
    np.testing.assert_allclose(mapped, expected, atol=1e-6)
    assert get_tags(mapper).input_tags.pairwise


@pytest.mark.parametrize("kernel", GRAM)
@pytest.mark.parametrize("size", SIZES)
def test_float32_stays_float32(kernel, size):
    X, y, domain = stack(*problem(*SIZES[size]))
    X = X.astype(np.float32)
    mapper = SSTCA(3, kernel=kernel, gamma=0.1)
    single = mapper.fit(X, y, sample_domain=domain).transform(X)
    assert single.dtype == np.float32
    X = X.astype(np.float64)
    double = mapper.fit(X, y, sample_domain=domain).transform(X)
    np.testing.assert_allclose(single, double, atol=1e-3 * np.abs(double).max())


def test_scales_are_what_they_say():
    data, *_, right = reference("rbf", "d < n", reg=1.0, c=0.5, lam=1.0)
    A = sstca(
        *data, n_components=4, kernel="rbf", gamma=0.1, scale="whiten"
    ).coefficients
    np.testing.assert_allclose(A.T @ right @ A, np.eye(4), atol=1e-8)


def test_attributes():
    X, y, domain = stack(*problem(40, 30, 5))
    mapper = SSTCA(3, kernel="rbf").fit(X, y, sample_domain=domain)
    Z = mapper.transform(X)
    gap = Z[domain > 0].mean(axis=0) - Z[domain < 0].mean(axis=0)
    assert mapper.mmd_ == pytest.approx(gap @ gap, rel=1e-8)
    assert mapper.width_ == pytest.approx(np.median(pdist(X)), rel=1e-8)
    assert mapper.gamma_ == pytest.approx(mapper.width_**-2, rel=1e-8)
    assert mapper.objective_ == pytest.approx(mapper.eigenvalues_.sum())
    assert list(mapper.get_feature_names_out()) == ["sstca0", "sstca1", "sstca2"]
    mapper.set_params(laplacian_weight=0).fit(X, y, sample_domain=domain)
    assert mapper.width_ is None


def test_without_domains_labels_are_used():
    X, y, _ = stack(*problem(40, 30, 5))
    truth = np.nan_to_num(y)
    with pytest.warns(skadapt.NoAdaptationWarning):
        mapper = SSTCA(2).fit(X, truth)
    assert mapper.mmd_ < 1e-20
    with pytest.warns(skadapt.NoAdaptationWarning):
        other = SSTCA(2).fit(X, truth[::-1])
    assert other.objective_ != mapper.objective_


def test_labels_are_not_needed_where_they_weigh_nothing():
    X, y, domain = stack(*problem(40, 30, 5))
    mapper = SSTCA(2, label_weight=0)
    Z = mapper.fit(X, sample_domain=domain).transform(X)
    for labels in (y, np.full(70, np.nan), np.array(["a"] * 70)):
        again = mapper.fit(X, labels, sample_domain=domain).transform(X)
        np.testing.assert_array_equal(again, Z)
    assert not get_tags(mapper).target_tags.required
    assert get_tags(SSTCA()).target_tags.required


def test_refusals():
    Xs, ys, Xt = problem(40, 30, 5)
    X, _, domain = stack(Xs, ys, Xt)
    with pytest.raises(ValueError, match="requires y to be passed"):
        SSTCA().fit(X, sample_domain=domain)
    with pytest.raises(ValueError, match="no labelled source row"):
        SSTCA().fit(X, np.where(domain > 0, np.nan, 1.0), sample_domain=domain)
    with pytest.raises(ValueError, match="ys is None"):
        sstca(Xs, None, Xt)
    with pytest.raises(ValueError, match="label_kernel='class' takes class labels"):
        sstca(Xs, Xs[:, 0], Xt, label_kernel="class")
    with pytest.raises(ValueError, match="label_kernel='linear' takes numbers"):
        sstca(Xs, np.array(["a", "b"] * 20), Xt, label_kernel="linear")
    with pytest.raises(ValueError, match="rank 5.* at most 5"):
        sstca(Xs, ys, Xt, n_components=6)
    with pytest.raises(ValueError, match="square matrix"):
        sstca(Xs, ys, Xt, kernel="precomputed")
    with pytest.raises(ValueError, match="rank 0"):
        sstca(np.ones((4, 2)), [0, 1, 0, 1], np.ones((3, 2)), kernel="rbf")


@pytest.mark.parametrize(
    "parameters",
    [
        {"reg": 0.0},
        {"label_weight": 1.1},
        {"label_kernel": "rbf"},
        {"laplacian_weight": -1.0},
        {"n_neighbors": 0},
        {"width": 0.0},
        {"scale": "none"},
        {"n_components": 0},
        {"max_iter": 0},
    ],
)
def test_bad_parameters_are_named(parameters):
    Xs, ys, Xt = problem(20, 15, 4)
    X, y, domain = stack(Xs, ys, Xt)
    with pytest.raises(ValueError, match=next(iter(parameters))):
        SSTCA(**parameters).fit(X, y, sample_domain=domain)
    with pytest.raises(ValueError, match=next(iter(parameters))):
        sstca(Xs, ys, Xt, **parameters)


def test_lanczos_that_fails_falls_back(monkeypatch):
    data = problem(*SIZES["Lanczos"])
    parameters = {"n_components": 4, "kernel": "rbf", "gamma": 0.1}
    expected = sstca(*data, **parameters)

    def fails(*arguments, **options):
        raise ArpackNoConvergence("no convergence", np.empty(0), np.empty((470, 0)))

    monkeypatch.setattr(skadapt.solvers._labeled_components, "eigsh", fails)
    result = sstca(*data, **parameters)
    assert result.n_iter == 1 < expected.n_iter
    assert result.objective == pytest.approx(expected.objective, rel=1e-8)


def test_warning_where_the_residual_is_large(monkeypatch):
    solver = skadapt.feature._sstca.labeled_linear_components

    def rough(*arguments):
        found, *rest = solver(*arguments)
        return (found._replace(residual=1e-3), *rest)

    monkeypatch.setattr(skadapt.feature._sstca, "labeled_linear_components", rough)
    with pytest.warns(ConvergenceWarning, match="max_iter"):
        sstca(*problem(40, 30, 5))


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_no_loss_where_domains_agree(kernel):
    losses = []
    for seed in range(10):
        X, truth = make_classification(
            300, 6, n_informative=4, n_redundant=0, n_classes=3, random_state=seed
        )
        domain = np.repeat([1, -1], 150)
        y = np.where(domain > 0, truth, np.nan)
        scores = [
            TransferClassifier(LogisticRegression(max_iter=1000), adapter)
            .fit(X, y, sample_domain=domain)
            .score(X[150:], truth[150:])
            for adapter in (None, SSTCA(kernel=kernel))
        ]
        losses.append(scores[0] - scores[1])
    assert np.mean(losses) < 0.03


def test_labels_help_where_variance_misleads():
    """Large columns that say nothing, and a shift: TCA keeps the former."""
    gains = []
    for seed in range(5):
        rng = np.random.default_rng(seed)
        X, domain = rng.normal(size=(400, 8)), np.repeat([1, -1], 200)
        truth = X[:, 0] > 0
        X[:, 2:] *= 4
        X[200:, 1] += 3
        y = np.where(domain > 0, truth, np.nan)
        scores = [
            TransferClassifier(KNeighborsClassifier(), adapter)
            .fit(X, y, sample_domain=domain)
            .score(X[200:], truth[200:])
            for adapter in (TCA(2), SSTCA(2, label_weight=0.99))
        ]
        gains.append(scores[1] - scores[0])
    assert np.mean(gains) > 0.1
