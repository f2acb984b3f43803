"""Scorers for searches that judge a model on the target without its labels."""

from functools import cached_property, update_wrapper

import numpy as np
from scipy import sparse
from sklearn.base import clone, is_classifier
from sklearn.utils import _safe_indexing, check_array, check_consistent_length
from sklearn.utils._param_validation import StrOptions, validate_params
from sklearn.utils.metadata_routing import MetadataRequest
from sklearn.utils.validation import _num_samples

from skadapt._calibration import class_scores, fit_temperature, scaled_probabilities
from skadapt._domains import (
    as_labels,
    check_sample_domain,
    is_labeled,
    mask_target_labels,
    natural_labels,
)
from skadapt.model_selection._importance_weighted import (
    _call_with_domains,
    _OfDomains,
    _takes_domains,
)
from skadapt.model_selection._scores import (
    atc_score,
    dev_score,
    domain_ratio,
    entropy_score,
    information_maximization_score,
    iwcv_score,
    mano_score,
    mixed_rows,
    mixing_partners,
    mixval_score,
)

# Probabilities below count as this in the log loss of a held-out row.
_LEAST_PROBABILITY = 1e-12

_PARAMETERS = """\
Called as ``scorer(estimator, X, y, *, sample_domain=None)``.

    Parameters
    ----------
    estimator : classifier
        Fitted, on rows that are not among X.
    X : {array-like, sparse matrix, data frame} of shape (n_samples, n_features)
        Held-out rows of source and target, in any order.
    y : array-like of shape (n_samples,)
        Labels. Unlabelled source rows, NaN or None, are left out. Labels of target
        rows are not looked at.
    sample_domain : array-like of shape (n_samples,), default=None
        Domain of each row, > 0 for sources and < 0 for targets; a search hands it on
        with metadata routing. None: rows without a label are those of the target.

    Returns
    -------
    score : float
        Larger is better.

    Raises
    ------
    ValueError
        If the estimator is no classifier, if rows of a domain that the score needs
        are missing, or if `sample_domain` is None and every row is labelled."""

_MEASURED = """\
In 82 tasks of feature shift (47 and 35) with 25 to 37 models each, the rank
    correlation of this score with the accuracy on the target was {} and {} in the
    mean. The model that it put first kept {} % and {} % of what the best model gained
    over no adaptation, and in {} of the 82 tasks lost more than 2 points against it.
    In 70 others (``python -m benchmarks choose``) that was {} %, and {} of 70."""

_EXAMPLE = """\
Examples
    --------
    >>> from skadapt import DomainKFold, PerDomain, TransferClassifier
    >>> from skadapt import {name}
    >>> from skadapt.datasets import make_scaling
    >>> data = make_scaling(random_state=0)
    >>> X, y, domain = data.X, data.y, data.sample_domain
    >>> train, test = next(DomainKFold(2).split(X, y, sample_domain=domain))
    >>> for adapter in (None, PerDomain()):
    ...     model = TransferClassifier(adapter=adapter)
    ...     model = model.fit(X[train], y[train], sample_domain=domain[train])
    ...     score = {name}(
    ...         model, X[test], y[test], sample_domain=domain[test]
    ...     )
    ...     print(f"{{score:.2f}}")
    {without}
    {adapted}"""


class _TransferScorer:
    """A scorer that is shown, compared and pickled by its name, as functions are."""

    def __init__(self, score):
        self._score = score
        update_wrapper(self, score)

    def __repr__(self):
        return self.__name__

    def __reduce__(self):
        return self.__name__

    def get_metadata_routing(self):
        """What the scorer asks a search for."""
        request = MetadataRequest(owner=self)
        request.score.add_request(param="sample_domain", alias=True)
        return request

    def _accept_sample_weight(self):
        """Searches with several scorers ask, where there is no routing."""
        return False

    def __call__(self, estimator, X, y, *, sample_domain=None):
        return float(self._score(estimator, X, y, sample_domain=sample_domain))


