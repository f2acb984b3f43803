"""MultiSourceTrAdaBoost: in each round the source that helps most is chosen."""

import math
from numbers import Integral, Real

import numpy as np
from sklearn.base import _fit_context
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import _num_samples

from skadapt.instance._boosting import (
    TIE,
    BaseVote,
    fit_seeded,
    source_factor,
    vote_floor,
    vote_weight,
)
from skadapt.instance._tradaboost import BoostedClassifierMixin

__all__ = ["MultiSourceTrAdaBoostClassifier"]


class MultiSourceTrAdaBoostClassifier(BoostedClassifierMixin, BaseVote):
    r"""Boost on several sources, of which each round chooses one.

    In each round one learner for each source is fitted to that source and the labelled
    target rows, and the one with the smallest error on the target is kept [1]_. Target
    rows that it gets wrong gain weight, source rows that it gets wrong lose weight. All
    rounds vote. A source that does not help is not chosen.

    Parameters
    ----------
    estimator : classifier, default=None
        The learner: any scikit-learn classifier whose `fit` takes `sample_weight`,
        also as the last step of a Pipeline. None:
        ``LinearSVC(C=0.1, class_weight="balanced", dual=False)``, which balances the
        weights of the classes in each round.
    n_estimators : int, default=100
        Number of rounds M that is planned; there may be fewer.
    initial_weight : {"domain", "row"} or array-like, default="domain"
        Weights of the first round: each source and the target have the same sum, every
        row has the same, or one number for each row of X.
    source_factor : {"tradaboost", "multisource"}, default="tradaboost"
        What a source row that is wrong is multiplied by, n being the number of rows
        of all sources (the sum of their `sample_weight`):
        ``1 / (1 + sqrt(2 ln(n) / M))``, with which one source gives the weights of
        `TrAdaBoostClassifier`, or ``1 / (1 + sqrt(2 ln(n / M)))`` as in [1]_, which
        needs n > M and forgets sources sooner.
    decay : {"all", "chosen"}, default="all"
        Which source rows lose weight if the learner of the round is wrong about them:
        those of all sources as in [1]_, or those of the source that it was fitted on.
    min_error : float in (0, 0.5), default=None
        Errors below this one count as this one in the votes, in which an error of 0
        would decide alone. The updates of the weights use the error as it is. None:
        one over the number of labelled rows (the sum of `sample_weight`), at most
        0.25.
    n_jobs : int, default=None
        Number of sources whose learners are fitted at the same time, in threads; -1
        means one for each processor. It pays for learners that let go of Python's
        lock, as linear models and trees do.
    store_weights : bool, default=False
        Whether the weights of every round are kept in `round_weights_`.
    random_state : int, RandomState instance or None, default=None
        Seeds the learners that draw; those of one round have one seed.

    Attributes
    ----------
    estimators_ : list of classifiers
        The learners of the rounds that were kept.
    classes_ : ndarray of shape (n_classes,)
        Class labels, in the natural dtype of the labelled values.
    chosen_sources_ : ndarray of shape (n_rounds,)
        Id of the source that each learner was fitted on. Empty without domains.
    estimator_errors_ : ndarray of shape (n_rounds,)
        Weighted error of each learner on the labelled target rows.
    estimator_weights_ : ndarray of shape (n_rounds,)
        Weight of each learner in the vote; 1 for one that is kept alone.
    target_mass_ : ndarray of shape (n_rounds,)
        Share of the target rows in the weights of each round.
    sources_ : ndarray of shape (n_sources,)
        Ids of the sources, ascending. Empty without domains.
    source_errors_ : ndarray of shape (n_sources,)
        Error on the labelled target rows of the learner fitted on each source alone.
    source_weights_ : ndarray of shape (n_source,)
        Weights of the source rows after the last round, with mean 1, in the order in
        which they stand in X. Empty without domains.
    round_weights_ : ndarray of shape (n_rounds, n_labeled)
        Weights of the labelled rows in each round, each with sum 1, in the order of
        X. With ``store_weights=True`` only.
    termination_condition_ : str
        Why it ended: ``"n_estimators"``; ``"perfect_fit"``, no row whose weight could
        change is wrong; or ``"no_better_than_chance"``, the errors of all learners of
        the next round were at least ``1 - 1 / n_classes``, so that it was dropped, or,
        if it was the first, the best of them kept alone.
    n_features_in_ : int
        Number of features seen in `fit`.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the features, if X was a data frame.

    Raises
    ------
    ValueError
        If `sample_domain` lacks sources or targets, if no target row is labelled or
        all that are have one class, if a source row is unlabelled, if the learner
        takes no sample_weight, or if ``source_factor="multisource"`` meets no more
        source rows than rounds.

    Warns
    -----
    NegativeTransferWarning
        If no source helps: the learner fitted on each alone is no better than chance
        on the labelled target rows, or each learner of the first round is not.
    NoAdaptationWarning
        If `fit` gets no `sample_domain`. This is AdaBoost then (SAMME).

    See Also
    --------
    TaskTrAdaBoostClassifier : Boosts each source once, and chooses among the learners
        for one target after another.
    TrAdaBoostClassifier : For one source, or several that are pooled.
    TransferClassifier : With ``train_on="labeled", target_weight="domain"``, one
        learner on all domains: compare.
    TargetKFold : Folds of the labelled target rows, to choose parameters.

    Notes
    -----
    With weights :math:`w` of sum 1 and K classes, round t fits a learner
    :math:`h^k` on source k and the target, and with the losses
    :math:`l^k_i = [h^k(x_i) \neq y_i]`

    .. math::

        \epsilon^k = \frac{\sum_{target} w_i l^k_i}{\sum_{target} w_i}, \quad
        h_t = h^k \text{ with the least } \epsilon^k = \epsilon, \quad
        a = \ln\frac{1 - \epsilon}{\epsilon} + \ln(K - 1),

        w_i \leftarrow w_i \beta^{l_i} \text{ (source)}, \quad
        w_i \leftarrow w_i e^{a l_i} \text{ (target)},

    as long as :math:`\epsilon < 1 - 1/K`, with :math:`\beta` as in `source_factor`. The
    class with the largest :math:`\sum_t a_t [h_t(x) = k]` is predicted, the later one
    in a tie. For two classes that is MultiSourceTrAdaBoost of [1]_, whose
    :math:`\alpha_t` is half of :math:`a` and whose :math:`e^{-2 \alpha_S}` is
    :math:`\beta`: votes and weights are the same. Without sources it is SAMME [2]_. A
    learner gets weights scaled to the sum of `sample_weight` over its rows.

    Few target rows make equal errors common. Among learners that are equally good on
    the target the one is taken that is better on its own source, then on all labelled
    rows, then that of the larger source, and only then that of the smaller id.

    A round costs one fit for each source. Source weights fall as in
    `TrAdaBoostClassifier`, so that the share of the target rises.

    References
    ----------
    .. [1] Y. Yao, G. Doretto. Boosting for transfer learning with multiple sources.
       CVPR 2010, Algorithm 1.
    .. [2] J. Zhu, H. Zou, S. Rosset, T. Hastie. Multi-class AdaBoost. Statistics and
       Its Interface 2, 2009.

    Examples
    --------
    >>> import numpy as np
    >>> from skadapt import MultiSourceTrAdaBoostClassifier
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(1100, 10))
    >>> sample_domain = np.repeat([1, 2, 3, -1], [200, 200, 200, 500])
    >>> y = (X[:, :5].sum(axis=1) > 0).astype(float)
    >>> misleading = sample_domain == 2  # its labels follow other columns
    >>> y[misleading] = X[misleading, 5:].sum(axis=1) > 0
    >>> y_train = y.copy()
    >>> y_train[630:] = np.nan  # 30 labelled target rows
    >>> model = MultiSourceTrAdaBoostClassifier(n_estimators=20)
    >>> model = model.fit(X, y_train, sample_domain=sample_domain)
    >>> print(f"{model.score(X[630:], y[630:]):.2f}")
    0.96
    >>> 2 in model.chosen_sources_
    False
    """

    _parameter_constraints: dict = {
        **BaseVote._parameter_constraints,
        "initial_weight": [StrOptions({"domain", "row"}), "array-like"],
        "source_factor": [StrOptions({"tradaboost", "multisource"})],
        "decay": [StrOptions({"all", "chosen"})],
        "min_error": [Interval(Real, 0, 0.5, closed="neither"), None],
        "n_jobs": [Integral, None],
        "store_weights": ["boolean"],
    }

    def __init__(
        self,
        estimator=None,
        n_estimators=100,
        *,
        initial_weight="domain",
        source_factor="tradaboost",
        decay="all",
        min_error=None,
        n_jobs=None,
        store_weights=False,
        random_state=None,
    ):
        self.estimator = estimator
        self.n_estimators = n_estimators
        self.initial_weight = initial_weight
        self.source_factor = source_factor
        self.decay = decay
        self.min_error = min_error
        self.n_jobs = n_jobs
        self.store_weights = store_weights
        self.random_state = random_state

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y, sample_weight=None, *, sample_domain=None):
        """Boost on the labelled rows of the sources and the target.

        Parameters
        ----------
        X : {array-like, sparse matrix, data frame} of shape (n_samples, n_features)
            Rows of all domains, in any order.
        y : array-like of shape (n_samples,)
            Labels; NaN (in an array of floats) or None (in an array of objects) marks
            an unlabelled target row, which takes no part.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative row weights; they multiply the initial weights, and a row
            of weight 2 counts as two rows.
        sample_domain : array-like of shape (n_samples,), default=None
            Domain of each row, > 0 for sources, each with an id of its own, and < 0
            for targets, which are pooled. None boosts on all rows as on target rows,
            with a `NoAdaptationWarning`.

        Returns
        -------
        self : object
            The fitted model.
        """
        X, estimator = self._check_start(X, y)
        rows = self._labeled_rows(X, y, estimator, sample_weight, sample_domain)
        self._check_training_labels(rows)
        ids = np.where(rows.source, rows.ids, -1)
        weights = self._initial_weights(rows, ids, _num_samples(X))
        factor = self._factor(rows)
        rng = check_random_state(self.random_state)
        seeds = rng.randint(np.iinfo(np.int32).max, size=self.n_estimators)
        self.sources_ = np.unique(ids[rows.source])
        with Parallel(n_jobs=self.n_jobs, prefer="threads") as parallel:
            self._judge_sources(parallel, estimator, rows, seeds[0])
            self._boost(parallel, estimator, rows, weights, factor, seeds)
        return self

    def _factor(self, rows):
        """What a source row that is wrong is multiplied by."""
        n_source = rows.weights[rows.source].sum()
        if self.source_factor == "tradaboost" or not rows.source.any():
            return source_factor(n_source, self.n_estimators)
        if not n_source > self.n_estimators:
            raise ValueError(
                f"source_factor='multisource' needs more source rows than rounds, but "
                f"they count {n_source:g} and n_estimators={self.n_estimators}: plan "
                "fewer rounds, or use source_factor='tradaboost'."
            )
        return 1.0 / (1.0 + math.sqrt(2.0 * math.log(n_source / self.n_estimators)))

    def _judge_sources(self, parallel, estimator, rows, seed):
        """Set `source_errors_`; warn if no source alone is better than chance."""
        self.source_errors_ = np.array(
            parallel(
                delayed(self._error_of_source)(estimator, rows, rows.ids == i, seed)
                for i in self.sources_
            )
        )
        if len(self.sources_) and self.source_errors_.min() >= self._chance_error():
            self._warn_of_source(
                f"The best learner fitted on a source alone has the error "
                f"{self.source_errors_.min():.3f} on the labelled target rows, no "
                "better than chance: the sources contradict the target"
            )

    def _boost(self, parallel, estimator, rows, weights, factor, seeds):
        """The rounds; sets the attributes that they leave."""
        n_classes = self._n_classes()
        floor = vote_floor(self.min_error, rows.weights.sum())
        target = ~rows.source
        # What a learner is fitted on: a source and the target.
        members = [np.flatnonzero(target | (rows.ids == i)) for i in self.sources_]
        members = members or [np.flatnonzero(target)]
        parts = [rows.take(rows_of_part) for rows_of_part in members]
        self.estimators_, chosen, errors, votes, mass, kept = [], [], [], [], [], []
        self.termination_condition_ = "n_estimators"
        for t, seed in enumerate(seeds):
            found = parallel(
                delayed(_fit_part)(estimator, part, weights[rows_of_part], seed)
                for part, rows_of_part in zip(parts, members)
            )
            k, error = self._choose(found, parts, rows, weights[target])
            is_chance = error >= self._chance_error() - TIE
            if is_chance:
                self.termination_condition_ = "no_better_than_chance"
                if t:
                    break
            learner, _ = found[k]
            self.estimators_.append(learner)
            chosen.append(k)
            errors.append(error)
            vote = 1.0 if is_chance else vote_weight(max(error, floor), n_classes)
            votes.append(vote)
            mass.append(weights[target].sum())
            if self.store_weights:
                kept.append(weights)
            if is_chance:
                # Sources that were found wanting have been warned of.
                if (self.source_errors_ < self._chance_error()).any():
                    self._warn_of_source(
                        f"The best learner of the first round, fitted on a source and "
                        f"the target, has the error {error:.3f} on the labelled target "
                        "rows, no better than chance: the sources contradict the target"
                    )
                break
            loss = self._losses(learner, rows, weights)
            decaying = rows.source
            if self.decay == "chosen":
                decaying = np.isin(rows.ids, self.sources_[k : k + 1])
            if error == 0 and not weights[decaying] @ loss[decaying]:
                self.termination_condition_ = "perfect_fit"
                break
            weights = weights.copy()
            weights[decaying] *= factor ** loss[decaying]
            if error > 0:
                weights[target] *= np.exp(vote_weight(error, n_classes) * loss[target])
            weights /= weights.sum()
        self.chosen_sources_ = self.sources_[chosen if len(self.sources_) else []]
        self.estimator_errors_ = np.array(errors)
        self.estimator_weights_ = np.array(votes)
        self.target_mass_ = np.array(mass)
        left = weights[rows.source]
        self.source_weights_ = left / (left.mean() if left.any() else 1.0)
        vars(self).pop("round_weights_", None)  # those of an earlier fit
        if self.store_weights:
            self.round_weights_ = np.array(kept)

    def _choose(self, found, parts, rows, target_weights):
        """Number of the part whose learner is best on the target, and its error."""
        learners, wrong = zip(*found)
        errors = [
            float(np.average(w[~part.source], weights=target_weights))
            for w, part in zip(wrong, parts)
        ]
        keys = (
            lambda k: errors[k],
            lambda k: np.average(wrong[k], weights=parts[k].weights * parts[k].source),
            lambda k: self._error(learners[k], rows),
            lambda k: -parts[k].weights.sum(),
        )
        best = list(range(len(parts)))
        for key in keys:
            if len(best) > 1:
                values = [key(k) for k in best]
                least = min(values) + TIE
                best = [k for k, value in zip(best, values) if value <= least]
        return best[0], errors[best[0]]


def _fit_part(estimator, part, weights, seed):
    """A learner fitted on a part of the rows, and which of these it gets wrong."""
    scale = part.weights.sum() / weights.sum()
    learner = fit_seeded(estimator, part.X, part.y, weights * scale, seed)
    return learner, learner.predict(part.X) != part.y
