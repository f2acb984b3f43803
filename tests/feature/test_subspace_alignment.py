"""Subspace alignment against scikit-learn's PCA, and its limits.

With P_s and P_t the principal axes of the domains, source rows become
``x P_s (P_s' P_t)`` and target rows ``x P_t``.
"""

from itertools import permutations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_array
from scipy.spatial.distance import cdist
from sklearn.datasets import load_iris, load_wine, make_classification
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler

from skadapt import SubspaceAlignment, TransferClassifier, subspace_alignment
from skadapt.datasets import fetch_office_caltech, get_data_home

SHAPES = {
    "n > d": (60, 50, 8),
    "n_s < d": (15, 50, 30),
    "n_t < d": (50, 15, 30),
    "both < d": (15, 12, 60),
}


def correlated_pair(n_source, n_target, d, seed=0):
    """Two samples with principal axes and means of their own."""
    rng = np.random.default_rng(seed)
    spread = 1.5 ** -np.minimum(np.arange(d), 12)
    axes = [np.linalg.qr(rng.normal(size=(d, d)))[0] for _ in range(2)]
    Xs = rng.normal(size=(n_source, d)) * spread @ axes[0] + 1
    Xt = rng.normal(size=(n_target, d)) * spread @ axes[1] - 2
    return Xs, Xt


def stack(Xs, Xt):
    return np.vstack([Xs, Xt]), np.repeat([1, -1], [len(Xs), len(Xt)])


def by_the_formula(Xs, Xt, k, align_means=False):
    Ps, Pt = (PCA(k, svd_solver="full").fit(X).components_.T for X in (Xs, Xt))
    if align_means:
        Xs, Xt = Xs - Xs.mean(axis=0), Xt - Xt.mean(axis=0)
    return Xs @ Ps @ (Ps.T @ Pt), Xt @ Pt


def signs(A, B):
    """The sign of each axis is free: one for both domains."""
    return np.where((A * B).sum(axis=0) < 0, -1, 1)


@pytest.mark.parametrize("align_means", [False, True])
@pytest.mark.parametrize("k", [1, 3, 8])
@pytest.mark.parametrize("shape", SHAPES)
def test_formula(shape, k, align_means):
    Xs, Xt = correlated_pair(*SHAPES[shape])
    expected_s, expected_t = by_the_formula(Xs, Xt, k, align_means)
    result = subspace_alignment(Xs, Xt, n_components=k, align_means=align_means)
    flip = signs(result.X_target, expected_t)
    np.testing.assert_allclose(result.X_target * flip, expected_t, atol=1e-8)
    np.testing.assert_allclose(result.X_source * flip, expected_s, atol=1e-8)


@pytest.mark.parametrize("shape", SHAPES)
def test_components(shape):
    Xs, Xt = correlated_pair(*SHAPES[shape])
    result = subspace_alignment(Xs, Xt, n_components=4)
    Ps, Pt = (PCA(4, svd_solver="full").fit(X).components_.T for X in (Xs, Xt))
    flip = signs(result.target_components, Pt)
    np.testing.assert_allclose(result.target_components * flip, Pt, atol=1e-8)
    aligned = Ps @ Ps.T @ Pt
    np.testing.assert_allclose(result.source_components * flip, aligned, atol=1e-8)
    np.testing.assert_allclose(result.X_source, Xs @ result.source_components)
    np.testing.assert_allclose(result.X_target, Xt @ result.target_components)


def test_all_components_keep_all_distances():
    X, domain = stack(*correlated_pair(60, 50, 8))
    mapper = SubspaceAlignment(n_components=8)
    Z = mapper.fit_transform(X, sample_domain=domain)
    np.testing.assert_allclose(cdist(Z, Z), cdist(X, X), atol=1e-9)


def test_one_subspace_is_pca():
    Xs, _ = correlated_pair(60, 1, 8)
    result = subspace_alignment(Xs, 3 * Xs[::-1] + 1, n_components=3, align_means=True)
    scores = PCA(3).fit_transform(Xs)
    flip = signs(result.X_source, scores)
    np.testing.assert_allclose(result.X_source * flip, scores, atol=1e-9)
    np.testing.assert_allclose(result.X_target * flip, 3 * scores[::-1], atol=1e-9)


