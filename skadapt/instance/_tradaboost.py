"""TrAdaBoost: boosting led by a few labelled target rows."""

import warnings

import numpy as np
from sklearn.svm import LinearSVC
from sklearn.utils._param_validation import StrOptions

from skadapt._base import DegenerateWeightsWarning
from skadapt._domains import natural_labels
from skadapt._predictor import TargetClassifierMixin
from skadapt.instance._boosting import BaseTrAdaBoost

__all__ = ["TrAdaBoostClassifier"]


# Mean weight of the source rows of a class, where that of all is 1, below which the
# class counts as lost.
_LOST = 0.01


class BoostedClassifierMixin(TargetClassifierMixin):
    """`TargetClassifierMixin` of boosted classifiers: labels, losses, votes."""

    def _resolve_estimator(self):
        if self.estimator is None:
            # In the primal, where nothing is drawn and the order of rows is nothing.
            return LinearSVC(C=0.1, class_weight="balanced", dual=False)
        return self.estimator

    def _training_labels(self, y):
        return natural_labels(y)

    def _check_training_labels(self, rows):
        """Set `classes_`; refuse a target of one class."""
        weighted = rows.weights > 0
        found = np.unique(rows.y[weighted & ~rows.source])
        if len(found) == 1:
            raise ValueError(
                f"The labelled target rows hold one class, {found.tolist()[0]!r}: "
                "their error tells nothing about the others. Label target rows of "
                "every class."
            )
        self.classes_ = np.unique(rows.y)

    def _n_classes(self):
        return len(self.classes_)

    def _error(self, learner, rows):
        wrong = learner.predict(rows.X) != rows.y
        return float(np.average(wrong, weights=rows.weights))

    def _chance_error(self):
        return 1.0 - 1.0 / len(self.classes_)

    def _strata(self, y):
        return y

    def _losses(self, learner, rows, weights):
        return (learner.predict(rows.X) != rows.y).astype(np.float64)

    def _output(self, learner, X):
        return np.searchsorted(self.classes_, learner.predict(X))

    def _combine(self, outputs, votes):
        """Shares of the vote; outputs are numbers of classes, or shares themselves."""
        shares = 0.0
        for output, vote in zip(outputs, votes):
            if output.ndim == 1:
                output = output[:, np.newaxis] == np.arange(len(self.classes_))
            shares = shares + vote * output
        return shares / np.sum(votes)

    def _decide(self, combined):
        last = combined.shape[1] - 1  # the later class in a tie
        return self.classes_[last - np.argmax(combined[:, ::-1], axis=1)]

    def predict_proba(self, X, sample_domain=None):
        """Shares of the vote.

        They are no calibrated probabilities.

        Parameters
        ----------
        X : {array-like, sparse matrix, data frame} of shape (n_samples, n_features)
            Rows.
        sample_domain : array-like of shape (n_samples,) or int, default=None
            Domain of each row; one int stands for all rows. Present for the
            interface: one model serves all domains.

        Returns
        -------
        proba : ndarray of shape (n_samples, n_classes)
            Shares, columns in the order of `classes_`; rows have the sum 1.
        """
        return self._vote(self._check_prediction_rows(X, sample_domain))

    def decision_function(self, X, sample_domain=None):
        """Confidence scores.

        Parameters
        ----------
        X : {array-like, sparse matrix, data frame} of shape (n_samples, n_features)
            Rows.
        sample_domain : array-like of shape (n_samples,) or int, default=None
            Domain of each row; one int stands for all rows. Present for the
            interface: one model serves all domains.

        Returns
        -------
        scores : ndarray of shape (n_samples,) or (n_samples, n_classes)
            Shares of the vote; with two classes, that of the second less that of the
            first.
        """
        shares = self.predict_proba(X, sample_domain)
        return shares[:, 1] - shares[:, 0] if shares.shape[1] == 2 else shares


