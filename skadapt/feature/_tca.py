"""Transfer component analysis."""

import warnings
from numbers import Integral, Real
from typing import NamedTuple

import numpy as np
from scipy import sparse
from sklearn.base import ClassNamePrefixFeaturesOutMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions, validate_params

from skadapt._base import BaseMapper, check_samples
from skadapt._kernels import resolve_gamma
from skadapt.feature._transfer_space import (
    DEFAULT_COMPONENTS,
    KERNELS,
    LINEAR,
    FeatureSpace,
    FourierRows,
    KernelRows,
    check_rank,
    check_unit_rows,
    embed,
    is_one_of,
    map_of_rows,
    row_moments,
    square_kernel,
    take_rows,
    unit_rows,
)
from skadapt.solvers._transfer_components import Components

# Attributes that only some kernels and approximations have.
_MAPS = (
    "components_",
    "coefficients_",
    "X_fit_",
    "random_weights_",
    "random_offset_",
)

_CONSTRAINTS = {
    "n_components": [Interval(Integral, 1, None, closed="left"), None],
    "kernel": [StrOptions({*KERNELS, "precomputed"}), callable],
    "gamma": [Interval(Real, 0, None, closed="neither"), None],
    "reg": [Interval(Real, 0, None, closed="neither")],
    "scale": [StrOptions({"unit", "whiten"})],
    "normalize": ["boolean"],
    "approximation": [StrOptions({"nystroem", "rff"}), None],
    "n_landmarks": [Interval(Integral, 1, None, closed="left")],
    "tol": [Interval(Real, 0, None, closed="left")],
    "max_iter": [Interval(Integral, 1, None, closed="left"), None],
    "random_state": ["random_state"],
}


class TCAResult(NamedTuple):
    """Result of `transfer_components`.

    Attributes
    ----------
    embedding : ndarray of shape (n_source + n_target, n_components)
        Mapped rows, source first.
    coefficients : ndarray of shape (n_source + n_target, n_components)
        The matrix W; of shape (n_features, n_components) for the primal problem and
        (n_landmarks, n_components) with an approximation.
    objective : float
        Value of the objective.
    mmd : float
        Squared distance of the domain means in the embedding.
    residual : float
        Residual of the eigenproblem, as `TCA.residual_`.
    n_iter : int
        Products with the operator of the eigenproblem; 1 if a dense solver was used.
    """

    embedding: np.ndarray
    coefficients: np.ndarray
    objective: float
    mmd: float
    residual: float
    n_iter: int


