"""SCL against predictors solved one by one, and on texts whose answer is known.

For every pivot ``mean(L(t (w'x + b))) + reg (|w|^2 + (b - s)^2)`` is minimised; the
referees are L-BFGS for the modified Huber loss and `Ridge` for the squared one.
"""

import tracemalloc
import warnings
from pathlib import Path

import numba
import numpy as np
import pytest
from scipy import sparse
from scipy.linalg import subspace_angles
from scipy.optimize import minimize
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_selection import mutual_info_classif
from sklearn.linear_model import LogisticRegression, Ridge, SGDClassifier

from skadapt import SCL, NoAdaptationWarning, TransferClassifier
from skadapt.datasets import fetch_amazon_reviews, get_data_home
from skadapt.solvers._pivot_predictors import fit_pivot_predictors

N_GROUPS, PIVOTS, WORDS, NOISE = 3, 6, 8, 10


def texts(n=400, seed=0, noise=NOISE):
    """Rows of two domains, each about one of three things, and its number as label.

    Columns: pivots of each thing in both domains, words of each thing in the source
    only, the same in the target only, and words about nothing.
    """
    rng = np.random.default_rng(seed)
    y = rng.integers(0, N_GROUPS, 2 * n)
    domain = np.repeat([1, -1], n)
    blocks = []
    for high, low, width, here in (
        (0.4, 0.05, PIVOTS, domain != 0),
        (0.4, 0.02, WORDS, domain > 0),
        (0.4, 0.02, WORDS, domain < 0),
    ):
        for group in range(N_GROUPS):
            p = np.where(y == group, high, low) * here
            blocks.append(rng.random((2 * n, width)) < p[:, None])
    blocks.append(rng.random((2 * n, noise)) < 0.2)
    return np.hstack(blocks).astype(float), y.astype(float), domain


FIRST_SOURCE = N_GROUPS * PIVOTS
FIRST_TARGET = FIRST_SOURCE + N_GROUPS * WORDS
PIVOT_COLUMNS = np.arange(FIRST_SOURCE)


def fitted(X, y, domain, **parameters):
    parameters = {
        "n_pivots": FIRST_SOURCE,
        "n_components": N_GROUPS,
        "random_state": 0,
        **parameters,
    }
    return SCL(**parameters).fit(X, y, sample_domain=domain)


def modified_huber(q):
    return np.where(q >= 1, 0, np.where(q >= -1, (1 - q) ** 2, -4 * q))


def slope(q):
    return np.where(q >= 1, 0, np.where(q >= -1, -2 * (1 - q), -4))


def problems(pivots, X):
    """Inputs without the pivots, with signs t and most frequent sign s of each."""
    inputs = (np.delete(X, pivots, axis=1) > 0).astype(float)
    for pivot in pivots:
        t = np.where(X[:, pivot] > 0, 1.0, -1.0)
        yield inputs, t, 1.0 if t.sum() > 0 else -1.0


def objective(v, inputs, t, s, reg):
    """Value and gradient for v = (w, b)."""
    w, b = v[:-1], v[-1]
    q = t * (inputs @ w + b)
    d = slope(q) * t / len(t)
    value = modified_huber(q).mean() + reg * (w @ w + (b - s) ** 2)
    gradient = np.append(inputs.T @ d + 2 * reg * w, d.sum() + 2 * reg * (b - s))
    return value, gradient


def solutions(result, n_features, pivots):
    """(w, b) of every pivot, with the columns in the order of `problems`."""
    weights = np.zeros((n_features, len(pivots)))
    weights[result.columns] = result.weights
    weights = np.delete(weights, pivots, axis=0)
    return np.vstack([weights, result.intercepts]).T


# The predictors


