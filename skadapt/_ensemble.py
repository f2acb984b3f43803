"""Averages of the probabilities of several transfer models."""

import warnings
from numbers import Integral

import numpy as np
from sklearn import config_context
from sklearn.base import _fit_context, clone, is_classifier
from sklearn.pipeline import Pipeline, _name_estimators
from sklearn.utils import (
    ClassifierTags,
    InputTags,
    TargetTags,
    _safe_indexing,
    check_consistent_length,
    get_tags,
)
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.metadata_routing import get_routing_for_object
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import (
    _check_sample_weight,
    _num_samples,
    check_is_fitted,
    column_or_1d,
)

from skadapt._base import check_rows
from skadapt._domains import (
    NoAdaptationWarning,
    as_labels,
    check_sample_domain,
    is_labeled,
    natural_labels,
)
from skadapt._predictor import (
    BasePredictor,
    TargetClassifierMixin,
    _request_weights,
    takes_domains,
    weight_parameter,
)
from skadapt._transfer import TransferClassifier
from skadapt.solvers._class_shares import column_scales, rescale, resolve_prior

__all__ = ["AdapterEnsembleClassifier"]

# Sizes of the subspaces of the default candidates.
_SIZES = (10, 20, 30, 40, 60)


class AdapterEnsembleClassifier(TargetClassifierMixin, BasePredictor):
    """Average the probabilities of transfer models.

    Which preparation of the columns, which map and which number of components is best
    for a target cannot be told without its labels. Fitting several and averaging what
    they say needs no choice, and is as a rule better than most of them [1]_. Each
    model is fitted by itself, with pseudo-labels of its own: models that are made to
    agree make the same mistakes.

    Parameters
    ----------
    candidates : list of classifiers or of (str, classifier), default=None
        The models. Each is a classifier that takes `sample_domain`, such as
        `TransferClassifier`, `MEDA` or `EasyTL`; a Pipeline of which some step takes
        it, ``make_pipeline(PerDomain(), MEDA())``; or any other classifier, which is
        fitted to the labelled source rows. All need `predict_proba`. None: `MEDA` with
        ``subspace="pls"`` and 10, 20, 30, 40 and 60 components.
    weights : array-like of shape (n_candidates,), default=None
        Weights of the models in the average, not negative. None: all alike.
    prior : {"uniform"} or array-like of shape (n_classes,), default=None
        Shares of the classes, in sorted order, in the target: averages are rescaled to
        have them in the mean of the target rows of `fit`. None assumes nothing.
    n_jobs : int, default=None
        Models fitted at a time. None: one, unless in a joblib context.

    Attributes
    ----------
    transduction_ : ndarray of shape (n_target,)
        Labels of the target rows of `fit`, in the order of X.
    estimators_ : list of classifiers
        The fitted models. Plain classifiers are in a `TransferClassifier`.
    named_estimators_ : dict of str to classifier
        The same by name: that given, or that of the class in lower case, numbered if
        there are several.
    classes_ : ndarray of shape (n_classes,)
        Class labels, in the natural dtype of the labelled values.
    n_features_in_ : int
        Number of features seen in `fit`.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the features, if X was a data frame.

    Raises
    ------
    ValueError
        If there is no candidate or one that lacks `predict_proba`, if two have one
        name, if `weights` or `prior` do not fit, if `sample_domain` lacks sources or
        targets, or if no source row is labelled.

    Warns
    -----
    NoAdaptationWarning
        If `fit` gets no `sample_domain`. All models are fitted without then.

    See Also
    --------
    MEDA : The models of the default.
    TransferClassifier : Any classifier with an adapter, as one of the models.

    Notes
    -----
    A Pipeline hands `sample_domain` to the steps that ask for it; metadata routing
    need not be switched on. Models see y as it is, and those of this package that must
    not use labels of target rows hide them from themselves. Plain classifiers learn
    from source rows alone.

    `predict_proba` is the weighted mean of that of the models, for rows of `fit` and
    for new ones. With `prior`, its columns are multiplied by factors that Sinkhorn's
    algorithm found on the target rows of `fit`, so that `predict` gives
    `transduction_` on these. Labels that a model itself gives to the target rows of
    `fit` in another way than by `predict_proba` have no part.

    A model with probabilities of 0 and 1 has the say of several that are unsure:
    prefer models of one kind, or give such a model a smaller weight.

    `sample_weight` goes to each model, a Pipeline's last step in it; all have to take
    it.

    References
    ----------
    .. [1] T. G. Dietterich. Ensemble methods in machine learning. Multiple Classifier
       Systems 2000.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from skadapt import AdapterEnsembleClassifier, EasyTL, MEDA, PerDomain
    >>> from skadapt.datasets import load_mnist_optdigits
    >>> data = load_mnist_optdigits()
    >>> X, y, domain = data.X[::10], data.y[::10], data.sample_domain[::10]
    >>> model = AdapterEnsembleClassifier([
    ...     ("pixels", MEDA()),
    ...     ("scaled", make_pipeline(PerDomain(StandardScaler()), MEDA())),
    ...     ("means", EasyTL()),
    ... ])
    >>> model = model.fit(X, y, sample_domain=domain)
    >>> Xt, truth = X[domain < 0], y[domain < 0]
    >>> for name, member in model.named_estimators_.items():
    ...     print(f"{name} {np.mean(member.predict(Xt) == truth):.2f}")
    pixels 0.71
    scaled 0.77
    means 0.52
    >>> print(f"{np.mean(model.transduction_ == truth):.2f}")
    0.74
    """

    _parameter_constraints: dict = {
        "candidates": [list, tuple, None],
        "weights": ["array-like", None],
        "prior": [StrOptions({"uniform"}), "array-like", None],
        "n_jobs": [Integral, None],
    }

    def __init__(self, candidates=None, *, weights=None, prior=None, n_jobs=None):
        self.candidates = candidates
        self.weights = weights
        self.prior = prior
        self.n_jobs = n_jobs

    def _models(self):
        """The candidates without names; of a wrong list what can be fitted in it."""
        if self.candidates is None:
            # The methods are in packages that a TransferClassifier does without.
            from skadapt.feature import MEDA

            return [MEDA(size, "pls") for size in _SIZES]
        models = [c[-1] if isinstance(c, tuple) and c else c for c in self.candidates]
        return [model for model in models if hasattr(model, "fit")]

    def _resolve_estimator(self):
        return next(iter(self._models()), TransferClassifier())

    def _check_rows(self, X, *, reset):
        return check_rows(self, X, reset=reset)

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y, sample_weight=None, *, sample_domain=None):
        """Fit the models and label the target rows.

        Parameters
        ----------
        X : {array-like, sparse matrix, data frame} of shape (n_samples, n_features)
            Rows of all domains, in any order.
        y : array-like of shape (n_samples,)
            Labels; NaN (in an array of floats) or None (in an array of objects)
            marks an unlabelled row. Labels of target rows are used by models that
            are made for it, such as `TrAdaBoostClassifier`, and by no others.
        sample_weight : array-like of shape (n_samples,), default=None
            Row weights, for each model.
        sample_domain : array-like of shape (n_samples,), default=None
            Domain of each row, > 0 for sources and < 0 for targets. None fits the
            models without, with a `NoAdaptationWarning`.

        Returns
        -------
        self : object
            The fitted classifier.
        """
        X, _ = self._check_start(X, y)
        vars(self).pop("transduction_", None)
        names, models = self._check_candidates()
        self._weights = _check_weights(self.weights, len(models))
        if sample_weight is not None:
            sample_weight = _check_sample_weight(sample_weight, X, dtype=np.float64)
        ids = None
        if sample_domain is None:
            y = self._labels_of_one_domain(X, y)
        else:
            check_consistent_length(X, y)
            y = column_or_1d(as_labels(y))
            ids = check_sample_domain(sample_domain, _num_samples(X), both=True)
            labeled = is_labeled(y)
            self._check_training_rows(labeled, ids)
            check_classification_targets(natural_labels(y[labeled & (ids > 0)]))

        self.estimators_ = Parallel(n_jobs=self.n_jobs)(
            delayed(_fit_model)(name, clone(model), X, y, ids, sample_weight)
            for name, model in zip(names, models)
        )
        self.named_estimators_ = dict(zip(names, self.estimators_))
        self.classes_ = np.unique(
            np.concatenate([model.classes_ for model in self.estimators_])
        )
        self._scales = np.ones(len(self.classes_))
        shares = resolve_prior(self.prior, len(self.classes_))
        if ids is None:
            return self
        target = np.flatnonzero(ids < 0)
        proba = self._average(_safe_indexing(X, target), ids[target])
        if shares is not None:
            self._scales = column_scales(proba, shares)
            proba = rescale(proba, self._scales)
        self.transduction_ = self.classes_[proba.argmax(axis=1)]
        return self

    def _labels_of_one_domain(self, X, y):
        return column_or_1d(self._check_one_domain(X, y))

    def _check_candidates(self):
        """Names and models."""
        if self.candidates is None:
            models = self._models()
            return [f"meda-{size}" for size in _SIZES], models
        if not len(self.candidates):
            raise ValueError(
                "candidates is empty: give at least one classifier, or None for the "
                "default."
            )
        named = [isinstance(candidate, tuple) for candidate in self.candidates]
        if all(named) and all(len(candidate) == 2 for candidate in self.candidates):
            names, models = zip(*self.candidates)
        elif not any(named):
            models = list(self.candidates)
            names = [name for name, _ in _name_estimators(models)]
        else:
            raise ValueError(
                "candidates must be a list of classifiers, or of pairs (name, "
                "classifier), and not of both."
            )
        for model in models:
            if not (hasattr(model, "fit") and is_classifier(model)):
                raise ValueError(
                    f"candidates holds {model!r}, which is no classifier: join an "
                    "adapter to a classifier with TransferClassifier."
                )
        if len(set(names)) < len(names):
            raise ValueError(
                f"The names of candidates must be unique, got {list(names)!r}."
            )
        return names, models

    def _average(self, X, ids):
        """Weighted mean of the probabilities of the models."""
        total = np.zeros((_num_samples(X), len(self.classes_)))
        for weight, model in zip(self._weights, self.estimators_):
            columns = np.searchsorted(self.classes_, model.classes_)
            total[:, columns] += weight * _predict_proba(model, X, ids)
        return total

    def predict(self, X, sample_domain=None):
        """Predict the most probable class.

        Parameters
        ----------
        X : {array-like, sparse matrix, data frame} of shape (n_samples, n_features)
            Rows.
        sample_domain : array-like of shape (n_samples,) or int, default=None
            Domain of each row; one int stands for all rows. None: target rows.

        Returns
        -------
        y_pred : ndarray of shape (n_samples,)
            Class labels.
        """
        best = self.predict_proba(X, sample_domain).argmax(axis=1)
        return self.classes_[best]

    def predict_proba(self, X, sample_domain=None):
        """Average the class probabilities of the models.

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
        check_is_fitted(self)
        X = self._check_rows(X, reset=False)
        if sample_domain is not None:
            sample_domain = check_sample_domain(
                sample_domain, _num_samples(X), scalar=True
            )
        return rescale(self._average(X, sample_domain), self._scales)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        of_models = [get_tags(model).input_tags for model in self._models()]
        tags.input_tags = InputTags(
            sparse=all(own.sparse for own in of_models),
            allow_nan=all(own.allow_nan for own in of_models),
            positive_only=any(own.positive_only for own in of_models),
        )
        tags.target_tags = TargetTags(required=True)
        tags.classifier_tags = ClassifierTags()
        return tags


def _check_weights(weights, n_models):
    """Weights of the models, of sum 1."""
    if weights is None:
        return np.full(n_models, 1.0 / n_models)
    weights = np.asarray(weights, dtype=np.float64)
    if weights.shape != (n_models,) or not (weights >= 0).all() or not weights.any():
        raise ValueError(
            f"weights must hold a number for each of the {n_models} candidates, none "
            f"below 0 and not all 0, got {weights.tolist()!r}."
        )
    return weights / weights.sum()


def _as_transfer_model(model):
    """The model, or a TransferClassifier if it would learn from target rows."""
    if not takes_domains(model):
        return TransferClassifier(model)
    if isinstance(model, Pipeline) and not takes_domains(model.steps[-1][1]):
        return TransferClassifier(model.steps[-1][1], Pipeline(model.steps[:-1]))
    return model


def _fit_model(name, model, X, y, ids, weights):
    model = _as_transfer_model(model)
    metadata = {} if ids is None else {"sample_domain": ids}
    if weights is not None:
        if weight_parameter(model) is None:
            raise ValueError(
                f"The candidate {name!r} takes no sample_weight: leave it out, or pass "
                "no weights."
            )
        metadata["sample_weight"] = weights
    with config_context(enable_metadata_routing=True):
        if weights is not None:
            _request_weights(model)
        if ids is None:
            with warnings.catch_warnings():
                # The ensemble has said it for all.
                warnings.simplefilter("ignore", NoAdaptationWarning)
                model.fit(X, y, **metadata)
        else:
            model.fit(X, y, **metadata)
    if not hasattr(model, "predict_proba"):
        raise ValueError(
            f"The candidate {name!r} has no predict_proba, and probabilities are what "
            "is averaged: use a classifier that has, such as LogisticRegression."
        )
    return model


def _predict_proba(model, X, ids):
    with config_context(enable_metadata_routing=True):
        routing = get_routing_for_object(model)
        asked = ids is not None and routing.consumes("predict_proba", ["sample_domain"])
        metadata = {"sample_domain": ids} if asked else {}
        return model.predict_proba(X, **metadata)
