"""TaskTrAdaBoost: boost each source once, then choose among its learners."""

from numbers import Integral, Real
from typing import NamedTuple

import numpy as np
from sklearn.base import _fit_context
from sklearn.dummy import DummyClassifier
from sklearn.utils import check_consistent_length, check_random_state
from sklearn.utils._param_validation import Interval
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import check_is_fitted

from skadapt._domains import as_labels, is_labeled
from skadapt.instance._boosting import (
    TIE,
    BaseVote,
    fit_seeded,
    vote_floor,
    vote_weight,
)
from skadapt.instance._tradaboost import BoostedClassifierMixin

__all__ = ["TaskTrAdaBoostClassifier"]


class TaskTrAdaBoostClassifier(BoostedClassifierMixin, BaseVote):
    r"""Boost each source by itself, and let the target choose among the learners.

    The first stage is AdaBoost on each source, without the target; all its learners are
    kept. The second stage is AdaBoost on the labelled target rows, in which a round
    fits nothing: it takes the kept learner that is best on them [1]_. It costs as good
    as nothing, and `fit_target` repeats it for another target.

    Parameters
    ----------
    estimator : classifier, default=None
        The learner: any scikit-learn classifier whose `fit` takes `sample_weight`,
        also as the last step of a Pipeline. None:
        ``LinearSVC(C=0.1, class_weight="balanced", dual=False)``, which balances the
        weights of the classes in each round.
    n_estimators : int, default=100
        Number of rounds M that is planned, on each source and on the target; there may
        be fewer.
    min_vote : float, default=0.0
        A learner is kept from the first stage if its vote there,
        ``ln((1 - error) / error) + ln(n_classes - 1)``, is larger than this: for two
        classes twice the threshold :math:`\gamma` of [1]_.
    min_error : float in (0, 0.5), default=None
        Errors on the target below this one count as this one in the votes, in which an
        error of 0 would decide alone; for two classes so do those as near to 1. The
        updates of the weights use the error as it is. None: one over the number of
        labelled target rows (the sum of their `sample_weight`), at most 0.25.
    n_jobs : int, default=None
        Number of sources that are boosted at the same time; -1 means one for each
        processor.
    store_weights : bool, default=False
        Whether the weights of every round are kept in `round_weights_`.
    random_state : int, RandomState instance or None, default=None
        Seeds the learners that draw; each source has the same seeds.

    Attributes
    ----------
    hypotheses_ : list of classifiers
        The learners of the first stage, source by source in the order of their rounds.
        Empty without domains.
    hypothesis_sources_ : ndarray of shape (n_hypotheses,)
        Id of the source that each of them was fitted on.
    hypothesis_errors_ : ndarray of shape (n_hypotheses,)
        Weighted error of each of them on its source, in its round.
    estimators_ : list of classifiers
        The learners that vote, in the order in which they were chosen.
    classes_ : ndarray of shape (n_classes,)
        Class labels, in the natural dtype of the labelled values.
    chosen_sources_ : ndarray of shape (n_rounds,)
        Id of the source that each of `estimators_` was fitted on. Empty without
        domains.
    estimator_errors_ : ndarray of shape (n_rounds,)
        Weighted error of each of `estimators_` on the labelled target rows.
    estimator_weights_ : ndarray of shape (n_rounds,)
        Weight of each of `estimators_` in the vote; negative for one that is worse than
        chance, which votes against the class that it names; 1 for one that is kept
        alone.
    round_weights_ : ndarray of shape (n_rounds, n_labeled_target)
        Weights of the labelled target rows in each round, each with sum 1, in the order
        of X. With ``store_weights=True`` only.
    termination_condition_ : str
        Why it ended: ``"n_estimators"``; ``"no_hypothesis_left"``, all were chosen;
        ``"no_better_than_chance"``, the errors of all that were left were
        ``1 - 1 / n_classes``, so that nothing would change, or, in the first round,
        one of them is kept alone; or, without domains, ``"perfect_fit"``, no row is
        wrong.
    n_features_in_ : int
        Number of features seen in `fit`.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the features, if X was a data frame.

    Raises
    ------
    ValueError
        If `sample_domain` lacks sources or targets, if no target row is labelled or
        all that are have one class, if a source row is unlabelled, or if the learner
        takes no sample_weight.

    Warns
    -----
    NegativeTransferWarning
        If no learner of a source is kept, none being better than chance on the source
        itself (if that is so for all sources, the first learner of each is kept), or
        if no learner that is kept is better or worse than chance on the labelled
        target rows.
    NoAdaptationWarning
        If `fit` gets no `sample_domain`. This is AdaBoost then (SAMME).

    See Also
    --------
    MultiSourceTrAdaBoostClassifier : Fits the learners on a source and the target
        together.
    TrAdaBoostClassifier : For one source, or several that are pooled.
    TargetKFold : Folds of the labelled target rows, to choose parameters.

    Notes
    -----
    Let :math:`l_i = [h(x_i) \neq y_i]` be the losses of a kept learner h on the target
    rows, :math:`w` their weights, with sum 1, equal at first, and K the number of
    classes. Each round takes the h that is left with the least

    .. math::

        z = K (1 - \epsilon)^{1/K} \left(\frac{\epsilon}{K - 1}\right)^{1 - 1/K},
        \quad \epsilon = \sum_i w_i l_i,

    gives it the vote :math:`a = \ln\frac{1 - \epsilon}{\epsilon} + \ln(K - 1)`, changes
    the weights, :math:`w_i \leftarrow w_i e^{a l_i}`, and removes h. The class with the
    largest :math:`\sum_t a_t [h_t(x) = k]` is predicted, the later one in a tie.
    :math:`z` is the factor by which the exponential loss of SAMME [2]_ falls; it is 1
    at chance, and smaller the farther the error is from it, on either side. For two
    classes :math:`z = 2 \sqrt{\epsilon (1 - \epsilon)}`: that is TaskTrAdaBoost of
    [1]_, in which :math:`-h` with the error :math:`1 - \epsilon` takes the place of an
    h with :math:`\epsilon > 1/2`. A learner with error 0 or 1 moves no weight. The
    first stage is SAMME on each source by itself, with the classes of that source; it
    ends with a learner that makes no error.

    Among learners that are equally good on the target the one with the smaller error on
    its source is taken, then that of the earlier round, then the one that agrees with
    more of the others on the target, and only then that of the smaller id.

    The second stage predicts the m labelled target rows once with each of the H
    learners, and costs H m operations a round.

    References
    ----------
    .. [1] Y. Yao, G. Doretto. Boosting for transfer learning with multiple sources.
       CVPR 2010, Algorithms 2 and 3.
    .. [2] J. Zhu, H. Zou, S. Rosset, T. Hastie. Multi-class AdaBoost. Statistics and
       Its Interface 2, 2009.

    Examples
    --------
    >>> import numpy as np
    >>> from skadapt import TaskTrAdaBoostClassifier
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(1100, 10))
    >>> sample_domain = np.repeat([1, 2, 3, -1], [200, 200, 200, 500])
    >>> y = (X[:, :5].sum(axis=1) > 0).astype(float)
    >>> misleading = sample_domain == 2  # its labels follow other columns
    >>> y[misleading] = X[misleading, 5:].sum(axis=1) > 0
    >>> y_train = y.copy()
    >>> y_train[640:] = np.nan  # 40 labelled target rows
    >>> model = TaskTrAdaBoostClassifier(n_estimators=20)
    >>> model = model.fit(X, y_train, sample_domain=sample_domain)
    >>> print(f"{model.score(X[640:], y[640:]):.2f}")
    0.98

    Another target, whose classes are the other way round; the sources are not touched.

    >>> model = model.fit_target(X[600:640], 1 - y[600:640])
    >>> print(f"{model.score(X[640:], 1 - y[640:]):.2f}")
    0.98
    """

    _parameter_constraints: dict = {
        **BaseVote._parameter_constraints,
        "min_vote": [Interval(Real, 0, None, closed="left")],
        "min_error": [Interval(Real, 0, 0.5, closed="neither"), None],
        "n_jobs": [Integral, None],
        "store_weights": ["boolean"],
    }

    def __init__(
        self,
        estimator=None,
        n_estimators=100,
        *,
        min_vote=0.0,
        min_error=None,
        n_jobs=None,
        store_weights=False,
        random_state=None,
    ):
        self.estimator = estimator
        self.n_estimators = n_estimators
        self.min_vote = min_vote
        self.min_error = min_error
        self.n_jobs = n_jobs
        self.store_weights = store_weights
        self.random_state = random_state

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y, sample_weight=None, *, sample_domain=None):
        """Boost each source, then choose for the target.

        Parameters
        ----------
        X : {array-like, sparse matrix, data frame} of shape (n_samples, n_features)
            Rows of all domains, in any order.
        y : array-like of shape (n_samples,)
            Labels; NaN (in an array of floats) or None (in an array of objects) marks
            an unlabelled target row, which takes no part.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative row weights; they are the initial weights in their domain, and
            a row of weight 2 counts as two rows.
        sample_domain : array-like of shape (n_samples,), default=None
            Domain of each row, > 0 for sources, each with an id of its own, and < 0
            for targets, which are pooled. None boosts on all rows as AdaBoost does,
            with a `NoAdaptationWarning`.

        Returns
        -------
        self : object
            The fitted model.
        """
        X, estimator = self._check_start(X, y)
        rows = self._labeled_rows(X, y, estimator, sample_weight, sample_domain)
        self._check_training_labels(rows)
        rng = check_random_state(self.random_state)
        seeds = rng.randint(np.iinfo(np.int32).max, size=self.n_estimators)
        self._boost_sources(estimator, rows, seeds)
        if rows.source.any():
            self._choose(rows.take(np.flatnonzero(~rows.source)))
        else:
            self._boost_target(estimator, rows, seeds)
        return self

    @_fit_context(prefer_skip_nested_validation=False)
    def fit_target(self, X, y, sample_weight=None):
        """Choose for another target among the learners that `fit` left.

        Parameters
        ----------
        X : {array-like, sparse matrix, data frame} of shape (n_samples, n_features)
            Rows of the target.
        y : array-like of shape (n_samples,)
            Labels; NaN or None marks an unlabelled row, which takes no part.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative row weights: the initial weights.

        Returns
        -------
        self : object
            The model of that target.
        """
        check_is_fitted(self)
        if not self.hypotheses_:
            raise ValueError(
                "There is no learner of a source to choose, because fit got no "
                "sample_domain: call fit with the sources and sample_domain first."
            )
        X = self._check_rows(X, reset=False)
        y = as_labels(y)
        check_consistent_length(X, y)
        labeled = is_labeled(y)
        self._check_target_labels(labeled)
        rows = self._rows(X, y, labeled, np.full(len(y), -1), sample_weight)
        if (rows.y.dtype.kind in "US") != (self._source_classes.dtype.kind in "US"):
            raise ValueError(
                f"The labels are of type {rows.y.dtype}, those of the sources were of "
                f"type {self._source_classes.dtype}: spell them alike."
            )
        self._check_training_labels(rows)
        self.classes_ = np.union1d(self._source_classes, self.classes_)
        self._choose(rows)
        return self

    def _boost_sources(self, estimator, rows, seeds):
        """The first stage: keep what AdaBoost makes of each source by itself."""
        sources = np.unique(rows.ids[rows.source])
        parts = [rows.take(np.flatnonzero(rows.ids == i)) for i in sources]
        for i, part in zip(sources, parts):
            if not part.weights.any():
                raise ValueError(
                    f"sample_weight is 0 for every labelled row of source {i}: give "
                    "some of them a positive weight, or leave that source out."
                )
        boosted = Parallel(n_jobs=self.n_jobs)(
            delayed(_adaboost)(estimator, part, seeds) for part in parts
        )
        kept = [[r for r in rounds if r.vote > self.min_vote] for rounds in boosted]
        lost = [str(i) for i, rounds in zip(sources, kept) if not rounds]
        if lost:
            self._warn_of_source(
                f"No learner fitted on the source {' or '.join(lost)} has a vote above "
                f"{self.min_vote:g} on that source itself"
            )
        if not any(kept):
            kept = [rounds[:1] for rounds in boosted]
        self.hypotheses_ = [r.learner for rounds in kept for r in rounds]
        self.hypothesis_errors_ = np.array([r.error for rounds in kept for r in rounds])
        self.hypothesis_sources_ = np.repeat(sources, [len(rounds) for rounds in kept])
        self._source_classes = np.unique(rows.y[rows.source])

    def _choose(self, rows):
        """The second stage: AdaBoost on target rows with the learners that are kept."""
        n_classes = self._n_classes()
        floor = vote_floor(self.min_error, rows.weights.sum())
        weights = rows.weights / rows.weights.sum()
        predicted = np.array([self._output(h, rows.X) for h in self.hypotheses_])
        order = self._preference(predicted, weights)
        wrong = (predicted[order] != np.searchsorted(self.classes_, rows.y)) * 1.0
        never_right = wrong[:, weights > 0].all(axis=1)
        left = np.ones(len(order), dtype=bool)
        chosen, errors, votes, kept = [], [], [], []
        self.termination_condition_ = "n_estimators"
        for _ in range(self.n_estimators):
            if not left.any():
                self.termination_condition_ = "no_hypothesis_left"
                break
            error = np.where(never_right, 1.0, np.clip(wrong @ weights, 0.0, 1.0))
            growth = _loss_factor(error, n_classes)
            growth[~left] = np.inf
            best = int(np.argmax(growth <= growth.min() + TIE))
            is_chance = growth[best] >= 1.0 - TIE
            if is_chance:
                self.termination_condition_ = "no_better_than_chance"
                if chosen:
                    break
            left[best] = False
            chosen.append(order[best])
            errors.append(error[best])
            # For two classes as far from 1 as from 0, for votes of the same size.
            counted = np.clip(error[best], floor, 1.0 - floor / (n_classes - 1))
            votes.append(1.0 if is_chance else vote_weight(counted, n_classes))
            if self.store_weights:
                kept.append(weights)
            if is_chance:
                self._warn_of_source(
                    "No learner of any source is better or worse than chance on the "
                    "labelled target rows"
                )
                break
            if 0 < error[best] < 1:
                vote = vote_weight(error[best], n_classes)
                weights = weights * np.exp(vote * wrong[best])
                weights /= weights.sum()
        self._report([self.hypotheses_[j] for j in chosen], errors, votes, kept)
        self.chosen_sources_ = self.hypothesis_sources_[chosen]

    def _preference(self, predicted, weights):
        """Order in which learners are taken that are equally good on the target."""
        agreement = np.zeros(len(predicted))
        for k in range(self._n_classes()):
            same = predicted == k
            agreement += same @ (weights * same.sum(axis=0))
        sources = self.hypothesis_sources_
        rounds = np.arange(len(sources)) - np.searchsorted(sources, sources)
        return np.lexsort(
            (
                sources,
                -np.round(agreement / len(sources) / TIE),
                rounds,
                np.round(self.hypothesis_errors_ / TIE),
            )
        )

    def _boost_target(self, estimator, rows, seeds):
        """AdaBoost, where all rows are one domain."""
        n_classes = self._n_classes()
        floor = vote_floor(self.min_error, rows.weights.sum())
        rounds = _adaboost(estimator, rows, seeds, n_classes)
        self.termination_condition_ = "n_estimators"
        if rounds[-1].error == 0:
            self.termination_condition_ = "perfect_fit"
        elif rounds[-1].vote == 0 or len(rounds) < len(seeds):
            self.termination_condition_ = "no_better_than_chance"
        self._report(
            [r.learner for r in rounds],
            [r.error for r in rounds],
            [
                vote_weight(max(r.error, floor), n_classes) if r.vote > 0 else 1.0
                for r in rounds
            ],
            [r.weights for r in rounds] if self.store_weights else [],
        )
        self.chosen_sources_ = self.hypothesis_sources_

    def _report(self, learners, errors, votes, kept):
        """Set the attributes with one entry a round."""
        self.estimators_ = learners
        self.estimator_errors_ = np.array(errors)
        self.estimator_weights_ = np.array(votes)
        vars(self).pop("round_weights_", None)  # those of an earlier fit
        if self.store_weights:
            self.round_weights_ = np.array(kept)

    def _combine(self, outputs, votes):
        """Shares of the vote; one against a class counts for each of the others."""
        classes = np.arange(self._n_classes())
        signed = (
            (output[:, np.newaxis] == classes) == (vote > 0)
            for output, vote in zip(outputs, votes)
        )
        shares = super()._combine(signed, np.abs(votes))
        return shares / shares.sum(axis=1, keepdims=True)


