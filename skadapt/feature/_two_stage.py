"""Two stages: what generalises over the sources, then what the target adds."""

import math
import warnings
from numbers import Integral, Real
from typing import NamedTuple

import numpy as np
from scipy import sparse
from scipy.special import expit, softmax
from sklearn.base import _fit_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_selection import SelectorMixin
from sklearn.linear_model import LogisticRegression
from sklearn.utils import check_consistent_length
from sklearn.utils._param_validation import Interval, RealNotInt, StrOptions
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import (
    _check_sample_weight,
    check_is_fitted,
    column_or_1d,
    validate_data,
)

from skadapt._base import BaseMapper
from skadapt._domains import (
    as_labels,
    check_sample_domain,
    is_labeled,
    mask_target_labels,
    natural_labels,
)
from skadapt._predictor import BasePredictor, TargetClassifierMixin
from skadapt.solvers._shared_logistic import DomainRows, solve_shared_logistic

# Scores that agree to this many digits of the largest are a tie: beyond it lies what
# the solver left, which depends on the order of the rows.
_SCORE_DIGITS = 9
# No column has shared weights: an ordinary logistic regression.
_NONE = np.empty(0, dtype=np.intp)

_CONSTRAINTS = {
    "n_features_to_select": [
        Interval(RealNotInt, 0, 1, closed="right"),
        Interval(Integral, 1, None, closed="left"),
        None,
    ],
    "heuristic": [StrOptions({"auto", "domain-cv", "joint"})],
    "reg": [Interval(Real, 0, None, closed="neither")],
    "source_penalty": [Interval(Real, 0, None, closed="neither")],
    "tol": [Interval(Real, 0, None, closed="neither")],
    "max_iter": [Interval(Integral, 1, None, closed="left")],
}


