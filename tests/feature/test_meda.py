"""MEDA against the dense formula of the paper, and its limits.

The referee takes the kernel G of the geodesic flow by quadrature, cosines of rows from
X G X', neighbours by sorting, and solves the N x N system anew in each round ::

    Beta = ((E + lam M + rho Lap) K + eta I)^(-1) E Y.

Nothing of the package is in it.
"""

import warnings
from typing import NamedTuple

import numpy as np
import pytest
from sklearn.cross_decomposition import PLSRegression
from sklearn.decomposition import PCA
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import Ridge
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer, StandardScaler, normalize
from sklearn.svm import LinearSVC

from skadapt import GFK, MEDA, NoAdaptationWarning, PerDomain, TransferClassifier
from skadapt.datasets import fetch_office_caltech
from skadapt.solvers._class_shares import column_scales
from skadapt.solvers._manifold_regression import (
    KernelSmoother,
    LandmarkSmoother,
    graph_laplacian,
    penalised_values,
)

# ---------------------------------------------------------------------------
# Problems
# ---------------------------------------------------------------------------


class Task(NamedTuple):
    X: np.ndarray
    y: np.ndarray
    ids: np.ndarray
    truth: np.ndarray

    @property
    def source(self):
        return self.ids > 0

    def fit(self, sample_weight=None, **parameters):
        model = MEDA(**parameters)
        return model.fit(self.X, self.y, sample_weight, sample_domain=self.ids)


def make_task(seed=0, n_source=70, n_target=60, d=12, n_classes=3, shift=1.0):
    """Gaussian classes whose columns are turned and moved in the target."""
    rng = np.random.default_rng(seed)
    means = rng.normal(size=(n_classes, d)) * 1.3
    n = n_source + n_target
    ids = rng.permutation(np.repeat([1, -1], [n_source, n_target]))
    truth = rng.permutation(np.arange(n) % n_classes)
    X = means[truth] + rng.normal(size=(n, d)) * np.geomspace(1.5, 0.5, d)
    turn = np.linalg.qr(np.eye(d) + 0.2 * shift * rng.normal(size=(d, d)))[0]
    X[ids < 0] = X[ids < 0] @ (turn * np.sign(np.diag(turn))) + 0.3 * shift
    return Task(X, np.where(ids > 0, truth, np.nan), ids, truth)


# ---------------------------------------------------------------------------
# The referee
# ---------------------------------------------------------------------------


def flow_kernel(Ps, Pt):
    """G by Gauss-Legendre quadrature of the projections along the geodesic."""
    U, cosines, Wt = np.linalg.svd(Ps.T @ Pt)
    theta = np.arccos(np.clip(cosines, 0, 1))
    A = Ps @ U
    R = (Pt @ Wt.T - A * np.cos(theta)) / np.sin(theta)
    nodes, weights = np.polynomial.legendre.leggauss(40)
    G = 0
    for t, w in zip((nodes + 1) / 2, weights / 2):
        Phi = A * np.cos(t * theta) + R * np.sin(t * theta)
        G = G + w * Phi @ Phi.T
    return G


def inner_products(task, subspace, p, new=None):
    """X G X' of all rows, or of new rows with them."""
    Xs, Xt = task.X[task.source], task.X[~task.source]
    G = np.eye(task.X.shape[1])
    if subspace is not None:
        axes = [np.linalg.svd(X - X.mean(axis=0))[2][:p].T for X in (Xs, Xt)]
        if subspace == "pls":
            labelled = task.source & ~np.isnan(task.y)
            Y = np.eye(3)[task.y[labelled].astype(int)]
            pls = PLSRegression(p, scale=False, max_iter=10**5, tol=1e-28)
            axes[0] = np.linalg.qr(pls.fit(task.X[labelled], Y).x_weights_)[0]
        G = flow_kernel(*axes)
    rows = task.X if new is None else new
    lengths = [np.sqrt(np.einsum("ij,jk,ik->i", Z, G, Z)) for Z in (rows, task.X)]
    return rows @ G @ task.X.T / np.outer(*lengths)


