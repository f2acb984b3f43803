"""GFK against the reference formula, and its limits.

The kernel is ``G = int_0^1 Phi(t) Phi(t)' dt`` over the geodesic Phi from the axes P_s
of the source to P_t of the target; rows times the mapper's L have the inner products
``x G z'``.
"""

from itertools import permutations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.linalg import null_space, subspace_angles, svd
from scipy.sparse import csr_array
from sklearn.cross_decomposition import PLSRegression
from sklearn.datasets import make_blobs
from sklearn.decomposition import PCA
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from sklearn.utils import get_tags

from skadapt import GFK, PerDomain, TransferClassifier, geodesic_flow_kernel
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


def three_classes(n, d, seed=0):
    """Rows of three classes whose means lie in directions of little variance."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 3
    X = rng.normal(size=(n, d)) * np.linspace(3, 0.3, d)
    X[:, -2:] += 2 * np.array([[0, 0], [1, 0], [0, 1]])[y]
    return X, y


def axes_of(X, p):
    return PCA(p, svd_solver="full").fit(X).components_.T


def reference_kernel(Ps, Pt):
    """G (d, d) as the authors' code has it, with a full basis of the null space."""
    p, d = Ps.shape[1], len(Ps)
    N = null_space(Ps.T)
    U, c, Vt = svd(Ps.T @ Pt)
    theta = np.arccos(np.clip(c, -1, 1))
    # N'P_t V = -U2 sin(Theta)
    U2 = -(N.T @ Pt @ Vt.T) / np.sin(theta)
    left = np.hstack([Ps @ U, N @ U2])
    middle = np.zeros((2 * p, 2 * p))
    for i, t in enumerate(theta):
        middle[i, i] = (1 + np.sin(2 * t) / (2 * t)) / 2
        middle[i, p + i] = middle[p + i, i] = (np.cos(2 * t) - 1) / (4 * t)
        middle[p + i, p + i] = (1 - np.sin(2 * t) / (2 * t)) / 2
    assert left.shape == (d, 2 * p)
    return left @ middle @ left.T


@pytest.mark.parametrize("p", [1, 3, 4])
@pytest.mark.parametrize("shape", SHAPES)
def test_reference_formula(shape, p):
    Xs, Xt = correlated_pair(*SHAPES[shape])
    Ps, Pt = axes_of(Xs, p), axes_of(Xt, p)
    G = reference_kernel(Ps, Pt)
    result = geodesic_flow_kernel(Xs, Xt, n_components=p)
    assert result.components.shape == (Xs.shape[1], 2 * p)
    np.testing.assert_allclose(result.components @ result.components.T, G, atol=1e-9)
    np.testing.assert_allclose(result.source_kernel, Xs @ G @ Xs.T, atol=1e-8)
    np.testing.assert_allclose(result.target_kernel, Xt @ G @ Xs.T, atol=1e-8)
    np.testing.assert_allclose(result.angles, subspace_angles(Ps, Pt)[::-1], atol=1e-7)


@pytest.mark.parametrize("p", [2, 4, 6])
@pytest.mark.parametrize("shape", SHAPES)
def test_inner_products_of_mapped_rows_are_the_kernel(shape, p):
    Xs, Xt = correlated_pair(*SHAPES[shape])
    X, domain = stack(Xs, Xt)
    Z = GFK(n_components=p).fit_transform(X, sample_domain=domain)
    result = geodesic_flow_kernel(Xs, Xt, n_components=p)
    source = domain > 0
    np.testing.assert_allclose(Z[source] @ Z[source].T, result.source_kernel)
    np.testing.assert_allclose(
        Z[~source] @ Z[source].T, result.target_kernel, atol=1e-9
    )


def test_one_map_for_both_domains():
    X, domain = stack(*correlated_pair(60, 50, 8))
    mapper = GFK(n_components=3)
    Z = mapper.fit_transform(X, sample_domain=domain)
    for ids in (None, 1, -1, domain, -domain):
        np.testing.assert_allclose(mapper.transform(X, ids), Z, atol=1e-12)
    np.testing.assert_allclose(X @ mapper.components_, Z, atol=1e-12)


