"""What the estimators of label shift share: held-out predictions, calibration."""

from abc import ABCMeta, abstractmethod
from numbers import Integral
from typing import NamedTuple

import numpy as np
from scipy import sparse
from scipy.linalg import block_diag
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax
from sklearn.base import (
    _fit_context,
    clone,
)
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import check_cv
from sklearn.utils import (
    _safe_indexing,
    check_consistent_length,
    check_random_state,
)
from sklearn.utils._param_validation import HasMethods, StrOptions
from sklearn.utils.metaestimators import available_if
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import (
    _check_sample_weight,
    _num_samples,
    check_is_fitted,
)

from skadapt._domains import (
    as_labels,
    check_sample_domain,
    is_labeled,
    mask_target_labels,
    natural_labels,
)
from skadapt._predictor import (
    BasePredictor,
    TargetClassifierMixin,
    estimator_has,
    fit_weighted,
    weight_parameter,
)

# Predicted probabilities below this one count as this one, as in scikit-learn's
# temperature scaling: the logarithm of a 0 would decide everything.
_LEAST_PROBABILITY = 1e-12
# A temperature of at most 1,000.
_LEAST_SCALE = 1e-3
# Several estimators of scikit-learn fail where a class has no weight at all.
_LEAST_CLASS_WEIGHT = 1e-6
# Weight of the prior that keeps a calibration finite on separable classes, in rows.
PRIOR_ROWS = 1.0
# Singular values and information below this share count as 0.
SINGULAR = 1e-10
# A class whose share a lost direction moves by less than this is determined.
UNDETERMINED = 1e-6


