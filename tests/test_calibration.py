"""Temperatures against a grid of the loss, and held-out rows that are held out."""

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, LinearSVC

from skadapt._calibration import (
    _SoftmaxClassifier,
    class_scores,
    cross_fitted_scores,
    fit_present,
    fit_temperature,
    held_out_scores,
    log_probabilities,
    scaled_probabilities,
)

# ---------------------------------------------------------------------------
# The temperature
# ---------------------------------------------------------------------------


def loss_by_hand(scores, codes, temperature):
    """Log loss with one more row of each class, row by row."""
    n, k = scores.shape
    total = 0.0
    for row, code in zip(scores, codes):
        p = np.exp((row - row.max()) / temperature)
        p /= p.sum()
        for j in range(k):
            truth = (n + 1) / (n + k) if j == code else 1 / (n + k)
            total -= truth * np.log(p[j])
    return total / n


def make_scores(seed, n=40, k=3, signal=1.0, scale=1.0):
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, k, n)
    scores = rng.normal(size=(n, k))
    scores[np.arange(n), codes] += signal
    return scale * scores, codes


@pytest.mark.parametrize("k", [2, 3, 6])
@pytest.mark.parametrize("signal", [0.3, 1.0, 2.5])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 50.0])
def test_temperature_is_the_best_of_a_grid(k, signal, scale):
    scores, codes = make_scores(k, k=k, signal=signal, scale=scale)
    found = fit_temperature(scores, codes)
    least = loss_by_hand(scores, codes, found)
    grid = scale * np.geomspace(1e-2, 1e2, 201)
    losses = [loss_by_hand(scores, codes, t) for t in grid]
    assert least <= min(losses) + 1e-9
    best = int(np.argmin(losses))
    assert grid[best - 1] <= found <= grid[best + 1]


@pytest.mark.parametrize("margin", [1e-6, 1.0, 1e6])
def test_rows_that_are_told_apart_count_as_one_short_of_certain(margin):
    """Equal margins: the right class gets the share of the targets, (n+1)/(n+k)."""
    codes = np.repeat(np.arange(3), 5)
    scores = margin * np.eye(3)[codes]
    proba = scaled_probabilities(scores, fit_temperature(scores, codes))
    np.testing.assert_allclose(proba.max(axis=1), 16 / 18, rtol=1e-4)


def test_scale_of_the_scores_is_that_of_the_temperature():
    scores, codes = make_scores(0)
    once, other = (fit_temperature(c * scores, codes) for c in (1.0, 1e4))
    assert other == pytest.approx(1e4 * once, rel=1e-4)
    shifted = fit_temperature(scores + np.arange(len(scores))[:, np.newaxis], codes)
    assert shifted == pytest.approx(once, rel=1e-4)


def test_scores_that_say_nothing_keep_the_temperature_1():
    assert fit_temperature(np.ones((4, 2)), np.array([0, 1, 1, 0])) == 1.0
    assert fit_temperature(np.empty((0, 3)), np.empty(0, dtype=int)) == 1.0


def test_scores_that_mislead_end_near_equal_probabilities():
    scores, codes = make_scores(1, signal=-3.0)
    proba = scaled_probabilities(scores, fit_temperature(scores, codes))
    np.testing.assert_allclose(proba, 1 / 3, atol=0.01)


def test_logarithms_of_zero_are_finite():
    assert np.isfinite(log_probabilities([[0.0, 1.0]])).all()


# ---------------------------------------------------------------------------
# Scores of a model
# ---------------------------------------------------------------------------


@pytest.mark.parametrize("n_classes", [2, 3])
def test_largest_score_is_the_label(n_classes):
    rng = np.random.default_rng(0)
    y = np.arange(60) % n_classes + 5
    X = rng.normal(size=(60, 2)) + y[:, np.newaxis]
    for model in (
        LogisticRegression(),
        GaussianNB(),
        make_pipeline(StandardScaler(), SVC()),
        SVC(decision_function_shape="ovr"),
    ):
        scores = class_scores(model.fit(X, y), X)
        assert scores.shape == (60, n_classes)
        np.testing.assert_array_equal(
            model.classes_[scores.argmax(axis=1)], model.predict(X)
        )


