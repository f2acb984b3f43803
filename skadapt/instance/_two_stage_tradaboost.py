"""Two-stage TrAdaBoost.R2: the source fades out in steps, and one step is chosen."""

from numbers import Integral, Real
from typing import NamedTuple

import numpy as np
from scipy.optimize import brentq
from scipy.special import logsumexp
from sklearn.base import _fit_context
from sklearn.model_selection import KFold, check_cv
from sklearn.utils import _safe_indexing, check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.parallel import Parallel, delayed

from skadapt.instance._boosting import (
    BaseVote,
    fit_seeded,
    vote_floor,
    vote_weight,
)
from skadapt.instance._tradaboost_regressor import (
    LOSSES,
    BoostedRegressorMixin,
    relative_losses,
    weighted_median,
)

__all__ = ["TwoStageTrAdaBoostRegressor"]


class TwoStageTrAdaBoostRegressor(BoostedRegressorMixin, BaseVote):
    r"""Fade the source out in steps, boost in each, and keep the best one.

    Stage one takes weight off the source, step by step, first from the rows that the
    learner gets wrong, until the target has all of it. Stage two is AdaBoost.R2 in each
    step, which moves weight among target rows only. Cross-validation on the labelled
    target rows says how much source is good for them: two-stage TrAdaBoost.R2 [1]_.

    Parameters
    ----------
    estimator : regressor, default=None
        The learner: any scikit-learn regressor whose `fit` takes `sample_weight`, also
        as the last step of a Pipeline. None: ``Ridge()``. Boosting gains more with a
        learner that bends, such as ``DecisionTreeRegressor(max_depth=6)``.
    n_estimators : int, default=10
        Number of rounds of boosting in each step; there may be fewer.
    n_steps : int, default=10
        Number of steps S, at least 2: from every row with the same weight to no source
        at all.
    cv : int, cross-validation splitter or iterable, default=5
        Number of folds of the labelled target rows, which are drawn; every row is a
        fold if there are fewer. Or what splits these rows: a splitter of scikit-learn,
        or pairs of arrays, row numbers that count the labelled target rows only, in
        the order of X. The source is trained on in every fold. None is 5.
    loss : {"linear", "square", "exponential"}, default="linear"
        Loss of a row with residual u, relative to the largest: :math:`u`,
        :math:`u^2` or :math:`1 - e^{-u}`.
    min_error : float in (0, 0.5), default=None
        Mean losses below this one count as this one in the votes, in which a loss of
        0 would decide alone. None: one over the number of labelled rows (the sum of
        `sample_weight`), at most 0.25.
    n_jobs : int, default=None
        Number of processes for the folds of all steps. None is 1 unless joblib is told
        otherwise.
    store_weights : bool, default=False
        Whether the weights of every round are kept in `round_weights_`.
    random_state : int, RandomState instance or None, default=None
        Draws the folds and seeds the learners that draw.

    Attributes
    ----------
    step_errors_ : ndarray of shape (n_steps,)
        Root mean squared error of each step on the labelled target rows by
        cross-validation, in the unit of y. With domains only.
    best_step_ : int
        The step that was kept, from 0: that of the least error, the first in a tie.
        ``n_steps - 1`` is the target alone.
    target_mass_ : ndarray of shape (n_steps,)
        Share of the target rows in the weights of each step; ``[1.]`` without domains.
    estimators_ : list of regressors
        The learners of the rounds of the step that was kept.
    estimator_errors_ : ndarray of shape (n_rounds,)
        Weighted mean loss of each learner on the rows of both domains.
    estimator_weights_ : ndarray of shape (n_rounds,)
        Weight of each learner in the vote; 1 for one that is kept alone.
    source_weights_ : ndarray of shape (n_source,)
        Weights in the step that was kept, with mean 1 or all 0: which source rows
        were trusted, in the order in which they stand in X. Empty without domains.
    round_weights_ : ndarray of shape (n_rounds, n_labeled)
        Weights of the labelled rows in each round, each with sum 1, in the order of
        X. With ``store_weights=True`` only.
    n_features_in_ : int
        Number of features seen in `fit`.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the features, if X was a data frame.

    Raises
    ------
    ValueError
        If `sample_domain` lacks sources or targets, if fewer than two target rows are
        labelled, if a source row is unlabelled, if y has several columns, if a split of
        `cv` lacks target rows, or if the learner takes no sample_weight.

    Warns
    -----
    NoAdaptationWarning
        If `fit` gets no `sample_domain`. This is AdaBoost.R2 then, with weighted fits.

    See Also
    --------
    TrAdaBoostRegressor : A single boosting run, without cross-validation.
    TransferRegressor : With ``train_on="labeled"``, one learner on the weights of the
        first step: compare.

    Notes
    -----
    With n source rows, m labelled target rows and step t = 0, ..., S - 1, the target
    has the share

    .. math:: \frac{m}{n + m} + \frac{t}{S - 1} \left(1 - \frac{m}{n + m}\right)

    of the weights (sums of `sample_weight` for n and m). From step to step one learner
    is fitted to all rows with their weights, and source weights become
    :math:`w_i b^{l_i}`, where :math:`l_i` is its loss relative to that of the worst
    row, as in AdaBoost.R2 [2]_, and b in [0, 1] is solved for to the precision of
    floats. Source rows without any loss cannot lose weight: where they have more than
    the source is to keep, b = 0, only they remain, and the share is smaller. In the
    last step the source is dropped.

    In each step AdaBoost.R2' boosts with mean loss :math:`\epsilon` over both domains,
    as long as that is less than 1/2; target weights are multiplied by
    :math:`(\epsilon / (1 - \epsilon))^{1 - l_i}` and scaled to the sum they had, and
    source weights stay. All rounds vote, by weighted median. In a fold the remaining
    target rows take over the weight of those held out, so that the share stays. What
    is cross-validated is what is kept, with all its rounds; that takes
    ``n_steps * cv * n_estimators`` fits of the learner, which get the weights scaled to
    the sum of `sample_weight` over the rows that have a weight.

    A choice between S models by a few target rows is a noisy one: the step kept is not
    the best one for the target, and may be worse than the target alone. Source rows
    are never boosted: a source that agrees with the target is best used whole, in
    AdaBoost.R2 on both, which is ``TransferRegressor(AdaBoostRegressor(...),
    train_on="labeled", target_weight="domain")``.

    References
    ----------
    .. [1] D. Pardoe, P. Stone. Boosting for regression transfer. ICML 2010,
       Algorithm 3.
    .. [2] H. Drucker. Improving regressors using boosting techniques. ICML 1997.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import Ridge
    >>> from skadapt import TwoStageTrAdaBoostRegressor
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(1050, 20))
    >>> sample_domain = np.repeat([1, 2, -1], [200, 100, 750])
    >>> slopes = rng.normal(size=20)
    >>> y = X @ slopes + rng.normal(size=1050)
    >>> misleading = sample_domain == 2  # ten columns mean the opposite there
    >>> y[misleading] -= 2 * X[misleading, :10] @ slopes[:10]
    >>> y_train = y.copy()
    >>> y_train[330:] = np.nan  # 30 labelled target rows
    >>> target, test = slice(300, 330), slice(330, None)
    >>> alone = Ridge().fit(X[target], y[target])
    >>> model = TwoStageTrAdaBoostRegressor(n_estimators=5, random_state=0)
    >>> model = model.fit(X, y_train, sample_domain=sample_domain)
    >>> scores = [m.score(X[test], y[test]) for m in (alone, model)]
    >>> print("{:.2f} {:.2f}".format(*scores))
    0.88 0.93
    >>> print(f"step {model.best_step_}: {model.target_mass_[model.best_step_]:.2f}")
    step 3: 0.39
    >>> trusted = model.source_weights_
    >>> print(f"{trusted[:200].mean():.2f} {trusted[200:].mean():.2f}")
    1.32 0.36
    """

    _parameter_constraints: dict = {
        **BaseVote._parameter_constraints,
        "n_steps": [Interval(Integral, 2, None, closed="left")],
        "cv": ["cv_object"],
        "loss": [StrOptions(set(LOSSES))],
        "min_error": [Interval(Real, 0, 0.5, closed="neither"), None],
        "n_jobs": [Integral, None],
        "store_weights": ["boolean"],
    }

    def __init__(
        self,
        estimator=None,
        n_estimators=10,
        n_steps=10,
        *,
        cv=5,
        loss="linear",
        min_error=None,
        n_jobs=None,
        store_weights=False,
        random_state=None,
    ):
        self.estimator = estimator
        self.n_estimators = n_estimators
        self.n_steps = n_steps
        self.cv = cv
        self.loss = loss
        self.min_error = min_error
        self.n_jobs = n_jobs
        self.store_weights = store_weights
        self.random_state = random_state

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y, sample_weight=None, *, sample_domain=None):
        """Weigh the steps, judge each by cross-validation, and boost in the best.

        Parameters
        ----------
        X : {array-like, sparse matrix, data frame} of shape (n_samples, n_features)
            Rows of all domains, in any order.
        y : array-like of shape (n_samples,)
            Values; NaN (in an array of floats) or None (in an array of objects) marks
            an unlabelled target row, which takes no part.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative row weights; they are the weights of the first step, and a
            row of weight 0 takes no part.
        sample_domain : array-like of shape (n_samples,), default=None
            Domain of each row, > 0 for sources and < 0 for targets; several of
            either are pooled. None boosts on all rows as on target rows, with a
            `NoAdaptationWarning`.

        Returns
        -------
        self : object
            The fitted model.
        """
        X, estimator = self._check_start(X, y)
        rows = self._labeled_rows(X, y, estimator, sample_weight, sample_domain)
        rng = check_random_state(self.random_state)
        largest = np.iinfo(np.int32).max
        seeds = rng.randint(largest, size=self.n_estimators)
        floor = vote_floor(self.min_error, rows.weights.sum())
        settings = seeds, self.loss, floor
        for name in ("step_errors_", "round_weights_"):
            if hasattr(self, name):
                delattr(self, name)
        if rows.source.any():
            folds = self._folds(rows, rng.randint(largest))
            steps = self._steps(estimator, rows, seeds[0])
            self.step_errors_ = self._step_errors(
                estimator, rows, steps, folds, settings
            )
            self.best_step_ = int(np.argmin(self.step_errors_))
        else:
            steps, self.best_step_ = [rows.weights / rows.weights.sum()], 0
        self.target_mass_ = np.array([1.0 - w[rows.source].sum() for w in steps])
        weights = steps[self.best_step_]
        kept = np.flatnonzero(weights > 0)
        rounds = boost_target(estimator, rows.take(kept), weights[kept], *settings)
        self.estimators_ = rounds.learners
        self.estimator_errors_ = rounds.errors
        self.estimator_weights_ = rounds.votes
        source = weights[rows.source]
        self.source_weights_ = source / (source.mean() if source.any() else 1.0)
        if self.store_weights:
            self.round_weights_ = np.zeros((len(rounds.learners), len(weights)))
            self.round_weights_[:, kept] = rounds.weights
        return self

    def _folds(self, rows, seed):
        """Pairs of target rows to train on and to judge by."""
        if not rows.weights[rows.source].any():
            raise ValueError(
                "sample_weight is 0 for every source row: give some of them a positive "
                "weight."
            )
        target = np.flatnonzero(~rows.source)
        weighted = target[rows.weights[target] > 0]
        if len(weighted) < 2:
            raise ValueError(
                f"{type(self).__name__} chooses its step by cross-validation on the "
                "labelled target rows, and there is only one with weight: label more, "
                "or use TrAdaBoostRegressor."
            )
        if self.cv is None or isinstance(self.cv, Integral):
            n_folds = min(self.cv or 5, len(weighted))
            splitter = KFold(n_folds, shuffle=True, random_state=seed)
            # So that the order of the rows of X matters among equal values only.
            target = weighted[np.argsort(rows.y[weighted], kind="stable")]
        else:
            splitter = check_cv(self.cv)
        folds = [
            (target[train], target[test])
            for train, test in splitter.split(
                _safe_indexing(rows.X, target), rows.y[target]
            )
        ]
        for train, test in folds:
            if not (rows.weights[train].any() and rows.weights[test].any()):
                raise ValueError(
                    "A split of cv leaves no labelled target row with weight to train "
                    "on or to judge by: use fewer folds, such as cv=5."
                )
        return folds

    def _steps(self, estimator, rows, seed):
        """The weights of each step, with sum 1."""
        source, target = rows.source, ~rows.source
        weights = rows.weights / rows.weights.sum()
        steps = [weights]
        for share in np.linspace(weights[target].sum(), 1.0, self.n_steps)[1:-1]:
            kept = np.flatnonzero(weights > 0)
            part = rows.take(kept)
            learner = fit_seeded(
                estimator, part.X, part.y, weights[kept] * part.weights.sum(), seed
            )
            losses = relative_losses(
                self._output(learner, rows.X), rows.y, weights, self.loss
            )
            goal = weights[target].sum() * (1.0 - share) / share
            weights = weights.copy()
            weights[source] = shrunken(weights[source], losses[source], goal)
            weights /= weights.sum()
            steps.append(weights)
        weights = np.where(source, 0.0, rows.weights)
        return [*steps, weights / weights.sum()]

    def _step_errors(self, estimator, rows, steps, folds, settings):
        """Root mean squared error of each step over the folds."""
        errors = Parallel(n_jobs=self.n_jobs)(
            delayed(squared_error_of_fold)(estimator, rows, weights, *fold, *settings)
            for weights in steps
            for fold in folds
        )
        errors = np.sum(np.reshape(errors, (len(steps), len(folds))), axis=1)
        return np.sqrt(errors / sum(rows.weights[test].sum() for _, test in folds))