@pytest.mark.parametrize("reg", [1e-3, 1e-2, 0.3])
def test_predictors_are_those_fitted_one_by_one(reg):
    X, _, _ = texts(150)
    pivots = np.array([0, 7, 13, 2, 40])
    result = fit_pivot_predictors(
        sparse.csr_array(X), pivots, reg=reg, tol=1e-9, max_iter=20000, dtype=float
    )
    assert result.gaps.max() <= 1e-9
    found = solutions(result, X.shape[1], pivots)
    for v, value, (inputs, t, s) in zip(found, result.objectives, problems(pivots, X)):
        start = np.append(np.zeros(inputs.shape[1]), s)
        best = minimize(
            objective,
            start,
            args=(inputs, t, s, reg),
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": 5000, "maxfun": 9000, "ftol": 1e-15, "gtol": 1e-10},
        )
        ours, gradient = objective(v, inputs, t, s, reg)
        assert value == pytest.approx(ours, rel=1e-10)
        assert ours <= best.fun * (1 + 1e-8)
        np.testing.assert_allclose(v, best.x, atol=2e-3 * np.abs(best.x).max())
        first = objective(start, inputs, t, s, reg)[1]
        assert np.linalg.norm(gradient) < 1e-3 * np.linalg.norm(first)


def test_squared_loss_is_ridge_regression():
    X, _, _ = texts(150)
    pivots, reg = np.array([0, 7, 13, 2, 40]), 0.01
    result = fit_pivot_predictors(
        sparse.csr_array(X),
        pivots,
        loss="squared",
        reg=reg,
        tol=1e-11,
        max_iter=20000,
        dtype=float,
    )
    found = solutions(result, X.shape[1], pivots)
    for v, (inputs, t, s) in zip(found, problems(pivots, X)):
        rows = np.c_[inputs, np.ones(len(t))]
        ridge = Ridge(alpha=reg * len(t), fit_intercept=False, solver="cholesky")
        expected = ridge.fit(rows, t - s).coef_
        expected[-1] += s
        np.testing.assert_allclose(v, expected, atol=2e-5)


@pytest.mark.parametrize("loss", ["modified_huber", "squared"])
def test_gap_bounds_the_distance_to_the_optimum(loss):
    """At the default precision as well, where W is float32."""
    X = sparse.csr_array(texts(200)[0])
    pivots = np.arange(0, 70)  # three blocks, the last of another width
    best = fit_pivot_predictors(
        X, pivots, loss=loss, tol=1e-9, max_iter=20000, dtype=float
    )
    for tol in (0.1, 1e-2, 1e-4):
        result = fit_pivot_predictors(X, pivots, loss=loss, tol=tol, max_iter=20000)
        assert result.weights.dtype == np.float32
        assert result.gaps.max() <= tol
        distance = result.objectives - best.objectives
        assert (distance <= result.gaps * result.objectives + 1e-6).all()
        assert (distance >= -1e-6).all()


def test_objective_is_below_that_of_a_classifier_for_each_pivot():
    X, _, _ = texts(400)
    pivots, reg = np.arange(FIRST_SOURCE), 0.01
    result = fit_pivot_predictors(sparse.csr_array(X), pivots, reg=reg)
    found = solutions(result, X.shape[1], pivots)
    for v, (inputs, t, _) in zip(found, problems(pivots, X)):
        peer = SGDClassifier(loss="modified_huber", alpha=2 * reg, random_state=0)
        peer.fit(inputs, t)
        # Its objective has no term for the intercept.
        ours, theirs = (
            modified_huber(t * (inputs @ w + b)).mean() + reg * w @ w
            for w, b in ((v[:-1], v[-1]), (peer.coef_[0], peer.intercept_[0]))
        )
        assert ours < theirs * 1.01


def test_pivots_do_not_see_one_another():
    """All are masked, so what they are makes no difference to the others."""
    X = texts(150)[0]
    few, more = np.array([3, 9]), np.array([3, 9, 9, 3])
    kwargs = {"tol": 1e-8, "max_iter": 20000, "dtype": float}
    result = fit_pivot_predictors(sparse.csr_array(X), few, **kwargs)
    assert not np.isin(few, result.columns).any()
    twice = fit_pivot_predictors(sparse.csr_array(X), more, **kwargs)
    np.testing.assert_allclose(twice.weights[:, :2], result.weights, atol=1e-5)
    np.testing.assert_array_equal(twice.weights[:, [0, 1]], twice.weights[:, [3, 2]])


