"""Fitting the models of an ensemble: who sees which rows and labels."""

import warnings
from contextlib import contextmanager
from copy import copy
from time import perf_counter
from typing import NamedTuple

import numpy as np
from sklearn import config_context
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.model_selection._search import BaseSearchCV
from sklearn.pipeline import Pipeline
from sklearn.utils import _safe_indexing, check_random_state, get_tags
from sklearn.utils.metadata_routing import get_routing_for_object
from sklearn.utils.validation import _num_samples, has_fit_parameter

from skadapt._base import DegenerateWeightsWarning, sample_rows
from skadapt._calibration import (
    class_scores,
    cross_fitted_scores,
    fit_present,
    fit_temperature,
    held_out_scores,
    log_probabilities,
    scaled_probabilities,
)
from skadapt._domains import (
    NoAdaptationWarning,
    is_labeled,
    mask_target_labels,
    natural_labels,
)
from skadapt._predictor import (
    _request_weights,
    steps_of,
    takes_domains,
    weight_parameter,
)
from skadapt._transfer import TransferClassifier, _call, _is_weighter
from skadapt.instance._label_shift import _row_key


def uses_target_labels(model):
    """Whether a step of the model is made to learn from labels of target rows."""
    if isinstance(model, Pipeline):
        return any(uses_target_labels(step) for step in steps_of(model))
    if isinstance(model, BaseSearchCV):
        return uses_target_labels(model.estimator)
    return bool(
        getattr(model, "_uses_target_labels", False)
        or getattr(model, "train_on", "source") == "labeled"
    )


def is_unadapted(model):
    """Whether it is a plain classifier, as such or in a TransferClassifier."""
    if isinstance(model, TransferClassifier):
        return model.adapter is None and not takes_domains(model._resolve_estimator())
    return not takes_domains(model)


def check_form(name, model):
    """Refuse a model that takes domains and hands rows of all to plain classifiers."""
    if not takes_domains(model):
        return
    kind = type(model).__name__
    if isinstance(model, Pipeline):
        check_form(name, model.steps[-1][1])
    elif isinstance(model, BaseSearchCV):
        last = steps_of(model.estimator)[-1]
        if not takes_domains(last):
            raise ValueError(
                f"The candidate {name!r} searches a Pipeline whose last step, "
                f"{type(last).__name__}, takes no sample_domain and would be fitted to "
                f"rows of the target: let {kind} search "
                f"TransferClassifier({type(last).__name__}(), adapter)."
            )
        check_form(name, model.estimator)
    elif not has_fit_parameter(model, "sample_domain"):
        raise ValueError(
            f"The candidate {name!r} is a {kind} of models that take sample_domain, "
            "and hands all of them labels and rows of all domains: give its models as "
            "candidates instead."
        )


def as_transfer_model(model):
    """The model, with what would learn from target rows in a TransferClassifier."""
    if not takes_domains(model):
        return TransferClassifier(model)
    if isinstance(model, Pipeline):
        *before, (name, last) = model.steps
        if not takes_domains(last):
            return TransferClassifier(last, Pipeline(before, memory=model.memory))
        model.steps = [*before, (name, as_transfer_model(last))]
    return model


def check_takes_weights(name, model):
    if weight_parameter(model) is None:
        raise ValueError(
            f"The candidate {name!r} takes no sample_weight: leave it out, or pass "
            "no weights."
        )


# Rows of a class or of a domain that are not left out, where rows are drawn.
_LEAST_OF_A_GROUP = 5


class Member(NamedTuple):
    """A candidate that was fitted, or what was wrong with it."""

    name: str
    model: object = None
    # None: its probabilities are used as they are.
    temperature: float | None = None
    # Of labelled source rows that are not alone in their class, by models that have
    # not seen them.
    held_out: np.ndarray | None = None
    # Whether the most probable class of each of these is the true one.
    correct: np.ndarray | None = None
    seconds: float | None = 0.0
    error: Exception | None = None

    def probabilities(self, classifier, Z):
        if self.temperature is None:
            return _own_probabilities(self.name, classifier).predict_proba(Z)
        return scaled_probabilities(class_scores(classifier, Z), self.temperature)


