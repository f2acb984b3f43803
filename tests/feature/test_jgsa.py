"""JGSA against a straight-line restatement, and its limits.

The maps are the leading solutions of ``Smax W = Smin W Phi`` with W = [A; B]; 1-NN on
the mapped rows gives the pseudo-labels of the next round.
"""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.linalg import eigh
from scipy.sparse import csr_array
from scipy.spatial.distance import cdist
from sklearn.datasets import make_blobs
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skadapt import JGSA, PerDomain, TransferClassifier
from skadapt.datasets import fetch_office_caltech, get_data_home

SHAPES = {
    "n > d": (60, 50, 7),
    "n_s < d": (24, 50, 30),
    "n_t < d": (60, 21, 30),
    "both < d": (24, 21, 40),
}


def shifted_classes(n_source, n_target, d, seed=0):
    """Three classes, turned a little and moved in the target."""
    rng = np.random.default_rng(seed)
    centres = 2 * rng.normal(size=(3, d))
    ys, yt = rng.permutation(np.arange(n_source) % 3), np.arange(n_target) % 3
    spread = np.linspace(1.5, 0.5, d)
    Xs = centres[ys] + rng.normal(size=(n_source, d)) * spread
    turn = np.linalg.qr(np.eye(d) + 0.15 * rng.normal(size=(d, d)))[0]
    turn *= np.sign(np.diag(turn))
    Xt = (centres[yt] + rng.normal(size=(n_target, d)) * spread) @ turn + 0.5
    return Xs, ys, Xt, yt


def stack(Xs, ys, Xt):
    y = np.append(ys.astype(float), np.full(len(Xt), np.nan))
    return np.vstack([Xs, Xt]), y, np.repeat([1, -1], [len(Xs), len(Xt)])


def unit_rows(X):
    return X / np.linalg.norm(X, axis=1, keepdims=True)


def nearest(Zs, ys, Zt):
    return ys[cdist(Zt, Zs).argmin(axis=1)]


def restated(Xs, ys, Xt, k, lam=1.0, beta=0.1, mu=1.0, n_iter=10, unit=True):
    """Everything dense, one matrix after the other."""
    if unit:
        Xs, Xt = unit_rows(Xs), unit_rows(Xt)
    (n, d), m, classes = Xs.shape, len(Xt), np.unique(ys)
    C = len(classes)
    Sb, Sw = np.zeros((d, d)), np.zeros((d, d))
    for c in classes:
        part = Xs[ys == c]
        gap = part.mean(axis=0) - Xs.mean(axis=0)
        Sb += len(part) * np.outer(gap, gap)
        Sw += (part - part.mean(axis=0)).T @ (part - part.mean(axis=0))
    St = (Xt - Xt.mean(axis=0)).T @ (Xt - Xt.mean(axis=0))
    zero, eye = np.zeros((d, d)), np.eye(d)
    Smax = np.block([[beta * Sb, zero], [zero, mu * St]])
    labels, changes = nearest(Xs, ys, Xt), []
    for _ in range(n_iter):
        e = np.append(np.full(n, 1 / n), np.full(m, -1 / m))
        M = C * np.outer(e, e)
        norm = np.linalg.norm(M)
        for c in classes:
            e = np.append((ys == c) * 1.0, (labels == c) * -1.0)
            if (labels == c).any():
                e[:n] /= np.sum(ys == c)
                e[n:] /= np.sum(labels == c)
                M += np.outer(e, e)
        M /= norm
        T = [
            [P.T @ block @ Q for Q, block in zip((Xs, Xt), row)]
            for P, row in zip(
                (Xs, Xt), ((M[:n, :n], M[:n, n:]), (M[n:, :n], M[n:, n:]))
            )
        ]
        Smin = np.block(
            [
                [T[0][0] + lam * eye + beta * Sw, T[0][1] - lam * eye],
                [T[1][0] - lam * eye, T[1][1] + (lam + mu) * eye],
            ]
        )
        phi, W = eigh(Smax, (Smin + Smin.T) / 2)
        phi, W = phi[::-1][:k], W[:, ::-1][:, :k]
        W = W / np.linalg.norm(W, axis=0)
        A, B = W[:d], W[d:]
        before, labels = labels, nearest(Xs @ A, ys, Xt @ B)
        changes.append(np.sum(before != labels))
        if not changes[-1]:
            break
    return A, B, phi, labels, changes


