"""Estimators that join an adapter to any scikit-learn estimator."""

import warnings
from numbers import Real

import numpy as np
from sklearn import config_context
from sklearn.base import _fit_context, clone, is_classifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import Pipeline
from sklearn.utils import _safe_indexing, check_consistent_length, get_tags
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.metadata_routing import get_routing_for_object
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import (
    _check_sample_weight,
    _num_samples,
    check_is_fitted,
    has_fit_parameter,
)

from skadapt._base import DegenerateWeightsWarning
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
    TargetRegressorMixin,
    estimator_has,
    fit_weighted,
    steps_of,
    takes_domains,
    weight_parameter,
)

__all__ = ["TransferClassifier", "TransferRegressor"]


def _is_weighter(adapter):
    return hasattr(adapter, "fit") and not hasattr(adapter, "transform")


def _check_weighter(adapter):
    """Refuse what neither maps columns nor weights rows."""
    if not has_fit_parameter(adapter, "sample_domain"):
        raise ValueError(
            f"{type(adapter).__name__} is no adapter: an adapter has transform, or its "
            "fit takes sample_domain and sets weights_, or it is one Pipeline of such "
            "steps of which the last alone may weight rows."
        )


class _BaseTransfer(BasePredictor):
    """Adapt, fit the estimator on the training rows, predict the target."""

    _parameter_constraints = {
        # StackingClassifier has predict only once it is fitted.
        "estimator": [HasMethods(["fit"]), None],
        "adapter": [HasMethods(["fit"]), None],
        "train_on": [StrOptions({"source", "labeled"})],
        "target_weight": [
            Interval(Real, 0, None, closed="neither"),
            StrOptions({"domain"}),
        ],
        "normalize_weights": ["boolean"],
    }

    def __init__(
        self,
        estimator=None,
        adapter=None,
        train_on="source",
        target_weight=1.0,
        *,
        normalize_weights=True,
    ):
        self.estimator = estimator
        self.adapter = adapter
        self.train_on = train_on
        self.target_weight = target_weight
        self.normalize_weights = normalize_weights

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y, sample_weight=None, *, sample_domain=None):
        """Adapt the source to the target and fit the estimator.

        Parameters
        ----------
        X : {array-like, sparse matrix, data frame} of shape (n_samples, n_features)
            Rows of all domains, in any order.
        y : array-like of shape (n_samples,)
            Labels; NaN (in an array of floats) or None (in an array of objects)
            marks an unlabelled row. Labels of target rows are never used with
            ``train_on="source"``, whatever y holds there.
        sample_weight : array-like of shape (n_samples,), default=None
            Row weights; they multiply those of the adapter.
        sample_domain : array-like of shape (n_samples,), default=None
            Domain of each row, > 0 for sources and < 0 for targets. None fits
            the estimator on all rows, with a `NoAdaptationWarning`.

        Returns
        -------
        self : object
            The fitted estimator.
        """
        X, estimator = self._check_start(X, y)
        if sample_domain is None:
            self.adapter_ = None
            self._fit_without_adaptation(estimator, X, y, sample_weight)
            return self

        if takes_domains(estimator):
            raise ValueError(
                f"{type(estimator).__name__} takes sample_domain itself: fit it by "
                f"itself instead of as the estimator of {type(self).__name__}, or as "
                "the last step of a Pipeline after the adapter, "
                f"make_pipeline(adapter, {type(estimator).__name__}())."
            )
        check_consistent_length(X, y)
        y = as_labels(y)
        ids = check_sample_domain(sample_domain, _num_samples(X), both=True)
        if self.train_on == "source":
            y = mask_target_labels(y, ids)
        training = is_labeled(y)
        self._check_training_rows(training, ids)

        weights = self._initial_weights(X, sample_weight, ids)
        Z, adapter_weights = self._fit_adapter(X, y, ids, estimator)
        if adapter_weights is not None:
            weights = self._combine(weights, adapter_weights, ids, training, y)
        if self.target_weight == "domain":
            weights = self._balance_domains(weights, ids, training)

        if weights is not None:
            if weight_parameter(estimator) is None:
                raise ValueError(
                    f"{type(estimator).__name__} takes no sample_weight, which "
                    "sample_weight= and target_weight= need: use an estimator that "
                    "does, such as LogisticRegression, or leave them at their "
                    "defaults."
                )
            weights = weights[training]
        labels = self._training_labels(y[training])
        rows = _safe_indexing(Z, np.flatnonzero(training))
        self.estimator_ = fit_weighted(estimator, rows, labels, weights)
        return self

    def _initial_weights(self, X, sample_weight, ids):
        """The user's weights times `target_weight`; None if all are 1."""
        weights = None
        if sample_weight is not None:
            weights = _check_sample_weight(sample_weight, X, dtype=np.float64)
        if self.train_on == "labeled" and self.target_weight not in ("domain", 1.0):
            relative = np.where(ids < 0, float(self.target_weight), 1.0)
            weights = relative if weights is None else weights * relative
        return weights

    def _balance_domains(self, weights, ids, training):
        """Weights that are scaled in the target to the total of the source."""
        if self.train_on == "source" or not training[ids < 0].any():
            return weights
        weights = np.ones(len(ids)) if weights is None else weights
        source, target = (weights[training & side].sum() for side in (ids > 0, ids < 0))
        if not (source > 0 and target > 0):
            raise ValueError(
                "target_weight='domain' gives both domains the same total, but the "
                f"labelled rows of the {'target' if source > 0 else 'source'} have no "
                "weight at all: give some of them a positive sample_weight."
            )
        return np.where(ids < 0, weights * (source / target), weights)

    def _fit_adapter(self, X, y, ids, estimator):
        """Fit the adapter; return mapped rows and source weights (or None)."""
        if self.adapter is None:
            self.adapter_ = None
            return X, None
        adapter = clone(self.adapter)
        chain = _as_pipeline(adapter)
        name, last = chain.steps[-1]
        if not _is_weighter(last):
            Z = _call(chain, "fit_transform", X, y, sample_domain=ids)
            self.adapter_ = chain if isinstance(adapter, Pipeline) else adapter
            return Z, None
        _check_weighter(last)
        if weight_parameter(estimator) is None:
            raise ValueError(
                f"{type(estimator).__name__} takes no sample_weight, so it cannot use "
                f"the weights of {type(last).__name__}: use an estimator that does, "
                "such as LogisticRegression, or an adapter that maps columns."
            )
        Z, self.adapter_ = X, last
        if len(chain.steps) > 1:
            mappers = Pipeline(chain.steps[:-1], memory=chain.memory)
            Z = _call(mappers, "fit_transform", X, y, sample_domain=ids)
            self.adapter_ = Pipeline([*mappers.steps, (name, last)])
        last.fit(Z, y, sample_domain=ids)
        if not hasattr(last, "weights_"):
            raise ValueError(
                f"{type(last).__name__} is no adapter: it has no transform, and no "
                "weights_ after fit. If it is a classifier or regressor, fit it by "
                "itself, with sample_domain."
            )
        return Z, last.weights_

    def _combine(self, weights, adapter_weights, ids, training, y):
        """All row weights: those of the adapter on the source, 1 on the target."""
        total = float(np.sum(adapter_weights[training[ids > 0]]))
        if not total > 0:
            raise ValueError(
                "The adapter gives no weight to any labelled source row: the domains "
                "do not overlap for it; try a wider kernel or a mapping adapter."
            )
        scale = 1.0
        if self.normalize_weights:
            scale = np.count_nonzero(training & (ids > 0)) / total
        combined = np.ones(len(ids))
        combined[ids > 0] = adapter_weights * scale
        if is_classifier(self):
            _warn_of_lost_classes(y[training], combined[training])
        return combined if weights is None else combined * weights

    def _map(self, X, sample_domain):
        check_is_fitted(self)
        X = self._check_rows(X, reset=False)
        if sample_domain is not None:
            sample_domain = check_sample_domain(
                sample_domain, _num_samples(X), scalar=True
            )
        if self.adapter_ is None:
            return X
        chain = _as_pipeline(self.adapter_)
        if _is_weighter(chain.steps[-1][1]):
            chain = Pipeline(chain.steps[:-1]) if len(chain.steps) > 1 else None
        return X if chain is None else _call(chain, "transform", X, None, sample_domain)

    def predict(self, X, sample_domain=None):
        """Predict.

        Parameters
        ----------
        X : {array-like, sparse matrix, data frame} of shape (n_samples, n_features)
            Rows.
        sample_domain : array-like of shape (n_samples,) or int, default=None
            Domain of each row; one int stands for all rows. None: target rows.

        Returns
        -------
        y_pred : ndarray of shape (n_samples,)
            Predictions of the fitted estimator.
        """
        Z = self._map(X, sample_domain)
        return self.estimator_.predict(Z)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        steps = steps_of(self.adapter)
        if steps:
            # A mapper comes between X and the estimator; a weighter does not.
            own, first = tags.input_tags, get_tags(steps[0]).input_tags
            own.sparse = first.sparse and (own.sparse or not _is_weighter(steps[0]))
            # Without domains the estimator gets X as it is, and scalers leave NaN.
            own.allow_nan = first.allow_nan and own.allow_nan
            own.pairwise = first.pairwise
        return tags