def laplacian(cosines, n_neighbors):
    near = np.zeros_like(cosines, dtype=bool)
    for i, row in enumerate(cosines):
        row = row.copy()
        row[i] = np.inf  # the row itself, and its neighbours
        near[i, np.argsort(-row)[: n_neighbors + 1]] = True
    W = np.where(near | near.T, np.maximum(cosines, 0), 0)
    np.fill_diagonal(W, 1)
    root = 1 / np.sqrt(W.sum(axis=1))
    return np.eye(len(W)) - root[:, None] * W * root


def gap_matrix(codes, source, mu, n_classes):
    """M of Frobenius norm 1."""

    def outer(members):
        e = np.zeros(len(codes))
        if (members & source).any() and (members & ~source).any():
            e[members & source] = 1 / np.sum(members & source)
            e[members & ~source] = -1 / np.sum(members & ~source)
        return np.outer(e, e)

    M = (1 - mu) * n_classes * outer(np.ones(len(codes), dtype=bool))
    for c in range(n_classes):
        M = M + mu * outer(codes == c)
    norm = np.linalg.norm(M)
    return M / norm if norm > 0 else M


def referee(
    task,
    *,
    n_components=5,
    subspace="pca",
    mu=0.5,
    lam=10.0,
    eta=0.1,
    rho=1.0,
    gamma=0.5,
    n_neighbors=10,
    n_iter=10,
    weights=None,
    new=None,
):
    """Scores of all rows, scores of new rows, changes of labels."""
    cosines = inner_products(task, subspace, n_components)
    K = np.exp(-gamma * (2 - 2 * cosines))
    n, source = len(K), task.source
    labelled = source & ~np.isnan(task.y)
    E = np.diag(labelled * (np.ones(n) if weights is None else weights))
    Y = np.zeros((n, 3))
    Y[labelled, task.y[labelled].astype(int)] = 1
    codes = np.where(labelled, task.y, -1)
    known = np.flatnonzero(labelled)
    codes[~source] = codes[known[cosines[~source][:, known].argmax(axis=1)]]
    Lap, changes = laplacian(cosines, n_neighbors), []
    for _ in range(n_iter):
        M = gap_matrix(codes, source, mu, 3)
        Beta = np.linalg.solve((E + lam * M + rho * Lap) @ K + eta * np.eye(n), E @ Y)
        F = K @ Beta
        predicted = F[~source].argmax(axis=1)
        changes.append(np.sum(predicted != codes[~source]))
        codes[~source] = predicted
        if not changes[-1]:
            break
    if new is None:
        return F, None, changes
    crossed = inner_products(task, subspace, n_components, new)
    return F, np.exp(-gamma * (2 - 2 * crossed)) @ Beta, changes


# ---------------------------------------------------------------------------
# The objective
# ---------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"subspace": "pls"},
        {"subspace": None},
        {"mu": 0.0},
        {"mu": 1.0},
        {"mu": 0.3, "lam": 0.7, "eta": 1e-3, "gamma": 2.0},
        {"rho": 0.0},
        {"rho": 5.0, "n_neighbors": 3},
        {"n_iter": 1},
    ],
    ids=str,
)
def test_dense_formula(parameters, seed):
    task = make_task(seed)
    new = np.random.default_rng(9).normal(size=(20, 12))
    model = task.fit(**{"n_components": 5, **parameters})
    scores, of_new, changes = referee(task, new=new, **parameters)
    found = model.decision_function(task.X)
    np.testing.assert_allclose(found, scores, rtol=0, atol=1e-8)
    np.testing.assert_allclose(model.decision_function(new), of_new, atol=1e-8)
    expected = scores[~task.source].argmax(axis=1)
    np.testing.assert_array_equal(model.transduction_, expected)
    np.testing.assert_array_equal(model.predict(task.X[~task.source]), expected)
    np.testing.assert_array_equal(model.n_changes_, changes)


def test_dense_formula_with_weights_and_unlabelled_source_rows():
    task = make_task(1)
    task.y[np.flatnonzero(task.source)[::4]] = np.nan
    weights = np.random.default_rng(0).choice([0.5, 1.0, 3.0], len(task.y))
    model = task.fit(weights, n_components=5)
    scores, *_ = referee(task, weights=weights)
    found = model.decision_function(task.X)
    np.testing.assert_allclose(found, scores, rtol=0, atol=1e-8)


