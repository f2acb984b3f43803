"""Optimal transport of the source rows to the target."""

import warnings
from numbers import Integral, Real
from typing import NamedTuple

import numpy as np
from sklearn.base import OneToOneFeatureMixin, _fit_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_consistent_length
from sklearn.utils._param_validation import Interval, StrOptions, validate_params
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import column_or_1d

from skadapt._base import BaseMapper, check_samples, row_blocks
from skadapt._domains import as_labels, is_labeled, natural_labels
from skadapt.solvers._moments import DomainMoments
from skadapt.solvers._transport import (
    Correction,
    Coupling,
    EntropicMap,
    GaussianMap,
    entropic_coupling,
    exact_coupling,
    group_lasso_coupling,
    squared_distances,
)

# Defaults of `reg`: the ridge of correlation alignment for columns of unit variance,
# and a fiftieth of the largest cost.
_RIDGE, _ENTROPY = 1.0, 0.02
# Defaults of `max_iter`: pivots, iterations and rounds.
_MAX_ITER = {"linear": 1, "emd": 1_000_000, "sinkhorn": 5_000, "sinkhorn_l1l2": 200}

_CONSTRAINTS = {
    "method": [StrOptions({"linear", "emd", "sinkhorn", "sinkhorn_l1l2"})],
    "reg": [Interval(Real, 0, None, closed="left"), None],
    "group_reg": [Interval(Real, 0, None, closed="left")],
    "tol": [Interval(Real, 0, None, closed="neither")],
    "max_iter": [Interval(Integral, 1, None, closed="left"), None],
}


class OTMappingResult(NamedTuple):
    """Result of `ot_mapping`.

    Attributes
    ----------
    X_source : ndarray of shape (n_source, n_features)
        Mapped source rows.
    coupling : ndarray of shape (n_source, n_target) or None
        Mass that goes from each source row to each target row; None for ``"linear"``.
    objective : float
        Value of the objective.
    residual : float
        What is missing to the optimum, as `OTMapping.residual_`.
    n_iter : int
        Iterations.
    """

    X_source: np.ndarray
    coupling: np.ndarray | None
    objective: float
    residual: float
    n_iter: int