def test_orthogonal_subspaces_leave_nothing_of_the_source():
    rng = np.random.default_rng(0)
    Xs, Xt = np.zeros((30, 6)), np.zeros((20, 6))
    Xs[:, :2], Xt[:, 3:5] = rng.normal(size=(30, 2)), rng.normal(size=(20, 2))
    result = subspace_alignment(Xs, Xt, n_components=2)
    np.testing.assert_allclose(result.X_source, 0, atol=1e-12)
    assert np.abs(result.X_target).max() > 1


@pytest.mark.parametrize("shape", SHAPES)
def test_interleaved_domains_keep_the_order_of_rows(shape):
    Xs, Xt = correlated_pair(*SHAPES[shape])
    X, domain = stack(Xs, Xt)
    order = np.random.default_rng(1).permutation(len(X))
    mapper = SubspaceAlignment(n_components=4)
    Z = mapper.fit_transform(X, sample_domain=domain)
    shuffled = mapper.fit_transform(X[order], sample_domain=domain[order])
    flip = signs(shuffled, Z[order])
    np.testing.assert_allclose(shuffled * flip, Z[order], atol=1e-9)
    result = subspace_alignment(Xs, Xt, n_components=4)
    np.testing.assert_allclose(
        np.abs(np.vstack([result.X_source, result.X_target])), np.abs(Z), atol=1e-10
    )


def test_rows_are_target_rows_unless_said_otherwise():
    X, domain = stack(*correlated_pair(60, 50, 8))
    mapper = SubspaceAlignment(n_components=3)
    Z = mapper.fit_transform(X, sample_domain=domain)
    source, target = domain > 0, domain < 0
    np.testing.assert_allclose(mapper.transform(X[target]), Z[target], atol=1e-12)
    np.testing.assert_allclose(mapper.transform(X[source], 1), Z[source], atol=1e-12)
    np.testing.assert_allclose(mapper.transform(X, domain), Z, atol=1e-12)
    assert np.abs(mapper.transform(X[source]) - Z[source]).max() > 0.1


@pytest.mark.parametrize("offset", [1e4, 1e6])
@pytest.mark.parametrize("n_source, n_target", [(60, 50), (9000, 7000), (15, 12)])
def test_offset_keeps_accuracy(offset, n_source, n_target):
    """Sums of squares less squared means would lose 8 (12) digits here."""
    Xs, Xt = correlated_pair(n_source, n_target, 8 if n_source > 15 else 60)
    near = subspace_alignment(Xs, Xt, n_components=3, align_means=True)
    far = subspace_alignment(Xs + offset, Xt + offset, n_components=3, align_means=True)
    flip = signs(far.X_target, near.X_target)
    atol = 1e-11 * offset
    np.testing.assert_allclose(far.X_target * flip, near.X_target, atol=atol)
    np.testing.assert_allclose(far.X_source * flip, near.X_source, atol=atol)


def test_default_number_of_components():
    assert subspace_alignment(*correlated_pair(60, 50, 8)).X_source.shape[1] == 8
    assert subspace_alignment(*correlated_pair(60, 50, 45)).X_source.shape[1] == 30
    # Nine rows about their mean span eight dimensions.
    assert subspace_alignment(*correlated_pair(60, 9, 45)).X_source.shape[1] == 8


@pytest.mark.parametrize("n_source, n_target", [(60, 9), (9, 60)])
def test_more_components_than_rank_are_refused(n_source, n_target):
    Xs, Xt = correlated_pair(n_source, n_target, 20)
    subspace_alignment(Xs, Xt, n_components=8)
    with pytest.raises(ValueError, match="rank") as error:
        subspace_alignment(Xs, Xt, n_components=9)
    assert "n_components" in str(error.value) and "\n" not in str(error.value)


