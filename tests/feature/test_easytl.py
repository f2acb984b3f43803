"""EasyTL against its linear programme, and nearest class mean."""

import tracemalloc

import numpy as np
import pytest
from scipy import sparse
from scipy.optimize import linprog, minimize_scalar
from scipy.special import log_softmax
from sklearn.neighbors import NearestCentroid
from sklearn.preprocessing import Normalizer, StandardScaler

from skadapt import (
    CORAL,
    EasyTL,
    NoAdaptationWarning,
    PerDomain,
    TransferClassifier,
    stack_domains,
)
from skadapt.datasets import fetch_office_caltech

both = pytest.mark.parametrize("align", [None, "coral"])


def make_task(seed=0, n_source=60, n_target=50, d=5, n_classes=4, spread=1.0, shift=1):
    rng = np.random.default_rng(seed)
    means = rng.normal(size=(n_classes, d)) * 2
    ys, yt = (rng.permutation(np.arange(n) % n_classes) for n in (n_source, n_target))
    mix = np.eye(d) + 0.4 * shift * rng.normal(size=(d, d))
    Xs = means[ys] + spread * rng.normal(size=(n_source, d))
    Xt = (means[yt] + spread * rng.normal(size=(n_target, d))) @ mix + 0.5 * shift
    return Xs, ys, Xt, yt


def fit(task, **parameters):
    X, y, sample_domain = stack_domains(*task[:3])
    return EasyTL(**parameters).fit(X, y, sample_domain=sample_domain)


# ---------------------------------------------------------------------------
# The linear programme
# ---------------------------------------------------------------------------


def solve_programme(D):
    """The programme with dense constraints; its value and the solution."""
    m, C = D.shape
    of_row = np.kron(np.eye(m), np.ones(C))
    of_class = np.kron(np.ones(m), np.eye(C))
    result = linprog(
        D.ravel(),
        A_ub=-of_class,
        b_ub=-np.ones(C),
        A_eq=of_row,
        b_eq=np.ones(m),
        bounds=(0, 1),
        method="highs-ds",
    )
    assert result.status == 0
    return result.fun, result.x.reshape(m, C)


@both
@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("n_target", [6, 7, 12])
def test_programme_where_it_binds(seed, n_target, align):
    """Target rows at one end of the source: classes of the other end are empty."""
    n_classes = 6
    Xs, ys, Xt, _ = make_task(seed, n_target=n_target, n_classes=n_classes)
    task = Xs, ys, 0.2 * Xt + Xs[ys == 0].mean(axis=0)
    model = fit(task, align=align)
    D = np.linalg.norm(task[2][:, None] - model.centroids_, axis=2)
    assert len(np.unique(D.argmin(axis=1))) < n_classes, "it must bind"
    value, M = solve_programme(D)
    np.testing.assert_allclose(M, M.round(), atol=1e-9, err_msg="integral")
    np.testing.assert_array_equal(model.transduction_, M.argmax(axis=1))
    found = D[np.arange(n_target), model.transduction_].sum()
    assert found == pytest.approx(value, rel=1e-12)
    assert set(model.transduction_) == set(range(n_classes))


@both
def test_only_the_rows_that_the_programme_moves_differ_from_predict(align):
    Xs, ys, Xt, _ = make_task(3, n_classes=8)
    model = fit((Xs, ys, 0.2 * Xt), align=align)
    different = model.predict(0.2 * Xt) != model.transduction_
    assert 0 < different.sum() == model.n_reassigned_ < 8
    free = fit((Xs, ys, Xs[::2]), align=align)
    assert free.n_reassigned_ == 0
    np.testing.assert_array_equal(free.predict(Xs[::2]), free.transduction_)


def test_fewer_rows_than_classes():
    Xs, ys, Xt, _ = make_task(4, n_target=3)
    model = fit((Xs, ys, Xt))
    np.testing.assert_array_equal(model.transduction_, model.predict(Xt))
    assert model.n_reassigned_ == 0


# ---------------------------------------------------------------------------
# Nearest class mean
# ---------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_without_alignment_it_is_nearest_centroid(seed):
    Xs, ys, Xt, _ = make_task(seed, shift=0.3)
    model = fit((Xs, ys, Xt), align=None)
    floor = NearestCentroid().fit(Xs, ys)
    np.testing.assert_allclose(model.centroids_, floor.centroids_, atol=1e-12)
    assert model.n_reassigned_ == 0
    np.testing.assert_array_equal(model.transduction_, floor.predict(Xt))


