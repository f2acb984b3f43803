"""A transfer model that gives way to a model without adaptation."""

import warnings
from numbers import Integral

import numpy as np
from sklearn.base import _fit_context, clone, is_classifier
from sklearn.utils import (
    ClassifierTags,
    TargetTags,
    _safe_indexing,
    check_consistent_length,
    get_tags,
)
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import (
    _check_sample_weight,
    _num_samples,
    check_is_fitted,
    column_or_1d,
)

from skadapt._base import NegativeTransferWarning, check_rows
from skadapt._domains import (
    as_labels,
    check_sample_domain,
    is_labeled,
    mask_target_labels,
    natural_labels,
)
from skadapt._ensemble import AdapterEnsembleClassifier
from skadapt._members import (
    as_transfer_model,
    call_of,
    check_form,
    check_takes_weights,
    fit_model,
    uses_target_labels,
)
from skadapt._predictor import BasePredictor, TargetClassifierMixin
from skadapt._transfer import TransferClassifier
from skadapt.model_selection._scorers import (
    get_transfer_scorer,
    get_transfer_scorer_names,
)
from skadapt.model_selection._splitters import DomainKFold

# Looks at target rows alone, so that none need be held out.
_OF_TARGET = "mixval"
# What `fit` finds.
_FITTED = ("estimator_", "baseline_", "model_", "adopted_", "scores_", "verdict_")
# Labelled target rows of a class from which on they have a say.
LEAST_LABELS = 3


def _check_classes(labels):
    classes = np.unique(labels)
    if len(classes) < 2:
        raise ValueError(
            f"y holds one class, {classes[0]!s}, and the models tell classes apart: "
            "label source rows of at least two."
        )


def _chosen_has(method):
    def check(self):
        model = getattr(self, "model_", None)
        getattr(self._resolve_estimator() if model is None else model, method)
        return True

    return check