def stable_dimension(Xs, Xt, gamma=1e5, delta=0.1):
    """The bound, one dimension after the other, rows in units of their spread.

    Dimensions are those between which an eigenvalue of the sample changes: the last
    axis of a domain has no neighbour.
    """
    n, d = min(len(Xs), len(Xt)), Xs.shape[1]
    spectra, radii = [], []
    for X in (Xs, Xt):
        X = X - X.mean(axis=0)
        X = X / np.sqrt(X.var(axis=0, ddof=1).mean())
        spectra.append(PCA(svd_solver="full").fit(X).explained_variance_)
        radii.append(max(np.linalg.norm(x) for x in X))
    chosen = 1
    for k in range(1, min(d, n - 1)):
        bound = 16 * k**1.5 * (1 + np.sqrt(np.log(2 / delta) / 2)) / (gamma * n**0.5)
        if all(v[k - 1] - v[k] >= bound * B for v, B in zip(spectra, radii)):
            chosen = k
    return chosen


@pytest.mark.parametrize("shape", [*SHAPES, "many"])
def test_stable_dimension(shape):
    shapes = {**SHAPES, "many": (300, 250, 200)}
    rng = np.random.default_rng(1)
    n_source, n_target, d = shapes[shape]
    Xs, Xt = (rng.normal(size=(n, d)) + 2 for n in (n_source, n_target))
    chosen = stable_dimension(Xs, Xt)
    if shape == "many":
        assert 1 < chosen < 200  # or the bound decides nothing here
    X, domain = stack(Xs, Xt)
    mapper = SubspaceAlignment(n_components="stability").fit(X, sample_domain=domain)
    assert mapper.n_components_ == chosen
    fixed = SubspaceAlignment(chosen).fit(X, sample_domain=domain)
    np.testing.assert_array_equal(mapper.target_components_, fixed.target_components_)
    result = subspace_alignment(Xs, Xt, n_components="stability")
    np.testing.assert_array_equal(result.target_components, fixed.target_components_)


def test_stable_dimension_does_not_depend_on_units():
    rng = np.random.default_rng(1)
    Xs, Xt = rng.normal(size=(300, 200)), rng.normal(size=(250, 200))
    expected = subspace_alignment(Xs, Xt, n_components="stability").X_source.shape
    other = subspace_alignment(1e3 * Xs - 7, 1e-3 * Xt, n_components="stability")
    assert other.X_source.shape == expected


@pytest.mark.parametrize("d", [3, 8, 400])
def test_one_dimension_if_none_is_stable(d):
    """Equal eigenvalues have no gap; that the last is more than 0 is none."""
    X = np.vstack([np.eye(d), -np.eye(d)])
    assert stable_dimension(X, X) == 1
    result = subspace_alignment(X, X, n_components="stability")
    assert result.X_source.shape[1] == 1


@pytest.mark.parametrize("load, k", [(load_iris, 3), (load_wine, 12)])
def test_stability_takes_less_than_the_rank(load, k):
    """At the rank of all columns the map would leave every distance as it was."""
    X = StandardScaler().fit_transform(load().data)
    domain = np.where(np.arange(len(X)) % 2, 1, -1)
    mapper = SubspaceAlignment("stability")
    Z = mapper.fit_transform(X, sample_domain=domain)
    assert mapper.n_components_ == k == stable_dimension(X[domain > 0], X[domain < 0])
    assert np.abs(cdist(Z, Z) - cdist(X, X)).max() > 0.1
    # The rank, not the number of columns, is what counts.
    wide = np.hstack([X, X])
    assert mapper.fit(wide, sample_domain=domain).n_components_ <= k


def test_stability_of_a_single_direction():
    """Rank 1 has no gap at all."""
    X = np.outer(np.arange(20.0), [1, 2, 3])
    result = subspace_alignment(X[:12], X[12:], n_components="stability")
    assert result.X_source.shape == (12, 1)


def test_number_of_components_is_reported():
    X, domain = stack(*correlated_pair(60, 50, 45))
    assert SubspaceAlignment().fit(X, sample_domain=domain).n_components_ == 30
    assert SubspaceAlignment(7).fit(X, sample_domain=domain).n_components_ == 7


def test_several_sources_and_targets_are_pooled():
    X, domain = stack(*correlated_pair(60, 50, 8))
    split = domain.copy()
    split[:25], split[-20:] = 3, -7
    mapper = SubspaceAlignment(n_components=3)
    pooled = mapper.fit_transform(X, sample_domain=domain)
    Z = mapper.fit_transform(X, sample_domain=split)
    np.testing.assert_allclose(Z * signs(Z, pooled), pooled, atol=1e-10)