@pytest.mark.parametrize("shape", [(60, 50, 5), (12, 50, 20), (50, 12, 20)])
@pytest.mark.parametrize("reg", [0.1, 1.0])
def test_alignment_is_coral(shape, reg):
    Xs, ys, Xt, _ = make_task(1, *shape)
    X, y, sample_domain = stack_domains(Xs, ys, Xt)
    model = EasyTL(reg=reg).fit(X, y, sample_domain=sample_domain)
    mapped = TransferClassifier(NearestCentroid(), CORAL(reg))
    mapped.fit(X, y, sample_domain=sample_domain)
    centroids = mapped.estimator_.centroids_
    np.testing.assert_allclose(model.centroids_, centroids, atol=1e-10)
    np.testing.assert_array_equal(model.predict(Xt), mapped.predict(Xt))


def test_unlabelled_source_rows_shape_the_covariance_only():
    Xs, ys, Xt, _ = make_task(2)
    y = ys.astype(float)
    y[::3] = np.nan
    known = ~np.isnan(y)
    means = {
        align: fit((Xs, y, Xt), align=align).centroids_ for align in (None, "coral")
    }
    left_out = fit((Xs[known], y[known], Xt), align=None)
    np.testing.assert_allclose(means[None], left_out.centroids_, atol=1e-12)
    left_out = fit((Xs[known], y[known], Xt))
    assert np.abs(means["coral"] - left_out.centroids_).max() > 1e-3


def test_without_domains_the_means_of_all_rows():
    Xs, ys, *_ = make_task(5)
    weights = np.random.default_rng(0).integers(0, 3, len(ys))
    with pytest.warns(NoAdaptationWarning):
        model = EasyTL().fit(Xs, ys, weights)
    rows = np.repeat(np.arange(len(ys)), weights)
    floor = NearestCentroid().fit(Xs[rows], ys[rows])
    np.testing.assert_allclose(model.centroids_, floor.centroids_, atol=1e-12)
    assert not hasattr(model, "transduction_")


def test_weights_count_as_rows():
    Xs, ys, Xt, _ = make_task(6)
    weights = np.random.default_rng(0).integers(0, 4, len(ys))
    X, y, ids = stack_domains(Xs, ys, Xt)
    weighted = EasyTL(None).fit(
        X, y, np.r_[weights, np.ones(len(Xt))], sample_domain=ids
    )
    rows = np.repeat(np.arange(len(ys)), weights)
    repeated = fit((Xs[rows], ys[rows], Xt), align=None)
    np.testing.assert_allclose(weighted.centroids_, repeated.centroids_, atol=1e-12)
    assert weighted.sharpness_ == pytest.approx(repeated.sharpness_, rel=1e-9)


# ---------------------------------------------------------------------------
# Probabilities
# ---------------------------------------------------------------------------


@both
@pytest.mark.parametrize("spread", [0.05, 1.0, 4.0])
def test_sharpness_has_the_greatest_likelihood(spread, align):
    """Means without each row in turn, labels smoothed by Laplace's rule."""
    Xs, ys, Xt, _ = make_task(7, spread=spread)
    model = fit((Xs, ys, Xt), align=align)
    if align is not None:
        X, _, ids = stack_domains(Xs, ys, Xt)
        Xs = CORAL().fit_transform(X, sample_domain=ids)[: len(Xs)]
    squares = np.empty((len(Xs), 4))
    truth = np.empty_like(squares)
    for i, (row, c) in enumerate(zip(Xs, ys)):
        others = np.arange(len(Xs)) != i
        for k in range(4):
            members = ys == k if k != c else (ys == k) & others
            squares[i, k] = ((row - Xs[members].mean(axis=0)) ** 2).sum()
        truth[i] = ((np.arange(4) == c) * len(Xs) + 1) / (len(Xs) + 4)

    def loss(log_b):
        return -(truth * log_softmax(-np.exp(log_b) * squares, axis=1)).sum()

    best = minimize_scalar(loss, bounds=(-15, 10), method="bounded").fun
    assert loss(np.log(model.sharpness_)) <= best + 1e-9
    D = ((Xt[:, None] - model.centroids_) ** 2).sum(axis=2)
    expected = np.exp(log_softmax(-model.sharpness_ * D, axis=1))
    np.testing.assert_allclose(model.predict_proba(Xt), expected, atol=1e-9)


