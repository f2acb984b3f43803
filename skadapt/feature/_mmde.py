"""Maximum mean discrepancy embedding, the ancestor of transfer components."""

import warnings
from numbers import Integral, Real
from typing import NamedTuple

import numpy as np
from scipy import linalg, sparse
from scipy.sparse.csgraph import connected_components
from sklearn.base import ClassNamePrefixFeaturesOutMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics.pairwise import euclidean_distances
from sklearn.utils._param_validation import Interval, StrOptions, validate_params
from sklearn.utils.extmath import row_norms

from skadapt._base import BaseMapper, check_samples
from skadapt._kernels import KERNEL_NAMES, kernel_matrix, resolve_gamma
from skadapt.solvers._embedding_programme import (
    solve_embedding,
    solve_embedding_cvxpy,
)

# Dimension when none is given, or the rank if lower.
_DEFAULT_COMPONENTS = 30
# Eigenvalue of K, relative to the largest, below which it is what the solver left.
_NOISE = 1e-6

_CONSTRAINTS = {
    "n_components": [Interval(Integral, 1, None, closed="left"), None],
    "n_neighbors": [Interval(Integral, 1, None, closed="left")],
    "variance_weight": [Interval(Real, 0, None, closed="neither")],
    "solver": [StrOptions({"auto", "cvxpy"})],
    "max_rows": [Interval(Integral, 2, None, closed="left")],
    "tol": [Interval(Real, 0, None, closed="neither")],
    "max_iter": [Interval(Integral, 1, None, closed="left")],
}


class MMDEResult(NamedTuple):
    """Result of `mmde`.

    Attributes
    ----------
    embedding : ndarray of shape (n_source + n_target, n_components)
        Rows in the embedding, source first.
    K : ndarray of shape (n_source + n_target, n_source + n_target)
        The kernel matrix, centred.
    objective : float
        Value of the objective.
    mmd : float
        Squared distance of the domain means under K.
    residual : float
        As `MMDE.residual_`.
    n_iter : int
        Iterations of the solver.
    """

    embedding: np.ndarray
    K: np.ndarray
    objective: float
    mmd: float
    residual: float
    n_iter: int


