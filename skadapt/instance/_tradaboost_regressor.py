"""TrAdaBoost.R2: boosting of values, led by a few labelled target rows."""

import numpy as np
from sklearn.linear_model import Ridge
from sklearn.metrics import mean_squared_error
from sklearn.utils import check_array
from sklearn.utils._param_validation import StrOptions

from skadapt._predictor import TargetRegressorMixin
from skadapt.instance._boosting import BaseTrAdaBoost

__all__ = ["TrAdaBoostRegressor"]

LOSSES = ("linear", "square", "exponential")


def relative_losses(predicted, y, weights, loss):
    """Losses of AdaBoost.R2: residuals by the largest residual of a row with weight.

    Residuals within the rounding of a sum of as many values are 0; if all with weight
    are, so are the losses.

    Parameters
    ----------
    predicted : ndarray of shape (n,)
    y : ndarray of shape (n,)
    weights : ndarray of shape (n,)
    loss : {"linear", "square", "exponential"}
        u, u^2 or 1 - exp(-u), where u is the ratio of the two.

    Returns
    -------
    losses : ndarray of shape (n,)
        In [0, 1].
    """
    residuals = np.abs(y - predicted)
    residuals[residuals <= len(y) * np.finfo(np.float64).eps * np.abs(y).max()] = 0.0
    largest = residuals[weights > 0].max()
    if largest == 0:
        return np.zeros(len(y))
    ratio = np.minimum(residuals / largest, 1.0)  # rows without weight may be farther
    if loss == "square":
        return ratio**2
    return ratio if loss == "linear" else -np.expm1(-ratio)


def weighted_median(values, weights):
    """The smallest value that, with all smaller ones, has at least half of the weight.

    Parameters
    ----------
    values : ndarray of shape (n_values, n)
    weights : ndarray of shape (n_values,)

    Returns
    -------
    median : ndarray of shape (n,)
        Of each column.
    """
    order = np.argsort(values, axis=0)
    cumulated = np.cumsum(weights[order], axis=0)
    # Two halves stay equal however their weights are summed.
    half = 0.5 * weights.sum() * (1.0 - len(weights) * np.finfo(np.float64).eps)
    rank = np.count_nonzero(cumulated < half, axis=0)
    row = np.take_along_axis(order, rank[np.newaxis], axis=0)
    return np.take_along_axis(values, row, axis=0)[0]


class BoostedRegressorMixin(TargetRegressorMixin):
    """`TargetRegressorMixin` of learners for a single value that are boosted."""

    def _resolve_estimator(self):
        return Ridge() if self.estimator is None else self.estimator

    def _training_labels(self, y):
        if y.ndim == 2:
            raise ValueError(
                f"y should be a 1d array, got an array of shape {y.shape} instead: "
                f"fit one {type(self).__name__} for each of the values."
            )
        return check_array(
            y, ensure_2d=False, dtype=np.float64, input_name="y", estimator=self
        )

    def _error(self, learner, rows):
        weighted = rows.weights > 0
        if np.ptp(rows.y[weighted]) == 0:
            return np.nan
        mean = np.average(rows.y, weights=rows.weights)
        variance = np.average((rows.y - mean) ** 2, weights=rows.weights)
        residuals = rows.y - self._output(learner, rows.X)
        return float(np.average(residuals**2, weights=rows.weights) / variance)

    def _chance_error(self):
        return 1.0

    def _validation_score(self, y, predicted, sample_weight):
        # R^2 says nothing about one row.
        return -mean_squared_error(y, predicted, sample_weight=sample_weight)

    def _output(self, learner, X):
        return np.asarray(learner.predict(X), dtype=np.float64)

    def _combine(self, outputs, votes):
        return weighted_median(np.array(list(outputs)), np.asarray(votes))

    def _decide(self, combined):
        return combined

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.single_output = True
        tags.target_tags.multi_output = False
        return tags