@pytest.mark.parametrize("shape", ["n > d", "both < d"])
def test_one_subspace_is_pca(shape):
    Xs, _ = correlated_pair(*SHAPES[shape])
    X, domain = stack(Xs, 3 * Xs[::-1] + 1)
    mapper = GFK(n_components=3).fit(X, sample_domain=domain)
    P = axes_of(Xs, 3)
    G = mapper.components_ @ mapper.components_.T
    np.testing.assert_allclose(G, P @ P.T, atol=1e-10)
    np.testing.assert_allclose(mapper.components_[:, 3:], 0, atol=1e-7)
    np.testing.assert_allclose(mapper.angles_, 0, atol=1e-7)


def test_orthogonal_subspaces():
    """With a = e = 1/2 and b = 1/pi for the only angle."""
    rng = np.random.default_rng(0)
    Xs, Xt = np.zeros((30, 6)), np.zeros((20, 6))
    Xs[:, 1], Xt[:, 4] = rng.normal(size=30), rng.normal(size=20)
    result = geodesic_flow_kernel(Xs, Xt, n_components=1)
    assert result.angles[0] == pytest.approx(np.pi / 2)
    expected = np.outer(Xs[:, 1], Xs[:, 1]) / 2
    np.testing.assert_allclose(result.source_kernel, expected, atol=1e-14)
    expected = np.outer(Xt[:, 4], Xs[:, 1]) / np.pi
    np.testing.assert_allclose(np.abs(result.target_kernel), np.abs(expected))


def test_domains_may_be_swapped():
    Xs, Xt = correlated_pair(60, 50, 8)
    there = geodesic_flow_kernel(Xs, Xt, n_components=3)
    back = geodesic_flow_kernel(Xt, Xs, n_components=3)
    np.testing.assert_allclose(there.target_kernel, back.target_kernel.T, atol=1e-10)


def test_all_components_keep_all_inner_products():
    X, domain = stack(*correlated_pair(60, 50, 8))
    Z = GFK(n_components=8).fit_transform(X, sample_domain=domain)
    np.testing.assert_allclose(Z @ Z.T, X @ X.T, atol=1e-8)


@pytest.mark.parametrize("subspace", ["pca", "pls"])
@pytest.mark.parametrize("shape", SHAPES)
def test_interleaved_domains_keep_the_order_of_rows(shape, subspace):
    Xs, Xt = correlated_pair(*SHAPES[shape])
    X, domain = stack(Xs, Xt)
    y = np.arange(len(X)) % 3
    order = np.random.default_rng(1).permutation(len(X))
    mapper = GFK(n_components=4, subspace=subspace)
    Z = mapper.fit_transform(X, y, sample_domain=domain)
    shuffled = mapper.fit_transform(X[order], y[order], sample_domain=domain[order])
    np.testing.assert_allclose(shuffled, Z[order], atol=1e-8)


@pytest.mark.parametrize("offset", [1e4, 1e6])
def test_offset_keeps_accuracy(offset):
    Xs, Xt = correlated_pair(60, 50, 8)
    near = geodesic_flow_kernel(Xs, Xt, n_components=3)
    far = geodesic_flow_kernel(Xs + offset, Xt - offset, n_components=3)
    np.testing.assert_allclose(far.components, near.components, atol=1e-10 * offset)


def test_default_number_of_components():
    def dimension(*shape):
        return len(geodesic_flow_kernel(*correlated_pair(*shape)).angles)

    assert dimension(60, 50, 8) == 8
    assert dimension(60, 50, 45) == 20
    # Nine rows about their mean span eight dimensions.
    assert dimension(60, 9, 45) == dimension(9, 60, 45) == 8


def test_number_of_components_is_reported():
    X, domain = stack(*correlated_pair(60, 50, 45))
    mapper = GFK().fit(X, sample_domain=domain)
    assert mapper.n_components_ == len(mapper.angles_) == 20
    assert not hasattr(mapper, "disagreements_")
    assert len(mapper.get_feature_names_out()) == 40


# The disagreement of the subspaces


def disagreements(Xs, Xt, limit):
    pooled = np.vstack([Xs, Xt])
    return [
        np.mean(
            [
                np.sin(subspace_angles(axes_of(X, p), axes_of(pooled, p)).max())
                for X in (Xs, Xt)
            ]
        )
        for p in range(1, limit + 1)
    ]


