"""What predictors share: rows, domains, row weights of any estimator, scores."""

from abc import ABCMeta, abstractmethod
from inspect import Parameter, signature

import numpy as np
from scipy import sparse
from sklearn import config_context
from sklearn.base import (
    BaseEstimator,
    ClassifierMixin,
    MetaEstimatorMixin,
    RegressorMixin,
    clone,
)
from sklearn.metrics import accuracy_score, r2_score
from sklearn.pipeline import Pipeline
from sklearn.utils import (
    _safe_indexing,
    assert_all_finite,
    check_consistent_length,
    get_tags,
)
from sklearn.utils.metadata_routing import get_routing_for_object
from sklearn.utils.validation import (
    _check_sample_weight,
    _num_samples,
    has_fit_parameter,
)

from skadapt._base import check_rows
from skadapt._domains import (
    as_labels,
    check_sample_domain,
    is_labeled,
    natural_labels,
    warn_no_adaptation,
)


def steps_of(adapter):
    """The steps of an adapter in order, without those that pass X through."""
    if isinstance(adapter, Pipeline):
        return [part for _, step in adapter.steps for part in steps_of(step)]
    return [] if adapter is None or isinstance(adapter, str) else [adapter]


def inner_estimators(estimator):
    """The estimators that a meta-estimator fits; an empty list if it is none."""
    parameters = estimator.get_params(deep=False)
    names = ("estimator", "regressor", "final_estimator")
    found = [parameters.get(name) for name in names]
    for named in parameters.get("estimators") or ():
        found.append(named[-1] if isinstance(named, tuple) else named)
    return [inner for inner in found if hasattr(inner, "fit")]


def weight_parameter(estimator):
    """Name under which `estimator.fit` takes row weights, or None.

    In a Pipeline the weights go to the last step; a search or another
    meta-estimator hands on what all of its own estimators take.
    """
    if isinstance(estimator, Pipeline):
        name, last = estimator.steps[-1]
        inner = weight_parameter(last)
        return inner and f"{name}__{inner}"
    if has_fit_parameter(estimator, "sample_weight"):
        return "sample_weight"
    takes_any = any(
        p.kind is Parameter.VAR_KEYWORD
        for p in signature(estimator.fit).parameters.values()
    )
    names = [weight_parameter(inner) for inner in inner_estimators(estimator)]
    if not (takes_any and names and all(names)):
        return None
    return names[0] if len(names) == 1 else "sample_weight"


def takes_domains(estimator):
    """Whether `estimator.fit` adapts to domains, which it would not be told here."""
    with config_context(enable_metadata_routing=True):
        try:
            routing = get_routing_for_object(estimator)
        except NotImplementedError:  # some of scikit-learn's, such as AdaBoost
            return False
        return bool(routing.consumes("fit", ["sample_domain"]))


def fit_weighted(estimator, X, y, weights):
    """Fit with row weights, or without if they are None; return the estimator."""
    # Weights are the only metadata here, so the user has no routing to set up.
    with config_context(enable_metadata_routing=False):
        if weights is None:
            return estimator.fit(X, y)
        try:
            return estimator.fit(X, y, **{weight_parameter(estimator): weights})
        except ValueError as error:
            # Some meta-estimators of scikit-learn hand weights on by routing only.
            nested = any(inner_estimators(step) for step in steps_of(estimator))
            if not nested or "sample_weight" not in str(error):
                raise
    with config_context(enable_metadata_routing=True):
        _request_weights(estimator)
        return estimator.fit(X, y, sample_weight=weights)


def _request_weights(estimator, wanted=True):
    """Ask for weights in every part of an estimator that is to have them."""
    if isinstance(estimator, Pipeline):
        *others, last = steps_of(estimator)
        for step in others:
            _request_weights(step, wanted=False)
        _request_weights(last, wanted)
        return
    for method in ("fit", "transform", "score"):
        request = getattr(estimator, f"set_{method}_request", None)
        if request is not None and "sample_weight" in signature(request).parameters:
            request(sample_weight=wanted and method != "transform")
    for inner in inner_estimators(estimator):
        _request_weights(inner, wanted)


def estimator_has(method):
    def check(self):
        fitted = getattr(self, "estimator_", None)
        getattr(self._resolve_estimator() if fitted is None else fitted, method)
        return True

    return check