def test_scores_of_pairs_of_classes_are_refused():
    X, y = np.eye(6), np.arange(6) % 3
    model = make_pipeline(StandardScaler(), SVC(decision_function_shape="ovo"))
    with pytest.raises(ValueError, match="pairs of classes: leave it at 'ovr'"):
        class_scores(model.fit(X, y), X)


# ---------------------------------------------------------------------------
# Held-out rows
# ---------------------------------------------------------------------------


def record(X, codes, cv, score=None):
    """The folds that `held_out_scores` asks for, as pairs of train and held."""
    folds = []

    def predict_scores(train, held):
        folds.append((train, held))
        known = np.unique(codes[train])
        return np.zeros((len(held), len(known))) - known, known

    return folds, held_out_scores(score or predict_scores, X, codes, cv)


@pytest.mark.parametrize("cv", [2, 3, 5])
def test_folds_are_a_stratified_partition(cv):
    rng = np.random.default_rng(0)
    codes = rng.permutation(np.repeat([0, 1, 2], [30, 15, 6]))
    folds, (scores, held_out) = record(rng.normal(size=(51, 2)), codes, cv)
    assert len(folds) == cv
    np.testing.assert_array_equal(held_out, np.arange(51))
    held = np.concatenate([held for _, held in folds])
    np.testing.assert_array_equal(np.sort(held), np.arange(51))
    for train, held in folds:
        assert not set(train) & set(held)
        assert len(train) + len(held) == 51
        counts = np.bincount(codes[held], minlength=3)
        assert np.abs(counts - np.array([30, 15, 6]) / cv).max() < 1
    assert scores.shape == (51, 3)


def test_fewer_folds_for_small_classes():
    X = np.random.default_rng(0).normal(size=(12, 1))
    for smallest, n_folds in ((2, 2), (3, 3), (4, 4), (6, 5)):
        codes = (np.arange(12) < smallest).astype(int)
        assert len(record(X, codes, 5)[0]) == n_folds


def test_a_row_alone_in_its_class_is_always_trained_on():
    X = np.random.default_rng(0).normal(size=(9, 1))
    codes = np.array([0, 0, 0, 0, 2, 1, 1, 1, 1])
    folds, (scores, held_out) = record(X, codes, 3)
    assert all(4 in train for train, _ in folds)
    np.testing.assert_array_equal(held_out, [0, 1, 2, 3, 5, 6, 7, 8])
    assert scores.shape == (8, 3)
    folds, (scores, held_out) = record(X[:3], np.arange(3), 3)
    assert not folds and scores.shape == (0, 3) and not len(held_out)


def test_a_class_that_a_fold_lacks_has_the_least_score():
    def without_class_1(train, held):
        return np.tile([3.0, -2.0], (len(held), 1)), np.array([0, 2])

    codes = np.arange(9) % 3
    X = np.random.default_rng(0).normal(size=(9, 1))
    scores = record(X, codes, 3, without_class_1)[1][0]
    np.testing.assert_array_equal(scores, np.tile([3.0, -2.0, -2.0], (9, 1)))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_scores_that_are_not_finite_are_refused(value):
    with pytest.raises(ValueError, match="not all finite"):
        record(
            np.eye(6),
            np.arange(6) % 2,
            3,
            lambda train, held: (np.full((len(held), 2), value), np.arange(2)),
        )


class Remembers(ClassifierMixin, BaseEstimator):
    """Sure of the label of rows that it has seen, and of nothing else."""

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        self.seen_ = {row.tobytes(): label for row, label in zip(X, y)}
        return self

    def predict_proba(self, X):
        proba = np.full((len(X), len(self.classes_)), 1.0)
        for i, row in enumerate(X):
            if row.tobytes() in self.seen_:
                proba[i, self.classes_ == self.seen_[row.tobytes()]] = 100.0
        return proba / proba.sum(axis=1, keepdims=True)


