"""Averages of the probabilities of several transfer models."""

import warnings
from numbers import Integral

import numpy as np
from sklearn import config_context
from sklearn.base import _fit_context, clone, is_classifier
from sklearn.model_selection._search import BaseSearchCV
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
from sklearn.utils.metaestimators import _BaseComposition
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import (
    _check_sample_weight,
    _num_samples,
    check_is_fitted,
    column_or_1d,
    has_fit_parameter,
)

from skadapt._base import check_rows
from skadapt._domains import (
    NoAdaptationWarning,
    as_labels,
    check_sample_domain,
    is_labeled,
    mask_target_labels,
    natural_labels,
)
from skadapt._predictor import (
    BasePredictor,
    TargetClassifierMixin,
    _request_weights,
    steps_of,
    takes_domains,
    weight_parameter,
)
from skadapt._transfer import TransferClassifier, _call, _is_weighter
from skadapt.solvers._class_shares import (
    column_scales,
    rescale,
    resolve_prior,
    warn_of_missed_shares,
)

__all__ = ["AdapterEnsembleClassifier"]

# Sizes of the subspaces of the default candidates.
_SIZES = (10, 20, 30, 40, 60)


class AdapterEnsembleClassifier(TargetClassifierMixin, BasePredictor, _BaseComposition):
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
        fitted to the labelled source rows. All need `predict_proba`. Of pairs,
        ``name__parameter`` is a parameter. None: `MEDA` with ``subspace="pls"`` and
        10, 20, 30, 40 and 60 components.
    weights : array-like of shape (n_candidates,), default=None
        Weights of the models in the average, finite and not negative. None: all
        alike.
    prior : {"uniform"} or array-like of shape (n_classes,), default=None
        Shares of the classes, in sorted order, in the target: averages are rescaled to
        have them in the mean of the target rows of `fit`, as far as probabilities of 0
        and 1 allow. None assumes nothing.
    n_jobs : int, default=None
        Models fitted at a time. None: one, unless in a joblib context.

    Attributes
    ----------
    transduction_ : ndarray of shape (n_target,)
        Labels of the target rows of `fit`, in the order of X.
    estimators_ : list of classifiers
        The fitted models. Plain classifiers, and those that end a Pipeline of
        adapters, are in a `TransferClassifier`.
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
        If there is no candidate or one that lacks `predict_proba`, if names are wrong
        or not unique, if `weights` or `prior` do not fit, if `sample_domain` lacks
        sources or targets, if no source row is labelled, or if a candidate would hand
        target rows to a part of it that learns from y.

    Warns
    -----
    NoAdaptationWarning
        If `fit` gets no `sample_domain`. All models are fitted without then.
    UserWarning
        If the shares of `prior` cannot be met: a class can have no more target rows
        than give it any probability.

    See Also
    --------
    MEDA : The models of the default.
    TransferClassifier : Any classifier with an adapter, as one of the models.

    Notes
    -----
    A Pipeline hands `sample_domain` to the steps that ask for it; metadata routing
    need not be switched on.

    Labels of target rows are hidden from every candidate but those made to learn from
    them, as `TrAdaBoostClassifier` or ``TransferClassifier(train_on="labeled")``. Plain
    classifiers learn from source rows alone, also at the end of a Pipeline, where the
    steps before are their adapter. A step before that learns from y, such as
    SelectKBest, is refused, since the rows of a Pipeline are those of all domains.
    Pipelines may lie in one another: one of plain steps that comes last,
    ``make_pipeline(PerDomain(), make_pipeline(SelectKBest(), GaussianNB()))``, is as a
    whole a plain classifier. A search is a candidate if what it searches is and takes
    `sample_domain` itself; other meta-estimators of such models, as VotingClassifier,
    are refused.

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

    def _are_named(self):
        """Whether the candidates are pairs of a name and a model."""
        if not isinstance(self.candidates, (list, tuple)) or not self.candidates:
            return False
        return all(
            isinstance(pair, tuple)
            and len(pair) == 2
            and isinstance(pair[0], str)
            and not isinstance(pair[1], type)
            for pair in self.candidates
        )

    def get_params(self, deep=True):
        """Parameters, and those of named candidates.

        Parameters
        ----------
        deep : bool, default=True
            Whether candidates that have names are added by name, and their parameters
            as ``name__parameter``.

        Returns
        -------
        params : dict of str to object
            Values by name.
        """
        if self._are_named():
            return self._get_params("candidates", deep=deep)
        return super().get_params(deep=deep)

    def set_params(self, **params):
        """Set parameters, also those of named candidates.

        Parameters
        ----------
        params : dict of str to object
            Values by name. The name of a candidate replaces it, and
            ``name__parameter`` sets a parameter of it.

        Returns
        -------
        self : object
            The classifier.
        """
        if "candidates" in params:
            self.candidates = params.pop("candidates")
        if self._are_named():
            for name, _ in self.candidates:
                if name in params:
                    self._replace_estimator("candidates", name, params.pop(name))
        return super().set_params(**params)

    @property
    def _uses_target_labels(self):
        return any(_uses_target_labels(model) for model in self._models())

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
            marks an unlabelled row. Labels of target rows are hidden from all models
            but those made to use them, such as `TrAdaBoostClassifier`.
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
            y = labels = self._labels_of_one_domain(X, y)
        else:
            check_consistent_length(X, y)
            y = column_or_1d(as_labels(y))
            ids = check_sample_domain(sample_domain, _num_samples(X), both=True)
            self._check_training_rows(is_labeled(y), ids)
            seen = y if self._uses_target_labels else mask_target_labels(y, ids)
            labels = natural_labels(seen[is_labeled(seen)])
            for name, model in zip(names, models):
                _check_form(name, model)
        check_classification_targets(labels)
        classes = np.unique(labels)
        resolve_prior(self.prior, len(classes))  # before models are fitted in vain
        models = [_as_transfer_model(clone(model)) for model in models]
        if sample_weight is not None:
            for name, model in zip(names, models):
                _check_takes_weights(name, model)

        self.estimators_ = Parallel(n_jobs=self.n_jobs)(
            delayed(_fit_model)(name, model, X, y, ids, sample_weight)
            for name, model in zip(names, models)
        )
        self.named_estimators_ = dict(zip(names, self.estimators_))
        self.classes_ = np.unique(
            np.concatenate([classes, *(model.classes_ for model in self.estimators_)])
        )
        self._scales = np.ones(len(self.classes_))
        # Models may know of more classes than y.
        shares = resolve_prior(self.prior, len(self.classes_))
        if ids is None:
            return self
        target = np.flatnonzero(ids < 0)
        proba = self._average(_safe_indexing(X, target), ids[target])
        if shares is not None:
            self._scales = column_scales(proba, shares)
            proba = rescale(proba, self._scales)
            # Past the frame of the validation of parameters.
            warn_of_missed_shares(proba, shares, self.classes_, stacklevel=4)
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
        if all(named):
            self._validate_names(names)
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
    if (
        weights.shape != (n_models,)
        or not (np.isfinite(weights) & (weights >= 0)).all()
        or not weights.any()
    ):
        raise ValueError(
            f"weights must hold a finite number for each of the {n_models} candidates, "
            f"none below 0 and not all 0, got {weights.tolist()!r}."
        )
    weights = weights / weights.max()  # the sum of large ones may be infinite
    return weights / weights.sum()