class BaseLabelShift(TargetClassifierMixin, BasePredictor, metaclass=ABCMeta):
    """Predict held-out source rows and target rows, compare, correct.

    A subclass implements ``_estimate_shares(held_out, target)``, which returns the
    class shares of the source and of the target, and standard errors of the latter.
    """

    _parameter_constraints: dict = {
        "estimator": [HasMethods(["fit"]), None],
        "calibration": [StrOptions({"ts", "vs", "bcts"}), None],
        "cv": ["cv_object"],
        "correction": [StrOptions({"posterior", "reweight"})],
        "random_state": ["random_state"],
        "n_jobs": [Integral, None],
    }

    def _resolve_estimator(self):
        if self.estimator is None:
            return LogisticRegression(max_iter=1000)
        return self.estimator

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y, sample_weight=None, *, sample_domain=None):
        """Fit the estimator to the source and estimate the target's class shares.

        Parameters
        ----------
        X : {array-like, sparse matrix, data frame} of shape (n_samples, n_features)
            Rows of all domains, in any order.
        y : array-like of shape (n_samples,)
            Labels; NaN (in an array of floats) or None (in an array of objects)
            marks an unlabelled row. Unlabelled source rows are left out; labels of
            target rows are never used, whatever y holds there.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights of the source rows, in the fits of the estimator
            and in every mean over held-out rows; 0 leaves a row out. Those of
            target rows are not used.
        sample_domain : array-like of shape (n_samples,), default=None
            Domain of each row, > 0 for sources and < 0 for targets. Several of
            either are pooled. None fits the estimator on all rows, with a
            `NoAdaptationWarning`.

        Returns
        -------
        self : object
            The fitted classifier.
        """
        X, estimator = self._check_start(X, y)
        self._forget()
        if sample_domain is None:
            self._fit_without_adaptation(estimator, X, y, sample_weight)
            self._set_no_shift()
            return self

        check_consistent_length(X, y)
        y = as_labels(y)
        ids = check_sample_domain(sample_domain, _num_samples(X), both=True)
        y = mask_target_labels(y, ids)
        training = is_labeled(y)
        self._check_training_rows(training, ids)
        weights = None
        if sample_weight is not None:
            weights = _check_sample_weight(
                sample_weight, X, dtype=np.float64, ensure_non_negative=True
            )
            training &= weights > 0
            if not training.any():
                raise ValueError(
                    "sample_weight is 0 for every labelled source row: give some of "
                    "them a positive weight."
                )
            weights = weights[training]
        self._check_estimator(estimator, weights)
        self._fit_adapted(
            estimator,
            _safe_indexing(X, np.flatnonzero(training)),
            natural_labels(y[training]),
            weights,
            _safe_indexing(X, np.flatnonzero(ids < 0)),
        )
        return self

    def _forget(self):
        """Drop what an earlier fit set: the next one may not set all of it."""
        for name in list(vars(self)):
            if name.endswith("_") and name not in (
                "n_features_in_",
                "feature_names_in_",
            ):
                delattr(self, name)

    def _set_no_shift(self):
        """Set what an iterative method reports where there is nothing to iterate."""

    def _check_estimator(self, estimator, weights):
        """Say what the estimator lacks for what the parameters ask of it."""
        frozen = isinstance(estimator, FrozenEstimator)
        reweight = self.correction == "reweight"
        if reweight and frozen:
            raise ValueError(
                "correction='reweight' fits the estimator again, which a "
                "FrozenEstimator forbids: use correction='posterior'."
            )
        needs_weights = (reweight or weights is not None) and not frozen
        if needs_weights and weight_parameter(estimator) is None:
            raise ValueError(
                f"{estimator_name(estimator)} takes no sample_weight, which "
                "sample_weight= and correction='reweight' need: use an estimator that "
                "does, such as LogisticRegression, or leave them at their defaults."
            )

    def _needs_probabilities(self):
        return self.correction == "posterior" or self.calibration is not None

    def _fit_adapted(self, estimator, Xs, labels, weights, Xt):
        frozen = isinstance(estimator, FrozenEstimator)
        self.estimator_ = fit_weighted(
            clone(estimator), Xs, labels, None if frozen else weights
        )
        # Some meta-estimators have predict_proba only once they are fitted.
        lacks = not hasattr(self.estimator_, "predict_proba")
        if lacks and self._needs_probabilities():
            raise ValueError(
                f"{estimator_name(estimator)} has no predict_proba, which "
                f"{type(self).__name__} needs as it is set: wrap it in "
                "CalibratedClassifierCV, or use BBSE or RLLS with "
                "correction='reweight' and calibration=None."
            )
        classes, codes = np.unique(labels, return_inverse=True)
        if not np.array_equal(classes, self.classes_):
            raise ValueError(
                f"{estimator_name(estimator)} knows the classes "
                f"{np.asarray(self.classes_).tolist()}, and the labelled source rows "
                f"hold the classes {classes.tolist()}: give source rows of just the "
                "classes that it knows."
            )
        held_out = _HeldOut(
            _log(self._predict_held_out(estimator, Xs, labels, codes, weights)),
            codes,
            np.full(len(codes), 1.0 / len(codes))
            if weights is None
            else weights / weights.sum(),
        )
        target = _log(_posterior(self.estimator_, Xt))
        self._calibration = _fit_calibration(held_out, self.calibration)
        if self.calibration is not None:
            self.bias_ = self._calibration.bias
            self.temperature_ = 1.0 / self._calibration.scale
            if self.calibration != "vs":
                self.temperature_ = float(self.temperature_[0])
        self.source_prior_, self.target_prior_, self.target_prior_std_ = (
            self._estimate_shares(held_out, target)
        )
        self.class_weight_ = self.target_prior_ / self.source_prior_
        if self.correction == "reweight":
            row_weights = np.maximum(self.class_weight_, _LEAST_CLASS_WEIGHT)[codes]
            if weights is not None:
                row_weights = row_weights * weights
            self.reweighted_estimator_ = fit_weighted(
                clone(estimator), Xs, labels, row_weights
            )

    def _predict_held_out(self, estimator, X, labels, codes, weights):
        """Predictions for the source rows by estimators that have not seen them."""
        if isinstance(estimator, FrozenEstimator):  # it has seen none of the rows
            return _posterior(self.estimator_, X)
        splits = self._splits(X, labels, codes, weights)
        predicted = Parallel(n_jobs=self.n_jobs)(
            delayed(_fit_and_predict)(estimator, X, labels, weights, *split)
            for split in splits
        )
        # A class that a fold of the user's leaves out of training has 0.
        posterior = np.zeros((len(codes), len(self.classes_)))
        for (_, held), (classes, values) in zip(splits, predicted):
            columns = np.searchsorted(self.classes_, classes)
            posterior[held[:, np.newaxis], columns] = values
        return posterior

    def _splits(self, X, labels, codes, weights):
        """Training and held-out rows of each fold."""
        every = np.arange(len(codes))
        if self.cv is None or isinstance(self.cv, Integral):
            counts = np.bincount(codes)
            if counts.min() < 2:
                raise ValueError(
                    f"Class {self.classes_[counts.argmin()]} has 1 labelled source "
                    "row, and predictions for rows held out of training take at least "
                    "2: add rows of this class or leave it out."
                )
            folds = _stratified_folds(
                X, codes, weights, self.cv or 5, self.random_state
            )
            return [
                (every[folds != fold], every[folds == fold])
                for fold in range(folds.max() + 1)
            ]
        splits = [
            (every[train], every[held])
            for train, held in check_cv(self.cv).split(X, labels)
        ]
        if not np.array_equal(np.sort(np.concatenate([h for _, h in splits])), every):
            raise ValueError(
                f"cv must hold out each of the {len(every)} labelled source rows once, "
                "rows being counted among these: pass a number, or a splitter whose "
                "test sets are a partition, such as StratifiedGroupKFold."
            )
        return splits

    @abstractmethod
    def _estimate_shares(self, held_out, target):
        """Class shares of source and target, and standard errors of the latter.

        `held_out` and `target`, of shape (n_target, n_classes), hold logarithms of
        predictions before calibration.
        """

    @property
    def classes_(self):
        """Class labels, in the natural dtype of the labelled values."""
        check_is_fitted(self)
        return self.estimator_.classes_

    def predict(self, X, sample_domain=None):
        """Predict the most probable class.

        Parameters
        ----------
        X : {array-like, sparse matrix, data frame} of shape (n_samples, n_features)
            Rows.
        sample_domain : array-like of shape (n_samples,) or int, default=None
            Domain of each row; one int stands for all rows. Predictions for source
            rows are not corrected. None: target rows.

        Returns
        -------
        y_pred : ndarray of shape (n_samples,)
            Class labels.
        """
        X, is_target = self._check_prediction_rows(X, sample_domain)
        if not hasattr(self, "class_weight_"):
            return self.estimator_.predict(X)
        return self.classes_[self._corrected(X, is_target).argmax(axis=1)]

    @available_if(estimator_has("predict_proba"))
    def predict_proba(self, X, sample_domain=None):
        """Predict class probabilities.

        Parameters
        ----------
        X : {array-like, sparse matrix, data frame} of shape (n_samples, n_features)
            Rows.
        sample_domain : array-like of shape (n_samples,) or int, default=None
            Domain of each row; one int stands for all rows. Probabilities of source
            rows are calibrated, if that is asked for, and not corrected. None:
            target rows.

        Returns
        -------
        proba : ndarray of shape (n_samples, n_classes)
            Probabilities, columns in the order of `classes_`.
        """
        X, is_target = self._check_prediction_rows(X, sample_domain)
        if not hasattr(self, "class_weight_"):
            return self.estimator_.predict_proba(X)
        return self._corrected(X, is_target)

    def _check_prediction_rows(self, X, sample_domain):
        """Rows, and which of them are target rows."""
        check_is_fitted(self)
        X = self._check_rows(X, reset=False)
        n_samples = _num_samples(X)
        if sample_domain is None:
            return X, np.ones(n_samples, dtype=bool)
        return X, check_sample_domain(sample_domain, n_samples, scalar=True) < 0

    def _corrected(self, X, is_target):
        """Each row's posterior in its own domain."""
        proba = np.empty((len(is_target), len(self.classes_)))
        for rows, target in ((is_target, True), (~is_target, False)):
            if not rows.any():
                continue
            part = X if rows.all() else _safe_indexing(X, np.flatnonzero(rows))
            if target and hasattr(self, "reweighted_estimator_"):
                proba[rows] = _posterior(self.reweighted_estimator_, part)
                continue
            log_proba = self._calibration.log(_log(_posterior(self.estimator_, part)))
            if target:
                with np.errstate(divide="ignore"):  # a share of 0
                    log_proba = log_proba + np.log(self.class_weight_)
            proba[rows] = softmax(log_proba, axis=1)
        return proba


