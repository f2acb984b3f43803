"""CORAL against its formula with dense matrix roots, and its limits.

A source row becomes ``(x - m_s) (S_s + r I)^(-1/2) (S_t + r I)^(1/2) + m``.
"""

from itertools import permutations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.linalg import sqrtm
from scipy.sparse import csr_array
from sklearn.datasets import make_classification
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import NearestCentroid
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skadapt import CORAL, PerDomain, TransferClassifier, coral
from skadapt.datasets import fetch_office_caltech, get_data_home

SHAPES = {
    "n > d": (60, 50, 8),
    "n_s < d": (10, 50, 20),
    "n_t < d": (50, 10, 20),
    "both < d": (12, 9, 40),
    "n = d": (20, 20, 20),
}


def correlated_pair(n_source, n_target, d, seed=0):
    """Two Gaussian samples with covariances and means of their own."""
    rng = np.random.default_rng(seed)
    Xs = rng.normal(size=(n_source, d)) @ rng.normal(size=(d, d)) / np.sqrt(d) + 1
    Xt = rng.normal(size=(n_target, d)) @ rng.normal(size=(d, d)) / np.sqrt(d) - 2
    return Xs, Xt


def stack(Xs, Xt):
    return np.vstack([Xs, Xt]), np.repeat([1, -1], [len(Xs), len(Xt)])


def by_the_formula(Xs, Xt, reg, align_means=False):
    ridge = reg * np.eye(Xs.shape[1])
    whiten = np.linalg.inv(sqrtm(np.cov(Xs.T) + ridge).real)
    recolour = sqrtm(np.cov(Xt.T) + ridge).real
    mean = (Xt if align_means else Xs).mean(axis=0)
    return (Xs - Xs.mean(axis=0)) @ whiten @ recolour + mean