class TCA(ClassNamePrefixFeaturesOutMixin, BaseMapper):
    """Transfer component analysis.

    Finds components of a kernel's feature space that keep the variance of all
    rows together and on which the domains have nearly the same mean. With K the
    kernel matrix of all rows, H the centring matrix and L = l l' for the vector l
    that is 1/n_s on source and -1/n_t on target rows ::

        max_W  tr( (W'(K L K + reg I)W)^(-1)  W'K H K W ),

    and a row x maps to ``k(x, X) W``, whatever its domain.

    Parameters
    ----------
    n_components : int, default=None
        Number of components, at most the rank of the centred kernel matrix.
        None: 30, or the rank if it is lower.
    kernel : {"linear", "rbf", "poly", "laplacian", "primal", "precomputed"} or \
            callable, default="linear"
        Kernel. ``"poly"`` is ``(gamma x'z + 1)^3``; a callable takes two rows and
        returns a number; ``"precomputed"``: X is the square kernel matrix in
        `fit`, and the kernel between new and fitted rows in `transform`.
        ``"primal"`` is the same problem with the columns of X in the place of those
        of K: a row x maps to ``x W``, and `reg` weighs the norm of these directions.
        The linear kernel gives the leading columns more weight: its problem is the
        primal one on ``X V D``, where X = U D V'.
    gamma : float, default=None
        Parameter of the rbf, laplacian and poly kernels. None: 1 / median of the
        squared (laplacian: L1) distances between distinct rows of both domains
        together, over 2,000 rows if there are more; 1 / n_features for poly.
    reg : float, default=1.0
        Weight of the norm of W against the gap of the means (mu in [1]_); small
        values force the means together.
    scale : {"unit", "whiten"}, default="unit"
        Length of the components. ``"unit"`` gives the columns of W norm 1, so
        that components of little variance stay small; the published figures are
        reached only so. ``"whiten"`` is the constraint ``W'K H K W = I`` of the
        paper, which blows noise up to the size of the leading components.
    normalize : bool, default=False
        Do as the published codes do: bring rows to length 1 before the map and after
        it, and divide L by its norm ``l'l = 1/n_s + 1/n_t``, which multiplies `reg` by
        it.
    approximation : {"nystroem", "rff"}, default=None
        Replace the kernel by the inner products of few features: of Nystroem's
        method, from rows drawn from both domains, or random Fourier features (rbf
        only). Then the cost is one pass over the rows.
    n_landmarks : int, default=100
        Number r of the rows drawn, or of the Fourier features.
    tol : float, default=1e-8
        Relative accuracy of the eigenvalues in the Lanczos solver.
    max_iter : int, default=None
        Largest number of its restarts, after which a dense solver takes over.
        None: ARPACK's default, 10 n.
    random_state : int, RandomState instance or None, default=None
        Draws what the approximation draws.

    Attributes
    ----------
    coefficients_ : ndarray of shape (n_samples, n_components)
        W, where the kernel is neither linear nor primal. With an approximation, of
        shape (n_landmarks, n_components): rows map to ``k(x, X_fit_) coefficients_``
        or ``cos(x random_weights_ + random_offset_) coefficients_``.
    components_ : ndarray of shape (n_features, n_components)
        ``X'W`` for the linear kernel and W for the primal problem: rows map to ``x
        components_``.
    eigenvalues_ : ndarray of shape (n_components,)
        Generalised eigenvalues; their sum is the objective above.
    objective_ : float
        Value of the objective.
    mmd_ : float
        ``||W'K l||^2``: squared distance of the domain means in the embedding, before
        its rows are brought to length 1.
    residual_ : float
        ``max_j ||S q_j - phi_j q_j|| / phi_1`` of the symmetric form of the
        eigenproblem.
    n_iter_ : int
        Products with its operator; 1 if a dense solver was used.
    gamma_ : float or None
        The gamma in use; None if the kernel has none.
    X_fit_ : {ndarray, sparse matrix} of shape (n_samples, n_features)
        Rows of `fit`, or the landmarks, for kernels that need them.
    random_weights_ : ndarray of shape (n_features, n_landmarks)
        Frequencies of the random Fourier features.
    random_offset_ : ndarray of shape (n_landmarks,)
        Their phases.
    n_features_in_ : int
        Number of features seen in `fit`.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the features, if X was a data frame.

    Raises
    ------
    ValueError
        If `n_components` exceeds the rank, if a precomputed kernel is not square and
        symmetric or is to be normalised, or if `approximation` does not go with the
        kernel.
    TypeError
        If X is sparse and the kernel precomputed or a callable.

    Warns
    -----
    ConvergenceWarning
        If the residual exceeds `tol` and what the dtype can resolve.
    NoAdaptationWarning
        If `fit` gets no `sample_domain`.

    See Also
    --------
    transfer_components : The same as a function.
    JDA : Also brings the means of the classes together.

    Notes
    -----
    K L K has rank one, so the problem is a symmetric eigenproblem for an operator
    that costs two products with K: O(n^2) for each of some fifty Lanczos steps,
    and K is the only n x n matrix (some five with a quarter of n components or more,
    which a dense solver finds, and seven for the primal problem with n columns or
    more). With the linear kernel or the primal problem and
    fewer columns than rows K is not formed; the cost is O(n d^2 + d^3) and the memory
    a centred copy of each domain. With an approximation it is O(n r (d + r) + r^3)
    and r^2 numbers beside X, of which `normalize` makes a copy; domains whose rows do
    not follow one another in X are copied, too.

    With domains standardised one by one the means agree already and the linear
    kernel leaves nothing to adapt: the result is a scaled PCA of all rows.

    References
    ----------
    .. [1] S. J. Pan, I. W. Tsang, J. T. Kwok, Q. Yang. Domain adaptation via
       transfer component analysis. IEEE Transactions on Neural Networks 22(2),
       2011, section III.
    .. [2] M. Long, J. Wang, G. Ding, J. Sun, P. S. Yu. Transfer feature learning with
       joint distribution adaptation. ICCV 2013, whose code has the primal problem and
       the unit rows.

    Examples
    --------
    >>> import numpy as np
    >>> from skadapt import TCA
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(60, 4))
    >>> X[30:, 0] += 3.0
    >>> sample_domain = np.repeat([1, -1], 30)
    >>> mapper = TCA(n_components=2, reg=0.01)
    >>> Z = mapper.fit_transform(X, sample_domain=sample_domain)
    >>> gap = Z[:30].mean(axis=0) - Z[30:].mean(axis=0)
    >>> bool(np.abs(gap).max() < 0.01 * Z.std(axis=0).min())
    True
    """

    _parameter_constraints = _CONSTRAINTS
    _min_rows = 2

    def __init__(
        self,
        n_components=None,
        kernel="linear",
        gamma=None,
        reg=1.0,
        scale="unit",
        normalize=False,
        approximation=None,
        n_landmarks=100,
        tol=1e-8,
        max_iter=None,
        random_state=None,
    ):
        self.n_components = n_components
        self.kernel = kernel
        self.gamma = gamma
        self.reg = reg
        self.scale = scale
        self.normalize = normalize
        self.approximation = approximation
        self.n_landmarks = n_landmarks
        self.tol = tol
        self.max_iter = max_iter
        self.random_state = random_state

    @property
    def _accept_sparse(self):
        return is_one_of(self.kernel, KERNELS)

    def _fit_map(self, X, source, target):
        solution = _solve(X, source, target, **self.get_params(deep=False))
        found = solution.found
        self.gamma_ = solution.gamma
        self.eigenvalues_ = found.eigenvalues
        self.objective_ = float(found.eigenvalues.sum())
        self.mmd_, self.residual_ = solution.mmd, found.residual
        self.n_iter_ = found.n_iter
        for name in _MAPS:
            vars(self).pop(name, None)  # of an earlier fit with another kernel
        self._row_map = row_map = solution.row_map
        if is_one_of(self.kernel, LINEAR) and self.approximation is None:
            self.components_ = row_map.C
        else:
            self.coefficients_ = row_map.C
        if isinstance(row_map, KernelRows):
            self.X_fit_ = row_map.points
        elif isinstance(row_map, FourierRows):
            self.random_weights_, self.random_offset_ = row_map.weights, row_map.offset

    def _transform(self, X, is_source):
        return embed(X, self._row_map, self.normalize)

    @property
    def _n_features_out(self):
        return len(self.eigenvalues_)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.pairwise = is_one_of(self.kernel, ("precomputed",))
        return tags


