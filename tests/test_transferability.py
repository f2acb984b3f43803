"""Transferability scores against their formulas."""

import math

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import multivariate_normal
from sklearn import config_context
from sklearn.covariance import ledoit_wolf

from skadapt import corr_c, h_score, leep, log_me, soft_neighborhood_density

rng = np.random.default_rng(0)
Y = rng.permutation(np.repeat([0, 1, 2], [12, 9, 9]))
F = rng.normal(size=(30, 5)) + 0.8 * Y[:, np.newaxis]
WIDE = rng.normal(size=(30, 60)) + 0.4 * Y[:, np.newaxis]
P = np.exp(F[:, :4])
P /= P.sum(axis=1, keepdims=True)

OF_FEATURES = [log_me, h_score]
OF_LABELS = [leep, log_me, h_score]
OF_PROBABILITIES = [soft_neighborhood_density, corr_c]


# ---------------------------------------------------------------------------
# Formulas
# ---------------------------------------------------------------------------


def test_leep():
    n = len(Y)
    joint = {
        (c, z): sum(P[i, z] for i in range(n) if Y[i] == c) / n
        for c in range(3)
        for z in range(4)
    }
    marginal = {z: sum(joint[c, z] for c in range(3)) for z in range(4)}
    total = 0.0
    for i in range(n):
        guessed = sum(joint[Y[i], z] / marginal[z] * P[i, z] for z in range(4))
        total += math.log(guessed)
    assert leep(P, Y) == pytest.approx(total / n, rel=1e-12)


def test_leep_of_classes_that_no_row_has():
    unused = np.column_stack([P, np.zeros(30)])
    assert leep(unused, Y) == pytest.approx(leep(P, Y), rel=1e-12)
    # One class of the source tells nothing: the entropy of the labels is left.
    shares = np.array([12, 9, 9]) / 30
    one = np.tile([1.0, 0.0], (30, 1))
    assert leep(one, Y) == pytest.approx(np.sum(shares * np.log(shares)))
    assert leep(np.eye(3)[Y], Y) == pytest.approx(0)


def _evidence(log_ab, t, features):
    """Of t, as a draw of ``N(0, I / b + F F' / a)``."""
    a, b = np.exp(log_ab)
    covariance = np.eye(len(t)) / b + features @ features.T / a
    return multivariate_normal.logpdf(t, cov=covariance) / len(t)


@pytest.mark.parametrize("features", [F, WIDE, 1e-3 * F], ids=["tall", "wide", "small"])
def test_log_me(features):
    expected = []
    for c in range(3):
        t = (c == Y).astype(float)
        best = min(
            (
                minimize(
                    lambda x: -_evidence(x, t, features),
                    (start + 2 * np.log(np.abs(features).mean()), 2.0),
                    method="Nelder-Mead",
                    options={"xatol": 1e-6, "fatol": 1e-12, "maxiter": 2000},
                )
                for start in (-1.0, 4.0)
            ),
            key=lambda found: found.fun,
        )
        expected.append(-best.fun)
    assert log_me(features, Y) == pytest.approx(np.mean(expected), abs=1e-6)


def test_log_me_does_not_depend_on_units_or_axes():
    turn = np.linalg.qr(rng.normal(size=(5, 5)))[0]
    assert log_me(100 * F @ turn, Y) == pytest.approx(log_me(F, Y), abs=1e-8)


def test_log_me_without_signal():
    """Features of 0: t is noise of variance t't / n, whatever a is."""
    counts = np.bincount(Y)
    expected = -0.5 * np.log(2 * np.pi * np.e * counts / 30)
    assert log_me(np.zeros((30, 4)), Y) == pytest.approx(expected.mean(), rel=1e-9)
    assert log_me(F, Y) > log_me(rng.permutation(F), Y)


@pytest.mark.parametrize("reg", [0.0, 0.3, "auto"])
@pytest.mark.parametrize("features", [F, WIDE], ids=["tall", "wide"])
def test_h_score(features, reg):
    n, d = features.shape
    centred = features - features.mean(axis=0)
    covariance = centred.T @ centred / n
    means = np.array([centred[c == Y].mean(axis=0) for c in range(3)])[Y]
    between = means.T @ means / n
    if reg == "auto":
        shrunk, share = ledoit_wolf(features)
    else:
        share = reg
        shrunk = (1 - reg) * covariance + reg * np.trace(covariance) / d * np.eye(d)
    expected = (1 - share) * np.trace(np.linalg.pinv(shrunk, rcond=1e-10) @ between)
    assert h_score(features, Y, reg=reg) == pytest.approx(expected, rel=1e-8)