@pytest.mark.parametrize("shape", ["n > d", "both < d"])
def test_float32_stays_float32(shape):
    X, domain = stack(*correlated_pair(*SHAPES[shape]))
    mapper = SubspaceAlignment(n_components=3)
    Z = mapper.fit_transform(X, sample_domain=domain)
    single = mapper.fit_transform(X.astype(np.float32), sample_domain=domain)
    assert single.dtype == np.float32
    np.testing.assert_allclose(single * signs(single, Z), Z, atol=1e-3)


def test_frames_and_names():
    X, domain = stack(*correlated_pair(60, 50, 3))
    frame = pd.DataFrame(X, columns=["a", "b", "c"], index=np.arange(110) + 5)
    mapper = SubspaceAlignment(n_components=2).set_output(transform="pandas")
    Z = mapper.fit_transform(frame, sample_domain=domain)
    assert list(mapper.feature_names_in_) == ["a", "b", "c"]
    assert list(Z.columns) == list(mapper.get_feature_names_out())
    assert Z.shape == (110, 2) and (Z.index == frame.index).all()


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
            for adapter in (None, SubspaceAlignment())
        ]
        losses.append(scores[0] - scores[1])
    assert np.mean(losses) <= 0.03


def test_bad_calls_are_refused():
    Xs, Xt = correlated_pair(60, 50, 8)
    X, domain = stack(Xs, Xt)
    with pytest.raises(ValueError, match="n_components"):
        SubspaceAlignment(n_components=0).fit(X, sample_domain=domain)
    with pytest.raises(ValueError, match="NaN"):
        subspace_alignment(Xs, np.where(Xt > Xt.mean(), np.nan, Xt))
    with pytest.raises((TypeError, ValueError), match="[Ss]parse"):
        SubspaceAlignment().fit(csr_array(X), sample_domain=domain)
    for rows in (slice(59, None), slice(61)):
        with pytest.raises(ValueError, match="two|2|minimum|at least"):
            SubspaceAlignment().fit(X[rows], sample_domain=domain[rows])
    for one_row in ((Xs[:1], Xt), (Xs, Xt[:1])):
        with pytest.raises(ValueError, match="two|2|minimum|at least"):
            subspace_alignment(*one_row)


def test_columns_that_differ_are_refused():
    Xs, Xt = correlated_pair(60, 50, 8)
    with pytest.raises(ValueError, match="feature|column"):
        subspace_alignment(Xs, Xt[:, :5], n_components=2)


@pytest.mark.parametrize("n_components", [None, 2, "stability"])
@pytest.mark.parametrize("shape", SHAPES)
def test_domain_without_variance_is_refused(shape, n_components):
    """Means of 0.1 are no 0.1 to the last bit, and what is left is no variance."""
    Xs, Xt = correlated_pair(*SHAPES[shape])
    with pytest.raises(ValueError, match="The source has no variance"):
        subspace_alignment(np.full_like(Xs, 0.1), Xt, n_components=n_components)
    with pytest.raises(ValueError, match="The target has no variance"):
        subspace_alignment(Xs, np.full_like(Xt, 0.1), n_components=n_components)


@pytest.mark.parametrize("k, mean", [(20, 43.83), (80, 45.11), ("stability", 43.89)])
def test_office_caltech_figures(k, mean):
    """Mean accuracy of 1-NN over the twelve pairs, in percent."""
    folder = Path(get_data_home())
    if not (folder / "office-caltech-surf.npz").exists():
        pytest.skip(f"office-caltech-surf.npz is not in {folder}")
    data = fetch_office_caltech(download_if_missing=False)
    X = data.X / data.X.sum(axis=1, keepdims=True)
    for name in range(1, 5):
        rows = data.sample_domain == name
        spread = X[rows].std(axis=0)
        X[rows] = (X[rows] - X[rows].mean(axis=0)) / np.where(spread > 0, spread, 1)
    scores = []
    for source, target in permutations(range(1, 5), 2):
        s, t = data.sample_domain == source, data.sample_domain == target
        result = subspace_alignment(X[s], X[t], n_components=k)
        nearest = KNeighborsClassifier(1).fit(result.X_source, data.y[s])
        scores.append(100 * nearest.score(result.X_target, data.y[t]))
    assert np.mean(scores) == pytest.approx(mean, abs=0.01)