def test_models_have_not_seen_the_rows_that_they_score():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(30, 2)), np.array(["a", "b", "c"])[np.arange(30) % 3]
    scores, held_out = cross_fitted_scores(Remembers(), X, y, None, 3)
    np.testing.assert_allclose(scores, np.log(1 / 3))
    np.testing.assert_array_equal(held_out, np.arange(30))


def test_row_order():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 3))
    y = np.arange(60) % 3
    w = rng.uniform(0.5, 2.0, 60)
    order = rng.permutation(60)
    scores = cross_fitted_scores(LogisticRegression(tol=1e-10), X, y, w, 3)[0]
    other = cross_fitted_scores(
        LogisticRegression(tol=1e-10), X[order], y[order], w[order], 3
    )[0]
    np.testing.assert_allclose(other, scores[order], atol=1e-6)


# ---------------------------------------------------------------------------
# Classes without weight
# ---------------------------------------------------------------------------


@pytest.mark.parametrize("lost", [0, 1, 2])
@pytest.mark.parametrize("model", [LinearSVC(), LogisticRegression()])
def test_classes_without_weight_are_left_out(model, lost):
    rng = np.random.default_rng(0)
    y = np.arange(60) % 3
    X = rng.normal(size=(60, 2)) + 3 * np.eye(3, 2)[y]
    w = np.where(y == lost, 0.0, rng.uniform(0.5, 2.0, 60))
    fitted = fit_present(model, X, y, w)
    kept = [k for k in range(3) if k != lost]
    assert fitted.classes_.tolist() == kept
    coef = fitted.coef_
    np.testing.assert_array_equal(
        coef, model.fit(X[y != lost], y[y != lost], w[y != lost]).coef_
    )
    scores, _ = cross_fitted_scores(model, X, y, w, 3)
    assert (scores[:, lost] == scores.min(axis=1)).all()
    right = scores.argmax(axis=1) == y
    assert right[y != lost].mean() > 0.8


# ---------------------------------------------------------------------------
# Probabilities of a classifier that has scores only
# ---------------------------------------------------------------------------


class KnownScores(ClassifierMixin, BaseEstimator):
    """Its scores are the rows."""

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        return self

    def decision_function(self, X):
        return X

    def predict(self, X):
        return self.classes_[np.argmax(X, axis=1)]


@pytest.mark.parametrize("n_classes", [2, 3])
def test_probabilities_from_scores_by_hand(n_classes):
    rng = np.random.default_rng(0)
    names = np.array(["a", "b", "c"])[np.arange(90) % n_classes]
    X = rng.normal(size=(90, 3)) + 2 * np.eye(3)[np.arange(90) % n_classes]
    plain = LinearSVC().fit(X[:60], names[:60])
    model = _SoftmaxClassifier(LinearSVC()).fit(X[:60], names[:60])
    own = [plain.decision_function(rows) for rows in (X[:60], X)]
    if n_classes == 2:
        # Of two classes the second has the score, the first has 0.
        seen, scores = (np.stack([0 * column, column], axis=1) for column in own)
    else:
        seen, scores = own
    weights = np.exp(scores / np.mean(seen.max(axis=1) - seen.min(axis=1)))
    expected = weights / weights.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(model.predict_proba(X), expected, rtol=1e-12)
    np.testing.assert_array_equal(model.predict(X), plain.predict(X))
    labels = model.classes_[model.predict_proba(X).argmax(axis=1)]
    np.testing.assert_array_equal(labels, plain.predict(X))


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_unit_of_the_scores_does_not_count(scale):
    scores, codes = make_scores(0)
    one, other = (
        _SoftmaxClassifier(KnownScores()).fit(rows, codes).predict_proba(rows)
        for rows in (scores, scale * scores)
    )
    np.testing.assert_allclose(other, one, rtol=1e-9)
    assert one.min() > 0.01 and one.max() < 0.99


def test_equal_scores_are_equal_probabilities():
    model = _SoftmaxClassifier(KnownScores()).fit(np.ones((6, 3)), np.arange(6) % 3)
    np.testing.assert_allclose(model.predict_proba(np.ones((2, 3))), 1 / 3)
