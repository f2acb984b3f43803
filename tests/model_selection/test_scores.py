"""Scores on arrays against their formulas, stated again in plain loops."""

import math

import numpy as np
import pytest
from scipy import sparse
from sklearn.linear_model import LogisticRegression

from skadapt.model_selection import _scores
from skadapt.model_selection._scores import (
    atc_score,
    dev_score,
    doc_score,
    domain_ratio,
    entropy_score,
    information_maximization_score,
    iwcv_score,
    mano_score,
    mixed_rows,
    mixing_partners,
    mixval_score,
)


def _probabilities(seed, n_rows=40, n_classes=3, sharpness=2.0):
    logits = sharpness * np.random.default_rng(seed).normal(size=(n_rows, n_classes))
    P = np.exp(logits)
    return P / P.sum(axis=1, keepdims=True)


P, Q = _probabilities(0), _probabilities(1, 50)
CORRECT = np.random.default_rng(2).random(50) < 0.7
ONE_CLASS = np.tile([1.0, 0.0, 0.0], (40, 1))


def _entropy(p):
    return -sum(x * math.log(x) for x in p if x > 0)


# ---------------------------------------------------------------------------
# Formulas
# ---------------------------------------------------------------------------


def test_entropy():
    expected = -np.mean([_entropy(p) for p in P])
    assert entropy_score(P) == pytest.approx(expected, rel=1e-12)
    assert entropy_score(ONE_CLASS) == 0
    assert entropy_score(np.full((5, 4), 0.25)) == pytest.approx(-math.log(4))


def test_information_maximization():
    expected = _entropy(P.mean(axis=0)) - np.mean([_entropy(p) for p in P])
    assert information_maximization_score(P) == pytest.approx(expected, rel=1e-12)
    assert information_maximization_score(ONE_CLASS) == 0
    assert information_maximization_score(np.tile(P[0], (9, 1))) == pytest.approx(0)
    assert information_maximization_score(np.eye(4)) == pytest.approx(math.log(4))


@pytest.mark.parametrize("sharpness", [2.0, 30.0])
def test_mano(sharpness):
    P = _probabilities(0, sharpness=sharpness)
    total, log_p = 0.0, np.log(np.maximum(P, 1e-12))
    is_unsure = -log_p.mean() <= 5
    assert is_unsure == (sharpness == 2.0), "both branches are tried"
    for p, row in zip(P, log_p):
        if is_unsure:
            powers = [1 + q + q**2 / 2 for q in row - row.mean()]
            total += sum((power / sum(powers)) ** 4 for power in powers)
        else:
            total += sum(p**4)
    assert mano_score(P) == pytest.approx((total / P.size) ** 0.25, rel=1e-9)


def test_mano_of_equal_probabilities_is_their_value():
    assert mano_score(np.full((7, 5), 0.2)) == pytest.approx(0.2)


def test_atc():
    confidence = Q.max(axis=1)
    threshold = np.sort(confidence)[::-1][CORRECT.sum() - 1]
    assert np.mean(confidence >= threshold) == CORRECT.mean()
    expected = np.mean(P.max(axis=1) >= threshold)
    assert atc_score(Q, CORRECT, P) == pytest.approx(expected)
    assert 0 < expected < 1


def test_atc_of_the_source_itself_is_its_accuracy():
    """Also where rows share the threshold, down to all of them."""
    ties = np.round(Q, 1)
    for rows in (Q, ties, np.full((50, 3), 1 / 3)):
        assert atc_score(rows, CORRECT, rows) == pytest.approx(CORRECT.mean())
    confidence = ties.max(axis=1)
    assert len(np.unique(confidence)) < 10
    assert atc_score(Q, np.zeros(50, dtype=bool), P) == 0
    assert atc_score(Q, np.ones(50, dtype=bool), Q) == 1


def test_doc():
    fall = np.mean([max(q) for q in Q]) - np.mean([max(p) for p in P])
    assert doc_score(Q, CORRECT, P) == pytest.approx(CORRECT.mean() - fall)
    assert doc_score(Q, CORRECT, Q) == pytest.approx(CORRECT.mean())