def test_number_of_threads_makes_no_difference():
    X, pivots = sparse.csr_array(texts(200)[0]), np.arange(70)
    before = numba.get_num_threads()
    try:
        results = []
        for n_threads in (1, before):
            numba.set_num_threads(n_threads)
            results.append(fit_pivot_predictors(X, pivots).weights)
    finally:
        numba.set_num_threads(before)
    np.testing.assert_array_equal(*results)


# The pivots


def test_mutual_information():
    X, y, domain = texts()
    source = domain > 0
    expected = mutual_info_classif(X[source], y[source], discrete_features=True)
    scl = fitted(X, y, domain, n_pivots=10)
    np.testing.assert_allclose(scl.pivot_scores_, expected[scl.pivots_], atol=1e-12)
    both = np.minimum(X[source].sum(axis=0), X[~source].sum(axis=0)) >= 10
    ranked = np.argsort(-np.where(both, expected, -1), kind="stable")
    np.testing.assert_array_equal(scl.pivots_, ranked[:10])


def test_mutual_information_is_of_presence_and_labelled_rows():
    X, y, domain = texts()
    rng = np.random.default_rng(1)
    counts = X * rng.integers(1, 9, X.shape)
    expected = fitted(X, y, domain)
    scl = fitted(counts, y, domain)
    np.testing.assert_array_equal(scl.pivots_, expected.pivots_)
    np.testing.assert_array_equal(scl.theta_, expected.theta_)
    known = np.where(rng.random(len(y)) < 0.5, y, np.nan)
    labeled = (domain > 0) & ~np.isnan(known)
    score = mutual_info_classif(X[labeled], y[labeled], discrete_features=True)
    scl = fitted(X, known, domain)
    np.testing.assert_allclose(scl.pivot_scores_, score[scl.pivots_], atol=1e-12)


def test_mutual_information_finds_the_pivots():
    scl = fitted(*texts())
    np.testing.assert_array_equal(np.sort(scl.pivots_), PIVOT_COLUMNS)


def test_frequency_takes_the_domain_with_fewer_rows():
    X, y, domain = texts()
    frequencies = np.stack([X[domain > 0].sum(axis=0), X[domain < 0].sum(axis=0)])
    scl = fitted(X, y, domain, n_pivots=8, pivot_selection="frequency")
    score = frequencies.min(axis=0)
    np.testing.assert_array_equal(scl.pivots_, np.argsort(-score, kind="stable")[:8])
    np.testing.assert_array_equal(scl.pivot_scores_, score[scl.pivots_])
    np.testing.assert_array_equal(scl.document_frequencies_, frequencies)


def test_own_pivots():
    X, _, domain = texts()
    scl = fitted(X, None, domain, pivot_selection=[4, 0, 12])
    np.testing.assert_array_equal(scl.pivots_, [4, 0, 12])
    assert not scl.theta_[:, [4, 0, 12]].any()


def test_pivots_are_held_by_min_df_rows_of_each_domain():
    X, y, domain = texts()
    frequencies = fitted(X, y, domain).document_frequencies_.min(axis=0)
    least = int(np.median(frequencies[PIVOT_COLUMNS]))
    for min_df in (least, least / 400):
        scl = fitted(X, y, domain, n_pivots=None, min_df=min_df)
        assert frequencies[scl.pivots_].min() >= least
        assert len(scl.pivots_) == np.count_nonzero(frequencies >= least)


# The map


def weights_of(scl, X):
    """W for the pivots of a fitted mapper, solved anew."""
    result = fit_pivot_predictors(
        sparse.csr_array(X), scl.pivots_, tol=1e-7, max_iter=20000, dtype=float
    )
    W = np.zeros((X.shape[1], len(scl.pivots_)))
    W[result.columns] = result.weights
    return W