@validate_params(
    {
        "Xs": ["array-like", "sparse matrix"],
        "Xt": ["array-like", "sparse matrix"],
        **_CONSTRAINTS,
    },
    prefer_skip_nested_validation=True,
)
def transfer_components(
    Xs,
    Xt,
    *,
    n_components=None,
    kernel="linear",
    gamma=None,
    reg=1.0,
    scale="unit",
    normalize=False,
    approximation=None,
    n_landmarks=100,
    tol=1e-8,
    max_iter=None,
    random_state=None,
):
    """Transfer components of two samples.

    Parameters
    ----------
    Xs : {array-like, sparse matrix} of shape (n_source, n_features)
        Source rows. With ``kernel="precomputed"`` the rows of the kernel matrix
        that belong to the source, of shape (n_source, n_source + n_target).
    Xt : {array-like, sparse matrix} of shape (n_target, n_features)
        Target rows. With ``kernel="precomputed"`` the remaining rows of the
        kernel matrix.
    n_components : int, default=None
        Number of components. None: 30, or the rank if it is lower.
    kernel : {"linear", "rbf", "poly", "laplacian", "primal", "precomputed"} or \
            callable, default="linear"
        Kernel, as in `TCA`.
    gamma : float, default=None
        Parameter of the kernel, as in `TCA`.
    reg : float, default=1.0
        Weight of the norm of W against the gap of the means.
    scale : {"unit", "whiten"}, default="unit"
        Length of the components.
    normalize : bool, default=False
        Rows of length 1 before and after, and L of norm 1, as in `TCA`.
    approximation : {"nystroem", "rff"}, default=None
        Features that replace the kernel, as in `TCA`.
    n_landmarks : int, default=100
        Number of them.
    tol : float, default=1e-8
        Relative accuracy of the eigenvalues.
    max_iter : int, default=None
        Largest number of Lanczos restarts.
    random_state : int, RandomState instance or None, default=None
        Draws what the approximation draws.

    Returns
    -------
    result : TCAResult
        Named tuple ``(embedding, coefficients, objective, mmd, residual,
        n_iter)``: the mapped rows, source first, the matrix W of shape (n_source +
        n_target, n_components), and the figures described in `TCA`. For the primal
        problem W has n_features rows, with an approximation n_landmarks.

    Raises
    ------
    ValueError
        If `n_components` exceeds the rank, if the samples differ in their columns,
        if a precomputed kernel is not square and symmetric or is to be normalised, or
        if `approximation` does not go with the kernel.
    TypeError
        If a sample is sparse and the kernel precomputed or a callable.

    Warns
    -----
    ConvergenceWarning
        If the residual exceeds `tol` and what the dtype can resolve.

    See Also
    --------
    TCA : The estimator, with the formula.

    References
    ----------
    .. [1] S. J. Pan, I. W. Tsang, J. T. Kwok, Q. Yang. Domain adaptation via
       transfer component analysis. IEEE Transactions on Neural Networks 22(2),
       2011, section III.

    Examples
    --------
    >>> import numpy as np
    >>> from skadapt import transfer_components
    >>> rng = np.random.default_rng(0)
    >>> Xs, Xt = rng.normal(size=(30, 4)), rng.normal(size=(20, 4))
    >>> result = transfer_components(Xs, Xt, n_components=2, kernel="rbf")
    >>> result.embedding.shape
    (50, 2)
    """
    Xs, Xt = check_samples(
        Xs, Xt, accept_sparse="csr" if is_one_of(kernel, KERNELS) else False
    )
    if sparse.issparse(Xs):
        X = sparse.vstack([Xs, Xt], format="csr")
    else:
        X = np.concatenate([Xs, Xt])
    numbers = np.arange(X.shape[0])
    solution = _solve(
        X,
        numbers[: Xs.shape[0]],
        numbers[Xs.shape[0] :],
        n_components=n_components,
        kernel=kernel,
        gamma=gamma,
        reg=reg,
        scale=scale,
        normalize=normalize,
        approximation=approximation,
        n_landmarks=n_landmarks,
        tol=tol,
        max_iter=max_iter,
        random_state=random_state,
    )
    found = solution.found
    rows = unit_rows(X) if normalize else X
    if solution.duals is not None:
        W = rows @ solution.duals
    else:
        by_columns = solution.K is None or is_one_of(kernel, ("primal",))
        W = solution.row_map.C if by_columns else solution.coefficients
    if isinstance(solution.row_map, KernelRows) and solution.K is not None:
        embedding = solution.K @ W
        embedding = unit_rows(embedding) if normalize else embedding
    else:
        embedding = embed(X, solution.row_map, normalize)
    return TCAResult(
        embedding,
        np.asarray(W).astype(X.dtype, copy=False),
        float(found.eigenvalues.sum()),
        solution.mmd,
        found.residual,
        found.n_iter,
    )