class TransferClassifier(TargetClassifierMixin, _BaseTransfer):
    """Join any scikit-learn classifier to an adapter.

    `fit` adapts, then fits the classifier on the labelled source rows as the
    adapter weights or maps them; `predict` maps target rows and predicts.

    Parameters
    ----------
    estimator : classifier, default=None
        Any scikit-learn classifier, Pipelines and searches included. None:
        ``LogisticRegression(max_iter=1000)``.
    adapter : weighter, mapper or Pipeline, default=None
        What to do about the difference between the domains: a weighter such as
        `KMM` (its `fit` takes `sample_domain` and sets `weights_`, one for each
        source row, and it has no `transform`), a mapper such as `CORAL`, or a
        scikit-learn Pipeline of transformers and mappers that may end in a
        weighter. None: nothing; that is the floor every adapter has to beat.
    train_on : {"source", "labeled"}, default="source"
        Rows the classifier is fitted on: labelled source rows only, or labelled
        target rows as well.
    target_weight : float or "domain", default=1.0
        Weight of a labelled target row, relative to a source row of weight 1.
        ``"domain"`` gives the labelled target rows the same total as the labelled
        source rows. Used with ``train_on="labeled"``.
    normalize_weights : bool, default=True
        Whether the adapter's weights are scaled to mean 1 over the labelled
        source rows, so that parameters such as ``C`` keep their meaning.

    Attributes
    ----------
    estimator_ : classifier
        The fitted classifier.
    adapter_ : weighter, mapper, Pipeline or None
        The fitted adapter.
    classes_ : ndarray of shape (n_classes,)
        Class labels, in the natural dtype of the labelled values.
    n_features_in_ : int
        Number of features seen in `fit`.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the features, if X was a data frame.

    Raises
    ------
    ValueError
        If `sample_domain` lacks sources or targets, if no source row is labelled,
        if weights meet a classifier that takes none, if the classifier takes a
        precomputed kernel, or if the adapter neither maps nor weights.

    Warns
    -----
    NoAdaptationWarning
        If `fit` gets no `sample_domain`.
    DegenerateWeightsWarning
        If the adapter's weights leave nothing of a class.

    See Also
    --------
    TransferRegressor : The same for regressors.

    Notes
    -----
    Without `sample_domain` the classifier is fitted on all rows as it is and a
    `NoAdaptationWarning` says so.

    Cross-validation: scikit-learn's splitters chosen by a number (``cv=5``) look
    at y and refuse NaN; pass a splitter or a list of index pairs. Where source
    rows are held out, switch metadata routing on and leave `scoring` at its
    default: only then does `score` get their `sample_domain`. With routing off,
    or with a scorer of scikit-learn's, held-out rows are predicted as target rows,
    which is right for target rows alone.

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skadapt import KMM, TransferClassifier
    >>> from skadapt.datasets import make_covariate_shift
    >>> data = make_covariate_shift(shift=1.5, random_state=0)
    >>> X, y, sample_domain = data.X, data.y, data.sample_domain
    >>> target = sample_domain < 0
    >>> floor = LogisticRegression().fit(X[~target], y[~target])
    >>> model = TransferClassifier(LogisticRegression(), KMM())
    >>> model = model.fit(X, y, sample_domain=sample_domain)
    >>> bool(model.score(X[target], y[target]) > floor.score(X[target], y[target]))
    True
    """

    def _resolve_estimator(self):
        if self.estimator is None:
            return LogisticRegression(max_iter=1000)
        return self.estimator

    def _training_labels(self, y):
        return natural_labels(y)

    @property
    def classes_(self):
        """Class labels, in the natural dtype of the labelled values."""
        check_is_fitted(self)
        return self.estimator_.classes_

    @available_if(estimator_has("predict_proba"))
    def predict_proba(self, X, sample_domain=None):
        """Predict class probabilities.

        Parameters
        ----------
        X : {array-like, sparse matrix, data frame} of shape (n_samples, n_features)
            Rows.
        sample_domain : array-like of shape (n_samples,) or int, default=None
            Domain of each row; one int stands for all rows. None: target rows.

        Returns
        -------
        proba : ndarray of shape (n_samples, n_classes)
            Probabilities, columns in the order of `classes_`.
        """
        Z = self._map(X, sample_domain)
        return self.estimator_.predict_proba(Z)

    @available_if(estimator_has("predict_log_proba"))
    def predict_log_proba(self, X, sample_domain=None):
        """Predict logarithms of class probabilities.

        Parameters
        ----------
        X : {array-like, sparse matrix, data frame} of shape (n_samples, n_features)
            Rows.
        sample_domain : array-like of shape (n_samples,) or int, default=None
            Domain of each row; one int stands for all rows. None: target rows.

        Returns
        -------
        log_proba : ndarray of shape (n_samples, n_classes)
            Logarithms, columns in the order of `classes_`.
        """
        Z = self._map(X, sample_domain)
        return self.estimator_.predict_log_proba(Z)

    @available_if(estimator_has("decision_function"))
    def decision_function(self, X, sample_domain=None):
        """Confidence scores.

        Parameters
        ----------
        X : {array-like, sparse matrix, data frame} of shape (n_samples, n_features)
            Rows.
        sample_domain : array-like of shape (n_samples,) or int, default=None
            Domain of each row; one int stands for all rows. None: target rows.

        Returns
        -------
        scores : ndarray of shape (n_samples,) or (n_samples, n_classes)
            Scores of the fitted classifier.
        """
        Z = self._map(X, sample_domain)
        return self.estimator_.decision_function(Z)