def _uses_target_labels(model):
    """Whether a step of the model is made to learn from labels of target rows."""
    if isinstance(model, Pipeline):
        return any(_uses_target_labels(step) for step in steps_of(model))
    if isinstance(model, BaseSearchCV):
        return _uses_target_labels(model.estimator)
    return bool(
        getattr(model, "_uses_target_labels", False)
        or getattr(model, "train_on", "source") == "labeled"
    )


def _check_form(name, model):
    """Refuse a model that takes domains and hands rows of all to plain classifiers."""
    if not takes_domains(model):
        return
    kind = type(model).__name__
    if isinstance(model, Pipeline):
        _check_form(name, model.steps[-1][1])
    elif isinstance(model, BaseSearchCV):
        last = steps_of(model.estimator)[-1]
        if not takes_domains(last):
            raise ValueError(
                f"The candidate {name!r} searches a Pipeline whose last step, "
                f"{type(last).__name__}, takes no sample_domain and would be fitted to "
                f"rows of the target: let {kind} search "
                f"TransferClassifier({type(last).__name__}(), adapter)."
            )
        _check_form(name, model.estimator)
    elif not has_fit_parameter(model, "sample_domain"):
        raise ValueError(
            f"The candidate {name!r} is a {kind} of models that take sample_domain, "
            "and hands all of them labels and rows of all domains: give its models as "
            "candidates instead."
        )