class MMDE(ClassNamePrefixFeaturesOutMixin, BaseMapper):
    """Maximum mean discrepancy embedding, for up to a few hundred rows.

    Learns the kernel matrix under which the domains have nearly the same mean and all
    rows spread far, while neighbours keep their distances, and embeds the rows by
    their principal components under it. The kernel matrix belongs to the rows of
    `fit`: this is a transductive method, and the map of other rows a regression.

    Parameters
    ----------
    n_components : int, default=None
        Number of components, at most the rank of the kernel matrix. None: 30, or the
        rank if it is lower.
    n_neighbors : int, default=5
        Neighbours of each row whose distances are kept. Parts of the graph that are
        not joined get the shortest edge between them.
    variance_weight : float, default=1.0
        Weight c of the variance of all rows against the squared distance of the domain
        means. Large values unfold the rows and leave the domains where they are.
    kernel : {"linear", "rbf", "poly", "laplacian"} or callable, default="rbf"
        Kernel of the regression that maps rows to the embedding.
    gamma : float, default=None
        Parameter of this kernel, as in `TCA`.
    reg : float, default=0.001
        Ridge of the regression.
    solver : {"auto", "cvxpy"}, default="auto"
        ``"auto"``: an interior point method of its own, for hundreds of rows.
        ``"cvxpy"``: Clarabel through cvxpy, for some fifty rows.
    max_rows : int, default=500
        Largest number of rows that `fit` takes, before it asks for hours.
    tol : float, default=1e-5
        Residual to reach.
    max_iter : int, default=100
        Largest number of iterations of the solver.

    Attributes
    ----------
    embedding_ : ndarray of shape (n_samples, n_components)
        The rows of `fit` in the embedding itself, in the order of X.
    eigenvalues_ : ndarray of shape (n_components,)
        Leading eigenvalues of the kernel matrix, in descending order.
    objective_ : float
        Value of the objective.
    mmd_ : float
        Squared distance of the domain means under the kernel matrix.
    residual_ : float
        Largest error of a squared distance, relative to the largest of them, or the
        gap between the objective and its bound, relative to 1 + its size in these
        units, whichever is more. With ``solver="cvxpy"`` the former alone.
    n_iter_ : int
        Iterations of the solver.
    coefficients_ : ndarray of shape (n_samples, n_components)
        Coefficients A of the regression: a row x maps to ``k(x, X) A``.
    map_error_ : float
        How far the map is from `embedding_` at the rows of `fit`, relative to the
        latter, in the Frobenius norm.
    gamma_ : float or None
        The gamma in use; None if the kernel has none.
    X_fit_ : {ndarray, sparse matrix} of shape (n_samples, n_features)
        Rows of `fit`.
    n_features_in_ : int
        Number of features seen in `fit`.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the features, if X was a data frame.

    Raises
    ------
    ValueError
        If there are more rows than `max_rows`, if all rows are the same, or if
        `n_components` exceeds the rank.

    Warns
    -----
    ConvergenceWarning
        If `tol` was not reached.
    NoAdaptationWarning
        If `fit` gets no `sample_domain`.

    See Also
    --------
    mmde : The same as a function, with the kernel matrix.
    TCA : Its successor, an eigenproblem that maps new rows as well.

    Notes
    -----
    With L = l l' for the vector l that is 1/n_s on source and -1/n_t on target rows,
    n the number of all rows and d the Euclidean distance ::

        min_K  tr(K L) - c / n tr K
        s.t.   K_ii + K_jj - 2 K_ij = d_ij^2  for neighbours i, j,   K 1 = 0,   K psd,

    and the embedding is ``V_k diag(w_k)^(1/2)`` of the leading eigenvectors and
    eigenvalues of K. The paper has the weight lam = c / n, and adds a multiple of the
    identity to K, which changes nothing that is used here. The programme is unbounded
    where the graph of neighbours falls apart, hence the edges that join it. With much
    variance this is maximum variance unfolding [2]_.

    Rows map to ``k(x, X) A`` with ``A = (k(X, X) + reg I)^-1`` times the embedding,
    those of `fit` included, which come near to `embedding_` (see `map_error_`).

    Time grows with the third power of the rows and of the pairs of neighbours: on one
    core 0.04 s for 60 rows, 0.3 s for 150, 2 s for 300, 8 s for 500. Where rows have
    few columns and many neighbours the distances leave K hardly any freedom, the
    optimum hardly depends on the objective, and the solver may stop short of `tol`;
    fewer neighbours help.

    Labels are not used. Several sources are pooled, and so are several targets.

    References
    ----------
    .. [1] S. J. Pan, J. T. Kwok, Q. Yang. Transfer learning via dimensionality
       reduction. AAAI 2008.
    .. [2] K. Q. Weinberger, F. Sha, L. K. Saul. Learning a kernel matrix for nonlinear
       dimensionality reduction. ICML 2004.

    Examples
    --------
    >>> import numpy as np
    >>> from skadapt import MMDE
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(60, 6))
    >>> X[30:, 0] += 2.0
    >>> sample_domain = np.repeat([1, -1], 30)
    >>> gap = X[:30].mean(axis=0) - X[30:].mean(axis=0)
    >>> mapper = MMDE(n_components=2).fit(X, sample_domain=sample_domain)
    >>> bool(mapper.mmd_ < 0.2 * gap @ gap)
    True
    """

    _parameter_constraints: dict = {
        **_CONSTRAINTS,
        "kernel": [StrOptions(set(KERNEL_NAMES)), callable],
        "gamma": [Interval(Real, 0, None, closed="neither"), None],
        "reg": [Interval(Real, 0, None, closed="neither")],
    }
    _min_rows = 2

    def __init__(
        self,
        n_components=None,
        n_neighbors=5,
        variance_weight=1.0,
        kernel="rbf",
        gamma=None,
        reg=1e-3,
        solver="auto",
        max_rows=500,
        tol=1e-5,
        max_iter=100,
    ):
        self.n_components = n_components
        self.n_neighbors = n_neighbors
        self.variance_weight = variance_weight
        self.kernel = kernel
        self.gamma = gamma
        self.reg = reg
        self.solver = solver
        self.max_rows = max_rows
        self.tol = tol
        self.max_iter = max_iter

    @property
    def _accept_sparse(self):
        return not callable(self.kernel)

    def _fit_map(self, X, source, target):
        parameters = self.get_params(deep=False)
        found = _solve(X, source, target, **{k: parameters[k] for k in _CONSTRAINTS})
        self.embedding_ = np.ascontiguousarray(found.embedding, dtype=X.dtype)
        self.eigenvalues_ = (found.embedding**2).sum(axis=0)
        self.objective_, self.mmd_ = found.objective, found.mmd
        self.residual_, self.n_iter_ = found.residual, found.n_iter
        self.gamma_ = resolve_gamma(self.gamma, self.kernel, X[source], X[target])
        rows = X.astype(np.float64, copy=False)
        K = kernel_matrix(rows, None, self.kernel, self.gamma_)
        ridged = K + self.reg * np.eye(len(K))
        A = linalg.solve(ridged, found.embedding, assume_a="sym", check_finite=False)
        error = np.linalg.norm(K @ A - found.embedding)
        self.map_error_ = float(error / np.linalg.norm(found.embedding))
        self.coefficients_ = np.ascontiguousarray(A)
        self.X_fit_ = X.copy()

    def _transform(self, X, is_source):
        rows = X.astype(np.float64, copy=False)
        K = kernel_matrix(
            rows, self.X_fit_.astype(np.float64, copy=False), self.kernel, self.gamma_
        )
        return (K @ self.coefficients_).astype(X.dtype, copy=False)

    @property
    def _n_features_out(self):
        return len(self.eigenvalues_)