class OTMapping(OneToOneFeatureMixin, BaseMapper):
    r"""Optimal transport: move the source onto the target at the least cost.

    Every source row is sent to target rows, each of which receives the same mass, so
    that the sum of the squared distances travelled is small, and becomes the mean of
    what it was sent to. Target rows stay as they are.

    Parameters
    ----------
    method : {"linear", "emd", "sinkhorn", "sinkhorn_l1l2"}, default="linear"
        ``"linear"``: the optimal map between two Gaussians with the means and
        covariances of the domains. The others couple rows, and need the package POT
        (``pip install skadapt[ot]``): ``"emd"`` at the least cost, ``"sinkhorn"`` with
        an entropy that spreads the mass, ``"sinkhorn_l1l2"`` also with a group lasso
        over the classes of the source, so that rows of one class go together.
    reg : float, default=None
        For ``"linear"`` the ridge on both covariances, >= 0; None: 1.0, meant for
        columns of unit variance. For the others the weight of the entropy against
        costs that are at most 1, > 0; None: 0.02. ``"emd"`` has no entropy and uses it
        for rows that were not in `fit`.
    group_reg : float, default=0.1
        Weight of the group lasso in ``"sinkhorn_l1l2"``.
    tol : float, default=1e-8
        Residual to reach.
    max_iter : int, default=None
        Largest number of iterations. None: 10^6 pivots for ``"emd"``, 5,000 iterations
        for ``"sinkhorn"``, 200 rounds for ``"sinkhorn_l1l2"``.

    Attributes
    ----------
    objective_ : float
        Value of the objective (see the notes); for ``"linear"`` the squared
        Wasserstein distance of the Gaussians, covariances with the ridge.
    residual_ : float
        What is missing to the optimum: for ``"sinkhorn"`` how far the mass that the
        target rows receive is from uniform, summed over them; for ``"emd"`` and
        ``"sinkhorn_l1l2"`` a bound on the excess of the objective over its least
        value; 0 for ``"linear"``.
    n_iter_ : int
        Iterations, rounds for ``"sinkhorn_l1l2"``; 1 for ``"linear"`` and ``"emd"``.
    n_features_in_ : int
        Number of features seen in `fit`.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the features, if X was a data frame.

    Raises
    ------
    ValueError
        If `reg` is 0 and the method not ``"linear"``, or if ``"sinkhorn_l1l2"`` gets
        no labelled source row, or labels that are no classes.
    TypeError
        If X is sparse: the map fills every entry.
    ImportError
        If the method needs POT, and it is not installed.

    Warns
    -----
    ConvergenceWarning
        If `tol` was not reached.
    NoAdaptationWarning
        If `fit` gets no `sample_domain`.

    See Also
    --------
    ot_mapping : The same as a function, with the coupling.
    CORAL : Aligns covariances with a map that is not the shortest.

    Notes
    -----
    With the costs :math:`C_{ij} = \|x_i - y_j\|^2 / \max_{kl} \|x_k - y_l\|^2` and the
    classes :math:`I_c` of the labelled source rows, the coupling of n source and m
    target rows is

    .. math::

        \min_{G \ge 0} \; \langle G, C \rangle + r \sum_{ij} G_{ij} \ln G_{ij}
        + \eta \sum_j \sum_c \| G_{I_c, j} \|_2, \quad
        G 1 = 1/n, \; G^\top 1 = 1/m,

    with r = `reg` and eta = `group_reg`: the first term alone for ``"emd"``, two for
    ``"sinkhorn"``, all for ``"sinkhorn_l1l2"``. A source row i becomes
    :math:`n \sum_j G_{ij} y_j`. With much entropy all rows go to the target mean.

    ``"linear"`` is :math:`x \mapsto (x - m_s) A + m_t` with the covariances S and T
    (divisor n) plus r I, and
    :math:`A = S^{-1/2} (S^{1/2} T S^{1/2})^{1/2} S^{-1/2}`. Without a ridge the mapped
    rows have exactly the mean and covariance of the target; directions in which the
    source is constant and the target is not are mapped to 0.

    **New source rows** of the coupled methods are mapped without a jump. A row x goes
    to :math:`\sum_j p_j(x) y_j` with :math:`p(x) = \mathrm{softmax}_j((g_j - C(x, y_j))
    / r)` and the dual variables g of the coupling; for ``"sinkhorn"`` that is the map
    of the fitted rows itself. For the other two the fitted rows go elsewhere, by
    differences :math:`d_i`, and :math:`\sum_i w_i(x) d_i` is added with weights
    proportional to :math:`\|x - x_i\|^{-8}`: fitted rows go where the coupling says,
    and all others follow continuously. To carry over the displacement of the nearest
    fitted row, as is usual, jumps halfway between two rows, and where the entropy
    draws the fitted rows together it leaves new ones where they were.

    Labels of target rows are never used; unlabelled source rows belong to no group.
    Several sources are pooled, and so are several targets. A coupling takes a few
    n x m matrices of float64; ``"linear"`` needs means and covariances only.

    References
    ----------
    .. [1] N. Courty, R. Flamary, D. Tuia, A. Rakotomamonjy. Optimal transport for
       domain adaptation. IEEE Transactions on Pattern Analysis and Machine
       Intelligence 39(9), 2017.
    .. [2] A. Rakotomamonjy, R. Flamary, N. Courty. Generalized conditional gradient:
       analysis of convergence and applications. arXiv 1510.06567, 2015.
    .. [3] A.-A. Pooladian, J. Niles-Weed. Entropic estimation of optimal transport
       maps. arXiv 2109.12004, 2021.
    .. [4] R. Flamary et al. POT: Python optimal transport. Journal of Machine Learning
       Research 22(78), 2021.

    Examples
    --------
    >>> import numpy as np
    >>> from skadapt import OTMapping
    >>> rng = np.random.default_rng(0)
    >>> Xs, Xt = rng.normal(size=(200, 2)), rng.normal(size=(300, 2)) @ [[2, 1], [0, 1]]
    >>> X, sample_domain = np.vstack([Xs, Xt]), np.repeat([1, -1], [200, 300])
    >>> Z = OTMapping(reg=0.0).fit_transform(X, sample_domain=sample_domain)
    >>> bool(np.allclose(np.cov(Z[:200].T, ddof=0), np.cov(Xt.T, ddof=0)))
    True
    """

    _parameter_constraints: dict = _CONSTRAINTS

    def __init__(
        self,
        method="linear",
        reg=None,
        group_reg=0.1,
        tol=1e-8,
        max_iter=None,
    ):
        self.method = method
        self.reg = reg
        self.group_reg = group_reg
        self.tol = tol
        self.max_iter = max_iter

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None, *, sample_domain=None):
        """Learn where source rows go.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows of source and target, in any order.
        y : array-like of shape (n_samples,), default=None
            Class labels for ``"sinkhorn_l1l2"``, ignored by the other methods; NaN (in
            an array of floats) or None (in an array of objects) marks an unlabelled
            row. Those of target rows are never used, whatever y holds there.
        sample_domain : array-like of shape (n_samples,), default=None
            Domain of each row, > 0 for sources and < 0 for targets. Several of
            either are pooled. None takes all rows as source and as target, with
            a `NoAdaptationWarning`.

        Returns
        -------
        self : object
            The fitted mapper.
        """
        X, source, target = self._check_fit(X, sample_domain)
        ys = None
        if self.method == "sinkhorn_l1l2":
            if y is None:
                raise ValueError(
                    "requires y to be passed, but the target y is None: "
                    "method='sinkhorn_l1l2' groups source rows by their labels."
                )
            check_consistent_length(X, y)
            ys = column_or_1d(as_labels(y))[source]
        parameters = self.get_params(deep=False)
        found = _solve(X[source], ys, X[target], **parameters)
        self.objective_, self.residual_ = found.objective, found.residual
        self.n_iter_ = found.n_iter
        self._steps, self._origin = found.steps, found.origin
        return self

    def _transform(self, X, is_source):
        out = X.copy()
        rows = np.flatnonzero(is_source)
        if len(rows):
            out[rows] = _apply(self._steps, self._origin, X[rows])
        return out

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = self.method == "sinkhorn_l1l2"
        return tags