def test_rows_of_weight_0_are_unlabelled_rows():
    task = make_task(2)
    some = np.flatnonzero(task.source)[::3]
    weights = np.ones(len(task.y))
    weights[some] = 0
    model = task.fit(weights)
    task.y[some] = np.nan
    expected = task.fit()
    np.testing.assert_array_equal(model.dual_coef_, expected.dual_coef_)


def test_rows_that_repeat_make_the_kernel_singular():
    task = make_task(3)
    twice = Task(*(np.concatenate([part, part[::2]]) for part in task))
    model = twice.fit(n_components=5, n_neighbors=1, rho=0.0)
    scores, *_ = referee(twice, rho=0.0)
    np.testing.assert_allclose(model.decision_function(twice.X), scores, atol=1e-8)
    graph = twice.fit(n_components=5)
    assert np.isfinite(graph.decision_function(twice.X)).all()


def test_a_row_of_zeros_has_no_neighbours():
    task = make_task(4)
    task.X[[3, 50]] = 0.0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = task.fit(subspace=None)
    assert np.isfinite(model.decision_function(task.X)).all()


# ---------------------------------------------------------------------------
# Limits
# ---------------------------------------------------------------------------


def test_without_gaps_and_graph_it_is_kernel_ridge_on_the_source():
    task = make_task(5)
    model = task.fit(subspace=None, lam=0.0, rho=0.0, eta=0.3)
    Z = normalize(task.X)
    ridge = KernelRidge(alpha=0.3, kernel="rbf", gamma=0.5)
    ridge.fit(Z[task.source], np.eye(3)[task.truth[task.source]])
    found = model.decision_function(task.X)
    np.testing.assert_allclose(found, ridge.predict(Z), rtol=0, atol=1e-10)
    np.testing.assert_allclose(model.dual_coef_[~task.source], 0, atol=1e-14)
    assert len(model.n_changes_) <= 2, "nothing depends on pseudo-labels"


def test_a_large_norm_penalty_leaves_nothing():
    task = make_task(6)
    scores = [
        np.abs(task.fit(eta=eta).decision_function(task.X)).max()
        for eta in (1.0, 1e3, 1e6)
    ]
    assert scores[0] > 10 * scores[1] > 100 * scores[2]
    proba = task.fit(eta=1e12).predict_proba(task.X)
    np.testing.assert_allclose(proba, 1 / 3, atol=1e-9)


def test_without_domains_it_is_kernel_ridge_on_unit_rows():
    task = make_task(7)
    weights = np.random.default_rng(0).random(len(task.truth))
    with pytest.warns(NoAdaptationWarning):
        model = MEDA().fit(task.X, task.truth, weights)
    ridge = KernelRidge(alpha=0.1, kernel="rbf", gamma=0.5)
    ridge.fit(normalize(task.X), np.eye(3)[task.truth], weights)
    new = np.random.default_rng(1).normal(size=(9, 12))
    expected = ridge.predict(normalize(new))
    np.testing.assert_allclose(model.decision_function(new), expected, atol=1e-10)
    assert not hasattr(model, "transduction_")


def test_rounds_end_at_a_fixed_point():
    task = make_task(8)
    model = task.fit(n_iter=50)
    assert model.n_changes_[-1] == 0
    assert (model.n_changes_[:-1] > 0).all()
    longer = task.fit(n_iter=len(model.n_changes_) + 5)
    np.testing.assert_array_equal(longer.dual_coef_, model.dual_coef_)


def test_a_class_that_no_target_row_has():
    """It has no gap; there is no division by its number of rows."""
    task = make_task(9)
    kept = task.source | (task.truth != 2)
    task = Task(*(part[kept] for part in task))
    start = NearestCentroid()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = task.fit(n_components=5, estimator=start, n_iter=1)
        alone = Task(*(part[task.source | (task.truth == 0)] for part in task))
        for mu in (0.0, 1.0, "estimate"):
            assert np.isfinite(alone.fit(mu=mu).decision_function(task.X)).all()
    assert isinstance(model.estimator_, NearestCentroid)


# ---------------------------------------------------------------------------
# Balance
# ---------------------------------------------------------------------------