def _scorer(measured, example):
    """Make a scorer of a function; measured figures and an example in its docstring."""

    def make(score):
        without, adapted = example
        score.__doc__ = (
            score.__doc__.replace("<parameters>", _PARAMETERS)
            .replace("<measured>", _MEASURED.format(*measured))
            .replace(
                "<example>",
                _EXAMPLE.format(name=score.__name__, without=without, adapted=adapted),
            )
        )
        return _TransferScorer(score)

    return make


@_scorer((".40", ".27", 25, 18, 26, 0, 16), ("0.91", "0.92"))
def source_accuracy_scorer(estimator, X, y, *, sample_domain=None):
    """Score a model by its accuracy on held-out rows of the source.

    <parameters>

    See Also
    --------
    iwcv_scorer : The same with weights that make the source look like the target.
    get_transfer_scorer : All scorers by name.

    Notes
    -----
    What cross-validation on the source gives: the floor for all other scores. It knows
    nothing of the target.

    <measured>

    <example>
    """
    fold = _HeldOut("source_accuracy_scorer", estimator, X, y, sample_domain)
    return np.mean(fold.is_right())


@_scorer((".25", ".23", 7, 18, 30, 1, 19), ("0.94", "0.96"))
def iwcv_scorer(estimator, X, y, *, sample_domain=None):
    """Score a model by its importance-weighted accuracy on the source.

    With ``w = p_target / p_source`` at the held-out source rows [1]_ ::

        sum_i w(x_i) [f(x_i) = y_i] / sum_i w(x_i).

    <parameters>

    See Also
    --------
    dev_scorer : Takes variance out of the weights.
    importance_weighted_scorer : With weights of your own, for any score.

    Notes
    -----
    w comes from a logistic regression of held-out source against held-out target
    rows, cross-fitted in 5 folds, and is at most 50. Its columns are those of X,
    scaled by mean and standard deviation of the source, whatever the model does to
    them: after a map that was fitted with the help of these rows, such as one to
    equal means, domains are told apart worse than chance, and weights mean nothing.

    Where columns differ so much that the domains hardly overlap, a few rows carry all
    the weight.

    <measured>

    References
    ----------
    .. [1] M. Sugiyama, M. Krauledat, K.-R. Mueller. Covariate shift adaptation by
       importance weighted cross validation. JMLR 8, 2007.

    <example>
    """
    fold = _HeldOut("iwcv_scorer", estimator, X, y, sample_domain)
    return iwcv_score(fold.is_right(), fold.ratio())


@_scorer((".34", ".23", 13, 27, 22, -9, 25), ("-0.15", "-0.15"))
def dev_scorer(estimator, X, y, *, sample_domain=None):
    """Score a model by deep embedded validation, minus a risk with less variance.

    With ``w = p_target / p_source`` and the log loss l at the held-out source rows
    [1]_ ::

        -(mean(w l) + eta (mean(w) - 1)),    eta = -cov(w l, w) / var(w).

    <parameters>

    See Also
    --------
    iwcv_scorer : The weighted accuracy.

    Notes
    -----
    The weights are those of `iwcv_scorer`, from the columns of X. The original takes
    them from the features of the model, which misleads where a map was fitted with
    the help of these rows; the figures below are for such weights. Probabilities are
    ``softmax(scores / T)`` with the temperature T of least log loss on the held-out
    source rows.

    <measured>

    References
    ----------
    .. [1] K. You, X. Wang, M. Long, M. I. Jordan. Towards accurate model selection in
       deep unsupervised domain adaptation. ICML 2019.

    <example>
    """
    fold = _HeldOut("dev_scorer", estimator, X, y, sample_domain)
    Q, codes = fold.source_probabilities, fold.codes
    # A class that the model does not know has no probability.
    found = np.where(codes < 0, 0.0, Q[np.arange(len(Q)), codes])
    return dev_score(-np.log(np.maximum(found, _LEAST_PROBABILITY)), fold.ratio())