def _as_transfer_model(model):
    """The model, with what would learn from target rows in a TransferClassifier."""
    if not takes_domains(model):
        return TransferClassifier(model)
    if isinstance(model, Pipeline):
        *before, (name, last) = model.steps
        if not takes_domains(last):
            return TransferClassifier(last, Pipeline(before, memory=model.memory))
        model.steps = [*before, (name, _as_transfer_model(last))]
    return model


def _check_takes_weights(name, model):
    if weight_parameter(model) is None:
        raise ValueError(
            f"The candidate {name!r} takes no sample_weight: leave it out, or pass "
            "no weights."
        )


def _fit_model(name, model, X, y, ids, weights):
    metadata = {} if ids is None else {"sample_domain": ids}
    if ids is not None and not _uses_target_labels(model):
        y = mask_target_labels(y, ids)
    if weights is not None:
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
            try:
                model.fit(X, y, **metadata)
            except (TypeError, ValueError) as error:
                step = _step_without_labels(model, X, y, ids)
                if step is None:
                    raise
                kind = type(step).__name__
                raise ValueError(
                    f"{kind}, a step of the candidate {name!r}, learns from y, but its "
                    "rows are those of all domains, and not all have a label that it "
                    "may see: fit it to source rows beforehand, or put it after the "
                    "adapter in a Pipeline with a plain classifier, "
                    f"make_pipeline(adapter, make_pipeline({kind}(), classifier))."
                ) from error
    if not hasattr(model, "predict_proba"):
        raise ValueError(
            f"The candidate {name!r} has no predict_proba, and probabilities are what "
            "is averaged: use a classifier that has, such as LogisticRegression."
        )
    return model


def _mappers_of(model):
    """The steps that map rows of all domains before a classifier gets them."""
    if isinstance(model, Pipeline):
        *before, last = steps_of(model)
        return [*before, *_mappers_of(last)]
    if isinstance(model, BaseSearchCV):
        return _mappers_of(model.estimator)
    if isinstance(model, TransferClassifier):
        return [step for step in steps_of(model.adapter) if not _is_weighter(step)]
    return []


def _step_without_labels(model, X, y, ids):
    """The step that is fitted with all labels and is not with some; None if others.

    No tag says of a transformer whether it learns from y.
    """
    labeled = np.flatnonzero(is_labeled(y))
    for step in _mappers_of(model):
        step = clone(step)
        try:
            X_new = _call(Pipeline([("step", step)]), "fit_transform", X, y, ids)
        except (TypeError, ValueError):
            try:
                step.fit(_safe_indexing(X, labeled), natural_labels(y[labeled]))
            except (TypeError, ValueError):
                return None
            return None if takes_domains(step) else step
        X = X_new
    return None


def _predict_proba(model, X, ids):
    with config_context(enable_metadata_routing=True):
        routing = get_routing_for_object(model)
        asked = ids is not None and routing.consumes("predict_proba", ["sample_domain"])
        metadata = {"sample_domain": ids} if asked else {}
        return model.predict_proba(X, **metadata)