class TrAdaBoostRegressor(BoostedRegressorMixin, BaseTrAdaBoost):
    r"""Boost on many source rows and a few labelled target rows, for values.

    In each round a learner is fitted to all labelled rows with weights. The more a row
    is off, compared with the row that is off the most, the more weight it gains if it
    is a target row, as in AdaBoost.R2 [2]_, and the more it loses if it is a source
    row: TrAdaBoost.R2 [1]_. The later half of the rounds votes.

    Parameters
    ----------
    estimator : regressor, default=None
        The learner: any scikit-learn regressor whose `fit` takes `sample_weight`, also
        as the last step of a Pipeline. None: ``Ridge()``. Boosting gains more with a
        learner that bends, such as ``DecisionTreeRegressor(max_depth=6)``.
    n_estimators : int, default=100
        Number of rounds N that is planned; there may be fewer.
    loss : {"linear", "square", "exponential"}, default="linear"
        Loss of a row with residual u, relative to the largest: :math:`u`,
        :math:`u^2` or :math:`1 - e^{-u}`.
    initial_weight : {"domain", "row"} or array-like, default="row"
        Weights of the first round: source and target have the same sum, every row
        has the same, as in [1]_, or one number for each row of X. From ``"row"`` the
        source is lost later.
    dynamic : bool, default=False
        Whether all source rows are multiplied in each round by the factor by which
        the sum over the target grows, so that source rows without a residual keep up
        with the target.
    min_error : float in (0, 0.5), default=None
        Mean losses below this one count as this one in the votes, in which a loss of
        0 would decide alone. The updates of the weights use the loss as it is. None:
        one over the number of labelled rows (the sum of `sample_weight`), at most
        0.25.
    early_stopping : bool, default=False
        Whether labelled target rows are held out, and the rounds up to the best on
        them kept.
    validation_fraction : float in (0, 1), default=0.2
        Share of the labelled target rows that is held out. Used with
        ``early_stopping=True`` only.
    n_iter_no_change : int, default=10
        Rounds without a better score on the held-out rows after which boosting stops.
        Used with ``early_stopping=True`` only.
    warm_start : bool, default=False
        Whether a further `fit` on the same rows goes on after the rounds it finds.
        These keep the factor of the source that belongs to the number of rounds
        planned when they were fitted.
    store_weights : bool, default=False
        Whether the weights of every round are kept in `round_weights_`.
    random_state : int, RandomState instance or None, default=None
        Seeds the learners that draw, and what is held out.

    Attributes
    ----------
    estimators_ : list of regressors
        The learners of the rounds that were kept.
    estimator_errors_ : ndarray of shape (n_rounds,)
        Weighted mean loss of each learner on the labelled target rows.
    estimator_weights_ : ndarray of shape (n_rounds,)
        Weight of each learner in the vote; 1 for one that is kept alone.
    target_mass_ : ndarray of shape (n_rounds,)
        Share of the target rows in the weights of each round.
    source_weights_ : ndarray of shape (n_source,)
        Weights after the last round, with mean 1: which source rows were trusted,
        in the order in which they stand in X. Empty without domains.
    round_weights_ : ndarray of shape (n_rounds, n_labeled)
        Weights of the labelled rows in each round, each with sum 1, in the order of
        X. With ``store_weights=True`` only.
    validation_scores_ : ndarray of shape (n_rounds_tried,)
        Mean squared error on the held-out rows after each round, with a minus sign.
        With ``early_stopping=True`` only.
    source_error_ : float
        Mean squared error on the labelled target rows of the learner fitted on the
        source rows alone, relative to the variance of their values: 1 for a constant,
        1 - R^2 in general; NaN if all their values are equal. With domains only.
    termination_condition_ : str
        Why it ended: ``"n_estimators"``; ``"perfect_fit"``, no labelled row with
        weight has a residual; ``"no_better_than_chance"``, the mean loss of the next
        learner was at least 1/2, so that its round was dropped, or, if it was the
        first, kept alone; or ``"early_stopping"``.
    n_features_in_ : int
        Number of features seen in `fit`.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the features, if X was a data frame.

    Raises
    ------
    ValueError
        If `sample_domain` lacks sources or targets, if no target row is labelled, if
        a source row is unlabelled, if y has several columns, or if the learner takes
        no sample_weight.

    Warns
    -----
    NegativeTransferWarning
        If the learner fitted on the source alone is no better than a constant on the
        labelled target rows, or if boosting ends with the first round.
    NoAdaptationWarning
        If `fit` gets no `sample_domain`. This is AdaBoost.R2 then, with weighted fits.

    See Also
    --------
    TwoStageTrAdaBoostRegressor : Fades the source out and chooses the step by
        cross-validation.
    TrAdaBoostClassifier : The same for classes.
    TransferRegressor : With ``train_on="labeled"``, one learner on the weights of the
        first round: compare.
    TargetKFold : Folds of the labelled target rows, to choose parameters.

    Notes
    -----
    With :math:`n` source rows, weights :math:`w`, residuals :math:`r_i` and linear
    loss, round t is

    .. math::

        l_i = \frac{|r_i|}{\max_{w_j > 0} |r_j|}, \quad
        \epsilon = \frac{\sum_{target} w_i l_i}{\sum_{target} w_i}, \quad
        a = \ln\frac{1 - \epsilon}{\epsilon}, \quad
        \beta = \frac{1}{1 + \sqrt{2 \ln(n) / N}},

        w_i \leftarrow w_i \beta^{l_i} \text{ (source)}, \quad
        w_i \leftarrow w_i e^{a l_i} \text{ (target)},

    as long as :math:`\epsilon < 1/2`; the maximum runs over all labelled rows. After T
    rounds the weighted median of rounds :math:`\lceil T/2 \rceil` to T is predicted:
    the smallest prediction that, with all smaller ones, has at least half of the votes
    :math:`a`. Without source rows all rounds vote. AdaBoost.R2 in [2]_ and in
    scikit-learn draws its training rows by their weights; here the learner gets the
    weights, scaled to the sum of `sample_weight` (the number of rows), so that its
    parameters mean what they mean elsewhere.

    One row that is far off makes all other losses small. The sum over the target
    grows in each round and that over the source never does, so that the source is
    slowly lost, unless ``dynamic=True``. A source that agrees with the target is best
    used whole: there AdaBoost.R2 on both is better, which is ``TransferRegressor(
    AdaBoostRegressor(...), train_on="labeled", target_weight="domain")``.

    References
    ----------
    .. [1] D. Pardoe, P. Stone. Boosting for regression transfer. ICML 2010.
    .. [2] H. Drucker. Improving regressors using boosting techniques. ICML 1997.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import Ridge
    >>> from skadapt import TrAdaBoostRegressor
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
    >>> model = TrAdaBoostRegressor(n_estimators=30, dynamic=True)
    >>> model = model.fit(X, y_train, sample_domain=sample_domain)
    >>> scores = [m.score(X[test], y[test]) for m in (alone, model)]
    >>> print("{:.2f} {:.2f}".format(*scores))
    0.88 0.94
    >>> trusted = model.source_weights_
    >>> print(f"{trusted[:200].mean():.2f} {trusted[200:].mean():.2f}")
    1.29 0.41
    """

    _chance = "a constant"

    _parameter_constraints: dict = {
        **BaseTrAdaBoost._parameter_constraints,
        "loss": [StrOptions(set(LOSSES))],
    }

    def __init__(
        self,
        estimator=None,
        n_estimators=100,
        *,
        loss="linear",
        initial_weight="row",
        dynamic=False,
        min_error=None,
        early_stopping=False,
        validation_fraction=0.2,
        n_iter_no_change=10,
        warm_start=False,
        store_weights=False,
        random_state=None,
    ):
        self.estimator = estimator
        self.n_estimators = n_estimators
        self.loss = loss
        self.initial_weight = initial_weight
        self.dynamic = dynamic
        self.min_error = min_error
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.warm_start = warm_start
        self.store_weights = store_weights
        self.random_state = random_state

    def _n_classes(self):
        return 2

    def _finding_of_first(self, error):
        return (
            "The first learner, fitted on both domains, has the mean loss "
            f"{error:.3f} on the labelled target rows, and from 0.5 on boosting ends"
        )

    def _strata(self, y):
        return None

    def _losses(self, learner, rows, weights):
        return relative_losses(
            self._output(learner, rows.X), rows.y, weights, self.loss
        )