class TwoStageFeatureSelector(BaseMapper, SelectorMixin):
    r"""Select the columns that mean the same in several sources.

    The first half of the two-stage approach [1]_: columns whose weights in logistic
    regressions agree from source to source are expected to hold in the target, too.

    Parameters
    ----------
    n_features_to_select : int or float, default=None
        Number of columns h to keep, or their share in (0, 1]. None: half of them.
    heuristic : {"auto", "domain-cv", "joint"}, default="auto"
        Score of a column. ``"domain-cv"`` compares a model of each source with one of
        all others; it takes several sources. ``"joint"`` fits all sources at once with
        weights that are partly shared. ``"auto"`` is ``"domain-cv"`` if there are
        several sources and ``"joint"`` if there is one.
    reg : float, default=0.01
        Penalty :math:`\lambda` of the squared weights, against the mean log-loss. For
        two classes and n rows it is ``1 / (C n)`` of `LogisticRegression`.
    source_penalty : float, default=1.0
        Penalty of the weights that belong to one source alone, as a multiple of `reg`.
        Used with ``"joint"`` only.
    tol : float, default=1e-8
        Residual to reach in each fit.
    max_iter : int, default=100
        Largest number of Newton steps of a fit.

    Attributes
    ----------
    scores_ : ndarray of shape (n_features,)
        Scores of the columns; those with the highest are kept, the earlier ones in a
        tie. Scores of ``"domain-cv"`` are negative where the sources contradict each
        other.
    heuristic_ : {"domain-cv", "joint"}
        The heuristic in use.
    residual_ : float
        Largest residual of its fits: the largest entry of the gradient, each relative
        to what it would be if every row were certainly wrong.
    n_iter_ : int
        Largest number of Newton steps of its fits.
    n_features_in_ : int
        Number of features seen in `fit`.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the features, if X was a data frame.

    Raises
    ------
    ValueError
        If more columns are asked for than there are, if ``"domain-cv"`` meets a single
        source, if no source row is labelled, or if labels are no classes.

    Warns
    -----
    ConvergenceWarning
        If `tol` was not reached.
    NoAdaptationWarning
        If `fit` gets no `sample_domain`.

    See Also
    --------
    TwoStageFeatureClassifier : Both stages.
    TransferClassifier : Takes this as its adapter.

    Notes
    -----
    With :math:`w^k` the weights of a logistic regression on source k alone and
    :math:`w^{-k}` of one on all other sources, each source of them weighing the same,
    the score of column f for ``"domain-cv"`` is

    .. math:: \sum_k \sum_y w^k_{yf} \, w^{-k}_{yf},

    large where weights agree in sign and size. For ``"joint"`` it is :math:`\sum_y
    v_{yf}^2` with the shared weights v of the first problem in
    `TwoStageFeatureClassifier`, in which every column has such a weight.

    A single source, or `fit` without `sample_domain`, says nothing about what
    generalises: columns are then ranked by their squared weights in one logistic
    regression. Give each source an id of its own.

    Intercepts are not penalised. If they were, each column of non-negative numbers
    would carry a part of the intercept as its weight, the same in every source, and
    both scores would prefer it to the columns that tell the classes apart. Weights
    have units, and so do scores: bring columns to one scale first.

    Target rows are not used. CSR is accepted and comes out as CSR.

    References
    ----------
    .. [1] J. Jiang, C. Zhai. A two-stage approach to domain adaptation for statistical
       classifiers. CIKM 2007.

    Examples
    --------
    >>> import numpy as np
    >>> from skadapt import TwoStageFeatureSelector
    >>> rng = np.random.default_rng(0)
    >>> y = rng.integers(0, 2, 800)
    >>> sample_domain = np.repeat([1, 2, 3, -1], 200)
    >>> X = rng.normal(size=(800, 5))
    >>> X[:, 0] += y  # the same everywhere
    >>> for k, column in ((1, 2), (2, 3), (3, 4)):  # each source has one of its own
    ...     X[sample_domain == k, column] += 3 * y[sample_domain == k]
    >>> selector = TwoStageFeatureSelector(n_features_to_select=1)
    >>> selector.fit(X, y, sample_domain=sample_domain).get_support()
    array([ True, False, False, False, False])
    """

    _parameter_constraints: dict = _CONSTRAINTS
    _accept_sparse = True

    def __init__(
        self,
        n_features_to_select=None,
        heuristic="auto",
        *,
        reg=0.01,
        source_penalty=1.0,
        tol=1e-8,
        max_iter=100,
    ):
        self.n_features_to_select = n_features_to_select
        self.heuristic = heuristic
        self.reg = reg
        self.source_penalty = source_penalty
        self.tol = tol
        self.max_iter = max_iter

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None, *, sample_domain=None):
        """Score the columns.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows of sources and target, in any order.
        y : array-like of shape (n_samples,)
            Class labels; NaN (in an array of floats) or None (in an array of objects)
            marks an unlabelled row. Those of target rows are never used, whatever y
            holds there, and unlabelled source rows are left out.
        sample_domain : array-like of shape (n_samples,), default=None
            Domain of each row, > 0 for sources, each with its own id, and < 0 for
            targets. None takes all rows as one source, with a `NoAdaptationWarning`.

        Returns
        -------
        self : object
            The fitted selector.
        """
        X, *_ = self._check_fit(X, sample_domain)
        y = _check_labels(X, y)
        n_selected = _number_to_select(self.n_features_to_select, X.shape[1])
        if sample_domain is None:
            ids = np.ones(X.shape[0], dtype=np.int64)
        else:
            ids = check_sample_domain(sample_domain, X.shape[0])
            y = mask_target_labels(y, ids)
        labeled = is_labeled(y)
        if not labeled.any():
            raise ValueError(
                "y holds no labelled source row: the labels of the sources are what "
                f"{type(self).__name__} compares columns by."
            )
        classes, sources = _sources(X, y, ids, labeled)
        self.heuristic_ = _resolve_heuristic(
            "auto" if sample_domain is None else self.heuristic, sources
        )
        fits = _Fits(self, len(classes))
        self.scores_ = _column_scores(sources, self.heuristic_, fits)
        self._columns = _highest(self.scores_, n_selected)
        fits.report(self)
        return self

    def _get_support_mask(self):
        check_is_fitted(self)
        return np.isin(np.arange(self.n_features_in_), self._columns)

    def _transform(self, X, is_source):
        return X[:, self._columns]

    def get_feature_names_out(self, input_features=None):
        """Names of the selected columns.

        Parameters
        ----------
        input_features : array-like of str, default=None
            Names of the columns of the input. None: those of `fit`.

        Returns
        -------
        names : ndarray of str
        """
        return SelectorMixin.get_feature_names_out(self, input_features)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        return tags