@_scorer((".30", ".31", 17, 13, 29, -11, 24), ("-0.16", "-0.19"))
def entropy_scorer(estimator, X, y, *, sample_domain=None):
    """Score a model by minus the mean entropy of its predictions for the target.

    In nats, ``-mean_i H(p_i)``, at most 0 [1]_.

    <parameters>

    See Also
    --------
    information_maximization_scorer : Asks for all classes, too.

    Notes
    -----
    A model that gives one class to all rows, and is sure of it, scores best.
    Probabilities are ``softmax(scores / T)`` of the decision function, or of the
    logarithms of `predict_proba`, with the temperature T of least log loss on the
    held-out source rows: how sure a model is of itself is no part of the score. With
    no labelled source row T is 1.

    <measured>

    References
    ----------
    .. [1] P. Morerio, J. Cavazza, V. Murino. Minimal-entropy correlation alignment for
       unsupervised deep domain adaptation. ICLR 2018.

    <example>
    """
    fold = _HeldOut("entropy_scorer", estimator, X, y, sample_domain)
    return entropy_score(fold.target_probabilities)


@_scorer((".36", ".36", 24, 28, 29, -13, 32), ("0.46", "0.50"))
def information_maximization_scorer(estimator, X, y, *, sample_domain=None):
    """Score a model by the mutual information of target rows and predicted classes.

    In nats, ``H(mean_i p_i) - mean_i H(p_i)``: sure of each row, and of all classes in
    like shares [1]_. It is 0 for a model that says the same of every row.

    <parameters>

    See Also
    --------
    entropy_scorer : The second term alone.

    Notes
    -----
    It prefers models that give all classes the same share, right or wrong.
    Probabilities are those of `entropy_scorer`.

    <measured>

    References
    ----------
    .. [1] K. Musgrave, S. Belongie, S.-N. Lim. Three new validators and a large-scale
       benchmark ranking for unsupervised domain adaptation. arXiv:2208.07360, 2022.

    <example>
    """
    fold = _HeldOut("information_maximization_scorer", estimator, X, y, sample_domain)
    return information_maximization_score(fold.target_probabilities)


@_scorer((".38", ".33", 45, 21, 25, -6, 26), ("0.76", "0.79"))
def mixval_scorer(estimator, X, y, *, sample_domain=None):
    """Score a model by how it labels mixtures of target rows.

    Each held-out target row is mixed with five others, ``.55 x_i + .45 x_j``, and the
    score is the share of mixtures that get the class predicted for ``x_i``: the mean
    of that share among pairs of one predicted class and of that among pairs of two
    [1]_.

    <parameters>

    See Also
    --------
    reverse_scorer : Another score that asks for the structure of the target.

    Notes
    -----
    Predictions that follow clusters of the target keep their class a little way
    towards another row. The pairs are fixed by what the rows hold: two models are
    asked the same, and the order of the rows does not matter. A model that gives one
    class to all rows has nothing to say of pairs of two classes, and gets 1/2. Columns
    have to be numbers of which mixtures make sense.

    <measured>

    References
    ----------
    .. [1] D. Hu, J. Liang, J. H. Liew, C. Xue, S. Bai, X. Wang. Mixed samples as
       probes for unsupervised model selection in domain adaptation. NeurIPS 2023.

    <example>
    """
    fold = _HeldOut("mixval_scorer", estimator, X, y, sample_domain)
    return fold.mixval()