@pytest.mark.parametrize("negatives", ["keep", "zero"])
def test_theta_is_the_decomposition_of_the_weights(negatives):
    X, y, domain = texts()
    scl = fitted(X, y, domain, negatives=negatives, tol=1e-5)
    np.testing.assert_allclose(scl.theta_ @ scl.theta_.T, np.eye(N_GROUPS), atol=1e-12)
    assert not scl.theta_[:, scl.pivots_].any()
    W = weights_of(scl, X)
    W = np.maximum(W, 0) if negatives == "zero" else W
    U, values, _ = np.linalg.svd(W, full_matrices=False)
    np.testing.assert_allclose(scl.singular_values_, values[:N_GROUPS], rtol=1e-2)
    assert subspace_angles(scl.theta_.T, U[:, :N_GROUPS]).max() < 0.02
    largest = np.abs(scl.theta_).argmax(axis=1)
    assert (scl.theta_[np.arange(N_GROUPS), largest] > 0).all()


def test_rank_limits_the_components():
    X, y, domain = texts()
    scl = fitted(X, y, domain, n_pivots=5, n_components=50)
    assert scl.theta_.shape == (5, X.shape[1])
    np.testing.assert_allclose(scl.theta_ @ scl.theta_.T, np.eye(5), atol=1e-12)


def test_more_pivots_than_columns_to_predict_from():
    X, y, domain = texts()
    X = X[:, : FIRST_SOURCE + 4]
    scl = fitted(X, y, domain, pivot_selection=PIVOT_COLUMNS, n_components=50)
    assert scl.theta_.shape == (4, FIRST_SOURCE + 4)
    np.testing.assert_allclose(scl.theta_ @ scl.theta_.T, np.eye(4), atol=1e-12)


def test_feature_groups_have_decompositions_of_their_own():
    X, y, domain = texts()
    groups = np.array(["words", "signs"])[np.arange(X.shape[1]) % 2]
    scl = fitted(X, y, domain, feature_groups=groups, tol=1e-5)
    assert scl.theta_.shape == (2 * N_GROUPS, X.shape[1])
    np.testing.assert_allclose(
        scl.theta_ @ scl.theta_.T, np.eye(2 * N_GROUPS), atol=1e-12
    )
    W = weights_of(scl, X)
    for rows, group in ((slice(N_GROUPS), "signs"), (slice(N_GROUPS, None), "words")):
        assert not scl.theta_[rows][:, groups != group].any()
        U, values, _ = np.linalg.svd(W[groups == group], full_matrices=False)
        own = scl.theta_[rows][:, groups == group].T
        assert subspace_angles(own, U[:, :N_GROUPS]).max() < 0.02
        np.testing.assert_allclose(
            scl.singular_values_[rows], values[:N_GROUPS], rtol=1e-2
        )


def test_columns_in_another_order():
    X, y, domain = texts()
    order = np.random.default_rng(1).permutation(X.shape[1])
    scl = fitted(X, y, domain, tol=1e-5)
    other = fitted(X[:, order], y, domain, tol=1e-5)
    assert set(order[other.pivots_]) == set(scl.pivots_)
    assert subspace_angles(other.theta_.T, scl.theta_[:, order].T).max() < 0.01


@pytest.mark.parametrize("container", [np.asarray, sparse.csr_matrix, sparse.csr_array])
def test_output(container):
    X, y, domain = texts()
    X = X * np.random.default_rng(1).uniform(0.5, 2.0, X.shape)  # values, not presence
    rows = container(X)
    scl = fitted(rows, y, domain, alpha=0.25)
    Z = scl.transform(rows)
    assert type(Z) is type(rows)
    Z = Z if isinstance(Z, np.ndarray) else Z.toarray()
    np.testing.assert_array_equal(Z[:, : X.shape[1]], X)
    new = Z[:, X.shape[1] :]
    np.testing.assert_allclose(new, 0.25 * scl.scale_ * X @ scl.theta_.T, atol=1e-12)
    lengths = [np.linalg.norm(part, axis=1).mean() for part in (new, X)]
    assert lengths[0] == pytest.approx(0.25 * lengths[1])
    shared = fitted(rows, y, domain, alpha=0.25, output="shared").transform(rows)
    assert isinstance(shared, np.ndarray)
    np.testing.assert_allclose(shared, new, atol=1e-12)
    names = scl.get_feature_names_out()
    assert list(names[[0, -1]]) == ["x0", "scl2"] and len(names) == Z.shape[1]
    doubled = fitted(container(2 * X), y, domain, alpha=0.25).transform(rows)
    doubled = doubled if isinstance(doubled, np.ndarray) else doubled.toarray()
    np.testing.assert_allclose(doubled, Z, atol=1e-12)