class TwoStageFeatureClassifier(TargetClassifierMixin, BasePredictor):
    r"""Logistic regression on what generalises, then adapted to the target.

    The two-stage approach [1]_. First, weights of the sources are split into a part
    that all share, on selected columns, and a part of each source; the shared part is
    the first model of the target. Then the target's rows are labelled by the model,
    the most confident ones first, and join as one more domain, whose own weights are
    penalised less.

    Parameters
    ----------
    n_features_to_select : int or float, default=None
        Number of columns h with shared weights, or their share in (0, 1]. None: half
        of them.
    heuristic : {"auto", "domain-cv", "joint"}, default="auto"
        How they are chosen, as in `TwoStageFeatureSelector`.
    reg : float, default=0.01
        Penalty :math:`\lambda` of the shared weights, against the mean log-loss. For
        two classes and n rows ``1 / (C n)`` of `LogisticRegression`.
    source_penalty : float, default=1.0
        Penalty of the weights of one source, as a multiple of `reg`. Large values leave
        the sources nothing of their own.
    target_penalty : float, default=0.1
        Penalty of the weights of the target, as a multiple of `reg`.
    n_rounds : int, default=5
        Number of times T that target rows are labelled and the model is fitted again.
        0 stops after the first stage.
    final_share : float in (0, 1], default=1.0
        Share of the target rows that join in the last round.
    class_shares : array-like of shape (n_classes,), default=None
        Shares of the classes, in sorted order, among the target rows that join. None:
        those of the predictions. Wrong ones force wrong labels.
    tol : float, default=1e-8
        Residual to reach in each fit.
    max_iter : int, default=100
        Largest number of Newton steps of a fit.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Class labels, in the natural dtype of the labelled values.
    coef_ : ndarray of shape (1, n_features) or (n_classes, n_features)
        Weights for target rows; one row, that of the second class, if there are two.
    intercept_ : ndarray of shape (1,) or (n_classes,)
        Intercept for target rows.
    shared_coef_ : ndarray of shape (1, n_features) or (n_classes, n_features)
        The part of the weights that all domains share, 0 where a column was not
        selected.
    shared_intercept_ : ndarray of shape (1,) or (n_classes,)
        Intercept that goes with `shared_coef_` alone.
    sources_ : ndarray of shape (n_sources,)
        Ids of the sources that have labelled rows.
    source_coef_ : ndarray of shape (n_sources, 1 or n_classes, n_features)
        Weights for rows of each source.
    source_intercept_ : ndarray of shape (1,) or (n_classes,)
        Intercept for rows of the sources.
    scores_ : ndarray of shape (n_features,)
        Scores of the columns, as in `TwoStageFeatureSelector`.
    support_ : ndarray of shape (n_features,)
        Mask of the columns that have shared weights.
    heuristic_ : {"domain-cv", "joint"}
        The heuristic in use.
    label_changes_ : ndarray of shape (n_rounds,)
        Share of the target rows whose predicted class each round changed.
    objective_ : float
        Value of the objective in the last fit.
    residual_ : float
        Largest residual of all fits, as in `TwoStageFeatureSelector`.
    n_iter_ : int
        Largest number of Newton steps of a fit.
    n_features_in_ : int
        Number of features seen in `fit`.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the features, if X was a data frame.

    Raises
    ------
    ValueError
        If more columns are asked for than there are, if ``"domain-cv"`` meets a single
        source, if `sample_domain` lacks sources or targets, if no source row is
        labelled, or if labels are no classes.

    Warns
    -----
    ConvergenceWarning
        If `tol` was not reached.
    NoAdaptationWarning
        If `fit` gets no `sample_domain`. This is logistic regression on all columns
        then.

    See Also
    --------
    TwoStageFeatureSelector : The columns alone, for any classifier.
    TrAdaBoostClassifier : Where some target rows are labelled.

    Notes
    -----
    With A the selection of h columns, K sources of :math:`n_k` rows and
    :math:`p(y \mid x; w) \propto \exp(w_y^\top x + b_y)`, the first stage is

    .. math::

        \min_{v, u, b} \; \lambda \|v\|^2 + \lambda_s \sum_k \|u^k\|^2
        - \frac{1}{K} \sum_k \frac{1}{n_k} \sum_i
        \log p(y_i \mid x_i; A^\top v + u^k)

    where :math:`\lambda_s` is `source_penalty` times `reg`, and the target is scored by
    :math:`A^\top v`, without what belongs to the sources. The intercept b is not
    penalised, and was fitted for :math:`A^\top v + u^k`: where columns are not centred,
    :math:`u^k` moves all scores of source k, and b without it may predict the same
    class everywhere. So the mean of what is dropped stays,
    :math:`b + \frac{1}{K} \sum_k \frac{1}{n_k} \sum_i (u^k)^\top x_i`.

    In round t of the second stage the share ``final_share * t / n_rounds`` of the
    target rows joins as domain K + 1, with :math:`\lambda_t \|u^t\|^2` where
    :math:`\lambda_t` is `target_penalty` times `reg`: of each predicted class the rows
    whose score is furthest above those of the other classes. All domains weigh
    1 / (K + 1). The target is scored by :math:`A^\top v + u^t` and b. With h = d and
    ``target_penalty = source_penalty`` this is feature augmentation [2]_ for labels of
    its own making.

    Self-labelling amplifies what the first stage brings: where that is worse than
    chance, it makes it worse still, and no label of the target is there to tell. A
    single source has nothing to agree with; its columns are ranked by their weights.

    Several targets are taken as one. Rows of a source that was not seen in `fit` are
    scored by the shared weights alone. A fit takes a handful of Newton steps by
    conjugate gradients, each of them two products with the rows.

    References
    ----------
    .. [1] J. Jiang, C. Zhai. A two-stage approach to domain adaptation for statistical
       classifiers. CIKM 2007.
    .. [2] H. Daume III. Frustratingly easy domain adaptation. ACL 2007.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skadapt import TwoStageFeatureClassifier
    >>> rng = np.random.default_rng(0)
    >>> y = rng.integers(0, 2, 1200)
    >>> sample_domain = np.repeat([1, 2, 3, -1], 300)
    >>> X = rng.normal(size=(1200, 5))
    >>> X[:, 0] += 2 * y  # the same everywhere
    >>> for k, column in ((1, 2), (2, 3), (3, 4)):  # reversed in the target
    ...     X[sample_domain == k, column] += 4 * y[sample_domain == k]
    ...     X[sample_domain < 0, column] -= 2 * y[sample_domain < 0]
    >>> source, target = sample_domain > 0, sample_domain < 0
    >>> pooled = LogisticRegression().fit(X[source], y[source])
    >>> model = TwoStageFeatureClassifier(n_features_to_select=1)
    >>> model = model.fit(X, y, sample_domain=sample_domain)
    >>> for fitted in (pooled, model):
    ...     print(f"{fitted.score(X[target], y[target]):.2f}")
    0.45
    0.98
    """

    _parameter_constraints: dict = {
        **_CONSTRAINTS,
        "target_penalty": [Interval(Real, 0, None, closed="neither")],
        "n_rounds": [Interval(Integral, 0, None, closed="left")],
        "final_share": [Interval(Real, 0, 1, closed="right")],
        "class_shares": ["array-like", None],
    }

    def __init__(
        self,
        n_features_to_select=None,
        heuristic="auto",
        *,
        reg=0.01,
        source_penalty=1.0,
        target_penalty=0.1,
        n_rounds=5,
        final_share=1.0,
        class_shares=None,
        tol=1e-8,
        max_iter=100,
    ):
        self.n_features_to_select = n_features_to_select
        self.heuristic = heuristic
        self.reg = reg
        self.source_penalty = source_penalty
        self.target_penalty = target_penalty
        self.n_rounds = n_rounds
        self.final_share = final_share
        self.class_shares = class_shares
        self.tol = tol
        self.max_iter = max_iter

    def _resolve_estimator(self):
        return LogisticRegression()  # what it is on one domain, and has the tags of

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_weight=None, *, sample_domain=None):
        """Fit both stages.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows of all domains, in any order.
        y : array-like of shape (n_samples,)
            Class labels; NaN (in an array of floats) or None (in an array of objects)
            marks an unlabelled row. Those of target rows are never used, whatever y
            holds there, and unlabelled source rows are left out.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights of the rows of a source relative to one another; 0
            leaves a row out. Those of target rows are not used.
        sample_domain : array-like of shape (n_samples,), default=None
            Domain of each row, > 0 for sources, each with its own id, and < 0 for
            targets. None fits a logistic regression to all rows, with a
            `NoAdaptationWarning`.

        Returns
        -------
        self : object
            The fitted classifier.
        """
        X = self._validate(X, reset=True)
        y = _check_labels(X, y)
        n_selected = _number_to_select(self.n_features_to_select, X.shape[1])
        if sample_domain is None:
            fits = self._fit_one_domain(X, y, sample_weight)
        else:
            ids = check_sample_domain(sample_domain, X.shape[0], both=True)
            fits = self._fit_domains(X, y, sample_weight, ids, n_selected)
        fits.report(self)
        return self

    def _fit_one_domain(self, X, y, sample_weight):
        """Logistic regression on all rows, which are the target."""
        y = self._check_one_domain(X, y)
        ids, every = np.full(len(y), -1), np.ones(len(y), dtype=bool)
        self.classes_, (rows,) = _sources(X, y, ids, every, sample_weight)
        fits = _Fits(self, len(self.classes_))
        solution = fits.solve([rows.with_mass(1.0, self.reg)], columns=_NONE)
        W, b = solution.specific[0], solution.intercept
        self.sources_ = np.empty(0, dtype=np.int64)
        self.heuristic_ = "joint"
        self.scores_ = (W**2).sum(axis=1)
        self.support_ = np.ones(X.shape[1], dtype=bool)
        self.label_changes_ = np.empty(0)
        self.objective_ = solution.objective
        self._set_weights(W, b, W, b, solution.specific[:0], b)
        return fits

    def _fit_domains(self, X, y, sample_weight, ids, n_selected):
        y = mask_target_labels(y, ids)
        training = is_labeled(y)
        self._check_training_rows(training, ids)
        self.classes_, sources = _sources(X, y, ids, training, sample_weight)
        class_shares = _check_class_shares(self.class_shares, len(self.classes_))
        self.sources_ = np.array([source.id for source in sources])
        self.heuristic_ = _resolve_heuristic(self.heuristic, sources)
        fits = _Fits(self, len(self.classes_))
        self.scores_ = _column_scores(sources, self.heuristic_, fits)
        columns = _highest(self.scores_, n_selected)
        self.support_ = np.isin(np.arange(X.shape[1]), columns)

        K = len(sources)
        domains = [source.with_mass(1.0 / K, fits.source_reg) for source in sources]
        solution = fits.solve(domains, columns)
        V, b_shared = _shared_part(solution, columns, sources)
        W, b = V, b_shared

        Xt = X[np.flatnonzero(ids < 0)].astype(np.float64, copy=False)
        scores = Xt @ W + b
        mass = 1.0 / (K + 1)
        domains = [source.with_mass(mass, fits.source_reg) for source in sources]
        self.label_changes_ = np.empty(self.n_rounds)
        for t in range(self.n_rounds):
            share = self.final_share * (t + 1) / self.n_rounds
            joining = _most_certain(Xt, scores, share, class_shares)
            target = joining.with_mass(mass, self.reg * self.target_penalty)
            solution = fits.solve([*domains, target], columns, start=solution)
            V, b_shared = _shared_part(solution, columns, sources)
            W, b = V + solution.specific[K], solution.intercept
            before, scores = scores, Xt @ W + b
            changed = before.argmax(axis=1) != scores.argmax(axis=1)
            self.label_changes_[t] = changed.mean()
        self.objective_ = solution.objective
        W_sources = V + solution.specific[:K]
        self._set_weights(W, b, V, b_shared, W_sources, solution.intercept)
        return fits

    def _set_weights(self, W, b, V, b_shared, W_sources, b_sources):
        self.coef_, self.intercept_ = _as_coef(W), _as_intercept(b)
        self.shared_coef_ = _as_coef(V)
        self.shared_intercept_ = _as_intercept(b_shared)
        self.source_coef_ = _as_coef(W_sources)
        self.source_intercept_ = _as_intercept(b_sources)

    def _decision(self, X, sample_domain):
        """Scores of shape (n_samples, 1) for two classes, else (n_samples, c)."""
        check_is_fitted(self)
        X = self._validate(X, reset=False)
        if sample_domain is None:
            return X @ self.coef_.T + self.intercept_
        ids = check_sample_domain(sample_domain, X.shape[0], scalar=True)
        decision = np.empty((len(ids), len(self.intercept_)))
        for domain in np.unique(np.maximum(ids, -1)):
            rows = np.flatnonzero(np.maximum(ids, -1) == domain)
            coef, intercept = self._weights_of(domain)
            decision[rows] = X[rows] @ coef.T + intercept
        return decision

    def _weights_of(self, domain):
        if domain < 0:
            return self.coef_, self.intercept_
        known = np.flatnonzero(self.sources_ == domain)
        if len(known):
            return self.source_coef_[known[0]], self.source_intercept_
        return self.shared_coef_, self.shared_intercept_

    def predict(self, X, sample_domain=None):
        """Predict the most probable class.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows.
        sample_domain : array-like of shape (n_samples,) or int, default=None
            Domain of each row; one int stands for all rows. Rows of a source are
            scored by its own weights, or by the shared ones if it was not seen in
            `fit`. None: target rows.

        Returns
        -------
        y_pred : ndarray of shape (n_samples,)
            Class labels.
        """
        decision = self._decision(X, sample_domain)
        if len(self.classes_) == 2:
            return self.classes_[(decision[:, 0] > 0).astype(np.intp)]
        return self.classes_[decision.argmax(axis=1)]

    def decision_function(self, X, sample_domain=None):
        """Linear scores of the classes.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows.
        sample_domain : array-like of shape (n_samples,) or int, default=None
            Domain of each row, as in `predict`.

        Returns
        -------
        scores : ndarray of shape (n_samples,) or (n_samples, n_classes)
            Logarithms of the probabilities up to a number for each row; with two
            classes, the log-odds of the second.
        """
        decision = self._decision(X, sample_domain)
        return decision[:, 0] if len(self.classes_) == 2 else decision

    def predict_proba(self, X, sample_domain=None):
        """Predict class probabilities.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows.
        sample_domain : array-like of shape (n_samples,) or int, default=None
            Domain of each row, as in `predict`.

        Returns
        -------
        proba : ndarray of shape (n_samples, n_classes)
            Probabilities, columns in the order of `classes_`. After the second stage
            they are those of a model that has learnt its own predictions: not
            calibrated.
        """
        decision = self._decision(X, sample_domain)
        if len(self.classes_) == 2:
            return expit(decision * [-1.0, 1.0])
        return softmax(decision, axis=1)

    def _validate(self, X, *, reset):
        return validate_data(
            self,
            X,
            reset=reset,
            accept_sparse="csr",
            dtype=[np.float64, np.float32],
        )