@pytest.mark.parametrize("seed", range(6))
def test_disagreement_chooses_the_dimension(seed):
    rng = np.random.default_rng(seed)
    spread = np.r_[5.0, 4.0, 3.0, np.ones(9)]
    Xs, Xt = (rng.normal(size=(200, 12)) * spread for _ in range(2))
    values = disagreements(Xs, Xt, 6)
    full = np.flatnonzero(np.round(values, 2) >= 1)
    expected = full[0] + 1 if len(full) else 6
    X, domain = stack(Xs, Xt)
    mapper = GFK(n_components="disagreement").fit(X, sample_domain=domain)
    assert mapper.n_components_ == expected
    np.testing.assert_allclose(mapper.disagreements_, values[:expected], atol=1e-6)
    fixed = GFK(n_components=expected).fit(X, sample_domain=domain)
    np.testing.assert_array_equal(mapper.components_, fixed.components_)
    result = geodesic_flow_kernel(Xs, Xt, n_components="disagreement")
    np.testing.assert_array_equal(result.components, fixed.components_)


def test_disagreement_is_forgotten():
    X, domain = stack(*correlated_pair(60, 50, 8))
    mapper = GFK(n_components="disagreement").fit(X, sample_domain=domain)
    mapper.set_params(n_components=2).fit(X, sample_domain=domain)
    assert not hasattr(mapper, "disagreements_")


def test_disagreement_of_few_columns_and_few_rows():
    X, domain = stack(*correlated_pair(60, 50, 1))
    mapper = GFK(n_components="disagreement").fit(X, sample_domain=domain)
    assert mapper.n_components_ == 1
    X, domain = stack(*correlated_pair(4, 50, 30))
    mapper = GFK(n_components="disagreement").fit(X, sample_domain=domain)
    assert mapper.n_components_ <= 3


# Axes by partial least squares


def test_pls_axes_are_those_of_scikit_learn():
    Xs, ys = three_classes(90, 10)
    Xt, _ = three_classes(80, 10, seed=1)
    pls = PLSRegression(4, scale=False, tol=1e-14, max_iter=100000)
    Ps = pls.fit(Xs, np.eye(3)[ys]).x_weights_
    G = reference_kernel(Ps, axes_of(Xt, 4))
    result = geodesic_flow_kernel(Xs, Xt, ys=ys, n_components=4, subspace="pls")
    np.testing.assert_allclose(result.components @ result.components.T, G, atol=1e-6)


def test_pls_sees_labelled_source_rows_only():
    Xs, ys = three_classes(90, 10)
    Xt, _ = three_classes(80, 10, seed=1)
    X, domain = stack(Xs, Xt)
    y = np.append(ys, np.arange(80) % 3).astype(float)
    mapper = GFK(n_components=4, subspace="pls")
    expected = mapper.fit(X, y, sample_domain=domain).components_
    y[90:] = np.nan
    np.testing.assert_array_equal(
        mapper.fit(X, y, sample_domain=domain).components_, expected
    )
    y[60:] = np.nan
    partly = mapper.fit(X, y, sample_domain=domain).components_
    first = geodesic_flow_kernel(
        Xs[:60], Xt, ys=ys[:60], n_components=4, subspace="pls"
    )
    np.testing.assert_allclose(partly, first.components, atol=1e-12)
    names = np.array(["a", "b", "c"], dtype=object)[np.append(ys, np.zeros(80, int))]
    names[60:] = None
    np.testing.assert_array_equal(
        mapper.fit(X, names, sample_domain=domain).components_, partly
    )


def test_pls_finds_classes_where_pca_sees_none():
    """The classes lie in the directions of least variance."""
    Xs, ys = three_classes(300, 12)
    Xt, _ = three_classes(300, 12, seed=1)
    scores = {}
    for subspace in ("pca", "pls"):
        result = geodesic_flow_kernel(Xs, Xt, ys=ys, n_components=2, subspace=subspace)
        model = SVC(kernel="precomputed").fit(result.source_kernel, ys)
        scores[subspace] = model.score(result.source_kernel, ys)
    assert scores["pls"] > scores["pca"] + 0.2