def test_probabilities_know_no_unit():
    Xs, ys, Xt, _ = make_task(8)
    proba = fit((Xs, ys, Xt), align=None).predict_proba(Xt)
    scaled = fit((1000 * Xs, ys, 1000 * Xt), align=None).predict_proba(1000 * Xt)
    np.testing.assert_allclose(scaled, proba, atol=1e-9)


@both
def test_most_probable_is_nearest(align):
    """Also where labels are noise, and where each class has one row."""
    Xs, ys, Xt, _ = make_task(9)
    noise = np.random.default_rng(0).permutation(ys)
    for task in ((Xs, ys, Xt), (Xs, noise, Xt), (Xs[:4], np.arange(4), Xt)):
        model = fit(task, align=align)
        proba = model.predict_proba(Xt)
        np.testing.assert_allclose(proba.sum(axis=1), 1)
        best = model.classes_[proba.argmax(axis=1)]
        np.testing.assert_array_equal(best, model.predict(Xt))
        assert model.sharpness_ > 0


def test_probabilities_are_calibrated_where_nothing_has_shifted():
    gaps = []
    for seed in range(10):
        Xs, ys, Xt, yt = make_task(seed, 200, 200, 20, spread=2.5, shift=0)
        model = fit((Xs, ys, Xt))
        confidence = model.predict_proba(Xt).max(axis=1).mean()
        gaps.append(confidence - np.mean(model.predict(Xt) == yt))
    assert abs(np.mean(gaps)) < 0.05


# ---------------------------------------------------------------------------
# Forms of X, and what it is for
# ---------------------------------------------------------------------------


def test_sparse_rows_stay_sparse():
    rng = np.random.default_rng(0)
    X = sparse.random_array((3000, 20_000), density=1e-3, format="csr", rng=rng)
    y = np.arange(3000) % 3.0
    ids = np.where(np.arange(3000) < 2000, 1, -1)
    tracemalloc.start()
    model = EasyTL(None).fit(X, y, sample_domain=ids)
    proba = model.predict_proba(X)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.05 * 8 * 3000 * 20_000
    dense = EasyTL(None).fit(X[:, :500].toarray(), y, sample_domain=ids)
    same = EasyTL(None).fit(X[:, :500], y, sample_domain=ids)
    np.testing.assert_allclose(same.centroids_, dense.centroids_, atol=1e-15)
    np.testing.assert_array_equal(same.transduction_, dense.transduction_)
    assert proba.shape == (3000, 3)
    with pytest.raises(TypeError, match="(?i)sparse"):
        EasyTL().fit(X, y, sample_domain=ids)


def test_too_few_rows_for_a_covariance():
    Xs, ys, Xt, _ = make_task()
    with pytest.raises(ValueError, match="two target rows.*use align=None"):
        fit((Xs, ys, Xt[:1]))
    assert len(fit((Xs, ys, Xt[:1]), align=None).transduction_) == 1


def test_weights_that_are_all_0():
    X, y, ids = stack_domains(*make_task()[:3])
    with pytest.raises(ValueError, match="0 for every labelled source row"):
        EasyTL().fit(X, y, (ids < 0).astype(float), sample_domain=ids)


def test_no_loss_where_nothing_has_shifted():
    gains = []
    for seed in range(10):
        Xs, ys, Xt, yt = make_task(seed, 150, 150, 6, 3, spread=2.0, shift=0)
        floor = NearestCentroid().fit(Xs, ys).score(Xt, yt)
        model = fit((Xs, ys, Xt))
        gains.append(np.mean(model.transduction_ == yt) - floor)
    assert np.mean(gains) >= -0.03


@pytest.mark.parametrize(
    ("task", "align", "published"),
    [
        ("WD", None, 77.1),
        ("WD", "coral", 79.6),
        ("DW", None, 69.5),
        ("DW", "coral", 86.1),
    ],
)
def test_office_caltech(task, align, published):
    """Two small tasks of the authors' table; the means of all are benchmarked."""
    names = {"D": "dslr", "W": "webcam"}
    try:
        data = fetch_office_caltech(
            source=names[task[0]], target=names[task[1]], download_if_missing=False
        )
    except FileNotFoundError as error:
        pytest.skip(str(error))
    ids, target = data.sample_domain, data.sample_domain < 0
    Z = Normalizer("l1").fit_transform(data.X)
    Z = PerDomain(StandardScaler()).fit_transform(Z, sample_domain=ids)
    model = EasyTL(align).fit(Z, data.y, sample_domain=ids)
    assert model.n_reassigned_ == 0
    accuracy = 100 * np.mean(model.transduction_ == data.y[target])
    assert accuracy == pytest.approx(published, abs=0.06)