class NegativeTransferGuard(TargetClassifierMixin, BasePredictor):
    """Adapt, unless a score without target labels says that it hurts.

    Adapting is often worse than not, and labels that would show it are missing. The
    guard fits an adapted model and one that is not adapted, scores both without
    labels of the target, and predicts with the adapted one only if its score is
    larger.

    Parameters
    ----------
    estimator : classifier, default=None
        The adapted model: one that takes `sample_domain`, or a Pipeline in which some
        step does. None: ``AdapterEnsembleClassifier()``, the average of many.
    baseline : classifier, default=None
        The model to fall back on, fitted to the labelled source rows, or one that
        takes `sample_domain`. None: ``LogisticRegression(max_iter=1000)``.
    scorer : str or callable, default="mixval"
        One of `get_transfer_scorer_names`, or a callable ``scorer(model, X, y,
        sample_domain=...)`` for held-out rows of both domains; larger is better [1]_.
        ``"mixval"`` mixes target rows of `fit`, which have to be numbers, and costs no
        further fit; the others look at rows held out in `cv` folds.
    cv : int, default=3
        Folds of `DomainKFold` for the scores but ``"mixval"``.
    use_target_labels : bool, default=False
        Whether labels of target rows, if y has at least 3 of each class, count as
        well: the adapted model must not be right on fewer of these rows than the
        baseline. Neither model is fitted to them.

    Attributes
    ----------
    adopted_ : bool
        Whether the adapted model predicts.
    verdict_ : str
        The same in a sentence, with the scores.
    scores_ : dict of str to float
        Of ``"estimator"`` and ``"baseline"``, and their accuracies on labelled target
        rows, ``"estimator_accuracy"`` and ``"baseline_accuracy"``, if these are used.
    model_ : classifier
        The one that predicts: `estimator_` or `baseline_`.
    estimator_ : classifier
        The adapted model, fitted.
    baseline_ : classifier
        The other, fitted.
    classes_ : ndarray of shape (n_classes,)
        Class labels of `model_`.
    n_features_in_ : int
        Number of features seen in `fit`.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the features, if X was a data frame.

    Raises
    ------
    ValueError
        If a model or the scorer does not fit, if `sample_domain` lacks sources or
        targets, if source rows of fewer than two classes are labelled, if there are
        fewer target rows, or labelled source rows of a class, than `cv` folds that the
        score takes, or if `use_target_labels` meets a model that learns from these
        labels itself.

    Warns
    -----
    NegativeTransferWarning
        If the baseline is used, with the verdict.
    NoAdaptationWarning
        If `fit` gets no `sample_domain`. The baseline is fitted to all rows then.

    See Also
    --------
    compare_adapters : Diagnoses the shift first and hedges; to be preferred.
    AdapterEnsembleClassifier : The default model.

    Notes
    -----
    Equal scores count as no reason to adapt. The guard thins out gains as much as
    losses: on 70 benchmark tasks whose columns differ (``python -m benchmarks choose``)
    the plain average gained 2.8 points over no adaptation and lost more than 2 on 14;
    behind the guard with ``"mixval"`` it was 1.2 points and 10. `compare_adapters`,
    which mixes the average with an unadapted model instead, is to be preferred. The
    guard does not tell whether the domains differ at all, as `diagnose_shift` does,
    nor whether class shares do, which is what most harm comes from.

    References
    ----------
    .. [1] D. Hu, J. Liang, J. H. Liew, C. Xue, S. Bai, X. Wang. Mixed samples as
       probes for unsupervised model selection in domain adaptation. NeurIPS 2023.

    Examples
    --------
    >>> from skadapt import MEDA, NegativeTransferGuard
    >>> from skadapt.datasets import load_mnist_optdigits
    >>> data = load_mnist_optdigits()
    >>> X, y, domain = data.X[::10], data.y[::10], data.sample_domain[::10]
    >>> guard = NegativeTransferGuard(MEDA()).fit(X, y, sample_domain=domain)
    >>> guard.adopted_
    True
    >>> for model in (guard, guard.baseline_):
    ...     print(f"{model.score(X, y, sample_domain=domain):.2f}")
    0.71
    0.41
    """

    _parameter_constraints: dict = {
        "estimator": [HasMethods(["fit", "predict"]), None],
        "baseline": [HasMethods(["fit", "predict"]), None],
        "scorer": [StrOptions(set(get_transfer_scorer_names())), callable],
        "cv": [Interval(Integral, 2, None, closed="left")],
        "use_target_labels": ["boolean"],
    }

    def __init__(
        self,
        estimator=None,
        baseline=None,
        scorer="mixval",
        *,
        cv=3,
        use_target_labels=False,
    ):
        self.estimator = estimator
        self.baseline = baseline
        self.scorer = scorer
        self.cv = cv
        self.use_target_labels = use_target_labels

    def _resolve_estimator(self):
        if self.estimator is None:
            return AdapterEnsembleClassifier()
        return self.estimator

    @property
    def _uses_target_labels(self):
        return self.use_target_labels or uses_target_labels(self._resolve_estimator())

    def _check_rows(self, X, *, reset):
        return check_rows(self, X, reset=reset)

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y, sample_weight=None, *, sample_domain=None):
        """Fit both models and decide.

        Parameters
        ----------
        X : {array-like, sparse matrix, data frame} of shape (n_samples, n_features)
            Rows of all domains, in any order.
        y : array-like of shape (n_samples,)
            Labels; NaN (in an array of floats) or None (in an array of objects)
            marks an unlabelled row. Labels of target rows are hidden unless
            `use_target_labels` is set or a model is made to learn from them.
        sample_weight : array-like of shape (n_samples,), default=None
            Row weights, for both models.
        sample_domain : array-like of shape (n_samples,), default=None
            Domain of each row, > 0 for sources and < 0 for targets. None: the
            baseline is fitted to all rows, with a `NoAdaptationWarning`.

        Returns
        -------
        self : object
            The fitted classifier.
        """
        # After a fit that fails nothing of an earlier one is left.
        for fitted in _FITTED:
            vars(self).pop(fitted, None)
        X, estimator = self._check_start(X, y)
        baseline = TransferClassifier()
        if self.baseline is not None:
            baseline = clone(self.baseline)
        for name, model in (("estimator", estimator), ("baseline", baseline)):
            if not is_classifier(model):
                raise ValueError(
                    f"{name}={model!r} is no classifier: join an adapter to a "
                    "classifier with TransferClassifier."
                )
        baseline = as_transfer_model(baseline)
        weights = sample_weight
        if weights is not None:
            weights = _check_sample_weight(
                weights, X, dtype=np.float64, ensure_non_negative=True
            )
            for name, model in (("estimator", estimator), ("baseline", baseline)):
                check_takes_weights(name, as_transfer_model(clone(model)))
        if sample_domain is None:
            y = self._labels_of_one_domain(X, y)
            check_classification_targets(y)
            _check_classes(y)
            self.baseline_ = self.model_ = fit_model(
                "baseline", baseline, X, y, None, weights
            )
            self.adopted_, self.scores_ = False, {}
            self.verdict_ = "No domains were given: the baseline is used."
            return self
        check_consistent_length(X, y)
        y = column_or_1d(as_labels(y))
        ids = check_sample_domain(sample_domain, _num_samples(X), both=True)
        self._check_training_rows(is_labeled(y), ids)
        labels = natural_labels(y[is_labeled(y) & (ids > 0)])
        check_classification_targets(labels)
        _check_classes(labels)
        if self.scorer != _OF_TARGET:
            self._check_folds(labels, np.count_nonzero(ids < 0))
        check_form("estimator", estimator)
        estimator = as_transfer_model(estimator)
        if self.use_target_labels and uses_target_labels(estimator):
            raise ValueError(
                f"{type(estimator).__name__} learns from labels of target rows itself, "
                "so that they cannot judge it: leave use_target_labels at False."
            )
        self.baseline_ = fit_model("baseline", baseline, X, y, ids, weights)
        self.estimator_ = fit_model("estimator", estimator, X, y, ids, weights)
        self.scores_ = {
            "estimator": self._score_of(self.estimator_, X, y, ids, weights),
            "baseline": self._score_of(self.baseline_, X, y, ids, weights),
        }
        self._decide(X, y, ids)
        return self

    def _check_folds(self, labels, n_target):
        classes, counts = np.unique(labels, return_counts=True)
        least = counts.argmin()
        for count, kind in (
            (counts[least], f"labelled source rows of class {classes[least]!s}"),
            (n_target, "target rows"),
        ):
            if count < self.cv:
                raise ValueError(
                    f"cv={self.cv} folds hold out rows, and there are {count} {kind}: "
                    f"lower cv, to 2 at least, or use scorer={_OF_TARGET!r}, which "
                    "holds out none."
                )

    def _labels_of_one_domain(self, X, y):
        return column_or_1d(self._check_one_domain(X, y))

    def _score_of(self, model, X, y, ids, weights):
        """The score that needs no label of the target."""
        scorer = get_transfer_scorer(self.scorer)
        hidden = mask_target_labels(y, ids)
        if self.scorer == _OF_TARGET:
            return float(scorer(model, X, hidden, sample_domain=ids))
        own = y if uses_target_labels(model) else hidden
        folds = DomainKFold(self.cv, stratify=True, shuffle=True, random_state=0)
        scores = []
        for train, test in folds.split(X, hidden, sample_domain=ids):
            fitted = fit_model(
                "model",
                clone(model),
                _safe_indexing(X, train),
                own[train],
                ids[train],
                None if weights is None else weights[train],
            )
            held = _safe_indexing(X, test), hidden[test]
            scores.append(scorer(fitted, *held, sample_domain=ids[test]))
        return float(np.mean(scores))

    def _decide(self, X, y, ids):
        adapted, unadapted = self.scores_["estimator"], self.scores_["baseline"]
        self.adopted_ = bool(adapted > unadapted)
        figures = f"{adapted:.3g} against {unadapted:.3g} without adaptation"
        if self.adopted_ and self.use_target_labels:
            few = np.flatnonzero(is_labeled(y) & (ids < 0))
            labels, rows = natural_labels(y[few]), _safe_indexing(X, few)
            counts = [np.sum(labels == one) for one in self.baseline_.classes_]
            if min(counts) >= LEAST_LABELS:
                ours, theirs = (
                    float(np.mean(call_of(model, "predict", rows, ids[few]) == labels))
                    for model in (self.estimator_, self.baseline_)
                )
                self.scores_["estimator_accuracy"] = ours
                self.scores_["baseline_accuracy"] = theirs
                self.adopted_ = ours >= theirs
                figures += (
                    f"; right on {100 * ours:.0f} % against {100 * theirs:.0f} % of "
                    f"{len(few)} labelled target rows"
                )
        name = self.scorer if isinstance(self.scorer, str) else "score"
        if self.adopted_:
            self.model_ = self.estimator_
            self.verdict_ = f"The adapted model is used ({name} {figures})."
            return
        self.model_ = self.baseline_
        self.verdict_ = f"The baseline is used ({name} of the adapted model {figures})."
        warnings.warn(self.verdict_, NegativeTransferWarning, stacklevel=4)

    def __sklearn_is_fitted__(self):
        return hasattr(self, "model_")

    @property
    def classes_(self):
        """Class labels of the model that predicts."""
        check_is_fitted(self)
        return self.model_.classes_

    def _call(self, method, X, sample_domain):
        check_is_fitted(self)
        X = self._check_rows(X, reset=False)
        if sample_domain is not None:
            sample_domain = check_sample_domain(
                sample_domain, _num_samples(X), scalar=True
            )
        return call_of(self.model_, method, X, sample_domain)

    def predict(self, X, sample_domain=None):
        """Predict with the model that was chosen.

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
        return self._call("predict", X, sample_domain)

    @available_if(_chosen_has("predict_proba"))
    def predict_proba(self, X, sample_domain=None):
        """Predict class probabilities with the model that was chosen.

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
        return self._call("predict_proba", X, sample_domain)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        own = get_tags(self._resolve_estimator()).input_tags
        other = TransferClassifier() if self.baseline is None else self.baseline
        other = get_tags(other).input_tags
        tags.input_tags.sparse = own.sparse and other.sparse
        tags.input_tags.allow_nan = own.allow_nan and other.allow_nan
        tags.target_tags = TargetTags(required=True)
        tags.classifier_tags = ClassifierTags()
        return tags