def test_alpha_0_adds_nothing():
    X, y, domain = texts()
    Z = fitted(sparse.csr_array(X), y, domain, alpha=0).transform(sparse.csr_array(X))
    assert Z.shape == (800, X.shape[1] + N_GROUPS)
    assert Z.nnz == np.count_nonzero(X)


def test_entries_of_a_sparse_matrix_in_any_form():
    """Zeros that are stored, columns out of order, entries in parts."""
    X, y, domain = texts()
    expected = fitted(X, y, domain)
    rows, columns = np.nonzero(np.ones_like(X))
    values = X[rows, columns]
    order = np.random.default_rng(0).permutation(len(rows))
    untidy = sparse.csr_array(
        (
            np.tile(values[order] / 2, 2),
            np.tile(columns[order], 2),
            np.arange(2 * len(order) + 1, dtype=np.int64),
        ),
        shape=(2 * len(order), X.shape[1]),
    )
    collect = sparse.csr_array(
        (np.ones(2 * len(order)), (np.tile(rows[order], 2), np.arange(2 * len(order))))
    )
    untidy = collect @ untidy
    copy = untidy.copy()
    scl = fitted(untidy, y, domain)
    np.testing.assert_array_equal(scl.theta_, expected.theta_)
    np.testing.assert_array_equal(untidy.indices, copy.indices)
    np.testing.assert_array_equal(untidy.data, copy.data)