def same_up_to_sign(A, B):
    return A * np.where((A * B).sum(axis=0) < 0, -1, 1)


@pytest.mark.parametrize("unit", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
def test_straight_line_restatement(shape, unit):
    Xs, ys, Xt, _ = shifted_classes(*SHAPES[shape])
    X, y, domain = stack(Xs, ys, Xt)
    A, B, phi, labels, changes = restated(Xs, ys, Xt, 4, unit=unit)
    mapper = JGSA(n_components=4, normalize=unit).fit(X, y, sample_domain=domain)
    assert mapper.eigenvalues_.sum() == pytest.approx(phi.sum(), rel=1e-8)
    joint = np.vstack([mapper.source_components_, mapper.target_components_])
    expected = same_up_to_sign(np.vstack([A, B]), joint)
    np.testing.assert_allclose(joint, expected, atol=1e-6)
    np.testing.assert_array_equal(mapper.pseudo_labels_, labels)
    np.testing.assert_array_equal(mapper.n_changes_, changes)


@pytest.mark.parametrize(
    "name, value, symbol",
    [
        ("reg", 20.0, "lam"),
        ("scatter_weight", 3.0, "beta"),
        ("variance_weight", 0.2, "mu"),
    ],
)
def test_parameters_are_those_of_the_formula(name, value, symbol):
    Xs, ys, Xt, _ = shifted_classes(*SHAPES["n > d"])
    X, y, domain = stack(Xs, ys, Xt)
    mapper = JGSA(n_components=4, **{name: value}).fit(X, y, sample_domain=domain)
    _, _, phi, labels, _ = restated(Xs, ys, Xt, 4, **{symbol: value})
    np.testing.assert_allclose(mapper.eigenvalues_, phi, rtol=1e-8)
    np.testing.assert_array_equal(mapper.pseudo_labels_, labels)
    plain = JGSA(n_components=4).fit(X, y, sample_domain=domain)
    assert np.abs(mapper.eigenvalues_ / plain.eigenvalues_ - 1).max() > 0.01


def test_a_class_that_the_target_lacks():
    """A class without a pseudo-label has no mean to divide by 0 for."""
    Xs, ys, Xt, yt = shifted_classes(60, 90, 7)
    X, y, domain = stack(Xs, ys, Xt[yt != 2])
    assert 2 not in nearest(unit_rows(Xs), ys, unit_rows(Xt[yt != 2]))
    mapper = JGSA(n_components=4).fit(X, y, sample_domain=domain)
    _, _, phi, labels, _ = restated(Xs, ys, Xt[yt != 2], 4)
    np.testing.assert_allclose(mapper.eigenvalues_, phi, rtol=1e-8)
    np.testing.assert_array_equal(mapper.pseudo_labels_, labels)


def test_each_domain_has_a_map():
    Xs, ys, Xt, _ = shifted_classes(*SHAPES["n > d"])
    X, y, domain = stack(Xs, ys, Xt)
    mapper = JGSA(n_components=3)
    Z = mapper.fit_transform(X, y, sample_domain=domain)
    unit = unit_rows(X)
    A, B = mapper.source_components_, mapper.target_components_
    np.testing.assert_allclose(Z[:60], unit[:60] @ A, atol=1e-12)
    np.testing.assert_allclose(Z[60:], unit[60:] @ B, atol=1e-12)
    np.testing.assert_allclose(mapper.transform(X), unit @ B, atol=1e-12)
    np.testing.assert_allclose(mapper.transform(X, 1), unit @ A, atol=1e-12)
    raw = JGSA(n_components=3, normalize=False).fit(X, y, sample_domain=domain)
    np.testing.assert_allclose(
        raw.transform(X[:60], 1), X[:60] @ raw.source_components_, atol=1e-12
    )


def test_large_reg_gives_one_map():
    Xs, ys, Xt, _ = shifted_classes(*SHAPES["n > d"])
    X, y, domain = stack(Xs, ys, Xt)
    gaps = []
    for reg in (0.1, 1.0, 1e2, 1e4):
        mapper = JGSA(n_components=3, reg=reg).fit(X, y, sample_domain=domain)
        gap = mapper.source_components_ - mapper.target_components_
        gaps.append(np.linalg.norm(gap))
    assert (np.diff(gaps) < 0).all() and gaps[-1] < 0.01


# The pseudo-labels


def test_history_of_the_rounds():
    Xs, ys, Xt, yt = shifted_classes(*SHAPES["n > d"], seed=1)
    X, y, domain = stack(Xs, ys, Xt)
    mapper = JGSA(n_components=4).fit(X, y, sample_domain=domain)
    assert mapper.n_changes_[-1] == 0 and 2 < len(mapper.n_changes_) < 10
    start = nearest(unit_rows(Xs), ys, unit_rows(Xt))
    assert np.mean(mapper.pseudo_labels_ == yt) > np.mean(start == yt)
    # A fixed point: further rounds change nothing.
    more = JGSA(n_components=4, n_iter=30).fit(X, y, sample_domain=domain)
    np.testing.assert_array_equal(more.n_changes_, mapper.n_changes_)
    np.testing.assert_array_equal(more.source_components_, mapper.source_components_)
    once = JGSA(n_components=4, n_iter=1).fit(X, y, sample_domain=domain)
    np.testing.assert_array_equal(once.n_changes_, mapper.n_changes_[:1])


def test_pseudo_labels_are_those_of_the_classifier_on_mapped_rows():
    Xs, ys, Xt, _ = shifted_classes(*SHAPES["n > d"])
    X, y, domain = stack(Xs, ys, Xt)
    order = np.random.default_rng(0).permutation(len(X))
    X, y, domain = X[order], y[order], domain[order]
    for estimator in (None, LogisticRegression(C=10)):
        mapper = JGSA(n_components=4, estimator=estimator)
        Z = mapper.fit_transform(X, y, sample_domain=domain)
        model = estimator or KNeighborsClassifier(1)
        model.fit(Z[domain > 0], y[domain > 0])
        expected = model.predict(Z[domain < 0])
        np.testing.assert_array_equal(mapper.pseudo_labels_, expected)


@pytest.mark.parametrize(
    "values", [np.array(["no", "maybe", "yes"]), np.array([-1, 5, 2])]
)
def test_pseudo_labels_are_labels(values):
    Xs, ys, Xt, _ = shifted_classes(*SHAPES["n > d"])
    X, y, domain = stack(Xs, ys, Xt)
    expected = JGSA(n_components=4).fit(X, y, sample_domain=domain)
    named = np.append(values[ys].astype(object), np.full(50, None))
    mapper = JGSA(n_components=4).fit(X, named, sample_domain=domain)
    assert mapper.pseudo_labels_.dtype.kind == values.dtype.kind
    np.testing.assert_array_equal(
        mapper.pseudo_labels_, values[expected.pseudo_labels_]
    )


def test_unlabelled_source_rows_move_the_domain_mean_only():
    Xs, ys, Xt, _ = shifted_classes(*SHAPES["n > d"])
    X, y, domain = stack(Xs, ys, Xt)
    y[40:60] = np.nan
    partly = JGSA(n_components=4).fit(X, y, sample_domain=domain)
    first = np.r_[0:40, 60:110]
    without = JGSA(n_components=4).fit(X[first], y[first], sample_domain=domain[first])
    assert np.abs(partly.eigenvalues_ - without.eigenvalues_).max() > 1e-4
    # Copies of labelled rows leave the mean, and change the weights 1/n_s only.
    twice = np.vstack([X[:40], X[:40], X[60:]])
    labels = np.concatenate([y[:40], np.full(40, np.nan), y[60:]])
    ids = np.repeat([1, -1], [80, 50])
    copied = JGSA(n_components=4).fit(twice, labels, sample_domain=ids)
    assert np.abs(copied.eigenvalues_ / without.eigenvalues_ - 1).max() < 0.2


# What it does to learning


def test_one_law_in_both_domains_does_little_harm():
    losses = []
    for seed in range(10):
        X, y = make_blobs(300, 6, centers=3, cluster_std=4.0, random_state=seed)
        domain = np.repeat([1, -1], 150)
        labels = np.where(domain > 0, y, np.nan)
        scores = [
            TransferClassifier(KNeighborsClassifier(5), adapter)
            .fit(X, labels, sample_domain=domain)
            .score(X[150:], y[150:])
            for adapter in (None, JGSA())
        ]
        losses.append(scores[0] - scores[1])
    assert np.mean(losses) <= 0.03


def test_default_number_of_components():
    def dimension(*shape):
        X, y, domain = stack(*shifted_classes(*shape)[:3])
        return len(JGSA(n_iter=1).fit(X, y, sample_domain=domain).eigenvalues_)

    assert dimension(60, 50, 7) == 7  # and not the rank 9
    assert dimension(60, 50, 45) == 30
    assert dimension(60, 12, 45) == 13  # 11 of the target and 2 of three classes


def test_turned_target_is_met():
    """A target turned so far that rows next to each other are of other classes."""
    rng = np.random.default_rng(0)
    y = np.arange(300) % 3
    X = 4 * np.eye(10)[y] + rng.normal(size=(300, 10)) * np.linspace(1, 0.1, 10)
    turn = np.eye(10)
    turn[:2, :2] = [[np.cos(0.9), np.sin(0.9)], [-np.sin(0.9), np.cos(0.9)]]
    X[150:] = X[150:] @ turn
    domain = np.repeat([1, -1], 150)
    labels = np.where(domain > 0, y, np.nan)
    scores = [
        TransferClassifier(KNeighborsClassifier(1), adapter)
        .fit(X, labels, sample_domain=domain)
        .score(X[150:], y[150:])
        for adapter in (None, JGSA(n_components=3))
    ]
    assert scores[1] > max(0.9, scores[0] + 0.02)


def test_in_a_pipeline_after_standardisation():
    X, y, domain = stack(*shifted_classes(60, 50, 7)[:3])
    adapter = make_pipeline(PerDomain(StandardScaler()), JGSA(3))
    model = TransferClassifier(KNeighborsClassifier(1), adapter)
    model.fit(X, y, sample_domain=domain)
    np.testing.assert_array_equal(
        model.predict(X[60:]), model.adapter_[-1].pseudo_labels_
    )


# Form


@pytest.mark.parametrize("shape", SHAPES)
def test_interleaved_domains_keep_the_order_of_rows(shape):
    X, y, domain = stack(*shifted_classes(*SHAPES[shape])[:3])
    order = np.random.default_rng(1).permutation(len(X))
    mapper = JGSA(n_components=4)
    Z = mapper.fit_transform(X, y, sample_domain=domain)
    labels = np.full(len(X), -1)
    labels[domain < 0] = mapper.pseudo_labels_
    shuffled = mapper.fit_transform(X[order], y[order], sample_domain=domain[order])
    np.testing.assert_allclose(shuffled, Z[order], atol=1e-8)
    ids = domain[order]
    np.testing.assert_array_equal(mapper.pseudo_labels_, labels[order][ids < 0])


def test_several_sources_and_targets_are_pooled():
    X, y, domain = stack(*shifted_classes(60, 50, 7)[:3])
    split = domain.copy()
    split[:25], split[-20:] = 3, -7
    mapper = JGSA(n_components=3)
    pooled = mapper.fit_transform(X, y, sample_domain=domain)
    np.testing.assert_array_equal(
        mapper.fit_transform(X, y, sample_domain=split), pooled
    )


@pytest.mark.parametrize("shape", ["n > d", "both < d"])
def test_float32_stays_float32(shape):
    X, y, domain = stack(*shifted_classes(*SHAPES[shape])[:3])
    mapper = JGSA(n_components=3)
    Z = mapper.fit_transform(X, y, sample_domain=domain)
    single = mapper.fit_transform(X.astype(np.float32), y, sample_domain=domain)
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, Z, atol=1e-4)