class _Rows(NamedTuple):
    """Labelled rows of a domain, float64."""

    id: int
    X: object
    codes: np.ndarray
    weights: np.ndarray  # sum 1

    def with_mass(self, mass, reg):
        """The same in an objective in which all its rows together weigh `mass`."""
        return DomainRows(self.X, self.codes, mass * self.weights, reg)


class _Fits:
    """Solves the problems of one `fit` and keeps the worst of their figures."""

    def __init__(self, estimator, n_classes):
        self.reg = estimator.reg
        self.source_reg = estimator.reg * estimator.source_penalty
        self.n_classes = n_classes
        self.options = {"tol": estimator.tol, "max_iter": estimator.max_iter}
        self.residual, self.n_iter = 0.0, 0

    def solve(self, domains, columns, n_classes=None, start=None):
        solution = solve_shared_logistic(
            domains,
            columns,
            self.reg,
            self.n_classes if n_classes is None else n_classes,
            start=start,
            **self.options,
        )
        self.residual = max(self.residual, solution.residual)
        self.n_iter = max(self.n_iter, solution.n_iter)
        return solution

    def plain(self, rows):
        """Weights (d, c) of a logistic regression; 0 for classes that no row has.

        That is their limit as the intercepts of these classes fall without bound.
        """
        present, codes = np.unique(rows.codes, return_inverse=True)
        domain = rows._replace(codes=codes).with_mass(1.0, self.reg)
        W = np.zeros((rows.X.shape[1], self.n_classes))
        W[:, present] = self.solve([domain], _NONE, len(present)).specific[0]
        return W

    def report(self, estimator):
        """Set `residual_` and `n_iter_`, and warn if `tol` was not reached."""
        estimator.residual_, estimator.n_iter_ = self.residual, self.n_iter
        if self.residual > self.options["tol"]:
            warnings.warn(
                f"{type(estimator).__name__} reached the residual {self.residual:.1e} "
                f"and not tol={self.options['tol']:.1e}: increase max_iter or reg.",
                ConvergenceWarning,
                stacklevel=4,
            )