@validate_params(
    {
        "Xs": ["array-like"],
        "Xt": ["array-like"],
        "ys": ["array-like", None],
        **_CONSTRAINTS,
    },
    prefer_skip_nested_validation=True,
)
def ot_mapping(
    Xs,
    Xt,
    ys=None,
    *,
    method="linear",
    reg=None,
    group_reg=0.1,
    tol=1e-8,
    max_iter=None,
):
    """Optimal transport of one sample onto another.

    Parameters
    ----------
    Xs : array-like of shape (n_source, n_features)
        Source rows.
    Xt : array-like of shape (n_target, n_features)
        Target rows.
    ys : array-like of shape (n_source,), default=None
        Class labels of the source rows, NaN or None where unlabelled, for
        ``"sinkhorn_l1l2"``.
    method : {"linear", "emd", "sinkhorn", "sinkhorn_l1l2"}, default="linear"
        How to transport, as in `OTMapping`.
    reg : float, default=None
        Ridge or weight of the entropy, as in `OTMapping`.
    group_reg : float, default=0.1
        Weight of the group lasso.
    tol : float, default=1e-8
        Residual to reach.
    max_iter : int, default=None
        Largest number of iterations, as in `OTMapping`.

    Returns
    -------
    result : OTMappingResult
        Named tuple ``(X_source, coupling, objective, residual, n_iter)``: the mapped
        source rows, the mass that goes from each to each target row (None for
        ``"linear"``), and the figures described in `OTMapping`.

    Raises
    ------
    ValueError
        If the samples differ in their columns, if `reg` is 0 and the method not
        ``"linear"``, or if ``"sinkhorn_l1l2"`` gets no label.
    TypeError
        If a sample is sparse.
    ImportError
        If the method needs POT, and it is not installed.

    Warns
    -----
    ConvergenceWarning
        If `tol` was not reached.

    See Also
    --------
    OTMapping : The estimator, with the formulas.

    References
    ----------
    .. [1] N. Courty, R. Flamary, D. Tuia, A. Rakotomamonjy. Optimal transport for
       domain adaptation. IEEE Transactions on Pattern Analysis and Machine
       Intelligence 39(9), 2017.

    Examples
    --------
    >>> import numpy as np
    >>> from skadapt import ot_mapping
    >>> Xs = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    >>> ot_mapping(Xs, 3 * Xs + 5, reg=0.0).X_source.round(6)
    array([[8., 5.],
           [2., 5.],
           [5., 8.],
           [5., 2.]])
    """
    Xs, Xt = check_samples(Xs, Xt)
    if method == "sinkhorn_l1l2":
        if ys is None:
            raise ValueError(
                "ys is None: method='sinkhorn_l1l2' groups source rows by their labels."
            )
        check_consistent_length(Xs, ys)
        ys = column_or_1d(as_labels(ys))
    found = _solve(Xs, ys, Xt, method, reg, group_reg, tol, max_iter)
    mapped = _apply(found.steps, found.origin, Xs).astype(Xs.dtype, copy=False)
    return OTMappingResult(
        mapped, found.coupling, found.objective, found.residual, found.n_iter
    )