class TransferRegressor(TargetRegressorMixin, _BaseTransfer):
    """Join any scikit-learn regressor to an adapter.

    `fit` adapts, then fits the regressor on the labelled source rows as the
    adapter weights or maps them; `predict` maps target rows and predicts.

    Parameters
    ----------
    estimator : regressor, default=None
        Any scikit-learn regressor, Pipelines and searches included. None:
        ``Ridge()``.
    adapter : weighter, mapper or Pipeline, default=None
        What to do about the difference between the domains, as in
        `TransferClassifier`. None: nothing.
    train_on : {"source", "labeled"}, default="source"
        Rows the regressor is fitted on: labelled source rows only, or labelled
        target rows as well.
    target_weight : float or "domain", default=1.0
        Weight of a labelled target row, relative to a source row of weight 1.
        ``"domain"`` gives the labelled target rows the same total as the labelled
        source rows. Used with ``train_on="labeled"``.
    normalize_weights : bool, default=True
        Whether the adapter's weights are scaled to mean 1 over the labelled
        source rows, so that parameters such as ``alpha`` keep their meaning.

    Attributes
    ----------
    estimator_ : regressor
        The fitted regressor.
    adapter_ : weighter, mapper, Pipeline or None
        The fitted adapter.
    n_features_in_ : int
        Number of features seen in `fit`.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the features, if X was a data frame.

    Raises
    ------
    ValueError
        If `sample_domain` lacks sources or targets, if no source row is labelled,
        if weights meet a regressor that takes none, if the regressor takes a
        precomputed kernel, or if the adapter neither maps nor weights.

    Warns
    -----
    NoAdaptationWarning
        If `fit` gets no `sample_domain`.

    See Also
    --------
    TransferClassifier : The same for classifiers.

    Notes
    -----
    Without `sample_domain` the regressor is fitted on all rows as it is and a
    `NoAdaptationWarning` says so.

    Cross-validation: scikit-learn's splitters chosen by a number (``cv=5``) look
    at y and refuse NaN; pass a splitter or a list of index pairs. Where source
    rows are held out, switch metadata routing on and leave `scoring` at its
    default: only then does `score` get their `sample_domain`. With routing off,
    or with a scorer of scikit-learn's, held-out rows are predicted as target rows,
    which is right for target rows alone.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LinearRegression
    >>> from skadapt import KMM, TransferRegressor, stack_domains
    >>> rng = np.random.default_rng(0)
    >>> Xs, Xt = rng.normal(0.5, 0.5, (100, 1)), rng.normal(0.0, 0.3, (100, 1))
    >>> def curve(x):
    ...     return -x[:, 0] + x[:, 0] ** 3
    >>> X, y, sample_domain = stack_domains(Xs, curve(Xs), Xt)
    >>> model = TransferRegressor(LinearRegression(), KMM())
    >>> model = model.fit(X, y, sample_domain=sample_domain)
    >>> floor = LinearRegression().fit(Xs, curve(Xs))
    >>> bool(model.score(Xt, curve(Xt)) > floor.score(Xt, curve(Xt)))
    True
    """

    def _resolve_estimator(self):
        return Ridge() if self.estimator is None else self.estimator

    def _training_labels(self, y):
        return y.astype(np.float64) if y.dtype == object else y