def test_sparse_rows_are_never_made_dense():
    rng = np.random.default_rng(0)
    n, d = 400, 100_000
    X = sparse.random_array((n, d), density=1e-3, format="csr", rng=rng)
    shared = rng.random((n, 40)) < 0.2
    X = sparse.hstack([sparse.csr_array(shared.astype(float)), X], format="csr")
    domain = np.repeat([1, -1], n // 2)
    fitted(texts()[0], None, texts()[2], pivot_selection="frequency")  # imports
    tracemalloc.start()
    scl = fitted(X, None, domain, n_pivots=20, pivot_selection="frequency")
    Z = scl.transform(X)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert Z.nnz > X.nnz
    assert peak < 0.25 * X.shape[0] * X.shape[1] * 8


# What it is for


def test_correspondences_of_known_texts():
    X, y, domain = texts(1500)
    scl = fitted(X, y, domain)
    for here, there in ((FIRST_SOURCE, FIRST_TARGET), (FIRST_TARGET, FIRST_SOURCE)):
        for group in range(N_GROUPS):
            own = there + group * WORDS + np.arange(WORDS)
            for word in here + group * WORDS + np.arange(WORDS):
                result = scl.correspondences(word, WORDS)
                assert set(result.columns) == set(own)
                np.testing.assert_array_equal(result.features, result.columns)
                assert (np.diff(result.similarities) <= 0).all()
                assert result.similarities.min() > 0.6
                assert result.similarities.max() <= 1 + 1e-12


def test_correspondences_by_name():
    pd = pytest.importorskip("pandas")
    X, y, domain = texts()
    names = np.array([f"word {i}" for i in range(X.shape[1])])
    scl = fitted(pd.DataFrame(X, columns=names), y, domain)
    expected = scl.correspondences(FIRST_SOURCE, 3)
    result = scl.correspondences(f"word {FIRST_SOURCE}", 3)
    np.testing.assert_array_equal(result.columns, expected.columns)
    np.testing.assert_array_equal(result.features, names[expected.columns])
    plain = fitted(X, y, domain)
    again = plain.correspondences(f"word {FIRST_SOURCE}", 3, feature_names=names)
    np.testing.assert_array_equal(again.features, result.features)


def test_correspondences_belong_to_the_other_domain():
    X, y, domain = texts()
    scl = fitted(X, y, domain, n_components=10)
    share = scl.document_frequencies_[1] / scl.document_frequencies_.sum(axis=0)
    result = scl.correspondences(FIRST_SOURCE, 100, min_share=0.45)
    assert (share[result.columns] >= 0.45).all()
    assert (share[result.columns] < 1).any()
    assert (share[scl.correspondences(FIRST_SOURCE, 100).columns] >= 0.8).all()


def seldom_words(seed):
    """Two classes; pivots .15 / .06, 60 words a domain .25 / .05, 40 words of noise."""
    rng = np.random.default_rng(seed)
    n = 2000
    y, domain = rng.integers(0, 2, 2 * n), np.repeat([1, -1], n)
    blocks = []
    for high, low, width, here in (
        (0.15, 0.06, 10, domain != 0),
        (0.25, 0.05, 30, domain > 0),
        (0.25, 0.05, 30, domain < 0),
    ):
        for group in (0, 1):
            p = np.where(y == group, high, low) * here
            blocks.append(rng.random((2 * n, width)) < p[:, None])
    blocks.append(rng.random((2 * n, 40)) < 0.1)
    return sparse.csr_array(np.hstack(blocks).astype(np.float32)), y, domain


def test_words_of_the_target_get_a_meaning():
    """The source has no label for them; five points are asked for over five seeds."""
    gains = []
    for seed in range(5):
        X, y, domain = seldom_words(seed)
        scores = [
            TransferClassifier(LogisticRegression(C=0.1), adapter)
            .fit(X, y, sample_domain=domain)
            .score(X, y, sample_domain=domain)
            for adapter in (
                None,
                SCL(n_pivots=20, n_components=5, random_state=0),
            )
        ]
        gains.append(scores[1] - scores[0])
    assert np.mean(gains) > 0.05


def test_amazon_reviews():
    """Three tasks; all twelve are in ``benchmarks``."""
    folder = Path(get_data_home())
    if not (folder / "amazon5000.npz").exists():
        pytest.skip(f"amazon5000.npz is not in {folder}")
    gains = []
    for source, target in (
        ("dvd", "books"),
        ("electronics", "dvd"),
        ("kitchen", "electronics"),
    ):
        data = fetch_amazon_reviews(source, target, version="5000", subset="train")
        X = sparse.csr_array((data.X > 0).astype(np.float32))
        scores = [
            TransferClassifier(LogisticRegression(C=0.1, solver="liblinear"), adapter)
            .fit(X, data.y, sample_domain=data.sample_domain)
            .score(X, data.y, sample_domain=data.sample_domain)
            for adapter in (None, SCL(random_state=0))
        ]
        gains.append(scores[1] - scores[0])
    assert np.mean(gains) > 0.005


# Labels


def test_target_labels_are_not_seen():
    X, y, domain = texts()
    scl = fitted(X, y, domain)
    scrambled = np.where(domain > 0, y, np.random.default_rng(0).permutation(y))
    hidden = np.where(domain > 0, y, np.nan)
    for labels in (scrambled, hidden):
        other = fitted(X, labels, domain)
        np.testing.assert_array_equal(other.theta_, scl.theta_)
        np.testing.assert_array_equal(other.pivots_, scl.pivots_)


def test_frequency_sees_no_label_at_all():
    X, y, domain = texts()
    thetas = [
        fitted(X, labels, domain, pivot_selection="frequency").theta_
        for labels in (None, y, y[::-1], np.random.default_rng(0).normal(size=800))
    ]
    for theta in thetas[1:]:
        np.testing.assert_array_equal(theta, thetas[0])


def test_unlabelled_source_rows_shape_the_map():
    X, y, domain = texts()
    half = (domain > 0) & (np.arange(800) % 2 == 0)
    labels = np.where(half, y, np.nan)
    scl = fitted(X, labels, domain)
    without = half | (domain < 0)
    alone = fitted(X[without], labels[without], domain[without])
    np.testing.assert_array_equal(alone.pivots_, scl.pivots_)
    np.testing.assert_allclose(alone.pivot_scores_, scl.pivot_scores_)
    assert np.abs(alone.theta_ - scl.theta_).max() > 1e-3


def test_without_domains_all_rows_are_both():
    X, y, _ = texts()
    with pytest.warns(NoAdaptationWarning):
        scl = SCL(n_pivots=10, random_state=0).fit(X, y)
    np.testing.assert_array_equal(*scl.document_frequencies_)


# Correction of misalignments


def one_third_labeled(y, domain):
    return np.where((domain > 0) | (np.arange(len(y)) % 3 == 0), y, np.nan)


def test_realignment_solves_its_problem():
    X, y, domain = texts(150)
    labels, realign = one_third_labeled(y, domain), 0.5
    scl = fitted(X, labels, domain, realign=realign, n_components=6)
    plain = fitted(X, labels, domain, n_components=6)
    np.testing.assert_array_equal(scl.theta_, plain.theta_)
    assert plain.realignment_ is None
    Z = X @ scl.theta_.T
    wanted = (y[:, None] == np.arange(N_GROUPS)).astype(float)
    source, corrected = domain > 0, (domain < 0) & ~np.isnan(labels)
    rows = np.c_[Z, np.ones(len(Z))]
    scorer = np.linalg.lstsq(rows[source], wanted[source])[0]
    V, c = scorer[:-1], scorer[-1]
    # A ridge regression of what is left, with the ridge of the docstring.
    ridge = Ridge(
        alpha=corrected.sum() * realign * (Z**2).mean(), fit_intercept=False
    ).fit(Z[corrected], wanted[corrected] - Z[corrected] @ V - c)
    moved = Z[~source] @ scl.realignment_
    np.testing.assert_allclose(moved @ V, Z[~source] @ (V + ridge.coef_.T), atol=1e-8)
    shared = scl.set_params(output="shared", alpha=1.0)
    np.testing.assert_allclose(
        shared.transform(X[~source]), scl.scale_ * moved, atol=1e-8
    )
    np.testing.assert_allclose(
        shared.transform(X[source], 1), scl.scale_ * Z[source], atol=1e-12
    )


def test_realignment_vanishes_with_its_penalty():
    X, y, domain = texts(150)
    labels = one_third_labeled(y, domain)
    R = fitted(X, labels, domain, realign=1e12).realignment_
    np.testing.assert_allclose(R, np.eye(N_GROUPS), atol=1e-8)
    assert np.abs(fitted(X, labels, domain, realign=0).realignment_ - R).max() > 0.01


def test_realignment_uses_target_labels_and_asks_for_them():
    X, y, domain = texts(150)
    labels = one_third_labeled(y, domain)
    other = np.where(domain > 0, y, (labels + 1) % N_GROUPS)
    first, second = (fitted(X, v, domain, realign=1.0) for v in (labels, other))
    assert np.abs(first.realignment_ - second.realignment_).max() > 0.01
    with pytest.raises(ValueError, match="labelled target row"):
        fitted(X, np.where(domain > 0, y, np.nan), domain, realign=1.0)
    unknown = np.where(domain > 0, y, 7.0)
    with pytest.raises(ValueError, match="no labelled source row has"):
        fitted(X, unknown, domain, realign=1.0)


def test_realignment_repairs_words_that_changed_sides():
    """In the target the words of the first thing are said of the second."""
    X, y, domain = texts(600, noise=0)
    target = domain < 0
    truth = np.where(target & (y < 2), 1 - y, y)
    labels = np.where(domain > 0, y, np.nan)
    known = np.flatnonzero(target)[:60]
    labels[known] = truth[known]
    words = sparse.csr_array(X[:, FIRST_SOURCE:])  # the pivots would help it out
    pivots = sparse.csr_array(X[:, :FIRST_SOURCE])
    scores = []
    for realign in (None, 0.1):
        scl = fitted(
            sparse.hstack([pivots, words], format="csr"),
            labels,
            domain,
            realign=realign,
            output="shared",
        )
        Z = scl.transform(sparse.hstack([pivots, words], format="csr"), domain)
        model = LogisticRegression().fit(Z[~target], y[~target])
        scores.append(model.score(Z[target], truth[target]))
    assert scores[0] < 0.5
    assert scores[1] > 0.8


# Sentences


def test_fewer_pivots_than_asked_for():
    X, y, domain = texts()
    with pytest.warns(UserWarning, match="28 pivots instead of 40: 28 columns"):
        scl = fitted(X, y, domain, n_pivots=40)
    assert len(scl.pivots_) == 28
    small = X[:, [0, 6, 12, 1, 20, 21, 44, 45]]
    with pytest.warns(UserWarning, match="3 pivots instead of 40|4 pivots instead"):
        fitted(small, y, domain, n_pivots=40)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(fitted(X, y, domain, n_pivots=None).pivots_) == 28
    with pytest.warns(UserWarning, match="2 pivots instead of 3: the others"):
        scl = fitted(X, None, domain, pivot_selection=[0, FIRST_SOURCE, 1])
    np.testing.assert_array_equal(scl.pivots_, [0, 1])


def test_no_shared_vocabulary():
    X, y, domain = texts()
    apart = X[:, FIRST_SOURCE : FIRST_TARGET + N_GROUPS * WORDS]
    with pytest.raises(ValueError, match="10 source rows and 10 target rows.*one voc"):
        fitted(apart, y, domain)
    with pytest.raises(ValueError, match="0 of the 2 columns"):
        fitted(apart, None, domain, pivot_selection=[0, 1])


def test_nothing_to_predict_adds_no_column():
    X, y, domain = texts()
    with pytest.warns(UserWarning, match="rank 0"):
        scl = fitted(X + 1, y, domain, n_pivots=5)
    np.testing.assert_array_equal(scl.transform(X), X)
    with pytest.raises(ValueError, match="Only one column"):
        fitted(X * (np.arange(X.shape[1]) == 0), y, domain)
    with pytest.raises(ValueError, match="n_features = 1"):
        fitted(X[:, :1], y, domain)


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (None, "requires y to be passed"),
        (np.full(800, np.nan), "no labelled source row"),
        (np.linspace(0, 1, 800), "cut numbers into classes"),
        (np.zeros(800), "one class"),
        (np.zeros((800, 2)), "one a row"),
        (np.zeros(799), "inconsistent"),
    ],
)
def test_labels_that_choose_no_pivots(labels, words):
    X, _, domain = texts()
    with pytest.raises(ValueError, match=words):
        fitted(X, labels, domain)