class _Solution(NamedTuple):
    steps: tuple  # maps whose images add up
    origin: np.ndarray  # that they are written around
    coupling: np.ndarray | None
    objective: float
    residual: float
    n_iter: int


def _solve(Xs, ys, Xt, method, reg, group_reg, tol, max_iter):
    max_iter = max_iter or _MAX_ITER[method]
    if method == "linear":
        moments = DomainMoments.from_rows(Xs), DomainMoments.from_rows(Xt)
        gaussian = GaussianMap.between(*moments, _RIDGE if reg is None else float(reg))
        origin = np.zeros(Xs.shape[1])
        return _Solution((gaussian,), origin, None, gaussian.distance, 0.0, 1)
    reg = _ENTROPY if reg is None else float(reg)
    if reg == 0:
        raise ValueError(
            f"reg=0 leaves method='{method}' without entropy: give a positive reg, or "
            "use method='emd'."
        )
    # Distances lose digits far from the origin.
    origin = Xt.mean(axis=0, dtype=np.float64)
    Xs, Xt = (np.subtract(X, origin, dtype=np.float64) for X in (Xs, Xt))
    costs = squared_distances(Xs, Xt)
    scale = float(costs.max()) or 1.0
    costs /= scale
    found = _couple(costs, ys, method, reg, group_reg, tol, max_iter)
    if found.residual > max(tol, 1e-12):
        warnings.warn(
            f"The coupling has residual {found.residual:.1e} after {found.n_iter} "
            f"iterations, more than tol={tol:.1e}: increase max_iter or reg.",
            ConvergenceWarning,
            stacklevel=3,
        )
    entropic = EntropicMap(Xt, found.potential, scale, reg)
    steps = (entropic,)
    if method != "sinkhorn":
        images = _in_blocks((entropic,), Xs, len(Xt))
        mass = found.plan.sum(axis=1, keepdims=True)
        # A simplex that was stopped may have left rows without mass.
        differences = np.divide(
            found.plan @ Xt, mass, out=images.copy(), where=mass > 0
        )
        differences -= images
        steps = entropic, Correction(Xs, differences)
    return _Solution(
        steps, origin, found.plan, found.objective, found.residual, found.n_iter
    )


def _couple(costs, ys, method, reg, group_reg, tol, max_iter) -> Coupling:
    if method == "emd":
        return exact_coupling(costs, max_iter)
    if method == "sinkhorn":
        return entropic_coupling(costs, reg, tol, max_iter)
    memberships = _memberships(ys)
    return group_lasso_coupling(costs, memberships, reg, group_reg, tol, max_iter)


def _memberships(ys):
    """1 in the column of a row's class; unlabelled rows are 0."""
    labeled = is_labeled(ys)
    if not labeled.any():
        raise ValueError(
            "y holds no labelled source row: method='sinkhorn_l1l2' groups source rows "
            "by their labels; use method='sinkhorn', which needs none."
        )
    labels = natural_labels(ys[labeled])
    check_classification_targets(labels)
    classes, codes = np.unique(labels, return_inverse=True)
    memberships = np.zeros((len(ys), len(classes)))
    memberships[np.flatnonzero(labeled), codes] = 1.0
    return memberships


def _apply(steps, origin, X):
    """Images of rows, in float64."""
    if len(steps) == 1 and isinstance(steps[0], GaussianMap):
        return steps[0].apply(X)
    X = np.subtract(X, origin, dtype=np.float64)
    columns = sum(len(step.rows) for step in steps)
    return _in_blocks(steps, X, columns) + origin


def _in_blocks(steps, X, columns):
    out = np.empty_like(X)
    for rows in row_blocks(len(X), 3 * columns):
        out[rows] = sum(step.apply(X[rows]) for step in steps)
    return out