@_scorer((".22", ".29", 32, 20, 23, -7, 21), ("0.64", "0.66"))
def mano_scorer(estimator, X, y, *, sample_domain=None):
    """Score a model by the norm of its normalized logits for the target.

    ``(mean_ic r_ic^4)^(1/4)`` over rows and classes [1]_. Rows of r sum to 1: with
    logits q they are ``1 + q + q^2 / 2`` over its sum if the model is unsure, that is
    if ``-mean log p <= 5``, and the probabilities p otherwise.

    <parameters>

    See Also
    --------
    entropy_scorer : Another measure of how sure a model is of the target.

    Notes
    -----
    Logits are the logarithms of the probabilities of `entropy_scorer`, less their mean
    in the row. The quadratic is not monotone: of two classes the surer one has at most
    0.85, at ``q = 2^(1/2)``, and less beyond.

    <measured>

    References
    ----------
    .. [1] R. Xie, A. Odonnat, V. Feofanov, W. Deng, J. Zhang, B. An. MaNo: exploiting
       matrix norm for unsupervised accuracy estimation under distribution shifts.
       NeurIPS 2024.

    <example>
    """
    fold = _HeldOut("mano_scorer", estimator, X, y, sample_domain)
    return mano_score(fold.target_probabilities)


@_scorer((".24", ".26", 30, 20, 32, -12, 27), ("0.92", "0.93"))
def atc_scorer(estimator, X, y, *, sample_domain=None):
    """Score a model by the accuracy that its confidence promises on the target.

    Average thresholded confidence [1]_: the share of held-out target rows whose
    largest probability is above t, where t is the threshold above which lies the share
    of the held-out source rows that the model gets right.

    <parameters>

    See Also
    --------
    source_accuracy_scorer : What the target would promise if it were the source.

    Notes
    -----
    Rows on the threshold count in part, as many in the target as in the source.
    Probabilities are those of `entropy_scorer`.

    As an accuracy the score promises too much, by 10 and 11 points in the mean for the
    unadapted models of the tasks below.

    <measured>

    References
    ----------
    .. [1] S. Garg, S. Balakrishnan, Z. C. Lipton, B. Neyshabur, H. Sedghi. Leveraging
       unlabeled data to predict out-of-distribution performance. ICLR 2022.

    <example>
    """
    fold = _HeldOut("atc_scorer", estimator, X, y, sample_domain)
    Q = fold.source_probabilities
    return atc_score(Q, Q.argmax(axis=1) == fold.codes, fold.target_probabilities)


@_scorer((".36", ".32", 0, 15, 24, 9, 21), ("0.92", "0.89"))
def reverse_scorer(estimator, X, y, *, sample_domain=None):
    """Score a model by the way back: from its target labels to those of the source.

    The domains of the held-out rows swap roles [1]_: a clone of the estimator, adapter
    and all, is fitted on the target rows with the labels that were predicted for them,
    and adapted to the source rows, whose labels it is then scored with.

    <parameters>

    See Also
    --------
    mixval_scorer : Costs no fit.

    Notes
    -----
    Costs a fit for every fold, on its held-out rows alone: give it folds that are not
    too small. A model that predicts one class for the target is scored by the share of
    that class in the source, without a fit.

    <measured>

    References
    ----------
    .. [1] E. Zhong, W. Fan, Q. Yang, O. Verscheure, J. Ren. Cross validation framework
       to choose amongst models and datasets for transfer learning. ECML PKDD 2010.

    <example>
    """
    fold = _HeldOut("reverse_scorer", estimator, X, y, sample_domain)
    return fold.reverse_accuracy()


_SCORERS = {
    repr(scorer).removesuffix("_scorer"): scorer
    for scorer in (
        source_accuracy_scorer,
        iwcv_scorer,
        dev_scorer,
        entropy_scorer,
        information_maximization_scorer,
        mixval_scorer,
        mano_scorer,
        atc_scorer,
        reverse_scorer,
    )
}


def get_transfer_scorer_names():
    """Names of the scorers that need no label of the target.

    Returns
    -------
    names : list of str
        Sorted; what `get_transfer_scorer` takes.

    See Also
    --------
    get_transfer_scorer : The scorer of a name.

    Examples
    --------
    >>> from skadapt import get_transfer_scorer_names
    >>> get_transfer_scorer_names()[:3]
    ['atc', 'dev', 'entropy']
    """
    return sorted(_SCORERS)