def test_h_score_limits():
    assert h_score(np.eye(3)[Y], Y, reg=0.0) == pytest.approx(2)
    assert h_score(WIDE, Y, reg=0.0) == pytest.approx(2), "more columns than rows"
    assert h_score(WIDE, Y) < 2
    assert h_score(F, np.zeros(30)) == pytest.approx(0, abs=1e-12)
    assert h_score(np.ones((30, 3)), Y) == 0


def test_soft_neighborhood_density():
    total = 0.0
    for i, p in enumerate(P):
        others = [q for j, q in enumerate(P) if j != i]
        cosines = [p @ q / np.linalg.norm(p) / np.linalg.norm(q) for q in others]
        shares = np.exp(np.array(cosines) / 0.1)
        shares /= shares.sum()
        total -= sum(share * math.log(share) for share in shares)
    found = soft_neighborhood_density(P, temperature=0.1)
    assert found == pytest.approx(total / len(P), rel=1e-10)
    assert soft_neighborhood_density(P) < found


def test_soft_neighborhood_density_limits():
    same = np.tile([0.2, 0.8], (9, 1))
    assert soft_neighborhood_density(same) == pytest.approx(math.log(8))
    pairs = np.repeat(np.eye(3), 2, axis=0)
    # exp(-2000) is 0: one neighbour has the whole share.
    assert soft_neighborhood_density(pairs, temperature=5e-4) == 0
    assert soft_neighborhood_density(pairs[:2]) == 0


def test_soft_neighborhood_density_in_blocks():
    many = np.random.default_rng(1).dirichlet(np.ones(3), size=600)
    expected = soft_neighborhood_density(many)
    with config_context(working_memory=0.1):  # MiB: blocks of 21 rows
        assert soft_neighborhood_density(many) == pytest.approx(expected, rel=1e-12)


def test_corr_c():
    products = sum(np.outer(p, p) for p in P)
    cosine = np.sum(products * np.eye(4)) / np.sqrt(np.sum(products**2) * 4)
    assert corr_c(P) == pytest.approx(2 * cosine, rel=1e-12)
    assert corr_c(np.eye(5)) == pytest.approx(np.sqrt(5))
    assert corr_c(np.full((7, 5), 0.2)) == pytest.approx(1)


# ---------------------------------------------------------------------------
# Rows, labels, bad input
# ---------------------------------------------------------------------------


@pytest.mark.parametrize("score", OF_LABELS)
def test_labels_of_any_kind_and_rows_in_any_order(score):
    rows = P if score is leep else F
    expected = score(rows, Y)
    order = np.random.default_rng(2).permutation(30)
    assert score(rows[order], Y[order]) == pytest.approx(expected, rel=1e-9)
    for y in (Y.astype(float), np.array(["b", "a", "c"])[Y], Y * 5 - 3, list(Y)):
        assert score(rows, y) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("score", OF_PROBABILITIES)
def test_probabilities_in_any_order(score):
    order = np.random.default_rng(2).permutation(30)
    assert score(P[order]) == pytest.approx(score(P), rel=1e-12)
    assert score(P.astype(np.float32)) == pytest.approx(score(P), rel=1e-5)


@pytest.mark.parametrize("score", OF_LABELS + OF_PROBABILITIES)
def test_input_stays_untouched(score):
    arguments = [P.copy(), Y.copy()][: 1 if score in OF_PROBABILITIES else 2]
    for argument in arguments:
        argument.setflags(write=False)
    score(*arguments)


def _spoiled(rows, value):
    rows = rows.copy()
    rows[3, 1] = value
    return rows


@pytest.mark.parametrize("score", OF_LABELS)
def test_bad_labels(score):
    rows = P if score is leep else F
    with pytest.raises(ValueError, match="2 of 30 rows are unlabelled"):
        score(rows, np.where(np.arange(30) < 2, np.nan, Y))
    with pytest.raises(ValueError, match="inconsistent"):
        score(rows, Y[:-1])
    with pytest.raises(ValueError, match="continuous"):
        score(rows, F[:, 0])
    with pytest.raises(ValueError, match="NaN"):
        score(_spoiled(rows, np.nan), Y)


def test_bad_values():
    with pytest.raises(ValueError, match="one class"):
        log_me(F, np.zeros(30))
    for score in (lambda P: leep(P, Y), corr_c):
        for rows in (_spoiled(P, -0.1), 2 * P, F):
            with pytest.raises(ValueError, match="what predict_proba returns"):
                score(rows)
    zero = P.copy()
    zero[4] = 0
    with pytest.raises(ValueError, match="0 throughout"):
        soft_neighborhood_density(zero)
    with pytest.raises(ValueError, match="minimum of 2"):
        soft_neighborhood_density(P[:1])
    with pytest.raises(ValueError, match="'temperature' parameter"):
        soft_neighborhood_density(P, temperature=0.0)
    for reg in (1.0, -0.1, "none"):
        with pytest.raises(ValueError, match="'reg' parameter"):
            h_score(F, Y, reg=reg)