class _HeldOut(NamedTuple):
    """Source rows with predictions by estimators that have not seen them."""

    log_posterior: np.ndarray  # (n, k), before calibration
    codes: np.ndarray  # (n,), class of each row
    weights: np.ndarray  # (n,), sum 1


class _Calibration(NamedTuple):
    """The map softmax(scale * log_posterior + bias)."""

    scale: np.ndarray  # (k,), 1 / temperature
    bias: np.ndarray  # (k,), sum 0
    # How the d free parameters move (scale, bias), shape (2 k, d).
    basis: np.ndarray

    def log(self, log_posterior):
        return log_softmax(self.scale * log_posterior + self.bias, axis=1)

    def __call__(self, log_posterior):
        return np.exp(self.log(log_posterior))


def _fit_calibration(held_out, kind):
    """The calibration of least log loss, under the prior of `LabelShiftEM`."""
    x, codes, weights = held_out
    k = x.shape[1]
    none, one, each = np.empty((k, 0)), np.ones((k, 1)), np.eye(k)
    scales, biases = {
        None: (none, none),
        "ts": (one, none),
        "bcts": (one, each),
        "vs": (each, each),
    }[kind]
    basis = block_diag(scales, biases)
    if kind is None:
        return _Calibration(np.ones(k), np.zeros(k), basis)
    n_scales, n_biases = scales.shape[1], biases.shape[1]
    start = np.repeat([1.0, 0.0], [n_scales, n_biases])
    prior = PRIOR_ROWS * float(weights @ weights)
    rows = np.arange(len(x))

    def loss(parameters):
        scale, bias = np.split(basis @ parameters, 2)
        log_f = log_softmax(scale * x + bias, axis=1)
        error = np.exp(log_f)
        error[rows, codes] -= 1.0
        error *= weights[:, np.newaxis]
        gradient = np.concatenate([(error * x).sum(axis=0), error.sum(axis=0)])
        away = parameters - start
        return (
            0.5 * prior * (away @ away) - weights @ log_f[rows, codes],
            prior * away + gradient @ basis,
        )

    solution = minimize(
        loss,
        start,
        jac=True,
        method="L-BFGS-B",
        bounds=[(_LEAST_SCALE, None)] * n_scales + [(None, None)] * n_biases,
        options={"maxiter": 10_000, "maxfun": 20_000, "ftol": 1e-15, "gtol": 1e-9},
    )
    scale, bias = np.split(basis @ solution.x, 2)
    return _Calibration(scale, bias - bias.mean(), basis)