@validate_params(
    {
        "Xs": ["array-like", "sparse matrix"],
        "Xt": ["array-like", "sparse matrix"],
        **_CONSTRAINTS,
    },
    prefer_skip_nested_validation=True,
)
def mmde(
    Xs,
    Xt,
    *,
    n_components=None,
    n_neighbors=5,
    variance_weight=1.0,
    solver="auto",
    max_rows=500,
    tol=1e-5,
    max_iter=100,
):
    """Maximum mean discrepancy embedding of two samples.

    Parameters
    ----------
    Xs : {array-like, sparse matrix} of shape (n_source, n_features)
        Source rows.
    Xt : {array-like, sparse matrix} of shape (n_target, n_features)
        Target rows.
    n_components : int, default=None
        Number of components. None: 30, or the rank if it is lower.
    n_neighbors : int, default=5
        Neighbours of each row whose distances are kept.
    variance_weight : float, default=1.0
        Weight of the variance against the distance of the domain means.
    solver : {"auto", "cvxpy"}, default="auto"
        An interior point method of its own, or Clarabel through cvxpy.
    max_rows : int, default=500
        Largest number of rows of both samples together.
    tol : float, default=1e-5
        Residual to reach.
    max_iter : int, default=100
        Largest number of iterations.

    Returns
    -------
    result : MMDEResult
        Named tuple ``(embedding, K, objective, mmd, residual, n_iter)``: the rows in
        the embedding, source first, the kernel matrix, and the figures described in
        `MMDE`.

    Raises
    ------
    ValueError
        If there are more rows than `max_rows`, if all rows are the same, if the samples
        differ in their columns, or if `n_components` exceeds the rank.

    Warns
    -----
    ConvergenceWarning
        If `tol` was not reached.

    See Also
    --------
    MMDE : The estimator, with the programme.

    References
    ----------
    .. [1] S. J. Pan, J. T. Kwok, Q. Yang. Transfer learning via dimensionality
       reduction. AAAI 2008.

    Examples
    --------
    >>> import numpy as np
    >>> from skadapt import mmde
    >>> line = np.linspace(0, 1, 20)[:, np.newaxis] * [3.0, 4.0]
    >>> mmde(line[::2], line[1::2]).embedding.shape
    (20, 1)
    """
    Xs, Xt = check_samples(Xs, Xt, accept_sparse="csr")
    stack = sparse.vstack if sparse.issparse(Xs) else np.concatenate
    X = stack([Xs, Xt])
    rows = np.arange(X.shape[0])
    found = _solve(
        X.tocsr() if sparse.issparse(X) else X,
        rows[: Xs.shape[0]],
        rows[Xs.shape[0] :],
        n_components=n_components,
        n_neighbors=n_neighbors,
        variance_weight=variance_weight,
        solver=solver,
        max_rows=max_rows,
        tol=tol,
        max_iter=max_iter,
    )
    return found._replace(embedding=found.embedding.astype(X.dtype, copy=False))