@pytest.mark.parametrize(
    "pivots", [[0, 0], [-1, 2], [1000], [0.5, 1.5], [[1, 2]], [], ["a"]]
)
def test_pivots_that_are_no_columns(pivots):
    X, _, domain = texts()
    with pytest.raises(ValueError, match="pivot_selection"):
        fitted(X, None, domain, pivot_selection=pivots)


def test_other_bad_calls():
    X, y, domain = texts()
    with pytest.raises(ValueError, match="feature_groups has shape"):
        fitted(X, y, domain, feature_groups=[0, 1])
    with pytest.warns(ConvergenceWarning, match="increase max_iter"):
        fitted(X, y, domain, max_iter=1, tol=1e-6)
    scl = fitted(X, y, domain)
    with pytest.raises(ValueError, match="is a pivot"):
        scl.correspondences(int(scl.pivots_[0]))
    with pytest.raises(ValueError, match="is no column"):
        scl.correspondences(X.shape[1])
    with pytest.raises(ValueError, match="have no names"):
        scl.correspondences("word")
    with pytest.raises(ValueError, match="no feature 'word'"):
        scl.correspondences("word", feature_names=np.arange(X.shape[1]).astype(str))
    with pytest.raises(ValueError, match="1 entries"):
        scl.correspondences("word", feature_names=["word"])
    with pytest.warns(NoAdaptationWarning):
        scl = SCL(n_pivots=5, random_state=0).fit(X, y)
    with pytest.raises(ValueError, match="lower min_share"):
        scl.correspondences(FIRST_SOURCE)
