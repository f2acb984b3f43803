"""Probabilities from scores by one temperature, fitted to held-out rows."""

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.utils import _safe_indexing

from skadapt._predictor import fit_weighted, steps_of
from skadapt.instance._label_shift import _stratified_folds

# Probabilities below count as this in logarithms.
_LEAST_PROBABILITY = 1e-12
# Temperatures, as multiples of the spread of the scores.
_RANGE = (1e-3, 1e3)


def class_scores(model, X):
    """Scores of the classes, shape (n_samples, n_classes): larger is more probable."""
    last = steps_of(model)[-1]
    if getattr(last, "decision_function_shape", "ovr") == "ovo":
        raise ValueError(
            f"{type(last).__name__}(decision_function_shape='ovo') gives scores of "
            "pairs of classes: leave it at 'ovr'."
        )
    if hasattr(model, "decision_function"):
        scores = np.asarray(model.decision_function(X), dtype=np.float64)
        if scores.ndim == 1:
            scores = np.column_stack([np.zeros_like(scores), scores])
        return scores
    if hasattr(model, "predict_proba"):
        return log_probabilities(model.predict_proba(X))
    raise ValueError(
        f"{type(model).__name__} has neither decision_function nor predict_proba, and "
        "probabilities are what is averaged: use a classifier that has one of them, "
        "such as LogisticRegression."
    )


def log_probabilities(proba):
    """Logarithms, those of 0 finite."""
    proba = np.asarray(proba, dtype=np.float64)
    return np.log(np.maximum(proba, _LEAST_PROBABILITY))


def scaled_probabilities(scores, temperature):
    """``softmax(scores / temperature)``."""
    return softmax(scores / temperature, axis=1)


def fit_temperature(scores, codes):
    """Temperature of least log loss of ``softmax(scores / temperature)``.

    The right class has the probability (n + 1) / (n + k) and another 1 / (n + k) in
    place of 1 and 0, as if there were one more row of each class [1]_: rows that are
    all told apart would otherwise drive the temperature to 0 and the probabilities to
    votes of 0 and 1.

    Parameters
    ----------
    scores : ndarray of shape (n_samples, n_classes)
        Of rows that the model has not seen.
    codes : ndarray of shape (n_samples,)
        Column of the true class.

    Returns
    -------
    temperature : float
        Positive.

    References
    ----------
    .. [1] J. Platt, "Probabilistic outputs for support vector machines and
       comparisons to regularized likelihood methods", 1999, section 2.2.
    """
    n_samples, n_classes = scores.shape
    if not n_samples or not (spread := np.ptp(scores, axis=1).mean()) > 0:
        return 1.0
    truth = np.ones((n_samples, n_classes))
    truth[np.arange(n_samples), codes] += n_samples
    truth /= n_samples + n_classes

    def loss(log_temperature):
        log_p = log_softmax(scores / np.exp(log_temperature), axis=1)
        return -(truth * log_p).sum(axis=1).mean()

    bounds = np.log(spread) + np.log(_RANGE)
    return float(np.exp(minimize_scalar(loss, bounds=bounds, method="bounded").x))


def held_out_scores(predict_scores, X, codes, cv):
    """Scores of rows by models that have not seen them.

    The folds are stratified, and the same in any order of the rows. A row that is
    alone in its class is always trained on.

    Parameters
    ----------
    predict_scores : callable
        Of the positions of rows to train on and of rows to score; returns the scores
        and their columns.
    X : {ndarray, sparse matrix, data frame} of shape (n_samples, n_features)
        The rows.
    codes : ndarray of shape (n_samples,)
        Class of each row.
    cv : int
        Number of folds; fewer, but at least 2, if a class has fewer rows.

    Returns
    -------
    scores : ndarray of shape (n_held_out, n_classes)
        A class that a fold did not train on has the least score of the row.
    held_out : ndarray of shape (n_held_out,)
        Ascending positions of these rows.

    Raises
    ------
    ValueError
        If scores are not finite.
    """
    counts = np.bincount(codes)
    alone = counts[codes] == 1
    n_folds = max(2, min(cv, counts[counts > 1].min(initial=cv)))
    folds = _stratified_folds(X, codes, None, n_folds, 0)
    folds[alone] = -1
    scores = np.empty((len(codes), len(counts)))
    for fold in np.unique(folds[~alone]):
        held = np.flatnonzero(folds == fold)
        found, columns = predict_scores(np.flatnonzero(folds != fold), held)
        if not np.isfinite(found).all():
            raise ValueError("Its scores of held-out rows are not all finite.")
        scores[held] = found.min(axis=1, keepdims=True)
        scores[np.ix_(held, columns)] = found
    held_out = np.flatnonzero(~alone)
    return scores[held_out], held_out


def cross_fitted_scores(estimator, X, labels, weights, cv):
    """`held_out_scores` of a plain classifier."""
    classes, codes = np.unique(labels, return_inverse=True)

    def predict_scores(train, held):
        fitted = fit_present(
            clone(estimator),
            _safe_indexing(X, train),
            labels[train],
            None if weights is None else weights[train],
        )
        found = class_scores(fitted, _safe_indexing(X, held))
        return found, np.searchsorted(classes, fitted.classes_)

    return held_out_scores(predict_scores, X, codes, cv)


def fit_present(estimator, X, labels, weights):
    """`fit_weighted` with the rows of the classes that have any weight.

    LIBLINEAR drops the others, of which scikit-learn's `LinearSVC` and
    `LogisticRegression` know nothing: their `classes_` would be too many.
    """
    if weights is not None:
        classes, codes = np.unique(labels, return_inverse=True)
        totals = np.bincount(codes, weights=weights, minlength=len(classes))
        if not totals.all():
            rows = np.flatnonzero(totals[codes])
            X, labels, weights = _safe_indexing(X, rows), labels[rows], weights[rows]
    return fit_weighted(estimator, X, labels, weights)


class _SoftmaxClassifier(ClassifierMixin, BaseEstimator):
    """Probabilities for a classifier that has scores only.

    ``softmax(scores / s)``, s being the mean range of the scores of a row that it was
    fitted to: bounded away from 0 and 1, and to be calibrated.
    """

    def __init__(self, estimator):
        self.estimator = estimator

    def fit(self, X, y):
        self.estimator_ = clone(self.estimator).fit(X, y)
        self.classes_ = self.estimator_.classes_
        spread = np.ptp(class_scores(self.estimator_, X), axis=1).mean()
        self.scale_ = spread if spread > 0 else 1.0
        return self

    def predict(self, X):
        return self.estimator_.predict(X)

    def predict_proba(self, X):
        return scaled_probabilities(class_scores(self.estimator_, X), self.scale_)