def proxy_distance(X, is_source):
    error = 1 - LinearSVC(dual=False).fit(X, is_source).score(X, is_source)
    return max(0.0, 2 * (1 - 2 * error))


def test_estimated_balance():
    task = make_task(10, shift=0.4)
    model = task.fit(subspace=None, mu="estimate", n_iter=1)
    start = KNeighborsClassifier(1)
    Z = normalize(task.X)
    start.fit(Z[task.source], task.truth[task.source])
    codes = np.where(task.source, task.truth, start.predict(Z))
    of_all = proxy_distance(task.X, task.source)
    of_classes = [
        proxy_distance(task.X[codes == c], task.source[codes == c]) for c in range(3)
    ]
    mean = np.mean(of_classes)
    assert 0 < of_all < 2, "not separable, or the test shows nothing"
    assert model.mu_ == pytest.approx(mean / (mean + of_all), abs=1e-12)
    given = task.fit(subspace=None, mu=model.mu_, n_iter=1)
    np.testing.assert_array_equal(model.dual_coef_, given.dual_coef_)


# ---------------------------------------------------------------------------
# Landmarks
# ---------------------------------------------------------------------------


def problem(n=90, r=25, seed=0):
    rng = np.random.default_rng(seed)
    Z = normalize(rng.normal(size=(n, 6)))
    cosines = Z @ Z.T
    W = np.where(cosines > 0.5, cosines, 0)
    Lap = np.eye(n) - W / np.sqrt(np.outer(W.sum(axis=0), W.sum(axis=0)))
    from scipy.sparse import csr_array

    np.testing.assert_allclose(graph_laplacian(csr_array(W)).toarray(), Lap, atol=1e-14)
    A = np.diag((np.arange(n) < 50) * 1.0) + 0.7 * Lap
    V, B = rng.normal(size=(n, 4)) / 10, rng.normal(size=(n, 3))
    return Z, A, V, B, rng.choice(n, r, replace=False)


@pytest.mark.parametrize("few", [False, True])
def test_smoothers(few):
    """Both against their dense problem, coefficients included."""
    from scipy.sparse import csr_array

    Z, A, V, B, landmarks = problem()
    centres = Z[landmarks] if few else Z
    cross, core = rbf_kernel(Z, centres, gamma=0.5), rbf_kernel(centres, gamma=0.5)
    K = cross @ np.linalg.solve(core, cross.T)
    if few:
        smoother = LandmarkSmoother(lambda rows: cross[rows], core, csr_array(A), 0.1)
    else:
        smoother = KernelSmoother(core, csr_array(A), 0.1)
    S = K @ np.linalg.inv(A @ K + 0.1 * np.eye(len(K)))
    solution = smoother.solve(B)
    np.testing.assert_allclose(smoother.values(solution), S @ B, atol=1e-9)
    dual = smoother.dual(solution)
    np.testing.assert_allclose(cross @ dual, S @ B, atol=1e-7)
    system = (A + 2.0 * V @ V.T) @ K + 0.1 * np.eye(len(K))
    expected = K @ np.linalg.solve(system, B)
    values, gaps = penalised_values(smoother, smoother.values(solution), V, 2.0)
    np.testing.assert_allclose(values, expected, atol=1e-9)
    np.testing.assert_allclose(gaps, V.T @ expected, atol=1e-9)


def test_landmarks():
    task = make_task(11, 200, 180)
    exact, enough = task.fit(), task.fit(n_landmarks=380)
    np.testing.assert_array_equal(exact.dual_coef_, enough.dual_coef_)
    truth = task.truth[~task.source]
    for seed in (0, 1):
        model = task.fit(n_landmarks=120, random_state=seed)
        assert model.X_fit_.shape == (120, 24)
        target = task.X[~task.source]
        np.testing.assert_array_equal(model.predict(target), model.transduction_)
        gap = np.mean(model.transduction_ == truth) - np.mean(
            exact.transduction_ == truth
        )
        assert abs(gap) < 0.05
    nearly = task.fit(n_landmarks=379, random_state=0)
    np.testing.assert_allclose(
        nearly.decision_function(task.X), exact.decision_function(task.X), atol=1e-2
    )