@pytest.mark.parametrize("align_means", [False, True])
@pytest.mark.parametrize("reg", [1e-2, 1.0, 30.0])
@pytest.mark.parametrize("shape", SHAPES)
def test_formula(shape, reg, align_means):
    Xs, Xt = correlated_pair(*SHAPES[shape])
    expected = by_the_formula(Xs, Xt, reg, align_means)
    result = coral(Xs, Xt, reg=reg, align_means=align_means)
    np.testing.assert_allclose(result.X_source, expected, atol=1e-9)
    np.testing.assert_allclose(result.source_mean, Xs.mean(axis=0), atol=1e-12)
    np.testing.assert_allclose(result.target_mean, Xt.mean(axis=0), atol=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
def test_tiny_ridge_and_few_rows(shape):
    """A peer mapped 50 rows of 100 columns to entries of 186, far off their mean."""
    Xs, Xt = correlated_pair(*SHAPES[shape])
    mapped = coral(Xs, Xt, reg=1e-5).X_source
    np.testing.assert_allclose(mapped, by_the_formula(Xs, Xt, 1e-5), atol=1e-6)
    assert np.abs(mapped - Xs.mean(axis=0)).max() < 20
    np.testing.assert_allclose(mapped.mean(axis=0), Xs.mean(axis=0), atol=1e-8)


def test_means_stay_unless_asked():
    Xs, Xt = correlated_pair(60, 50, 8)
    for reg in (0.0, 1.0):
        kept = coral(Xs, Xt, reg=reg).X_source
        moved = coral(Xs, Xt, reg=reg, align_means=True).X_source
        np.testing.assert_allclose(kept.mean(axis=0), Xs.mean(axis=0), atol=1e-12)
        np.testing.assert_allclose(moved.mean(axis=0), Xt.mean(axis=0), atol=1e-12)
        gap = Xt.mean(axis=0) - Xs.mean(axis=0)
        np.testing.assert_allclose(moved - kept, np.tile(gap, (60, 1)), atol=1e-12)


def test_no_ridge_gives_the_covariance_of_the_target():
    Xs, Xt = correlated_pair(60, 50, 8)
    mapped = coral(Xs, Xt, reg=0.0).X_source
    np.testing.assert_allclose(np.cov(mapped.T), np.cov(Xt.T), atol=1e-10)
    np.testing.assert_allclose(mapped, by_the_formula(Xs, Xt, 0.0), atol=1e-8)


def test_no_ridge_drops_directions_without_variance():
    Xs, Xt = correlated_pair(60, 50, 5)
    Xs[:, 4] = 3.0
    mapped = coral(Xs, Xt, reg=0.0).X_source
    whiten = np.zeros((5, 5))
    whiten[:4, :4] = np.linalg.inv(sqrtm(np.cov(Xs[:, :4].T)).real)
    root = whiten @ sqrtm(np.cov(Xt.T)).real
    expected = (Xs - Xs.mean(axis=0)) @ root + Xs.mean(axis=0)
    np.testing.assert_allclose(mapped, expected, atol=1e-8)
    new = Xs.copy()
    new[:, 4] += np.linspace(-1, 1, 60)  # a direction the source never varied in
    X, domain = stack(Xs, Xt)
    fitted = CORAL(reg=0.0).fit(X, sample_domain=domain)
    np.testing.assert_allclose(fitted.transform(new, 1), mapped, atol=1e-8)


@pytest.mark.parametrize("shape", SHAPES)
def test_no_ridge_and_few_rows_stay_finite(shape):
    Xs, Xt = correlated_pair(*SHAPES[shape])
    mapped = coral(Xs, Xt, reg=0.0).X_source
    assert np.isfinite(mapped).all()
    assert np.abs(mapped).max() < 100
    np.testing.assert_allclose(mapped.mean(axis=0), Xs.mean(axis=0), atol=1e-10)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("reg", [0.0, 1.0])
def test_same_domains_are_the_identity(shape, reg):
    Xs, _ = correlated_pair(*SHAPES[shape])
    shuffled = Xs[np.random.default_rng(1).permutation(len(Xs))]
    np.testing.assert_allclose(coral(Xs, shuffled, reg=reg).X_source, Xs, atol=1e-7)


@pytest.mark.parametrize("shape", SHAPES)
def test_large_ridge_is_the_identity(shape):
    Xs, Xt = correlated_pair(*SHAPES[shape])
    np.testing.assert_allclose(coral(Xs, Xt, reg=1e10).X_source, Xs, atol=1e-7)
    assert np.abs(coral(Xs, Xt, reg=1.0).X_source - Xs).max() > 0.1


def test_target_rows_stay_as_they_are():
    X, domain = stack(*correlated_pair(60, 50, 8))
    Z = CORAL().fit_transform(X, sample_domain=domain)
    np.testing.assert_array_equal(Z[domain < 0], X[domain < 0])
    mapper = CORAL().fit(X, sample_domain=domain)
    np.testing.assert_array_equal(mapper.transform(X), X)
    np.testing.assert_array_equal(mapper.transform(X, sample_domain=domain), Z)
    as_source = mapper.transform(X[domain > 0], sample_domain=1)
    np.testing.assert_allclose(as_source, Z[domain > 0], atol=1e-12)


def test_new_source_rows_take_the_same_map():
    Xs, Xt = correlated_pair(60, 50, 8)
    X, domain = stack(Xs, Xt)
    mapper = CORAL().fit(X, sample_domain=domain)
    Z = mapper.transform(X, sample_domain=domain)
    middle = mapper.transform((Xs[:30] + Xs[30:]) / 2, sample_domain=1)
    np.testing.assert_allclose(middle, (Z[:30] + Z[30:60]) / 2, atol=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
def test_interleaved_domains_keep_the_order_of_rows(shape):
    Xs, Xt = correlated_pair(*SHAPES[shape])
    X, domain = stack(Xs, Xt)
    order = np.random.default_rng(1).permutation(len(X))
    Z = CORAL().fit_transform(X, sample_domain=domain)
    shuffled = CORAL().fit_transform(X[order], sample_domain=domain[order])
    np.testing.assert_allclose(shuffled, Z[order], atol=1e-9)
    np.testing.assert_allclose(Z[domain > 0], coral(Xs, Xt).X_source, atol=1e-12)


@pytest.mark.parametrize("offset", [1e4, 1e6])
@pytest.mark.parametrize("reg", [0.0, 1.0])
@pytest.mark.parametrize("n_source, n_target", [(60, 50), (9000, 7000)])
def test_offset_keeps_accuracy(offset, reg, n_source, n_target):
    """Sums of squares less squared means would lose 8 (12) digits here."""
    Xs, Xt = correlated_pair(n_source, n_target, 8)
    near = coral(Xs, Xt, reg=reg).X_source
    far = coral(Xs + offset, Xt + offset, reg=reg).X_source - offset
    np.testing.assert_allclose(far, near, atol=1e-12 * offset * 10)


def test_several_sources_and_targets_are_pooled():
    X, domain = stack(*correlated_pair(60, 50, 8))
    split = domain.copy()
    split[:25], split[-20:] = 3, -7
    pooled = CORAL().fit_transform(X, sample_domain=domain)
    np.testing.assert_allclose(
        CORAL().fit_transform(X, sample_domain=split), pooled, atol=1e-12
    )


@pytest.mark.parametrize("shape", ["n > d", "both < d"])
def test_float32_stays_float32(shape):
    X, domain = stack(*correlated_pair(*SHAPES[shape]))
    Z = CORAL().fit_transform(X, sample_domain=domain)
    single = CORAL().fit_transform(X.astype(np.float32), sample_domain=domain)
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, Z, atol=1e-3)


def test_frames_keep_their_names():
    X, domain = stack(*correlated_pair(60, 50, 3))
    frame = pd.DataFrame(X, columns=["a", "b", "c"], index=np.arange(110) + 5)
    mapper = CORAL().set_output(transform="pandas")
    Z = mapper.fit_transform(frame, sample_domain=domain)
    assert list(mapper.feature_names_in_) == ["a", "b", "c"]
    assert Z.shape == (110, 3) and (Z.index == frame.index).all()
    expected = CORAL().fit_transform(X, sample_domain=domain)
    np.testing.assert_array_equal(Z.to_numpy(), expected)


def test_one_law_in_both_domains_does_no_harm():
    losses = []
    for seed in range(5):
        X, y = make_classification(600, 10, n_informative=6, random_state=seed)
        domain = np.repeat([1, -1], 300)
        labels = np.where(domain > 0, y, np.nan)
        scores = [
            TransferClassifier(LogisticRegression(), adapter)
            .fit(X, labels, sample_domain=domain)
            .score(X[300:], y[300:])
            for adapter in (None, CORAL())
        ]
        losses.append(scores[0] - scores[1])
    assert np.mean(losses) <= 0.03


def test_correlation_shift_is_undone():
    """What the method is for: the rule of the source in rows that were mixed."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(2000, 2)) * [3.0, 1.0]
    y, domain = X[:, 1] > 0, np.repeat([1, -1], 1000)
    X[domain < 0] = X[domain < 0] @ [[1.0, 0.8], [0.8, 2.0]]
    labels = np.where(domain > 0, y, np.nan)
    scores = [
        TransferClassifier(LogisticRegression(), adapter)
        .fit(X, labels, sample_domain=domain)
        .score(X[domain < 0], y[domain < 0])
        for adapter in (None, CORAL(reg=0.0))
    ]
    assert scores[1] > scores[0] + 0.1


def test_sparse_rows_are_refused():
    X, domain = stack(*correlated_pair(60, 50, 8))
    with pytest.raises((TypeError, ValueError), match="[Ss]parse"):
        CORAL().fit(csr_array(X), sample_domain=domain)


def test_bad_calls_are_refused():
    Xs, Xt = correlated_pair(60, 50, 8)
    X, domain = stack(Xs, Xt)
    for reg in (-1.0, np.nan):
        with pytest.raises(ValueError, match="reg"):
            CORAL(reg=reg).fit(X, sample_domain=domain)
    with pytest.raises(ValueError, match="reg"):
        coral(Xs, Xt, reg=-1.0)
    with pytest.raises(ValueError, match="NaN"):
        coral(Xs, np.where(Xt > Xt.mean(), np.nan, Xt))
    for one_row in (domain[59:], domain[:61]):
        rows = slice(59, None) if one_row[0] == 1 and one_row[1] == -1 else slice(61)
        with pytest.raises(ValueError, match="two|2|minimum|at least"):
            CORAL().fit(X[rows], sample_domain=one_row)
    for one_row in ((Xs[:1], Xt), (Xs, Xt[:1])):
        with pytest.raises(ValueError, match="two|2|minimum|at least"):
            coral(*one_row)


def test_columns_that_differ_are_refused():
    Xs, Xt = correlated_pair(60, 50, 8)
    with pytest.raises(ValueError, match="feature|column"):
        coral(Xs, Xt[:, :5])


EASYTL = {  # in percent, Wang et al., ICME 2019: nearest class mean after CORAL
    "caltech": {"amazon": 52.6, "webcam": 53.9, "dslr": 51.6},
    "amazon": {"caltech": 42.3, "webcam": 43.1, "dslr": 48.4},
    "webcam": {"caltech": 35.4, "amazon": 38.2, "dslr": 79.6},
    "dslr": {"caltech": 36.1, "amazon": 38.3, "webcam": 86.1},
}


def test_office_caltech_figures():
    folder = Path(get_data_home())
    if not (folder / "office-caltech-surf.npz").exists():
        pytest.skip(f"office-caltech-surf.npz is not in {folder}")
    scores = []
    for source, target in permutations(EASYTL, 2):
        data = fetch_office_caltech(
            source=source, target=target, download_if_missing=False
        )
        X, y, domain = data.X, data.y, data.sample_domain
        X = X / X.sum(axis=1, keepdims=True)
        adapter = make_pipeline(PerDomain(StandardScaler()), CORAL())
        labels = np.where(domain > 0, y, np.nan)
        model = TransferClassifier(NearestCentroid(), adapter)
        model.fit(X, labels, sample_domain=domain)
        scores.append(100 * model.score(X[domain < 0], y[domain < 0]))
        assert scores[-1] == pytest.approx(EASYTL[source][target], abs=0.06)
    assert np.mean(scores) == pytest.approx(50.46, abs=0.01)
