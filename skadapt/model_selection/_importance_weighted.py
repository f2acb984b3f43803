"""Importance-weighted cross-validation.

It holds out rows of the source, which have labels, and weights their losses by the
density ratio, so that they stand for the target.
"""

import warnings
from functools import update_wrapper
from hashlib import blake2b
from inspect import signature
from numbers import Integral

import numpy as np
from scipy import sparse
from sklearn import config_context
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.metrics import get_scorer, get_scorer_names
from sklearn.model_selection import check_cv
from sklearn.pipeline import make_pipeline
from sklearn.utils import (
    _safe_indexing,
    check_consistent_length,
    get_tags,
    indexable,
)
from sklearn.utils._param_validation import HasMethods, StrOptions, validate_params
from sklearn.utils.metadata_routing import MetadataRequest, get_routing_for_object
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import _num_samples, has_fit_parameter

from skadapt._base import (
    _LEAST_SHARE,
    BaseWeighter,
    DegenerateWeightsWarning,
    effective_sample_size,
)
from skadapt._domains import (
    as_labels,
    check_sample_domain,
    is_labeled,
    mask_target_labels,
    natural_labels,
)
from skadapt._predictor import steps_of
from skadapt._transfer import _call, _is_weighter
from skadapt.instance import KLIEP
from skadapt.model_selection._splitters import _DomainKFold

_SCORING = [StrOptions(set(get_scorer_names())), callable, None]