def _stratified_folds(X, codes, weights, n_folds, random_state):
    """Fold of each row, shuffled within its class; the same in any order of rows."""
    rng = check_random_state(random_state)
    key = _row_key(X, rng)
    ties = key if weights is None else weights
    order = np.lexsort((ties, key, codes))
    order = order[np.lexsort((rng.random(len(order)), codes[order]))]
    folds = np.empty(len(order), dtype=np.intp)
    folds[order] = np.arange(len(order)) % n_folds
    return folds


def _row_key(X, rng):
    """A number for each row that depends on what it holds and not on its place."""
    direction = rng.standard_normal(X.shape[1])
    if sparse.issparse(X):
        return X @ direction
    try:
        rows = np.asarray(X, dtype=np.float64)
    except (TypeError, ValueError):
        return np.arange(X.shape[0])  # words: the order in which they came
    return np.nan_to_num(rows) @ direction


def estimator_name(estimator):
    if isinstance(estimator, FrozenEstimator):
        estimator = estimator.estimator
    return type(estimator).__name__


def _log(posterior):
    posterior = np.asarray(posterior, dtype=np.float64)
    return np.log(np.maximum(posterior, _LEAST_PROBABILITY))


def _posterior(estimator, X):
    """Probabilities, or indicators of the predicted class where there are none."""
    if hasattr(estimator, "predict_proba"):
        return estimator.predict_proba(X)
    return np.asarray(estimator.predict(X))[:, np.newaxis] == estimator.classes_


def _fit_and_predict(estimator, X, labels, weights, train, held):
    """Classes and predictions for the rows `held` after a fit to `train`."""
    fitted = fit_weighted(
        clone(estimator),
        _safe_indexing(X, train),
        labels[train],
        None if weights is None else weights[train],
    )
    return fitted.classes_, _posterior(fitted, _safe_indexing(X, held))