class BoostedRounds(NamedTuple):
    """Rounds of AdaBoost.R2' that were kept."""

    learners: list
    votes: np.ndarray
    errors: np.ndarray
    weights: list  # of the rows, in each round


def boost_target(estimator, rows, weights, seeds, loss, floor):
    """AdaBoost.R2', which moves weight among target rows only.

    Parameters
    ----------
    estimator : regressor
    rows : LabeledRows
    weights : ndarray of shape (n,)
        Their weights, positive, with sum 1. Those of source rows stay, and so does
        the sum over the target.
    seeds : ndarray of int
        One for each round.
    loss : {"linear", "square", "exponential"}
    floor : float
        Least error that counts in the votes.

    Returns
    -------
    rounds : BoostedRounds
    """
    target = ~rows.source
    total, mass = rows.weights.sum(), weights[target].sum()
    learners, votes, errors, kept = [], [], [], []
    for seed in seeds:
        learner = fit_seeded(estimator, rows.X, rows.y, weights * total, seed)
        losses = relative_losses(
            np.asarray(learner.predict(rows.X), dtype=np.float64), rows.y, weights, loss
        )
        error = float(weights @ losses)
        if error >= 0.5 and learners:
            break
        learners.append(learner)
        votes.append(1.0 if error >= 0.5 else vote_weight(max(error, floor)))
        errors.append(error)
        kept.append(weights)
        if error >= 0.5 or error == 0:
            break
        weights = weights.copy()
        # Drucker's beta^(1 - l) is beta^-l up to a factor, which the scaling takes out.
        weights[target] *= np.exp(vote_weight(error) * losses[target])
        weights[target] *= mass / weights[target].sum()
    return BoostedRounds(learners, np.array(votes), np.array(errors), kept)