class Round(NamedTuple):
    """A round of AdaBoost."""

    learner: object
    error: float
    vote: float  # 0 for a first learner that is no better than chance
    weights: np.ndarray


def _adaboost(estimator, rows, seeds, n_classes=None):
    """Rounds of SAMME on all of these rows; the first is there whatever its error."""
    found = np.unique(rows.y[rows.weights > 0])
    if len(found) == 1:
        estimator = DummyClassifier()  # many a learner refuses a single class
    n_classes = n_classes or max(2, len(found))
    total = rows.weights.sum()
    weights = rows.weights / total
    rounds = []
    for seed in seeds:
        learner = fit_seeded(estimator, rows.X, rows.y, weights * total, seed)
        wrong = learner.predict(rows.X) != rows.y
        error = float(weights @ wrong)
        is_chance = error >= 1.0 - 1.0 / n_classes - TIE
        if is_chance and rounds:
            break
        vote = 0.0 if is_chance else vote_weight(error, n_classes)
        rounds.append(Round(learner, error, vote, weights))
        if is_chance or error == 0:
            break
        weights = weights * np.exp(vote * wrong)
        weights /= weights.sum()
    return rounds


def _loss_factor(error, n_classes):
    """What the exponential loss is multiplied by if a learner with this error votes."""
    right, wrong = 1.0 - error, error / (n_classes - 1)
    return n_classes * right ** (1.0 / n_classes) * wrong ** (1.0 - 1.0 / n_classes)