def test_mixval():
    rng = np.random.default_rng(3)
    first, second = rng.integers(3, size=(2, 40))
    shares = {True: [], False: []}
    for p, i, j in zip(P, first, second):
        shares[bool(i == j)].append(np.argmax(p) == i)
    expected = (np.mean(shares[True]) + np.mean(shares[False])) / 2
    assert mixval_score(P, first, second) == pytest.approx(expected)
    every = np.mean(P.argmax(axis=1) == first)
    assert abs(expected - every) > 0.01, "pairs of both kinds count alike"


def test_mixval_limits():
    same = np.zeros(40, dtype=int)
    assert mixval_score(ONE_CLASS, same, same) == 0.5
    other = np.ones(40, dtype=int)
    assert mixval_score(ONE_CLASS, same, other) == 1
    assert mixval_score(ONE_CLASS, other, same) == 0


def test_iwcv():
    w = np.random.default_rng(4).exponential(size=50)
    expected = sum(w[CORRECT]) / sum(w)
    assert iwcv_score(CORRECT, w) == pytest.approx(expected)
    assert iwcv_score(CORRECT, 7 * w) == pytest.approx(expected)
    assert iwcv_score(CORRECT, np.full(50, 3.0)) == pytest.approx(CORRECT.mean())


def test_dev():
    rng = np.random.default_rng(5)
    w, losses = rng.exponential(size=50), rng.exponential(size=50)
    covariance = np.cov(np.stack([w * losses, w]), ddof=1)
    eta = -covariance[0, 1] / covariance[1, 1]
    expected = -(np.mean(w * losses) + eta * np.mean(w) - eta)
    assert dev_score(losses, w) == pytest.approx(expected, rel=1e-12)
    assert dev_score(losses, np.ones(50)) == pytest.approx(-losses.mean())


def test_dev_has_less_variance_than_the_weighted_loss():
    rng = np.random.default_rng(6)
    plain, controlled = [], []
    for _ in range(300):
        w = rng.exponential(size=200)
        losses = 1 + 0.1 * rng.normal(size=200)
        plain.append(np.mean(w * losses))
        controlled.append(-dev_score(losses, w))
    assert np.mean(controlled) == pytest.approx(1, abs=0.01)
    assert np.std(controlled) < 0.3 * np.std(plain)


# ---------------------------------------------------------------------------
# Mixtures
# ---------------------------------------------------------------------------


@pytest.mark.parametrize("n_rows", [2, 3, 50])
@pytest.mark.parametrize("is_sparse", [False, True])
def test_partners_are_the_same_rows_in_any_order(n_rows, is_sparse):
    rng = np.random.default_rng(7)
    X = rng.normal(size=(n_rows, 4))
    partners = mixing_partners(sparse.csr_array(X) if is_sparse else X)
    order = rng.permutation(n_rows)
    moved = X[order]
    found = mixing_partners(sparse.csr_array(moved) if is_sparse else moved)
    assert len(partners) == len(found) == 5
    for partner, other in zip(partners, found):
        np.testing.assert_array_equal(np.sort(partner), np.arange(n_rows))
        assert (partner != np.arange(n_rows)).all()
        np.testing.assert_array_equal(moved[other], X[partner][order])
    if n_rows == 50:
        assert len(np.unique(partners, axis=0)) == 5


@pytest.mark.parametrize("kind", ["array", "float32", "csr", "csr_matrix", "frame"])
def test_mixed_rows(kind):
    rng = np.random.default_rng(8)
    X = np.where(rng.random((20, 4)) < 0.5, 0, rng.normal(size=(20, 4)))
    partner = mixing_partners(X)[0]
    expected = 0.55 * X + 0.45 * X[partner]
    rows = X
    if kind == "float32":
        rows = X.astype(np.float32)
    elif kind == "csr":
        rows = sparse.csr_array(X)
    elif kind == "csr_matrix":
        rows = sparse.csr_matrix(X)
    elif kind == "frame":
        pd = pytest.importorskip("pandas")
        rows = pd.DataFrame(X, columns=list("abcd"), index=np.arange(20) + 5)
    mixed = mixed_rows(rows, partner)
    assert type(mixed) is type(rows)
    if kind == "float32":
        assert mixed.dtype == np.float32
    elif kind == "frame":
        assert mixed.columns.equals(rows.columns)
        assert mixed.index.equals(rows.index)
    values = mixed.toarray() if sparse.issparse(mixed) else np.asarray(mixed)
    np.testing.assert_allclose(values, expected, rtol=1e-6, atol=1e-7)