# Total weight of a class, where the mean row has 1, below which it counts as lost:
# interior point methods leave small positive numbers where pivoting leaves 0.
_LOST = 1e-3


def _warn_of_lost_classes(labels, weights):
    """Say which classes the adapter's weights leave out of the training."""
    classes, codes = np.unique(natural_labels(labels), return_inverse=True)
    totals = np.bincount(codes, weights=weights)
    lost = classes[totals < _LOST * weights.mean()]
    if len(lost):
        warnings.warn(
            f"The weights of the adapter leave nothing of the classes {lost.tolist()}, "
            "so the estimator cannot tell them from others: unless the target lacks "
            "them, use a wider kernel or a mapping adapter.",
            DegenerateWeightsWarning,
            stacklevel=5,
        )


def _as_pipeline(adapter):
    if isinstance(adapter, Pipeline):
        return adapter
    return Pipeline([("adapter", adapter)])


def _call(pipeline, method, X, y, sample_domain):
    """Call a Pipeline's method; routing hands sample_domain to steps that ask."""
    rows = (X,) if method == "transform" else (X, y)
    with config_context(enable_metadata_routing=True):
        routing = get_routing_for_object(pipeline)
        asked = sample_domain is not None and routing.consumes(
            method, ["sample_domain"]
        )
        metadata = {"sample_domain": sample_domain} if asked else {}
        return getattr(pipeline, method)(*rows, **metadata)