def test_frames_and_names():
    X, y, domain = stack(*shifted_classes(60, 50, 3)[:3])
    frame = pd.DataFrame(X, columns=["a", "b", "c"], index=np.arange(110) + 5)
    mapper = JGSA(n_components=2).set_output(transform="pandas")
    Z = mapper.fit_transform(frame, y, sample_domain=domain)
    assert list(mapper.feature_names_in_) == ["a", "b", "c"]
    assert list(Z.columns) == ["jgsa0", "jgsa1"]
    assert (Z.index == frame.index).all()


def test_bad_calls_are_refused():
    X, y, domain = stack(*shifted_classes(60, 50, 7)[:3])
    for parameters in (
        {"n_components": 0},
        {"reg": 0.0},
        {"scatter_weight": -0.1},
        {"variance_weight": 0.0},
        {"n_iter": 0},
    ):
        with pytest.raises(ValueError, match=next(iter(parameters))):
            JGSA(**parameters).fit(X, y, sample_domain=domain)
    with pytest.raises(ValueError, match="requires y"):
        JGSA().fit(X, sample_domain=domain)
    with pytest.raises(ValueError, match="no labelled source row"):
        JGSA().fit(X, np.full(110, np.nan), sample_domain=domain)
    with pytest.raises(ValueError, match="[Cc]ontinuous|continuous"):
        JGSA().fit(X, X[:, 0], sample_domain=domain)
    with pytest.raises(ValueError, match="at most 9"):
        JGSA(n_components=10).fit(X, y, sample_domain=domain)
    with pytest.raises(ValueError, match="must be a classifier"):
        JGSA(estimator=Ridge()).fit(X, y, sample_domain=domain)
    with pytest.raises((TypeError, ValueError), match="[Ss]parse"):
        JGSA().fit(csr_array(X), y, sample_domain=domain)
    for column in (X[:, :1], np.abs(X[:, :1])):
        with pytest.raises(ValueError, match="n_features = 1: set normalize=False"):
            JGSA().fit(column, y, sample_domain=domain)
        JGSA(normalize=False).fit(column, y, sample_domain=domain)


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("value", [1.0, 0.1, 1e6 / 7])
@pytest.mark.parametrize("n, d", [(60, 4), (500, 450), (20, 90)])
def test_rows_that_are_all_the_same(n, d, value, normalize, capfd):
    """Rounding is no variance, and nothing but the error is said."""
    X, y, domain = np.full((n, d), value), np.arange(n) % 3, np.repeat([1, -1], n // 2)
    with pytest.raises(ValueError, match="no variance"):
        JGSA(normalize=normalize).fit(X, y, sample_domain=domain)
    assert capfd.readouterr() == ("", "")


def test_little_variance_far_from_zero_is_kept():
    X, y, domain = stack(*shifted_classes(60, 50, 7)[:3])
    near = JGSA(normalize=False).fit(X, y, sample_domain=domain)
    far = JGSA(normalize=False).fit(X + 1e6, y, sample_domain=domain)
    assert len(far.eigenvalues_) == len(near.eigenvalues_)


# Published figures


PUBLISHED = {
    ("webcam", "dslr"): 90.4,
    ("dslr", "webcam"): 91.9,
    ("dslr", "amazon"): 38.0,
}


@pytest.mark.parametrize("pair", PUBLISHED, ids="-".join)
def test_office_caltech_figures(pair):
    """Accuracy in percent; all 12 tasks are in the benchmarks."""
    folder = Path(get_data_home())
    if not (folder / "office-caltech-surf.npz").exists():
        pytest.skip(f"office-caltech-surf.npz is not in {folder}")
    data = fetch_office_caltech(
        source=pair[0], target=pair[1], download_if_missing=False
    )
    X, is_source = data.X / data.X.sum(axis=1, keepdims=True), data.sample_domain > 0
    for rows in (is_source, ~is_source):
        spread = X[rows].std(axis=0)
        X[rows] = (X[rows] - X[rows].mean(axis=0)) / np.where(spread > 0, spread, 1)
    y = np.where(is_source, data.y, np.nan)
    mapper = JGSA(n_components=30).fit(X, y, sample_domain=data.sample_domain)
    score = 100 * np.mean(mapper.pseudo_labels_ == data.y[~is_source])
    assert score == pytest.approx(PUBLISHED[pair], abs=0.06)