def shrunken(weights, losses, goal):
    """Weights ``w_i b^l_i`` with the sum `goal`, b in [0, 1].

    Weights without a loss stay: if their sum is above the goal, b is 0.
    """
    if goal >= weights.sum():
        return weights
    fixed = losses == 0
    if weights[fixed].sum() >= goal:
        return np.where(fixed, weights, 0.0)

    def excess(decay):  # of the logarithm, b being exp(-decay): both may underflow
        return logsumexp(-decay * losses, b=weights) - np.log(goal)

    upper = 1.0 / losses.max()
    while excess(upper) > 0:
        upper *= 2.0
    precision = 4.0 * np.finfo(np.float64).eps
    decay = brentq(excess, 0.0, upper, xtol=precision * upper, rtol=precision)
    return weights * np.exp(-decay * losses)


def squared_error_of_fold(estimator, rows, weights, train, test, seeds, loss, floor):
    """Sum of squared errors, times `sample_weight`, on the target rows `test`.

    Trained on the target rows `train`, which get the weight of all of them, and the
    source.
    """
    mass = weights[~rows.source].sum()
    weights = weights.copy()
    weights[train] *= mass / weights[train].sum()
    kept = rows.source & (weights > 0)
    kept[train[weights[train] > 0]] = True
    kept = np.flatnonzero(kept)
    rounds = boost_target(estimator, rows.take(kept), weights[kept], seeds, loss, floor)
    held_out = rows.take(test)
    outputs = [learner.predict(held_out.X) for learner in rounds.learners]
    predicted = weighted_median(np.array(outputs, dtype=np.float64), rounds.votes)
    return held_out.weights @ (held_out.y - predicted) ** 2