def test_labels_are_required_for_pls_only():
    X, domain = stack(*correlated_pair(60, 50, 8))
    assert not get_tags(GFK()).target_tags.required
    assert get_tags(GFK(subspace="pls")).target_tags.required
    with pytest.raises(ValueError, match="requires y"):
        GFK(subspace="pls").fit(X, sample_domain=domain)
    with pytest.raises(ValueError, match="ys"):
        geodesic_flow_kernel(X[:60], X[60:], subspace="pls")
    with pytest.raises(ValueError, match="no labelled source row"):
        GFK(subspace="pls").fit(X, np.full(110, np.nan), sample_domain=domain)
    with pytest.raises(ValueError, match="one class"):
        GFK(subspace="pls").fit(X, np.ones(110), sample_domain=domain)
    with pytest.raises(ValueError, match="[Cc]ontinuous|continuous"):
        GFK(subspace="pls").fit(X, X[:, 0], sample_domain=domain)
    # Means that are the same to the bit.
    twice, y = np.vstack([X[:30], X[:30], X[60:]]), np.repeat([0, 1, 0], [30, 30, 50])
    with pytest.raises(ValueError, match="means of the classes"):
        GFK(subspace="pls").fit(twice, y, sample_domain=domain)


# What it does to learning


@pytest.mark.parametrize("parameters", [{}, {"subspace": "pls", "n_components": 3}])
def test_one_law_in_both_domains_does_no_harm(parameters):
    losses = []
    for seed in range(10):
        X, y = make_blobs(300, 6, centers=3, cluster_std=4.0, random_state=seed)
        domain = np.repeat([1, -1], 150)
        labels = np.where(domain > 0, y, np.nan)
        scores = [
            TransferClassifier(KNeighborsClassifier(5), adapter)
            .fit(X, labels, sample_domain=domain)
            .score(X[150:], y[150:])
            for adapter in (None, GFK(**parameters))
        ]
        losses.append(scores[0] - scores[1])
    assert np.mean(losses) <= 0.03


def test_precomputed_svm_is_the_linear_one_on_mapped_rows():
    Xs, ys = three_classes(90, 10)
    Xt, _ = three_classes(80, 10, seed=1)
    result = geodesic_flow_kernel(Xs, Xt, n_components=3)
    by_kernel = SVC(kernel="precomputed").fit(result.source_kernel, ys)
    by_rows = SVC(kernel="linear").fit(Xs @ result.components, ys)
    np.testing.assert_array_equal(
        by_kernel.predict(result.target_kernel),
        by_rows.predict(Xt @ result.components),
    )


def test_in_a_pipeline_after_standardisation():
    X, domain = stack(*correlated_pair(60, 50, 8))
    y = np.where(domain > 0, np.arange(110) % 2, np.nan)
    adapter = make_pipeline(PerDomain(StandardScaler()), GFK(2, subspace="pls"))
    model = TransferClassifier(KNeighborsClassifier(1), adapter)
    assert model.fit(X, y, sample_domain=domain).predict(X[60:]).shape == (50,)


# Form


@pytest.mark.parametrize("shape", ["n > d", "both < d"])
def test_float32_stays_float32(shape):
    X, domain = stack(*correlated_pair(*SHAPES[shape]))
    mapper = GFK(n_components=3)
    Z = mapper.fit_transform(X, sample_domain=domain)
    single = mapper.fit_transform(X.astype(np.float32), sample_domain=domain)
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, Z, atol=1e-3)


def test_several_sources_and_targets_are_pooled():
    X, domain = stack(*correlated_pair(60, 50, 8))
    split = domain.copy()
    split[:25], split[-20:] = 3, -7
    mapper = GFK(n_components=3)
    pooled = mapper.fit_transform(X, sample_domain=domain)
    np.testing.assert_array_equal(mapper.fit_transform(X, sample_domain=split), pooled)


def test_frames_and_names():
    X, domain = stack(*correlated_pair(60, 50, 3))
    frame = pd.DataFrame(X, columns=["a", "b", "c"], index=np.arange(110) + 5)
    mapper = GFK(n_components=2).set_output(transform="pandas")
    Z = mapper.fit_transform(frame, sample_domain=domain)
    assert list(mapper.feature_names_in_) == ["a", "b", "c"]
    assert list(Z.columns) == ["gfk0", "gfk1", "gfk2", "gfk3"]
    assert (Z.index == frame.index).all()