@validate_params(
    {
        "estimator": [HasMethods(["fit"])],
        "X": "no_validation",
        "y": "no_validation",
        "sample_domain": "no_validation",
        "weights": ["array-like", None],
        "weighter": [HasMethods(["fit"]), None],
        "scoring": _SCORING,
        "cv": ["cv_object"],
        "self_normalized": [StrOptions({"all", "fold"}), None],
        "n_jobs": [Integral, None],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=False,
)
def importance_weighted_cv_score(
    estimator,
    X,
    y,
    *,
    sample_domain,
    weights=None,
    weighter=None,
    scoring=None,
    cv=5,
    self_normalized="all",
    n_jobs=None,
    random_state=None,
):
    """Score on the target by cross-validation on the source.

    With folds ``T_1 ... T_K`` of the labelled source rows, ``f_-k`` fitted without
    fold k, and ``w = p_target / p_source``, the estimate is the mean of the K
    numbers [1]_ ::

        1 / |T_k|  sum_{i in T_k}  w(x_i) score(y_i, f_-k(x_i)).

    It is unbiased for the target where w is exact and the rule from rows to labels
    is the same in both domains, whatever weights the model was trained with: w is
    never flattened or clipped here.

    Parameters
    ----------
    estimator : estimator
        A `TransferClassifier`, a `TransferRegressor` or another that takes
        `sample_domain`, also as the last step of a Pipeline: in each fold it is
        fitted, adapter and all, on the other source rows and all target rows. Any
        other estimator is fitted on the other labelled source rows.
    X : {array-like, sparse matrix, data frame} of shape (n_samples, n_features)
        Rows of all domains, in any order.
    y : array-like of shape (n_samples,)
        Labels. NaN or None marks an unlabelled source row; it is never held out.
        What y holds in target rows is hidden from the estimator.
    sample_domain : array-like of shape (n_samples,)
        Domain of each row, > 0 for sources and < 0 for targets.
    weights : array-like of shape (n_source,) or (n_samples,), default=None
        The ratio, where it is known: one value for each source row, in the order
        of X, or for each row of X, those of target rows being ignored.
    weighter : weighter or Pipeline, default=None
        Fitted once, on all rows, if there are no `weights`; its `ratio_` is w. A
        Pipeline may have mappers before its weighter. None: the adapter of the
        estimator, and if that ends in no weighter, a `KLIEP` behind it: w is then
        the ratio of the rows as the estimator sees them.
    scoring : str or callable, default=None
        A scorer of scikit-learn that takes `sample_weight`, such as
        ``"neg_log_loss"`` or ``"neg_mean_squared_error"``. None: accuracy for
        classifiers, R^2 for regressors.
    cv : int, splitter or iterable, default=5
        Splits of the labelled source rows, as in
        `sklearn.model_selection.cross_val_score`; an iterable holds pairs of
        indices that count these rows only. `SourceKFold` may be given, too.
    self_normalized : {"all", "fold"} or None, default="all"
        What the weights are divided by: their mean over the labelled source rows,
        their mean over the fold, or nothing, which is the formula above. ``"all"``
        ranks models as None does, and its mean is on the scale of the score
        whatever that of the weights.
    n_jobs : int, default=None
        Folds that run at the same time; None means 1, -1 all processors.
    random_state : int, RandomState instance or None, default=None
        For the `KLIEP` that stands in where there is no weighter. None: from
        entropy, so that two calls weight the rows differently.

    Returns
    -------
    scores : ndarray of shape (n_splits,)
        One number for each fold, in the units of the score; greater is better. The
        estimate is their mean. Apart from ``"fold"`` a number counts as much as
        its fold weighs: it is the fold's weighted score times its mean weight, so
        that an accuracy may be more than 1.

    Raises
    ------
    ValueError
        If both `weights` and `weighter` are given, if weights are negative or not
        finite or all 0, if no source row is labelled, or if the scorer takes no
        sample_weight.

    Warns
    -----
    DegenerateWeightsWarning
        If the effective sample size of the weights is below 2 % of the rows.

    See Also
    --------
    importance_weighted_scorer : The same for `sklearn.model_selection.GridSearchCV`.

    Notes
    -----
    Held-out rows are predicted as the source rows that they are: `sample_domain` is
    handed to ``predict``. With ``"all"`` and None the mean over the folds of a
    score that is no average over rows, such as R^2 or the area under the ROC curve,
    is the mean of the folds' scores, each by its share of the weights.

    ``"fold"`` has less variance and more bias. Where few rows carry the weight, it
    counts folds that have none of them as much as the others, and praises models
    that are wrong on the target: in the example of [1]_, 150 rows in 10 folds, it
    puts the error of the unweighted line at 0.22, where it is 0.36 and ``"all"``
    says 0.35. It chooses among them no worse.

    The weights come from all rows, held-out ones included; they use no label.

    References
    ----------
    .. [1] M. Sugiyama, M. Krauledat, K.-R. Mueller. Covariate shift adaptation by
       importance weighted cross validation. JMLR 8, 2007.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LinearRegression
    >>> from skadapt import TransferRegressor, ULSIF, importance_weighted_cv_score
    >>> rng = np.random.default_rng(0)
    >>> X = np.r_[rng.normal(1, 0.5, 200), rng.normal(2, 0.25, 200)][:, np.newaxis]
    >>> y, sample_domain = np.sinc(X[:, 0]), np.repeat([1, -1], 200)
    >>> for flatten in (0.0, 1.0):
    ...     adapter = ULSIF(flatten=flatten, random_state=0)
    ...     scores = importance_weighted_cv_score(
    ...         TransferRegressor(LinearRegression(), adapter),
    ...         X,
    ...         y,
    ...         sample_domain=sample_domain,
    ...         scoring="neg_mean_squared_error",
    ...     )
    ...     print(f"{flatten} {-scores.mean():.1f}")
    0.0 0.2
    1.0 0.0
    """
    if weights is not None and weighter is not None:
        raise ValueError(
            "Both weights and a weighter were given: give the weights if they are "
            "known, the weighter if they are to be estimated."
        )
    X, y = indexable(X, y)
    y = as_labels(y)
    check_consistent_length(X, y)
    ids = check_sample_domain(sample_domain, _num_samples(X), both=True)
    rows = np.flatnonzero((ids > 0) & is_labeled(y))
    if not len(rows):
        raise ValueError(
            "y holds no labelled source row: the labels of the source are what "
            "importance-weighted cross-validation scores with."
        )
    takes_domains = _check_takes_domains(estimator)
    masked = mask_target_labels(y, ids)
    if weights is not None:
        weights = _given_weights(weights, ids)
    else:
        weights = np.full(len(ids), np.nan)
        chain = _weighter_chain(estimator, weighter, takes_domains, random_state)
        weights[ids > 0] = _estimate_ratio(chain, X, masked, ids)
    weights = _check_weights(weights[rows])
    if not weights.any():
        raise ValueError(
            "All labelled source rows have weight 0: the domains do not overlap. Try a "
            "weighter with a wider kernel, or a mapping adapter."
        )
    size = effective_sample_size(weights)
    if size < _LEAST_SHARE * len(rows):
        warnings.warn(
            f"The weights leave an effective sample of {size:.1f} of {len(rows)} "
            "labelled source rows: the domains hardly overlap, and the scores rest on "
            "these few rows. Score labelled target rows if you have any, or map the "
            "columns first.",
            DegenerateWeightsWarning,
            stacklevel=3,  # past validate_params
        )
    if self_normalized == "all":
        weights = weights / weights.mean()

    scorer = _ImportanceWeightedScorer(
        scoring, None, "fold" if self_normalized == "fold" else None
    )
    # Labels as cross_val_score would be given them with the source alone.
    labels = _source_labels(y, rows, is_classifier(estimator))
    X_source = _safe_indexing(X, rows)
    cv = check_cv(cv, labels, classifier=is_classifier(estimator))
    groups = {"groups": ids[rows]} if isinstance(cv, _DomainKFold) else {}
    if takes_domains:
        X_train, y_train, ids_train = X, masked, ids
        others = np.setdiff1d(np.arange(len(ids)), rows)
    else:
        X_train, y_train, ids_train = X_source, labels, None
    scores = Parallel(n_jobs=n_jobs)(
        delayed(_fit_and_score)(
            clone(estimator),
            scorer,
            (X_train, y_train, ids_train),
            np.sort(np.append(rows[train], others)) if takes_domains else train,
            (X_source, labels, ids[rows], weights),
            test,
        )
        for train, test in cv.split(X_source, labels, **groups)
    )
    return np.array(scores, dtype=np.float64)


def _source_labels(y, rows, classifier):
    labels = y[rows]
    if classifier:
        return natural_labels(labels)
    return labels.astype(np.float64) if labels.dtype == object else labels


def _fit_and_score(estimator, scorer, fitted, train, scored, test):
    """Score of one fold; `fitted` and `scored` are the rows that indices refer to."""
    X, y, ids = fitted
    X, y = _safe_indexing(X, train), y[train]
    if ids is None:
        estimator.fit(X, y)
    else:
        _call_with_domains(estimator, "fit", X, y, ids=ids[train])
    X, y, ids, weights = scored
    return scorer(
        estimator,
        _safe_indexing(X, test),
        y[test],
        importance_weight=weights[test],
        sample_domain=ids[test],
    )


def _check_takes_domains(estimator):
    """Whether `estimator.fit` takes sample_domain, and can use it."""
    if not _takes_domains(estimator, "fit"):
        return False
    last = steps_of(estimator)[-1]
    if not _takes_domains(last, "fit"):
        raise ValueError(
            f"A step of the Pipeline takes sample_domain, but {type(last).__name__}, "
            "its last, does not, and would be fitted on unlabelled target rows: put "
            f"the steps before it into the adapter of a TransferClassifier or "
            f"TransferRegressor, TransferClassifier({type(last).__name__}(), adapter)."
        )
    return True


def _given_weights(weights, ids):
    """Known weights, one for each row of X."""
    weights = np.asarray(weights, dtype=np.float64)
    is_source = ids > 0
    n_source = np.count_nonzero(is_source)
    if weights.shape == ids.shape:
        return weights
    if weights.shape != (n_source,):
        raise ValueError(
            f"weights has shape {weights.shape}: give one number for each of the "
            f"{n_source} source rows, or for each of the {len(ids)} rows of X."
        )
    every = np.full(len(ids), np.nan)
    every[is_source] = weights
    return every


def _check_weights(weights):
    weights = np.asarray(weights, dtype=np.float64)
    if not (np.isfinite(weights) & (weights >= 0)).all():
        raise ValueError(
            "Importance weights must be finite and not negative: they are the density "
            "ratio, p_target / p_source, at the source rows."
        )
    return weights


def _weighter_chain(estimator, weighter, takes_domains, random_state):
    """Adapters of which the last is the weighter that weights the held-out rows."""
    if weighter is not None:
        chain = steps_of(weighter)
        if not chain or not _weights_rows(chain[-1]):
            last = type(chain[-1] if chain else weighter).__name__
            raise ValueError(
                f"{last} is no weighter: give one such as KLIEP() or KMM(), or a "
                "Pipeline that ends in one."
            )
    else:
        # What the estimator sees: the rows after the steps that come before it.
        *chain, last = steps_of(estimator) if takes_domains else [estimator]
        chain = [*chain, *steps_of(getattr(last, "adapter", None))]
        if not chain or not _weights_rows(chain[-1]):
            chain.append(KLIEP(random_state=random_state))
    return [clone(step) for step in chain]


def _weights_rows(step):
    return _is_weighter(step) and has_fit_parameter(step, "sample_domain")


def _estimate_ratio(chain, X, y, ids):
    """The ratio at the source rows, neither flattened nor clipped."""
    *mappers, weighter = chain
    if mappers:
        X = _call(make_pipeline(*mappers), "fit_transform", X, y, sample_domain=ids)
    if isinstance(weighter, BaseWeighter):
        # ratio_ is the same whatever is made of it. Equal weights keep it from
        # advising on those of a fit: there is none.
        weighter.set_params(flatten=0.0)
    weighter.fit(X, y, sample_domain=ids)
    ratio = getattr(weighter, "ratio_", None)
    return weighter.weights_ if ratio is None else ratio


def _takes_domains(estimator, method):
    with config_context(enable_metadata_routing=True):
        try:
            routing = get_routing_for_object(estimator)
        except NotImplementedError:  # some of scikit-learn's, such as AdaBoost
            return False
        return bool(routing.consumes(method, ["sample_domain"]))


def _call_with_domains(estimator, method, *rows, ids):
    # Routing takes them past the steps of a Pipeline that know no domains.
    with config_context(enable_metadata_routing=True):
        return getattr(estimator, method)(*rows, sample_domain=ids)


# The scorer


@validate_params(
    {
        "scoring": _SCORING,
        "weights": ["array-like", callable, None],
        "X": "no_validation",
        "self_normalized": [StrOptions({"fold"}), None],
    },
    prefer_skip_nested_validation=True,
)
def importance_weighted_scorer(
    scoring=None, *, weights=None, X=None, self_normalized=None
):
    """Scorer that weights held-out source rows by the density ratio.

    For searches such as `sklearn.model_selection.GridSearchCV`, with
    ``cv=SourceKFold()``: what `importance_weighted_cv_score` gives for one model,
    a search then maximises over parameters of the adapter and the estimator.

    Parameters
    ----------
    scoring : str or callable, default=None
        A scorer of scikit-learn that takes `sample_weight`. None: accuracy for
        classifiers, R^2 for regressors.
    weights : callable, array-like of shape (n_rows,) or None, default=None
        Where the weights of held-out rows come from.

        - A callable takes the held-out rows and returns a weight for each, such as
          ``KLIEP().fit(X, sample_domain=ids).predict_weights``, or a known ratio.
        - An array holds the weights of the rows `X`, such as the `ratio_` of any
          weighter. Held-out rows are looked up there by what they contain; rows
          that are equal share the mean of their weights.
        - None: the search is told them, ``search.fit(..., importance_weight=w)``,
          one for each row, those of target rows being ignored. That needs metadata
          routing.
    X : {array-like, sparse matrix, data frame} of shape (n_rows, n_features), \
            default=None
        The rows that an array of `weights` belongs to: rows of the X of the search,
        as the same kind of container, source rows suffice.
    self_normalized : {"fold"} or None, default=None
        None: the mean over the held-out rows of weight times score, which has the
        scale of the weights; give them mean 1 over the source for that of the
        score. ``"fold"``: divided by the mean weight of the held-out rows, see the
        notes of `importance_weighted_cv_score`.

    Returns
    -------
    scorer : callable
        ``scorer(estimator, X, y)``, a number, greater is better. It requests
        `sample_domain`, `sample_weight`, which multiplies the importance weights,
        and, if `weights` is None, `importance_weight`.

    Raises
    ------
    ValueError
        If an array of weights comes without its rows, differs from them in length,
        or is negative somewhere or not finite. In use: if held-out rows are not
        among these, if `sample_domain` is routed and target rows are held out, or if
        the scorer takes no sample_weight. A search turns what its scorer raises into
        NaN unless it has ``error_score="raise"``.

    See Also
    --------
    SourceKFold : Holds out source rows only.
    importance_weighted_cv_score : The formula, for one model.

    Notes
    -----
    Use the ratio itself, from a weighter with ``flatten=1`` and ``clip=None``,
    whatever the candidates of the search train with, and the same for all of them.

    The splitter has to hold out source rows only, as `SourceKFold` does. Without
    metadata routing the scorer cannot tell: with ``cv=5`` it takes target rows for
    source rows, and labels that `y` has for them choose the model.

    The scores are for the search. To score the target afterwards use
    ``search.best_estimator_.score``; ``search.score`` weights the rows it is given.

    Held-out rows are predicted as rows of their source domain if `sample_domain`
    is routed, and as rows of source 1 otherwise. That matters to adapters that map
    columns.

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.model_selection import GridSearchCV
    >>> from skadapt import KLIEP, SourceKFold, TransferClassifier
    >>> from skadapt import importance_weighted_scorer
    >>> from skadapt.datasets import make_covariate_shift
    >>> data = make_covariate_shift(random_state=0)
    >>> X, y, ids = data.X, data.y, data.sample_domain
    >>> weighter = KLIEP(random_state=0).fit(X, sample_domain=ids)
    >>> search = GridSearchCV(
    ...     TransferClassifier(LogisticRegression(), KLIEP(random_state=0)),
    ...     {"adapter__flatten": [0.0, 0.5, 1.0], "estimator__C": [0.01, 1.0]},
    ...     cv=SourceKFold(3),
    ...     scoring=importance_weighted_scorer(
    ...         "neg_log_loss", weights=weighter.predict_weights
    ...     ),
    ... )
    >>> search = search.fit(X, y, sample_domain=ids, groups=ids)
    >>> search.best_params_
    {'adapter__flatten': 1.0, 'estimator__C': 1.0}
    """
    if weights is not None and not callable(weights):
        if X is None:
            raise ValueError(
                "An array of weights needs the rows X that it belongs to: a scorer "
                "sees rows, not their numbers."
            )
        weights = _WeightsOfRows(X, weights)
    elif X is not None:
        raise ValueError(
            "X holds the rows that an array of weights belongs to: give that array "
            "as weights, or leave X out."
        )
    return _ImportanceWeightedScorer(scoring, weights, self_normalized)


class _ImportanceWeightedScorer:
    """What `importance_weighted_scorer` returns."""

    def __init__(self, scoring, weights, self_normalized):
        self._scoring = scoring
        self._weights = weights
        self._self_normalized = self_normalized

    def __repr__(self):
        return f"importance_weighted_scorer({self._scoring!r})"

    def get_metadata_routing(self):
        """What the scorer asks a search for."""
        request = MetadataRequest(owner=self)
        names = ["sample_domain", "sample_weight"]
        if self._weights is None:
            names.append("importance_weight")
        for name in names:
            request.score.add_request(param=name, alias=True)
        return request

    def _accept_sample_weight(self):
        """Searches with several scorers ask, where there is no routing."""
        return True

    def __call__(
        self,
        estimator,
        X,
        y,
        *,
        importance_weight=None,
        sample_domain=None,
        sample_weight=None,
    ):
        ids = check_sample_domain(
            1 if sample_domain is None else sample_domain, _num_samples(X), scalar=True
        )
        if (ids < 0).any():
            raise ValueError(
                "Target rows are held out, and importance weights are for rows of the "
                "source: use cv=SourceKFold()."
            )
        scorer = _weighted_scorer(self._scoring, estimator)
        if is_classifier(estimator):
            y = natural_labels(as_labels(y))
        weights = self._weights_at(X, importance_weight)
        mean = float(np.average(weights, weights=sample_weight))
        if mean == 0:
            if self._self_normalized is None:
                return 0.0
            raise ValueError(
                "No held-out row of a fold has weight, so that there is nothing to "
                "divide by: use fewer folds, or another self_normalized."
            )
        # Equal weights are none: the same number, to the last bit.
        if (weights != weights[0]).any():
            sample_weight = (
                weights if sample_weight is None else weights * sample_weight
            )
        given = {} if sample_weight is None else {"sample_weight": sample_weight}
        score = scorer(_OfDomains.wrap(estimator, ids), X, y, **given)
        return float(score if self._self_normalized else mean * score)

    def _weights_at(self, X, importance_weight):
        if self._weights is not None:
            weights = self._weights(X)
        elif importance_weight is not None:
            weights = importance_weight
        else:
            raise ValueError(
                "The scorer has no weights: pass importance_weight= to the search with "
                "metadata routing on, or give importance_weighted_scorer its weights."
            )
        weights = _check_weights(weights)
        if weights.shape != (_num_samples(X),):
            raise ValueError(
                f"Weights of shape {weights.shape} for {_num_samples(X)} held-out "
                "rows: give one number for each row."
            )
        return weights


def _weighted_scorer(scoring, estimator):
    """The scorer by name, or that of the kind of estimator; it takes weights."""
    if scoring is None:
        if not (is_classifier(estimator) or is_regressor(estimator)):
            raise ValueError(
                f"{type(estimator).__name__} is neither a classifier nor a regressor: "
                "say which scoring= to use."
            )
        scoring = "accuracy" if is_classifier(estimator) else "r2"
    scorer = get_scorer(scoring)
    if hasattr(scorer, "_accept_sample_weight"):
        takes_weights = scorer._accept_sample_weight()
    else:
        takes_weights = "sample_weight" in signature(scorer).parameters
    if not takes_weights:
        raise ValueError(
            f"The scoring {scoring} takes no sample_weight: use one that does, such as "
            "'accuracy', 'neg_log_loss' or 'neg_mean_squared_error'."
        )
    return scorer


class _OfDomains:
    """A fitted estimator whose predictions are told the domains of the rows."""

    _METHODS = ("predict", "predict_proba", "predict_log_proba", "decision_function")

    def __init__(self, estimator, ids):
        self._estimator = estimator
        self._ids = ids

    @classmethod
    def wrap(cls, estimator, ids):
        return (
            cls(estimator, ids) if _takes_domains(estimator, "predict") else estimator
        )

    def __getattr__(self, name):
        value = getattr(self._estimator, name)
        if name not in self._METHODS:
            return value

        def method(X):
            return _call_with_domains(self._estimator, name, X, ids=self._ids)

        return update_wrapper(method, value)

    def __sklearn_tags__(self):
        return get_tags(self._estimator)


class _WeightsOfRows:
    """Weights looked up by what a row contains."""

    def __init__(self, X, weights):
        keys = _row_keys(X)
        weights = _check_weights(weights)
        if weights.shape != keys.shape:
            raise ValueError(
                f"weights has shape {weights.shape} for {len(keys)} rows of X: give "
                "one number for each row."
            )
        self._keys, place = np.unique(keys, return_inverse=True)
        self._weights = np.bincount(place, weights) / np.bincount(place)

    def __call__(self, X):
        keys = _row_keys(X)
        place = np.searchsorted(self._keys, keys)
        place = np.minimum(place, len(self._keys) - 1)
        lost = np.count_nonzero(self._keys[place] != keys)
        if lost:
            raise ValueError(
                f"{lost} of {len(keys)} held-out rows are not among the rows X of the "
                "weights: give importance_weighted_scorer rows of the X of the search, "
                "in the same container and dtype."
            )
        return self._weights[place]


def _row_keys(X):
    """A 64-bit number for what each row contains, shape (n_samples,)."""
    if hasattr(X, "iloc"):
        from pandas.util import hash_pandas_object

        return hash_pandas_object(X, index=False).to_numpy()
    if sparse.issparse(X):
        X = X.tocsr()
        parts = [
            X.indices[first:last].astype(np.int64).tobytes()
            + X.data[first:last].astype(np.float64).tobytes()
            for first, last in zip(X.indptr, X.indptr[1:])
        ]
    else:
        X = np.asarray(X)
        if X.ndim != 2 or X.dtype.hasobject:
            raise ValueError(
                "Rows are looked up in a matrix of numbers or a data frame, got an "
                f"array of shape {X.shape} and type {X.dtype}: use one of these, or a "
                "callable as weights."
            )
        parts = [row.tobytes() for row in X.astype(np.float64)]
    digests = b"".join(blake2b(part, digest_size=8).digest() for part in parts)
    return np.frombuffer(digests, dtype=np.uint64)