def _own_probabilities(name, model):
    if not hasattr(model, "predict_proba"):
        raise ValueError(
            f"The candidate {name!r} has no predict_proba, and probabilities are what "
            "is averaged: set calibrate=True, or use a classifier that has, such as "
            "LogisticRegression."
        )
    return model


def member_groups(models):
    """Positions of the models; those that share an adapter are fitted together."""
    groups = {}
    for at, model in enumerate(models):
        shared = _is_joined(model) and model.adapter is not None
        key = (id(model.adapter), model.normalize_weights) if shared else at
        groups.setdefault(key, []).append(at)
    return list(groups.values())


def _is_joined(model):
    """Whether it is an adapter that needs no labels, joined to a classifier."""
    return (
        type(model) is TransferClassifier
        and model.train_on == "source"
        and not takes_domains(model._resolve_estimator())
        and not any(get_tags(s).target_tags.required for s in steps_of(model.adapter))
    )


def fit_group(names, models, X, y, ids, weights, cv):
    """Fit models of one adapter; those that fail say why."""
    start = perf_counter()
    try:
        models = [as_transfer_model(clone(model)) for model in models]
        with warnings.catch_warnings():
            # Advice on a single model: here its weight in the average is what counts.
            warnings.simplefilter("ignore", DegenerateWeightsWarning)
            if _is_joined(models[0]):
                members = _fit_joined(names, models, X, y, ids, weights, cv)
            else:
                members = [_fit_single(names[0], models[0], X, y, ids, weights, cv)]
    except Exception as error:  # whatever it is, the other candidates go on
        return [Member(name, error=error) for name in names]
    # What they share counts in equal parts.
    rest = perf_counter() - start - sum(member.seconds for member in members)
    return [m._replace(seconds=m.seconds + rest / len(members)) for m in members]


def _fit_joined(names, models, X, y, ids, weights, cv):
    """Fit the adapter once, and each classifier to what it returns."""
    for model in models:
        model._validate_params()
    first = models[0]
    heads = _Heads(names, [model._resolve_estimator() for model in models], cv)
    joint = TransferClassifier(
        heads, first.adapter, normalize_weights=first.normalize_weights
    )
    joint = fit_model(names[0], joint, X, y, ids, weights)
    members = []
    for model, member in zip(models, joint.estimator_.members_):
        if member.error is None:
            fitted = copy(joint).set_params(**model.get_params(deep=False))
            fitted.estimator_ = member.model
            member = member._replace(model=fitted)
        members.append(member)
    return members


class _Heads(ClassifierMixin, BaseEstimator):
    """Classifiers that are fitted to the same rows, in the place of one."""

    def __init__(self, names, estimators, cv):
        self.names = names
        self.estimators = estimators
        self.cv = cv

    def fit(self, X, y, sample_weight=None):
        self.members_ = [
            self._fit_one(name, estimator, X, np.asarray(y), sample_weight)
            for name, estimator in zip(self.names, self.estimators)
        ]
        return self

    def _fit_one(self, name, estimator, X, y, weights):
        start = perf_counter()
        temperature = held_out = correct = None
        try:
            if weights is not None and weight_parameter(estimator) is None:
                raise ValueError(
                    f"{type(estimator).__name__} takes no sample_weight: use one that "
                    "does, such as LogisticRegression, with adapters that weight rows."
                )
            model = fit_present(clone(estimator), X, y, weights)
            if self.cv is None:
                _own_probabilities(name, model)
            else:
                codes = np.unique(y, return_inverse=True)[1]
                scores, rows = cross_fitted_scores(estimator, X, y, weights, self.cv)
                codes = codes[rows]
                temperature = fit_temperature(scores, codes)
                held_out = scaled_probabilities(scores, temperature)
                correct = held_out.argmax(axis=1) == codes
        except Exception as error:
            return Member(name, error=error)
        seconds = perf_counter() - start
        return Member(name, model, temperature, held_out, correct, seconds)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        inner = [get_tags(estimator).input_tags for estimator in self.estimators]
        tags.input_tags.sparse = any(own.sparse for own in inner)
        tags.input_tags.allow_nan = any(own.allow_nan for own in inner)
        return tags