def _solve(
    X,
    source,
    target,
    *,
    n_components,
    n_neighbors,
    variance_weight,
    solver,
    max_rows,
    tol,
    max_iter,
):
    n = X.shape[0]
    if n > max_rows:
        raise ValueError(
            f"MMDE solves a semidefinite programme in {n} x {n} numbers, and max_rows="
            f"{max_rows}: draw some of the rows, use TCA, which does the same by an "
            "eigenproblem, or raise max_rows if there is time."
        )
    D = _squared_distances(X)
    if not D.any():
        raise ValueError(
            "All rows are the same: the kernel matrix has rank 0, so there is no "
            "component."
        )
    pairs = _neighbors(D, n_neighbors)
    contrast = np.zeros(n)
    contrast[source] += 1 / len(source)
    contrast[target] -= 1 / len(target)
    solve = solve_embedding if solver == "auto" else solve_embedding_cvxpy
    found = solve(
        contrast, pairs, D, variance_weight / n, tol=tol, max_iter=int(max_iter)
    )
    if found.residual > tol:
        warnings.warn(
            f"The kernel matrix has residual {found.residual:.1e} after "
            f"{found.n_iter} iterations, more than tol={tol:.1e}: the distances of the "
            "neighbours may leave it hardly any freedom. Lower n_neighbors, or raise "
            "tol or max_iter.",
            ConvergenceWarning,
            stacklevel=3,
        )
    embedding = _principal_components(found.K, n_components)
    gap = contrast @ found.K @ contrast
    return MMDEResult(
        embedding, found.K, found.objective, float(gap), found.residual, found.n_iter
    )


def _squared_distances(X):
    """Squared Euclidean distances, 0 between rows that agree to rounding."""
    X = X.astype(np.float64, copy=False)
    if not sparse.issparse(X):
        X = X - X.mean(axis=0)  # rows far from the origin would lose digits
    D = euclidean_distances(X, squared=True)
    squares = row_norms(X, squared=True)
    D[1e-14 * (squares + squares[:, np.newaxis]) >= D] = 0
    return (D + D.T) / 2


def _neighbors(D, n_neighbors):
    """Pairs (m, 2) of rows of which one is a neighbour of the other; all are joined."""
    n = len(D)
    far = D.copy()
    np.fill_diagonal(far, np.inf)
    nearest = np.argsort(far, axis=1, kind="stable")[:, : min(n_neighbors, n - 1)]
    joined = np.zeros((n, n), dtype=bool)
    np.put_along_axis(joined, nearest, True, axis=1)
    joined |= joined.T
    n_parts, part = connected_components(sparse.csr_array(joined), directed=False)
    while n_parts > 1:
        apart = np.where(part[:, np.newaxis] == part, np.inf, far)
        i, j = np.unravel_index(apart.argmin(), apart.shape)
        joined[i, j] = joined[j, i] = True
        part[part == part[j]] = part[i]
        n_parts -= 1
    return np.column_stack(np.nonzero(np.triu(joined)))


def _principal_components(K, n_components):
    values, vectors = linalg.eigh(K, check_finite=False)
    values, vectors = values[::-1], vectors[:, ::-1]
    rank = np.count_nonzero(values > _NOISE * values[0])
    if n_components is not None and n_components > rank:
        raise ValueError(
            f"n_components={n_components} is more than the rank {rank} of the kernel "
            f"matrix: set n_components to at most {rank}, or to None."
        )
    k = min(n_components or _DEFAULT_COMPONENTS, rank)
    Z = vectors[:, :k] * np.sqrt(values[:k])
    # The sign is free; fix it so that results are repeatable.
    peak = np.abs(Z).argmax(axis=0)
    return Z * np.sign(Z[peak, np.arange(k)])