@validate_params(
    {"scoring": [StrOptions(set(_SCORERS)), callable]},
    prefer_skip_nested_validation=True,
)
def get_transfer_scorer(scoring):
    """Get a scorer that needs no label of the target.

    Parameters
    ----------
    scoring : str or callable
        One of `get_transfer_scorer_names`, or a scorer, which is returned as it is.

    Returns
    -------
    scorer : callable
        ``scorer(estimator, X, y, *, sample_domain=None)``; larger is better.

    Raises
    ------
    ValueError
        If there is no scorer of that name.

    See Also
    --------
    DomainKFold : Holds out rows of both domains, as these scorers need.
    get_transfer_scorer_names : All names.

    Notes
    -----
    No scorer is to be relied on: of models for one target each ranks some that do
    harm above no adaptation. What each cost in 82 tasks stands in its notes. These
    figures are for scores of all target rows; folds are smaller, and noisier.

    The scorers judge classifiers. For regressors see `importance_weighted_scorer`.

    Examples
    --------
    >>> from sklearn.model_selection import GridSearchCV
    >>> from skadapt import DomainKFold, PerDomain, TransferClassifier
    >>> from skadapt import get_transfer_scorer
    >>> from skadapt.datasets import make_scaling
    >>> data = make_scaling(random_state=0)
    >>> search = GridSearchCV(
    ...     TransferClassifier(),
    ...     {"adapter": [None, PerDomain()]},
    ...     scoring=get_transfer_scorer("information_maximization"),
    ...     cv=DomainKFold(3),
    ...     error_score="raise",
    ... )
    >>> y = data.y.astype(float)
    >>> y[data.sample_domain < 0] = float("nan")
    >>> search = search.fit(
    ...     data.X, y, sample_domain=data.sample_domain, groups=data.sample_domain
    ... )
    >>> search.best_params_
    {'adapter': PerDomain()}
    >>> target = data.sample_domain < 0
    >>> for model in (search.best_estimator_, TransferClassifier()):
    ...     model = model.fit(data.X, y, sample_domain=data.sample_domain)
    ...     print(f"{model.score(data.X[target], data.y[target]):.2f}")
    0.94
    0.84
    """
    return _SCORERS[scoring] if isinstance(scoring, str) else scoring


