"""Averages of the probabilities of several transfer models."""

import warnings
from numbers import Integral, Real

import numpy as np
from sklearn.base import _fit_context, clone, is_classifier
from sklearn.pipeline import _name_estimators
from sklearn.utils import (
    ClassifierTags,
    InputTags,
    TargetTags,
    _safe_indexing,
    check_consistent_length,
    get_tags,
)
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.metaestimators import _BaseComposition
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import (
    _check_sample_weight,
    _num_samples,
    check_is_fitted,
    column_or_1d,
)

from skadapt._base import check_rows
from skadapt._calibration import log_probabilities, scaled_probabilities
from skadapt._domains import (
    as_labels,
    check_sample_domain,
    is_labeled,
    mask_target_labels,
    natural_labels,
)
from skadapt._members import (
    as_transfer_model,
    check_form,
    check_takes_weights,
    fit_group,
    is_unadapted,
    member_groups,
    predict_proba_of,
    progress_bar,
    rows_to_fit,
    uses_target_labels,
)
from skadapt._predictor import BasePredictor, TargetClassifierMixin
from skadapt._transfer import TransferClassifier
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
    candidates : {"default", "meda"} or list of classifiers or of (str, classifier), \
            default="default"
        The models. In a list, each is a classifier that takes `sample_domain`, such as
        `TransferClassifier`, `MEDA` or `EasyTL`; a Pipeline of which some step takes
        it, ``make_pipeline(PerDomain(), MEDA())``; or any other classifier, which is
        fitted to the labelled source rows. Of pairs, ``name__parameter`` is a
        parameter. ``"default"``: up to 37, for columns of numbers (see Notes).
        ``"meda"``: `MEDA` with ``subspace="pls"`` and 10, 20, 30, 40 and 60
        components.
    weights : array-like of shape (n_candidates,), default=None
        Weights of the models in the average, finite and not negative. None: all
        alike.
    hedge : float in [0, 1), default=0.0
        Weight that the best candidate without adapter has on top of its own, by its
        accuracy on the source rows that are held out for `calibrate`; the weights
        sum to 1. It limits what adaptation can lose (see Notes).
    prior : {"uniform"} or array-like of shape (n_classes,), default=None
        Shares of the classes, in sorted order, in the target: averages are rescaled to
        have them in the mean of the target rows of `fit`, as far as probabilities of 0
        and 1 allow. None assumes nothing.
    calibrate : bool, default=True
        Whether each model's probabilities are ``softmax(scores / T)``, with the
        temperature T of least log loss on source rows that it has not seen. False
        averages `predict_proba` as it is, which all models need then.
    cv : int, default=3
        Stratified folds in which source rows are held out for that; fewer, but at
        least 2, if a class has fewer rows.
    max_samples : int or None, default=5000
        Largest number of rows that the models are fitted to, of both domains alike as
        far as there are so many. None: all.
    n_jobs : int, default=None
        Models fitted at a time. None: one, unless in a joblib context.
    random_state : int, RandomState instance or None, default=None
        Draws these rows, and is the seed of ``"default"`` candidates.
    verbose : int, default=0
        1 shows a progress bar, with tqdm.

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
    failures_ : dict of str to str
        The candidates that could not be fitted, and why. They are left out.
    estimator_weights_ : ndarray of shape (n_fitted,)
        Weight of each model in the average, of sum 1.
    unadapted_ : str
        Name of the candidate without adapter that `hedge` favours. Only with one.
    temperatures_ : ndarray of shape (n_fitted,)
        T of each model; NaN if it is not calibrated.
    fit_times_ : ndarray of shape (n_fitted,)
        Seconds that each model took. What models share counts in equal parts.
    classes_ : ndarray of shape (n_classes,)
        Class labels, in the natural dtype of the labelled values.
    n_features_in_ : int
        Number of features seen in `fit`.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the features, if X was a data frame.

    Raises
    ------
    ValueError
        If there is no candidate or none that can be fitted, if names are wrong or not
        unique, if `weights` or `prior` do not fit, if `hedge` finds no calibrated
        candidate without adapter or none that can be fitted, if `sample_domain` lacks
        sources or targets, if no source row is labelled, or if a candidate would hand
        target rows to a part of it that learns from y.

    Warns
    -----
    NoAdaptationWarning
        If `fit` gets no `sample_domain`. All models are fitted without then.
    UserWarning
        If candidates could not be fitted. If the shares of `prior` cannot be met: a
        class can have no more target rows than give it any probability.

    See Also
    --------
    compare_adapters : Says whether to use the average, or no adapter at all.
    MEDA : The models of ``"meda"``.
    TransferClassifier : Any classifier with an adapter, as one of the models.

    Notes
    -----
    **Default.** Nearest neighbour, logistic regression and linear SVM, each without
    adapter and joined to standardisation by domain (`PerDomain`) alone and followed by
    `CORAL`, `SubspaceAlignment`, PCA, `TCA` and `GFK` of up to three sizes; the latter
    two with weights by `KMM`; nearest class means after `CORAL`; and `MEDA`. Columns
    that are measured in one unit, such as pixels, are centred and not scaled: 16 or
    more of which half span .8 of the range of all. Sizes are no larger than the rank of
    the rows. Sparse rows are first brought to 100 columns by TruncatedSVD, but for
    models without adapter.

    **Calibration.** Votes of 0 and 1 would overrule models that are unsure. Scores are
    the decision function, or logarithms of `predict_proba`. For adapters that are
    joined to classifiers by `TransferClassifier` and need no labels, the adapter is
    fitted once, also for several classifiers that share the object, and only the
    classifiers are fitted again in the folds; other models are fitted as a whole. The
    labels that a model itself predicts do not change.

    **Hedge.** On 82 benchmark tasks with other columns in the target, ``hedge=0.4``
    gained 4.2 points over no adaptation and lost more than 2 on 7, the plain mean 3.6
    and 12; the largest losses were 15 and 45 points. With .5 it was 3.7 and 5. The
    tasks are those of which .4 was chosen; see `compare_adapters` for others.

    **What models see.** A Pipeline hands `sample_domain` to the steps that ask for it;
    metadata routing need not be switched on.

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

    `sample_weight` goes to each model, a Pipeline's last step in it. A model whose
    classifier takes none, such as a nearest neighbour, is left out, and is in
    `failures_`. One that takes `sample_domain` and no `sample_weight` is refused.

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
    0.75
    """

    _parameter_constraints: dict = {
        "candidates": [list, tuple, StrOptions({"default", "meda"})],
        "weights": ["array-like", None],
        "hedge": [Interval(Real, 0, 1, closed="left")],
        "prior": [StrOptions({"uniform"}), "array-like", None],
        "calibrate": ["boolean"],
        "cv": [Interval(Integral, 2, None, closed="left")],
        "max_samples": [Interval(Integral, 10, None, closed="left"), None],
        "n_jobs": [Integral, None],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        candidates="default",
        *,
        weights=None,
        hedge=0.0,
        prior=None,
        calibrate=True,
        cv=3,
        max_samples=5000,
        n_jobs=None,
        random_state=None,
        verbose=0,
    ):
        self.candidates = candidates
        self.weights = weights
        self.hedge = hedge
        self.prior = prior
        self.calibrate = calibrate
        self.cv = cv
        self.max_samples = max_samples
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose

    def _models(self):
        """The candidates without names; of a wrong list what can be fitted in it."""
        if self.candidates == "default":
            return [TransferClassifier()]  # for tags; the list depends on the rows
        if self.candidates == "meda":
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
        return any(uses_target_labels(model) for model in self._models())

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
        if sample_weight is not None:
            sample_weight = _check_sample_weight(
                sample_weight, X, dtype=np.float64, ensure_non_negative=True
            )
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
        check_classification_targets(labels)
        classes = np.unique(labels)
        resolve_prior(self.prior, len(classes))  # before models are fitted in vain
        if len(classes) < 2 and isinstance(self.candidates, str):
            raise ValueError(
                f"y holds one class, {classes[0]!s}, and the models tell classes "
                "apart: label source rows of at least two."
            )

        rows = rows_to_fit(X, y, ids, self.max_samples, self.random_state)
        fitted = (
            (X, y, ids, sample_weight)
            if rows is None
            else (
                _safe_indexing(X, rows),
                y[rows],
                None if ids is None else ids[rows],
                None if sample_weight is None else sample_weight[rows],
            )
        )
        names, models = self._check_candidates(fitted[0], fitted[2])
        weights = _check_weights(self.weights, len(models))
        unadapted = [at for at, model in enumerate(models) if is_unadapted(model)]
        if self.hedge and not (unadapted and self.calibrate):
            raise ValueError(
                "hedge gives weight to a candidate without adapter, by its accuracy on "
                "held-out source rows: add a plain classifier to the candidates, with "
                "calibrate=True, or set hedge=0."
            )
        if ids is not None:
            for name, model in zip(names, models):
                check_form(name, model)
        if sample_weight is not None:
            for name, model in zip(names, models):
                check_takes_weights(name, as_transfer_model(clone(model)))

        cv = self.cv if self.calibrate else None
        groups = member_groups(models)
        found = Parallel(n_jobs=self.n_jobs, return_as="generator")(
            delayed(fit_group)(
                [names[at] for at in group], [models[at] for at in group], *fitted, cv
            )
            for group in groups
        )
        members = [None] * len(models)
        with progress_bar(len(models), self.verbose) as advance:
            for group, own in zip(groups, found):
                for at, member in zip(group, own):
                    members[at] = member
                advance(len(group))
        self._keep(members, weights)
        vars(self).pop("unadapted_", None)
        if self.hedge:
            self._hedge([members[at] for at in unadapted])
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

    def _keep(self, members, weights):
        """Keep the models that could be fitted; say which could not."""
        failed = [member for member in members if member.error is not None]
        if len(failed) == len(members):
            raise failed[0].error
        self.failures_ = {member.name: str(member.error) for member in failed}
        if failed:
            named = {}
            for name, reason in self.failures_.items():
                named.setdefault(reason, []).append(name)
            reasons = [f"{'; '.join(own)}: {reason}" for reason, own in named.items()]
            warnings.warn(
                f"{len(failed)} of {len(members)} candidates could not be fitted and "
                f"are left out of the average: {' '.join(reasons)}",
                stacklevel=4,
            )
        kept = [at for at, member in enumerate(members) if member.error is None]
        self.estimator_weights_ = _check_weights(weights[kept], len(kept))
        self.fit_times_ = np.array([members[at].seconds for at in kept])
        # The rest of a model is the same in every fit to the same rows.
        self._members = [members[at]._replace(seconds=None) for at in kept]
        self.estimators_ = [member.model for member in self._members]
        self.named_estimators_ = {m.name: m.model for m in self._members}
        temperatures = [member.temperature for member in self._members]
        self.temperatures_ = np.array(temperatures, dtype=np.float64)

    def _hedge(self, unadapted):
        """Give the best of the models without adapter its weight."""
        fitted = [member for member in unadapted if member.error is None]
        if not fitted:
            raise unadapted[0].error

        def accuracy(member):
            # No row is held out if each is alone in its class.
            return member.correct.mean() if len(member.correct) else 0.0

        self.unadapted_ = max(fitted, key=accuracy).name
        self.estimator_weights_ *= 1 - self.hedge
        self.estimator_weights_[
            list(self.named_estimators_).index(self.unadapted_)
        ] += self.hedge

    def _labels_of_one_domain(self, X, y):
        return column_or_1d(self._check_one_domain(X, y))

    def _check_candidates(self, X, ids):
        """Names and models."""
        if isinstance(self.candidates, str):
            if self.candidates == "meda":
                return [f"meda-{size}" for size in _SIZES], self._models()
            # The methods are in packages that a list of models does without.
            from skadapt._candidates import check_columns, default_candidates

            X = check_columns(X)
            found = default_candidates(X, ids, random_state=self.random_state)
            return [one.name for one in found], [one.model for one in found]
        if not len(self.candidates):
            raise ValueError(
                "candidates is empty: give at least one classifier, or "
                "candidates='default'."
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
        for weight, proba in zip(
            self.estimator_weights_, self._each_probability(X, ids)
        ):
            total += weight * proba
        return total

    def _each_probability(self, X, ids):
        """Probabilities by each model, columns in the order of `classes_`."""
        adapter = Z = None
        for member in self._members:
            model = member.model
            if isinstance(model, TransferClassifier):
                if Z is None or model.adapter_ is not adapter:
                    adapter, Z = model.adapter_, model._map(X, ids)
                own = member.probabilities(model.estimator_, Z)
            else:
                own = predict_proba_of(model, X, ids)
                if member.temperature is not None:
                    scores = log_probabilities(own)
                    own = scaled_probabilities(scores, member.temperature)
            proba = np.zeros((_num_samples(X), len(self.classes_)))
            proba[:, np.searchsorted(self.classes_, model.classes_)] = own
            yield proba

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
            # Candidates that cannot take such rows are left out.
            sparse=any(own.sparse for own in of_models),
            allow_nan=any(own.allow_nan for own in of_models),
            positive_only=all(own.positive_only for own in of_models),
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