def test_landmarks_do_not_depend_on_the_order_of_the_rows():
    task = make_task(12)
    order = np.random.default_rng(0).permutation(len(task.y))
    shuffled = Task(*(part[order] for part in task))
    scores = [
        t.fit(n_landmarks=40, random_state=0).decision_function(task.X)
        for t in (task, shuffled)
    ]
    np.testing.assert_allclose(*scores, atol=1e-8)


def test_many_rows_take_landmarks_by_themselves():
    task = make_task(13, 1800, 1300, d=4)
    model = task.fit(n_iter=1, rho=0.0, random_state=0)
    assert model.X_fit_.shape == (700, 8)
    assert task.fit(n_iter=1, rho=0.0, n_landmarks=50).X_fit_.shape == (50, 8)


# ---------------------------------------------------------------------------
# Prior
# ---------------------------------------------------------------------------


@pytest.mark.parametrize("prior", ["uniform", [0.5, 0.2, 0.3]])
def test_prior(prior):
    task = make_task(14, shift=2.0)
    target = task.X[~task.source]
    model, plain = task.fit(prior=prior), task.fit()
    shares = np.full(3, 1 / 3) if prior == "uniform" else np.array(prior)
    proba = model.predict_proba(target)
    np.testing.assert_allclose(proba.mean(axis=0), shares, atol=1e-6)
    np.testing.assert_array_equal(model.predict(target), model.transduction_)
    np.testing.assert_array_equal(model.dual_coef_, plain.dual_coef_)
    # Rows are multiplied by one factor for each class, new ones too.
    new = np.random.default_rng(0).normal(size=(7, 12))
    ratio = model.predict_proba(new) / plain.predict_proba(new)
    ratio /= ratio[:, :1]
    np.testing.assert_allclose(ratio, ratio[:1].repeat(7, axis=0), rtol=1e-8)
    assert not np.allclose(ratio, 1)


def test_column_scales_are_sinkhorns():
    """Alternate scaling of columns and rows, as it is usually written."""
    rng = np.random.default_rng(0)
    P, shares = rng.dirichlet([0.3] * 4, size=50), np.array([0.4, 0.3, 0.2, 0.1])
    A = P.copy()
    for _ in range(5000):
        A *= shares / A.mean(axis=0)
        A /= A.sum(axis=1, keepdims=True)
    scaled = P * column_scales(P, shares)
    scaled /= scaled.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(scaled, A, atol=1e-6)
    certain = np.eye(3)[[0, 0, 1, 1]]
    assert np.isfinite(column_scales(certain, np.full(3, 1 / 3))).all()


@pytest.mark.parametrize(
    "prior", [[0.5, 0.5], [0.5, 0.5, 0.0], [1.0, 1.0, 1.0], [0.6, 0.5, -0.1]]
)
def test_bad_prior(prior):
    with pytest.raises(ValueError, match="prior must hold one number for each of the"):
        make_task().fit(prior=prior)


# ---------------------------------------------------------------------------
# Columns
# ---------------------------------------------------------------------------


@pytest.mark.parametrize("subspace", ["pca", "pls"])
def test_a_mapper_makes_the_columns(subspace):
    task = make_task(15)
    model = task.fit(subspace=GFK(5, subspace=subspace))
    expected = task.fit(n_components=5, subspace=subspace)
    np.testing.assert_allclose(
        model.decision_function(task.X),
        expected.decision_function(task.X),
        atol=1e-9,
    )
    assert isinstance(model.mapper_, GFK)
    assert not hasattr(expected, "mapper_")


def test_a_mapper_that_treats_domains_differently():
    task = make_task(16)
    model = task.fit(subspace=make_pipeline(PerDomain(StandardScaler()), PCA(5)))
    Z = PerDomain(StandardScaler()).fit_transform(task.X, sample_domain=task.ids)
    Z = PCA(5).fit_transform(Z)
    inner = task._replace(X=Z).fit(subspace=None)
    np.testing.assert_allclose(
        model.decision_function(task.X, sample_domain=task.ids),
        inner.decision_function(Z),
        atol=1e-9,
    )
    target = task.X[~task.source]
    np.testing.assert_array_equal(model.predict(target), model.transduction_)
    as_source = model.decision_function(target, sample_domain=1)
    assert np.abs(as_source - model.decision_function(target)).max() > 1e-3