class BasePredictor(MetaEstimatorMixin, BaseEstimator, metaclass=ABCMeta):
    """Base class of predictors that fit an estimator on rows of several domains.

    A subclass says which estimator that is.
    """

    __metadata_request__fit = {"sample_domain": True}
    __metadata_request__predict = {"sample_domain": True}
    __metadata_request__predict_proba = {"sample_domain": True}
    __metadata_request__predict_log_proba = {"sample_domain": True}
    __metadata_request__decision_function = {"sample_domain": True}
    __metadata_request__score = {"sample_domain": True}

    @abstractmethod
    def _resolve_estimator(self):
        """The estimator, not yet cloned."""

    def _check_start(self, X, y):
        """Rows of X and a fresh estimator, before anything is known of domains."""
        X = self._check_rows(X, reset=True)
        if y is None:
            raise ValueError(
                f"requires y to be passed, but the target y is None: "
                f"{type(self).__name__} learns from labelled source rows."
            )
        estimator = clone(self._resolve_estimator())
        if any(get_tags(step).input_tags.pairwise for step in steps_of(estimator)[:1]):
            raise ValueError(
                f"{type(estimator).__name__} takes a matrix between rows, of which "
                f"{type(self).__name__} would keep the training rows but not their "
                "columns: give it rows and a kernel or metric by name."
            )
        return X, estimator

    def _check_rows(self, X, *, reset):
        X = check_rows(self, X, reset=reset)
        # Only what sees X first: an imputer there spares the others the NaN.
        estimator = self._resolve_estimator()
        steps = steps_of(getattr(self, "adapter", None)) + steps_of(estimator)
        first = steps[0] if steps else estimator
        if (
            isinstance(X, np.ndarray)
            and X.dtype.kind == "f"
            and not get_tags(first).input_tags.allow_nan
        ):
            assert_all_finite(X, input_name="X", estimator_name=type(self).__name__)
        return X

    def _fit_without_adaptation(self, estimator, X, y, sample_weight):
        y = self._check_one_domain(X, y)
        if sample_weight is not None:
            self._check_takes_weights(estimator)
            sample_weight = _check_sample_weight(sample_weight, X)
        self.estimator_ = fit_weighted(estimator, X, y, sample_weight)

    def _check_one_domain(self, X, y):
        """Labels of all rows, where no domains are given."""
        warn_no_adaptation(self, stacklevel=6)
        if sparse.issparse(X) and not get_tags(self).input_tags.sparse:
            raise TypeError(
                "Sparse data was passed, but the estimator or the adapter takes dense "
                "data only: use X.toarray()."
            )
        y = as_labels(y)
        missing = np.count_nonzero(~is_labeled(y))
        if missing:
            raise ValueError(
                f"{missing} of {len(y)} rows are unlabelled (NaN or None in y), which "
                "takes sample_domain to make sense of: pass sample_domain=..., or "
                "labelled rows only."
            )
        return natural_labels(y) if y.dtype == object else y

    def _check_takes_weights(self, estimator):
        if weight_parameter(estimator) is None:
            raise ValueError(
                f"{type(estimator).__name__} takes no sample_weight: use an "
                "estimator that does, such as LogisticRegression, or pass none."
            )

    def _check_training_rows(self, training, ids):
        if not training[ids > 0].any():
            raise ValueError(
                "y holds no labelled source row: the labels of the source are what "
                f"{type(self).__name__} learns from."
            )

    def _score_rows(self, X, y, sample_weight, sample_domain):
        """The rows that `score` looks at: those of the target, if domains are given."""
        y = as_labels(y)
        check_consistent_length(X, y, sample_weight)
        if sample_weight is not None:
            sample_weight = _check_sample_weight(sample_weight, X)
        if sample_domain is not None:
            sample_domain = check_sample_domain(
                sample_domain, _num_samples(X), scalar=True
            )
            rows = np.flatnonzero(sample_domain < 0)
            if len(rows):
                X, y = _safe_indexing(X, rows), y[rows]
                sample_domain = sample_domain[rows]
                sample_weight = None if sample_weight is None else sample_weight[rows]
        missing = np.count_nonzero(~is_labeled(y))
        if missing:
            raise ValueError(
                f"score needs labels, but {missing} of {len(y)} target rows have none: "
                "score labelled rows only."
            )
        return X, y, sample_weight, sample_domain

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        inner = get_tags(self._resolve_estimator())
        tags.input_tags = inner.input_tags
        tags.target_tags = inner.target_tags
        tags.classifier_tags = inner.classifier_tags
        tags.regressor_tags = inner.regressor_tags
        return tags


class TargetClassifierMixin(ClassifierMixin):
    """`ClassifierMixin` with a score of the target rows."""

    def score(self, X, y, sample_weight=None, *, sample_domain=None):
        """Accuracy on the target.

        Parameters
        ----------
        X : {array-like, sparse matrix, data frame} of shape (n_samples, n_features)
            Rows.
        y : array-like of shape (n_samples,)
            True labels of the rows that are scored.
        sample_weight : array-like of shape (n_samples,), default=None
            Row weights.
        sample_domain : array-like of shape (n_samples,) or int, default=None
            Domain of each row. Only target rows are scored; if it names none,
            the source rows are. None: all rows are target rows.

        Returns
        -------
        score : float
            Share of right predictions.
        """
        X, y, sample_weight, sample_domain = self._score_rows(
            X, y, sample_weight, sample_domain
        )
        return self._score(y, self.predict(X, sample_domain), sample_weight)

    def _score(self, y, predicted, sample_weight):
        y = natural_labels(y)
        return float(accuracy_score(y, predicted, sample_weight=sample_weight))


class TargetRegressorMixin(RegressorMixin):
    """`RegressorMixin` with a score of the target rows."""

    def score(self, X, y, sample_weight=None, *, sample_domain=None):
        """Coefficient of determination on the target.

        Parameters
        ----------
        X : {array-like, sparse matrix, data frame} of shape (n_samples, n_features)
            Rows.
        y : array-like of shape (n_samples,)
            True values of the rows that are scored.
        sample_weight : array-like of shape (n_samples,), default=None
            Row weights.
        sample_domain : array-like of shape (n_samples,) or int, default=None
            Domain of each row. Only target rows are scored; if it names none,
            the source rows are. None: all rows are target rows.

        Returns
        -------
        score : float
            R^2.
        """
        X, y, sample_weight, sample_domain = self._score_rows(
            X, y, sample_weight, sample_domain
        )
        return self._score(y, self.predict(X, sample_domain), sample_weight)

    def _score(self, y, predicted, sample_weight):
        return float(r2_score(y, predicted, sample_weight=sample_weight))