class _HeldOut:
    """Held-out rows of both domains, and what a fitted classifier says of them."""

    def __init__(self, name, estimator, X, y, sample_domain):
        if not is_classifier(estimator):
            raise ValueError(
                f"{name} judges classifiers, and {type(estimator).__name__} is none: "
                "for regressors use importance_weighted_scorer with cv=SourceKFold()."
            )
        self.name = name
        self.estimator = estimator
        if sparse.issparse(X):
            X = X.tocsr()
        self.X = X if hasattr(X, "shape") else np.asarray(X)
        n_samples = _num_samples(self.X)
        y = np.full(n_samples, np.nan) if y is None else as_labels(y)
        check_consistent_length(self.X, y)
        labeled = is_labeled(y)
        if sample_domain is None:
            if labeled.all():
                raise ValueError(
                    f"{name} cannot tell which rows are of the target: pass "
                    "sample_domain to the search with metadata routing on "
                    "(sklearn.set_config(enable_metadata_routing=True)), or leave the "
                    "target rows unlabelled in y, NaN or None."
                )
            ids = np.where(labeled, 1, -1)
        else:
            ids = check_sample_domain(sample_domain, n_samples, scalar=True)
        self.ids = ids
        self._source = np.flatnonzero((ids > 0) & labeled)
        self._target = np.flatnonzero(ids < 0)
        self.labels = natural_labels(y[self._source])

    @property
    def source(self):
        """Positions of the labelled source rows; there are some."""
        if not len(self._source):
            raise self._missing("labelled source")
        return self._source

    @property
    def target(self):
        """Positions of the target rows; there are some."""
        if not len(self._target):
            raise self._missing("target")
        return self._target

    def _missing(self, kind):
        return ValueError(
            f"{self.name} needs held-out rows of source and target, and there is no "
            f"{kind} row among them: use cv=DomainKFold()."
        )

    def _model(self, rows):
        """The estimator, for rows at these positions."""
        return _OfDomains.wrap(self.estimator, self.ids[rows])

    def _predict(self, rows):
        return self._model(rows).predict(_safe_indexing(self.X, rows))

    def _scores(self, rows, X=None):
        """Scores of the classes for rows at these positions, or for others in place."""
        X = _safe_indexing(self.X, rows) if X is None else X
        model = self._model(rows)
        if not (hasattr(model, "decision_function") or hasattr(model, "predict_proba")):
            raise ValueError(
                f"{self.name} needs probabilities, and "
                f"{type(self.estimator).__name__} has neither predict_proba nor "
                "decision_function: use another classifier, or reverse_scorer, which "
                "asks for labels alone."
            )
        return class_scores(model, X)

    @property
    def classes(self):
        return self.estimator.classes_

    @cached_property
    def codes(self):
        """Columns of the classes of the source rows, -1 for classes unknown to it."""
        codes = np.searchsorted(self.classes, self.labels)
        codes = np.minimum(codes, len(self.classes) - 1)
        return np.where(self.classes[codes] == self.labels, codes, -1)

    @cached_property
    def _source_scores(self):
        return self._scores(self.source)

    @cached_property
    def _temperature(self):
        if not len(self._source) or (self.codes < 0).all():
            return 1.0
        known = self.codes >= 0
        return fit_temperature(self._source_scores[known], self.codes[known])

    @property
    def source_probabilities(self):
        return scaled_probabilities(self._source_scores, self._temperature)

    @property
    def target_probabilities(self):
        return scaled_probabilities(self._scores(self.target), self._temperature)

    def is_right(self):
        """Which source rows the model gets right."""
        return self._predict(self.source) == self.labels

    def ratio(self):
        """p_target / p_source at the source rows."""
        source, target = self.source, self.target
        if min(len(source), len(target)) < 2:
            raise ValueError(
                f"{self.name} weights source rows by how they differ from target rows, "
                f"and there are {len(source)} and {len(target)}: hold out more of them."
            )
        rows = np.concatenate([source, target])
        is_target = np.repeat([False, True], [len(source), len(target)])
        return domain_ratio(self._numbers(rows), is_target)

    def _numbers(self, rows):
        X = _safe_indexing(self.X, rows)
        try:
            return check_array(
                X, accept_sparse="csr", dtype=[np.float64, np.float32], input_name="X"
            )
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"{self.name} looks at the columns of X themselves, which have to be "
                "finite numbers: encode and impute them before the search, or use "
                "a scorer that asks only the model, such as atc_scorer."
            ) from error

    def mixval(self):
        rows = self.target
        if len(rows) < 2:
            raise ValueError(
                f"{self.name} mixes target rows, and there is one: hold out more."
            )
        partners = mixing_partners(self._numbers(rows))
        X, predicted = _safe_indexing(self.X, rows), self._scores(rows).argmax(axis=1)
        scores = [
            mixval_score(
                self._scores(rows, mixed_rows(X, partner)),
                predicted,
                predicted[partner],
            )
            for partner in partners
        ]
        return np.mean(scores)

    def reverse_accuracy(self):
        source, target = self.source, self.target
        predicted = self._predict(target)
        if (predicted == predicted[0]).all():
            return np.mean(self.labels == predicted[0])
        model = clone(self.estimator)
        if not _takes_domains(model, "fit"):
            model.fit(_safe_indexing(self.X, target), predicted)
            return np.mean(model.predict(_safe_indexing(self.X, source)) == self.labels)
        rows = np.sort(np.concatenate([source, target]))
        ids = -self.ids[rows]
        labels = np.repeat(predicted[:1], len(rows))
        labels[ids > 0] = predicted
        y = mask_target_labels(labels, ids)
        _call_with_domains(model, "fit", _safe_indexing(self.X, rows), y, ids=ids)
        back = _OfDomains.wrap(model, -self.ids[source])
        return np.mean(back.predict(_safe_indexing(self.X, source)) == self.labels)