def test_components_are_as_many_as_both_domains_have():
    task = make_task(17)
    rows = np.concatenate(
        [np.flatnonzero(task.source), np.flatnonzero(task.ids < 0)[:4]]
    )
    task = Task(*(part[rows] for part in task))
    assert task.fit().X_fit_.shape[1] == 6, "three directions of four target rows"


def test_one_class_has_no_pls_direction():
    task = make_task(18)
    task = task._replace(y=np.where(task.source, 1.0, np.nan))
    with pytest.raises(ValueError, match="y holds one class only in the source"):
        task.fit(subspace="pls")


@pytest.mark.parametrize("subspace", ["pca", "pls"])
def test_a_domain_without_directions_is_named(subspace):
    task = make_task(18)
    still = np.where(task.source[:, np.newaxis], task.X, 0.1)
    with pytest.raises(ValueError, match="The target has no variance"):
        task._replace(X=still).fit(subspace=subspace)
    still = np.where(task.source[:, np.newaxis], 0.1, task.X)
    message = "source has no variance" if subspace == "pca" else "means of the classes"
    with pytest.raises(ValueError, match=message):
        task._replace(X=still).fit(subspace=subspace)


def test_the_start_is_a_plain_classifier():
    with pytest.raises(ValueError, match="TransferClassifier takes sample_domain"):
        make_task().fit(estimator=TransferClassifier())


def test_weights_that_are_all_0():
    task = make_task()
    with pytest.raises(ValueError, match="0 for every labelled source row"):
        task.fit((~task.source).astype(float))


# ---------------------------------------------------------------------------
# What it is for
# ---------------------------------------------------------------------------


def test_it_adapts():
    gains = []
    for seed in range(5):
        task = make_task(seed, 150, 150, d=20, shift=2.0)
        floor = KNeighborsClassifier(1).fit(
            task.X[task.source], task.truth[task.source]
        )
        truth = task.truth[~task.source]
        model = task.fit(n_components=10)
        gains.append(
            np.mean(model.transduction_ == truth)
            - floor.score(task.X[~task.source], truth)
        )
    assert np.mean(gains) > 0.05


@pytest.mark.parametrize("subspace", ["pca", "pls"])
def test_no_loss_where_nothing_has_shifted(subspace):
    """Against its own function without gaps, and against 1-NN."""
    gains = []
    for seed in range(10):
        task = make_task(seed, 150, 150, d=6, shift=0.0)
        source, truth = task.source, task.truth[~task.source]
        Z = normalize(task.X)
        floors = [
            KNeighborsClassifier(1)
            .fit(X[source], task.truth[source])
            .score(X[~source], truth)
            for X in (task.X, Z)
        ]
        accuracy = np.mean(task.fit(subspace=subspace).transduction_ == truth)
        gains.append(accuracy - max(floors))
    assert np.mean(gains) >= -0.03


@pytest.mark.parametrize(("task", "published"), [("WD", 88.5), ("DW", 87.5)])
def test_office_caltech(task, published):
    """Two small tasks of the paper's table; the mean of all twelve is benchmarked."""
    names = {"D": "dslr", "W": "webcam"}
    try:
        data = fetch_office_caltech(
            source=names[task[0]], target=names[task[1]], download_if_missing=False
        )
    except FileNotFoundError as error:
        pytest.skip(str(error))
    model = make_pipeline(Normalizer("l1"), PerDomain(StandardScaler()))
    Z = model[1].fit_transform(
        model[0].fit_transform(data.X), sample_domain=data.sample_domain
    )
    target = data.sample_domain < 0
    y = np.where(target, np.nan, data.y)
    meda = MEDA().fit(Z, y, sample_domain=data.sample_domain)
    accuracy = 100 * np.mean(meda.transduction_ == data.y[target])
    assert accuracy == pytest.approx(published, abs=0.7)


def test_start_is_a_classifier():
    rng = np.random.default_rng(0)
    X, ids = rng.normal(size=(40, 3)), np.repeat([1, -1], 20)
    y = np.where(ids > 0, np.arange(40) % 2, np.nan)
    with pytest.raises(ValueError, match="must be a classifier"):
        MEDA(estimator=Ridge()).fit(X, y, sample_domain=ids)