class _Solution(NamedTuple):
    found: Components  # eigenvalues and the figures of merit
    mmd: float
    gamma: float | None
    row_map: object
    K: np.ndarray | None  # the kernel matrix, if it was needed,
    coefficients: np.ndarray  # and W if it was
    duals: np.ndarray | None  # C with W = X C, for the linear kernel from moments


def _solve(
    X,
    source,
    target,
    *,
    n_components,
    kernel,
    gamma,
    reg,
    scale,
    normalize,
    approximation,
    n_landmarks,
    tol,
    max_iter,
    random_state,
):
    _check_combination(kernel, normalize, approximation)
    if normalize:
        check_unit_rows(X)
        X = unit_rows(X)
    n, d = X.shape
    one_domain = len(source) == n
    Xs = take_rows(X, source)
    Xt = Xs if one_domain else take_rows(X, target)
    gamma = resolve_gamma(gamma, kernel, Xs, Xt)
    features = K = None
    if approximation is not None:
        rng = check_random_state(random_state)
        if approximation == "rff":
            features = FourierRows.draw(d, gamma, n_landmarks, rng)
        else:
            features = KernelRows.draw(X, kernel, gamma, n_landmarks, rng)
    if features is not None or (is_one_of(kernel, LINEAR) and d < n):
        of_source = row_moments(Xs, features)
        # Without domains, source and target are the same rows: count them once.
        of_target = of_source if one_domain else row_moments(Xt, features)
        pooled = of_source if one_domain else of_source.merge(of_target)
        space = FeatureSpace.of_moments(pooled, kernel)
        gap = of_source.mean - of_target.mean
    else:
        K = square_kernel(X, kernel, gamma)
        space = FeatureSpace.of_kernel(K, kernel)
        contrast = np.zeros(n, K.dtype)
        contrast[source] += 1 / len(source)
        contrast[target] -= 1 / len(target)
        gap = K @ contrast
    B = space.project(gap[:, np.newaxis])
    norm = np.sqrt(1 / len(source) + 1 / len(target)) if normalize else 1.0
    found, A = space.components(
        B / norm,
        reg,
        min(n_components or DEFAULT_COMPONENTS, n),
        scale=scale,
        tol=tol,
        max_iter=max_iter,
    )
    check_rank(found, n_components, kernel)
    limit = max(tol, 100 * np.finfo(X.dtype).eps)
    if found.residual > limit:
        warnings.warn(
            f"The eigenvectors have residual {found.residual:.1e}, more than "
            f"{limit:.1e}: increase max_iter or lower n_components.",
            ConvergenceWarning,
            stacklevel=3,
        )
    mmd = float(np.sum((B.T @ found.vectors) ** 2))
    duals = None
    if features is not None:
        row_map = features.then(A.astype(X.dtype, copy=False))
    else:
        row_map = map_of_rows(X, A, kernel, gamma, X.dtype, K)
        duals = space.duals if space.duals is None else space.duals @ found.vectors
    return _Solution(found, mmd, gamma, row_map, K, A, duals)


def _check_combination(kernel, normalize, approximation):
    precomputed = is_one_of(kernel, ("precomputed",))
    if precomputed and normalize:
        raise ValueError(
            "normalize=True takes rows, not a precomputed kernel matrix: divide the "
            "kernel by the lengths of the rows beforehand and set normalize=False."
        )
    if approximation is None:
        return
    if precomputed or is_one_of(kernel, ("primal",)):
        raise ValueError(
            f"kernel='{kernel}' leaves no kernel to approximate: set "
            "approximation=None, or pass rows and the name of a kernel."
        )
    if approximation == "rff" and not is_one_of(kernel, ("rbf",)):
        raise ValueError(
            "Random Fourier features stand for the rbf kernel only: set kernel='rbf' "
            "or approximation='nystroem'."
        )