# ---------------------------------------------------------------------------
# The ratio
# ---------------------------------------------------------------------------


def _gaussians(seed, n_source=1500, n_target=1000, shift=1.0):
    rng = np.random.default_rng(seed)
    is_target = rng.permutation(np.repeat([False, True], [n_source, n_target]))
    x = rng.normal(size=len(is_target)) + shift * is_target
    units = [100.0, 0.01]
    return units * np.column_stack([x, rng.normal(size=len(x))]), is_target, x


def test_ratio_of_gaussians():
    """N(1, 1) over N(0, 1) is exp(x - 1/2), whatever units the columns have."""
    X, is_target, x = _gaussians(0)
    found = domain_ratio(X, is_target)
    expected = np.exp(x[~is_target] - 0.5)
    assert found.mean() == pytest.approx(1, abs=0.1)
    assert np.corrcoef(np.log(found), np.log(expected))[0, 1] > 0.98
    assert np.mean(np.abs(found - expected)) < 0.15


def test_ratio_of_one_sample_is_one():
    X, is_target, _ = _gaussians(1, shift=0.0)
    assert np.abs(domain_ratio(X, is_target) - 1).max() < 0.5


def test_each_row_is_weighted_by_a_model_that_has_not_seen_it():
    """More columns than rows: a model tells rows that it has seen apart for sure."""
    rng = np.random.default_rng(2)
    X, is_target = rng.normal(size=(60, 300)), np.repeat([False, True], 30)
    seen = LogisticRegression().fit(X, is_target).decision_function(X)[:30]
    assert np.exp(seen).max() < 0.3
    ratio = domain_ratio(X, is_target)
    assert 0.3 < np.exp(np.mean(np.log(ratio))) < 3
    assert ratio.max() <= 50 * (1 + 1e-12)


@pytest.mark.parametrize("is_sparse", [False, True])
def test_fewer_coordinates_than_columns_change_nothing(monkeypatch, is_sparse):
    rng = np.random.default_rng(3)
    is_target = np.repeat([False, True], [70, 50])
    X = rng.normal(size=(120, 300)) + 0.2 * is_target[:, np.newaxis]
    if is_sparse:
        X = sparse.csr_array(np.where(np.abs(X) < 1, 0, X))
    reduced = domain_ratio(X, is_target)
    monkeypatch.setattr(_scores, "_coordinates", lambda Z: Z)
    np.testing.assert_allclose(reduced, domain_ratio(X, is_target), rtol=2e-3)


@pytest.mark.parametrize("n_features", [3, 200])
@pytest.mark.parametrize("is_sparse", [False, True])
def test_ratio_in_any_order(n_features, is_sparse):
    rng = np.random.default_rng(4)
    is_target = rng.permutation(np.repeat([False, True], [40, 35]))
    X = np.abs(rng.normal(size=(75, n_features))) + 0.3 * is_target[:, np.newaxis]
    X[5] = X[50]
    order = rng.permutation(75)
    wrap = sparse.csr_array if is_sparse else np.asarray
    ratio = np.full(75, np.nan)
    ratio[~is_target] = domain_ratio(wrap(X), is_target)
    moved = domain_ratio(wrap(X[order]), is_target[order])
    np.testing.assert_allclose(moved, ratio[order][~is_target[order]], rtol=1e-12)


def test_ratio_leaves_its_input_alone():
    X, is_target, _ = _gaussians(5, 30, 20)
    X = X.astype(np.float32)
    X.setflags(write=False)
    is_target.setflags(write=False)
    single = domain_ratio(X, is_target)
    np.testing.assert_allclose(single, domain_ratio(X.astype(float), is_target))
    assert single.dtype == np.float64