def _fit_single(name, model, X, y, ids, weights, cv):
    """Fit a model that adapts by itself; held-out rows take fits of their own."""
    fitted = fit_model(name, clone(model), X, y, ids, weights)
    _own_probabilities(name, fitted)
    if cv is None:
        return Member(name, fitted)
    source = is_labeled(y) & (True if ids is None else ids > 0)
    rows = np.flatnonzero(source)
    codes = np.unique(natural_labels(y[rows]), return_inverse=True)[1]

    def predict_scores(train, held):
        kept = np.ones(len(y), dtype=bool)
        kept[rows[held]] = False
        kept = np.flatnonzero(kept)
        parts = (
            _safe_indexing(X, kept),
            y[kept],
            None if ids is None else ids[kept],
            None if weights is None else weights[kept],
        )
        own = fit_model(name, clone(model), *parts)
        proba = predict_proba_of(
            own,
            _safe_indexing(X, rows[held]),
            None if ids is None else ids[rows[held]],
        )
        classes = np.unique(natural_labels(y[rows]))
        known = np.isin(own.classes_, classes)
        columns = np.searchsorted(classes, own.classes_[known])
        return log_probabilities(proba[:, known]), columns

    scores, held = held_out_scores(predict_scores, _safe_indexing(X, rows), codes, cv)
    codes = codes[held]
    temperature = fit_temperature(scores, codes)
    held_out = scaled_probabilities(scores, temperature)
    correct = held_out.argmax(axis=1) == codes
    return Member(name, fitted, temperature, held_out, correct)


def fit_model(name, model, X, y, ids, weights=None):
    metadata = {} if ids is None else {"sample_domain": ids}
    if ids is not None and not uses_target_labels(model):
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
            if takes_domains(step):
                return None
            try:
                step.fit(_safe_indexing(X, labeled), natural_labels(y[labeled]))
            except (TypeError, ValueError):
                return None
            return step
        X = X_new
    return None


def call_of(model, method, X, ids):
    """Call a method for rows; models that know domains are told them."""
    with config_context(enable_metadata_routing=True):
        routing = get_routing_for_object(model)
        asked = ids is not None and routing.consumes(method, ["sample_domain"])
        metadata = {"sample_domain": ids} if asked else {}
        return getattr(model, method)(X, **metadata)


def predict_proba_of(model, X, ids):
    return call_of(model, "predict_proba", X, ids)


def rows_to_fit(X, y, ids, max_samples, random_state):
    """Ascending positions of the rows that models are fitted to; None if all.

    At most `max_samples`, of both domains alike as far as there are so many; source
    rows without labels are left out. Five rows of each class of the source and of each
    domain are among them, if it has them, even if these are more. What is drawn does
    not depend on the order of the rows, as long as X holds numbers.
    """
    n_samples = _num_samples(X)
    if max_samples is None or n_samples <= max_samples:
        return None
    rng = check_random_state(random_state)
    if ids is None:
        ids = np.ones(n_samples, dtype=np.int64)
    # A number for each row that depends on what it holds, unless it holds words.
    order = np.argsort(_row_key(X, np.random.default_rng(0)), kind="stable")
    order = order[rng.permutation(n_samples)]
    source = order[(ids[order] > 0) & is_labeled(y)[order]]
    target = order[ids[order] < 0]
    sizes = [len(rows) for rows in sample_rows(source, target, max_samples, rng)]
    first = np.zeros(n_samples, dtype=bool)
    for rows, groups in (
        (source, natural_labels(y[source])),
        (source, ids[source]),
        (target, ids[target]),
    ):
        for group in np.unique(groups):
            first[rows[groups == group][:_LEAST_OF_A_GROUP]] = True
    drawn = []
    for rows, size in zip((source, target), sizes):
        rows = rows[np.argsort(~first[rows], kind="stable")]
        drawn.append(rows[: max(size, np.count_nonzero(first[rows]))])
    return np.sort(np.concatenate(drawn))


@contextmanager
def progress_bar(total, verbose):
    """A function that advances a bar by so many models, of which there are `total`."""
    if not verbose:
        yield lambda count: None
        return
    try:
        from tqdm.auto import tqdm
    except ImportError as error:
        raise ImportError(
            "The bar of verbose=1 needs tqdm: pip install tqdm, or set verbose=0."
        ) from error
    with tqdm(total=total, unit="model", leave=False) as bar:
        yield bar.update