def _check_labels(X, y):
    if y is None:
        raise ValueError(
            "requires y to be passed, but the target y is None: columns are compared "
            "by what they say about the labels of the sources."
        )
    check_consistent_length(X, y)
    return column_or_1d(as_labels(y))


def _number_to_select(n_features_to_select, n_features):
    if n_features_to_select is None:
        return max(1, n_features // 2)
    if not isinstance(n_features_to_select, Integral):
        return max(1, round(n_features_to_select * n_features))
    if n_features_to_select > n_features:
        raise ValueError(
            f"n_features_to_select={n_features_to_select} is more than the "
            f"{n_features} columns of X: ask for at most as many, or for a share of "
            "them such as 0.5."
        )
    return n_features_to_select


def _check_class_shares(class_shares, n_classes):
    if class_shares is None:
        return None
    shares = np.asarray(class_shares, dtype=np.float64)
    if (
        shares.shape != (n_classes,)
        or not (shares >= 0).all()
        or abs(shares.sum() - 1.0) > 1e-6
    ):
        raise ValueError(
            f"class_shares must hold one number for each of the {n_classes} classes, "
            f"none below 0 and with sum 1, got {class_shares!r}: give them in the "
            "order of the sorted labels, or None."
        )
    return shares


def _resolve_heuristic(heuristic, sources):
    if heuristic == "auto":
        return "domain-cv" if len(sources) > 1 else "joint"
    if heuristic == "domain-cv" and len(sources) == 1:
        raise ValueError(
            "heuristic='domain-cv' compares sources, and only one has labelled rows: "
            "give each source an id of its own in sample_domain (1, 2, ...), or use "
            "heuristic='joint'."
        )
    return heuristic


def _sources(X, y, ids, labeled, sample_weight=None):
    """Classes, and the labelled rows of each domain that have a weight."""
    weights = np.ones(len(ids))
    if sample_weight is not None:
        weights = _check_sample_weight(
            sample_weight, X, dtype=np.float64, ensure_non_negative=True
        )
    rows = np.flatnonzero(labeled & (weights > 0))
    if not len(rows):
        raise ValueError(
            "sample_weight is 0 for every labelled row: give some of them a positive "
            "weight."
        )
    labels = natural_labels(y[rows])
    check_classification_targets(labels)
    classes, codes = np.unique(labels, return_inverse=True)
    sources = []
    for domain in np.unique(ids[rows]):
        part = np.flatnonzero(ids[rows] == domain)
        own = weights[rows[part]]
        sources.append(
            _Rows(
                int(domain),
                X[rows[part]].astype(np.float64, copy=False),
                codes[part],
                own / own.sum(),
            )
        )
    return classes, sources


def _column_scores(sources, heuristic, fits):
    d = sources[0].X.shape[1]
    if heuristic == "joint":
        domains = [s.with_mass(1.0 / len(sources), fits.source_reg) for s in sources]
        return (fits.solve(domains, np.arange(d)).shared ** 2).sum(axis=1)
    scores = np.zeros(d)
    for k, source in enumerate(sources):
        others = _pooled(sources[:k] + sources[k + 1 :])
        scores += (fits.plain(source) * fits.plain(others)).sum(axis=1)
    return scores


def _pooled(sources):
    """Rows of several domains as one, with the same mass of each."""
    stack = sparse.vstack if sparse.issparse(sources[0].X) else np.concatenate
    X = stack([source.X for source in sources])
    return _Rows(
        0,
        X.tocsr() if sparse.issparse(X) else X,
        np.concatenate([source.codes for source in sources]),
        np.concatenate([source.weights for source in sources]) / len(sources),
    )


def _highest(scores, n_selected):
    """Columns of the highest scores, in ascending order."""
    scale = np.abs(scores).max()
    rounded = np.round(scores / scale, _SCORE_DIGITS) if scale > 0 else scores
    return np.sort(np.argsort(-rounded, kind="stable")[:n_selected])


def _shared_part(solution, columns, sources):
    """``A'v`` and the intercept that goes with it alone.

    The intercept was fitted for scores that u^k takes part in; where columns are not
    centred, leaving out its mean would shift them all.
    """
    W = np.zeros(solution.specific.shape[1:])
    W[columns] = solution.shared
    dropped = [
        source.weights @ (source.X @ own)
        for source, own in zip(sources, solution.specific)
    ]
    return W, solution.intercept + np.mean(dropped, axis=0)


def _most_certain(Xt, scores, share, class_shares):
    """The most certain rows of each class, a share of all, with that class as label.

    A row is as certain of a class as its score is above those of all others. A row
    that two classes claim goes to the one it is more certain of.
    """
    m, n_classes = scores.shape
    if class_shares is None:
        predicted = scores.argmax(axis=1)
        class_shares = np.bincount(predicted, minlength=n_classes) / m
    codes, certainty = np.full(m, -1), np.full(m, -np.inf)
    for code in range(n_classes):
        others = np.delete(scores, code, axis=1).max(axis=1, initial=-np.inf)
        margin = scores[:, code] - others
        # Without the slack, 60 % of 5 rows would be more than 3.
        n_rows = math.ceil(share * m * class_shares[code] - 1e-9)
        rows = np.argsort(-margin, kind="stable")[:n_rows]
        rows = rows[margin[rows] > certainty[rows]]
        codes[rows], certainty[rows] = code, margin[rows]
    rows = np.flatnonzero(codes >= 0)
    return _Rows(-1, Xt[rows], codes[rows], np.full(len(rows), 1.0 / len(rows)))


def _as_coef(W):
    """(..., d, c) as scikit-learn has it: (..., c, d), or (..., 1, d) for c = 2."""
    W = np.swapaxes(W, -1, -2)
    return W[..., 1:, :] - W[..., :1, :] if W.shape[-2] == 2 else W.copy()


def _as_intercept(b):
    return b[1:] - b[:1] if len(b) == 2 else b.copy()