class TrAdaBoostClassifier(BoostedClassifierMixin, BaseTrAdaBoost):
    r"""Boost on many source rows and a few labelled target rows.

    In each round a learner is fitted to all labelled rows with weights. Target rows
    that it gets wrong gain weight, as in AdaBoost, and source rows that it gets wrong
    lose weight: they seem to follow another rule [1]_. The later half of the rounds
    votes.

    Parameters
    ----------
    estimator : classifier, default=None
        The learner: any scikit-learn classifier whose `fit` takes `sample_weight`,
        also as the last step of a Pipeline. None:
        ``LinearSVC(C=0.1, class_weight="balanced", dual=False)``, which balances the
        weights of the classes in each round.
    n_estimators : int, default=100
        Number of rounds N that is planned; there may be fewer.
    initial_weight : {"domain", "row"} or array-like, default="domain"
        Weights of the first round: source and target have the same sum, every row
        has the same, or one number for each row of X (cross-validation splits only
        `sample_weight`, which does the same to ``"row"``). With ``"row"`` and a learner
        that makes no error on the few target rows, what comes out is the learner
        fitted on both.
    loss : {"hard", "soft"}, default="hard"
        Loss of a row: 1 if the learner is wrong, or 1 less the probability that the
        learner gives to the true class; then the votes are probabilities, too.
    dynamic : bool, default=False
        Whether all source rows are multiplied in each round by the factor by which
        the sum over the target grows [2]_, so that source rows that are right keep
        up with the target.
    min_error : float in (0, 0.5), default=None
        Errors below this one count as this one in the votes, in which an error of 0
        would decide alone. The updates of the weights use the error as it is. None:
        one over the number of labelled rows (the sum of `sample_weight`), at most
        0.25.
    early_stopping : bool, default=False
        Whether labelled target rows are held out, and the rounds up to the best on
        them kept.
    validation_fraction : float in (0, 1), default=0.2
        Share of the labelled target rows that is held out, stratified. Used with
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
    estimators_ : list of classifiers
        The learners of the rounds that were kept.
    classes_ : ndarray of shape (n_classes,)
        Class labels, in the natural dtype of the labelled values.
    estimator_errors_ : ndarray of shape (n_rounds,)
        Weighted error of each learner on the labelled target rows.
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
        Accuracy on the held-out rows after each round. With ``early_stopping=True``
        only.
    source_error_ : float
        Error on the labelled target rows of the learner fitted on the source rows
        alone. With domains only.
    termination_condition_ : str
        Why it ended: ``"n_estimators"``; ``"perfect_fit"``, no labelled row is wrong
        and nothing would change; ``"no_better_than_chance"``, the next learner's
        error was at least ``1 - 1 / n_classes``, so that its round was dropped, or,
        if it was the first, kept alone; or ``"early_stopping"``.
    n_features_in_ : int
        Number of features seen in `fit`.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the features, if X was a data frame.

    Raises
    ------
    ValueError
        If `sample_domain` lacks sources or targets, if no target row is labelled or
        all that are have one class, if a source row is unlabelled, if the learner
        takes no sample_weight, or if ``loss="soft"`` meets a learner without
        predict_proba.

    Warns
    -----
    NegativeTransferWarning
        If the learner fitted on the source alone, or that of the first round, is no
        better than chance on the labelled target rows.
    DegenerateWeightsWarning
        If the source rows of a class have lost their weight.
    NoAdaptationWarning
        If `fit` gets no `sample_domain`. This is AdaBoost then (SAMME).

    See Also
    --------
    TrAdaBoostRegressor : The same for values.
    MultiSourceTrAdaBoostClassifier : For several sources of which some may mislead.
    TransferClassifier : With ``train_on="labeled", target_weight="domain"``, one
        learner on the weights of the first round, up to their sum: compare.
    TargetKFold : Folds of the labelled target rows, to choose parameters.

    Notes
    -----
    With :math:`n` source rows, weights :math:`w`, losses :math:`l_i` and K classes,
    round t is

    .. math::

        \epsilon = \frac{\sum_{target} w_i l_i}{\sum_{target} w_i}, \quad
        a = \ln\frac{1 - \epsilon}{\epsilon} + \ln(K - 1), \quad
        \beta = \frac{1}{1 + \sqrt{2 \ln(n) / N}},

        w_i \leftarrow w_i \beta^{l_i} \text{ (source)}, \quad
        w_i \leftarrow w_i e^{a l_i} \text{ (target)},

    and after T rounds the class with the largest :math:`\sum a_t [h_t(x) = k]` over
    :math:`t = \lceil T/2 \rceil, \ldots, T` is predicted, the later one in a tie. For
    two classes that is Algorithm 1 of [1]_; without source rows it is SAMME [3]_. The
    learner gets the weights scaled to the sum of `sample_weight` (the number of rows),
    so that its parameters, such as ``C``, mean what they mean elsewhere.

    The sum over the target grows by :math:`K (1 - \epsilon)` in each round and that
    over the source never does, so that the source is slowly lost, unless
    ``dynamic=True``. Where the first learner makes no error on the target, which is
    usual with a linear learner on text, no target row ever moves, and little is
    gained over that first learner. On three tasks of text nothing is gained over the
    target alone once the labelled target rows are 5 % of the source rows.

    References
    ----------
    .. [1] W. Dai, Q. Yang, G.-R. Xue, Y. Yu. Boosting for transfer learning. ICML
       2007, Algorithm 1.
    .. [2] S. Al-Stouhi, C. K. Reddy. Adaptive boosting for transfer learning using
       dynamic updates. ECML PKDD 2011. Their factor :math:`2 (1 - \epsilon)` is the
       growth of the target for two classes as long as :math:`\epsilon` is not cut;
       here it is the actual growth.
    .. [3] J. Zhu, H. Zou, S. Rosset, T. Hastie. Multi-class AdaBoost. Statistics and
       Its Interface 2, 2009.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skadapt import TrAdaBoostClassifier
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(1100, 10))
    >>> sample_domain = np.repeat([1, -1], [600, 500])
    >>> y = (X.sum(axis=1) > 0).astype(float)
    >>> misleading = np.arange(1100) < 200  # these follow another rule
    >>> y[misleading] = X[misleading, :5].sum(axis=1) > X[misleading, 5:].sum(axis=1)
    >>> y_train = y.copy()
    >>> y_train[630:] = np.nan  # 30 labelled target rows
    >>> model = TrAdaBoostClassifier(LogisticRegression(), n_estimators=20)
    >>> model = model.fit(X, y_train, sample_domain=sample_domain)
    >>> print(f"{model.score(X[630:], y[630:]):.2f}")
    0.96
    >>> trusted = model.source_weights_
    >>> print(f"{trusted[:200].mean():.2f} {trusted[200:600].mean():.2f}")
    0.64 1.18
    """

    _parameter_constraints: dict = {
        **BaseTrAdaBoost._parameter_constraints,
        "loss": [StrOptions({"hard", "soft"})],
    }

    def __init__(
        self,
        estimator=None,
        n_estimators=100,
        *,
        initial_weight="domain",
        loss="hard",
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
        self.initial_weight = initial_weight
        self.loss = loss
        self.dynamic = dynamic
        self.min_error = min_error
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.warm_start = warm_start
        self.store_weights = store_weights
        self.random_state = random_state

    def _report(self, rows):
        super()._report(rows)
        labels, weights = rows.y[rows.source], self.source_weights_
        lost = [
            label
            for label in np.unique(labels).tolist()
            if weights[labels == label].mean() < _LOST
        ]
        if lost:
            warnings.warn(
                f"The source rows of the classes {lost} have lost their weight: the "
                "learner takes them for others, more so in each round. Use fewer "
                "rounds (staged_score shows how many), or a learner with less "
                "regularisation.",
                DegenerateWeightsWarning,
                stacklevel=4,
            )

    def _check_training_labels(self, rows):
        super()._check_training_labels(rows)
        has_proba = hasattr(self._resolve_estimator(), "predict_proba")
        if self.loss == "soft" and not has_proba:
            raise ValueError(
                f"loss='soft' needs probabilities, and "
                f"{type(self._resolve_estimator()).__name__} has no predict_proba: use "
                "a learner that has, such as LogisticRegression, or loss='hard'."
            )

    def _losses(self, learner, rows, weights):
        if self.loss == "hard":
            return super()._losses(learner, rows, weights)
        proba = self._output(learner, rows.X)
        truth = rows.y[:, np.newaxis] == self.classes_
        return 1.0 - np.sum(proba, axis=1, where=truth)

    def _output(self, learner, X):
        if self.loss == "hard":
            return super()._output(learner, X)
        given = learner.predict_proba(X)
        if len(learner.classes_) == len(self.classes_):
            return given
        proba = np.zeros((X.shape[0], len(self.classes_)))
        proba[:, np.searchsorted(self.classes_, learner.classes_)] = given
        return proba