@pytest.mark.parametrize("n_source, n_target", [(60, 9), (9, 60)])
def test_more_components_than_rank_are_refused(n_source, n_target):
    Xs, Xt = correlated_pair(n_source, n_target, 20)
    geodesic_flow_kernel(Xs, Xt, n_components=8)
    with pytest.raises(ValueError, match="at most 8") as error:
        geodesic_flow_kernel(Xs, Xt, n_components=9)
    assert ("source" if n_source == 9 else "target") in str(error.value)


def test_more_components_than_pls_finds_are_refused():
    Xs, Xt = correlated_pair(9, 60, 20)
    with pytest.raises(ValueError, match="partial least squares"):
        geodesic_flow_kernel(
            Xs, Xt, ys=np.arange(9) % 2, n_components=9, subspace="pls"
        )


def test_bad_calls_are_refused():
    Xs, Xt = correlated_pair(60, 50, 8)
    X, domain = stack(Xs, Xt)
    for parameters in ({"n_components": 0}, {"n_components": "all"}, {"subspace": "x"}):
        with pytest.raises(ValueError, match=next(iter(parameters))):
            GFK(**parameters).fit(X, sample_domain=domain)
        with pytest.raises(ValueError, match=next(iter(parameters))):
            geodesic_flow_kernel(Xs, Xt, **parameters)
    with pytest.raises(ValueError, match="NaN"):
        geodesic_flow_kernel(Xs, np.where(Xt > Xt.mean(), np.nan, Xt))
    with pytest.raises((TypeError, ValueError), match="[Ss]parse"):
        GFK().fit(csr_array(X), sample_domain=domain)
    with pytest.raises(ValueError, match="feature|column"):
        geodesic_flow_kernel(Xs, Xt[:, :5])
    for name, pair in {
        "source": (np.full_like(Xs, 0.1), Xt),
        "target": (Xs, Xt * 0),
    }.items():
        with pytest.raises(ValueError, match=f"{name} has no variance"):
            geodesic_flow_kernel(*pair)
    for rows in (slice(59, None), slice(61)):
        with pytest.raises(ValueError, match="at least"):
            GFK().fit(X[rows], sample_domain=domain[rows])


# Published figures


# The authors' dimensions: 10 for W-D, W-A and C-D, 20 for D-A, C-W and C-A, either way.
TEN = [{"webcam", "dslr"}, {"webcam", "amazon"}, {"caltech", "dslr"}]


@pytest.mark.parametrize(
    "dimension, mean",
    [(lambda pair: 20, 44.72), (lambda pair: 10 if pair in TEN else 20, 42.95)],
    ids=["20", "per pair"],
)
def test_office_caltech_figures(dimension, mean):
    """Mean accuracy of 1-NN over the twelve pairs, in percent."""
    folder = Path(get_data_home())
    if not (folder / "office-caltech-surf.npz").exists():
        pytest.skip(f"office-caltech-surf.npz is not in {folder}")
    data = fetch_office_caltech(download_if_missing=False)
    names = ("amazon", "caltech", "dslr", "webcam")
    ids = dict(zip(names, (1, 2, 3, 4)))
    X = data.X / data.X.sum(axis=1, keepdims=True)
    for i in ids.values():
        rows = data.sample_domain == i
        spread = X[rows].std(axis=0)
        X[rows] = (X[rows] - X[rows].mean(axis=0)) / np.where(spread > 0, spread, 1)
    scores = []
    for pair in permutations(names, 2):
        s, t = (data.sample_domain == ids[name] for name in pair)
        both, domain = stack(X[s], X[t])
        Z = GFK(dimension(set(pair))).fit_transform(both, sample_domain=domain)
        nearest = KNeighborsClassifier(1).fit(Z[domain > 0], data.y[s])
        scores.append(100 * nearest.score(Z[domain < 0], data.y[t]))
    assert np.mean(scores) == pytest.approx(mean, abs=0.01)
