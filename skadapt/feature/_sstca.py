"""Semi-supervised transfer component analysis."""

import warnings
from numbers import Integral, Real
from typing import NamedTuple

import numpy as np
from scipy import sparse
from sklearn.base import ClassNamePrefixFeaturesOutMixin, _fit_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.neighbors import kneighbors_graph
from sklearn.utils import check_consistent_length
from sklearn.utils._param_validation import Interval, StrOptions, validate_params
from sklearn.utils.multiclass import type_of_target

from skadapt._base import BaseMapper, check_samples
from skadapt._domains import (
    as_labels,
    check_sample_domain,
    is_labeled,
    mask_target_labels,
    natural_labels,
)
from skadapt._kernels import (
    KERNEL_NAMES,
    check_symmetric,
    kernel_matrix,
    median_gamma,
    resolve_gamma,
)
from skadapt.solvers._labeled_components import (
    LabeledComponents,
    Weights,
    labeled_kernel_components,
    labeled_linear_components,
)
from skadapt.solvers._moments import DomainMoments

# Dimension when none is given, or the rank if lower; published settings lie
# between 20 and 100.
_DEFAULT_COMPONENTS = 30

_CONSTRAINTS = {
    "n_components": [Interval(Integral, 1, None, closed="left"), None],
    "kernel": [StrOptions({*KERNEL_NAMES, "precomputed"}), callable],
    "gamma": [Interval(Real, 0, None, closed="neither"), None],
    "reg": [Interval(Real, 0, None, closed="neither")],
    "label_weight": [Interval(Real, 0, 1, closed="both")],
    "label_kernel": [StrOptions({"auto", "class", "linear"})],
    "laplacian_weight": [Interval(Real, 0, None, closed="left")],
    "n_neighbors": [Interval(Integral, 1, None, closed="left")],
    "width": [Interval(Real, 0, None, closed="neither"), None],
    "scale": [StrOptions({"unit", "whiten"})],
    "tol": [Interval(Real, 0, None, closed="left")],
    "max_iter": [Interval(Integral, 1, None, closed="left"), None],
}


class SSTCAResult(NamedTuple):
    """Result of `sstca`.

    Attributes
    ----------
    embedding : ndarray of shape (n_source + n_target, n_components)
        Mapped rows, source first.
    coefficients : ndarray of shape (n_source + n_target, n_components)
        The matrix W.
    objective : float
        Value of the objective.
    mmd : float
        Squared distance of the domain means in the embedding.
    residual : float
        Residual of the eigenproblem, as `SSTCA.residual_`.
    n_iter : int
        Products with the operator of the eigenproblem; 1 if a dense solver was used.
    """

    embedding: np.ndarray
    coefficients: np.ndarray
    objective: float
    mmd: float
    residual: float
    n_iter: int


class SSTCA(ClassNamePrefixFeaturesOutMixin, BaseMapper):
    """Semi-supervised transfer component analysis.

    Transfer components, as in `TCA`, that also depend on the labels and keep near
    neighbours near. With K the kernel matrix of all rows, H the centring matrix,
    L = l l' for the vector l that is 1/n_s on source and -1/n_t on target rows, and G
    the Laplacian of a graph of nearest neighbours ::

        max_W  tr( (W'(K (L + lam / n^2 G) K + mu I) W)^(-1)  W'K H T H K W ),
        T = c K_y + (1 - c) I,

    where K_y is a kernel of the labels, 0 in the rows and columns of unlabelled rows. A
    row x maps to ``k(x, X) W``, whatever its domain.

    Parameters
    ----------
    n_components : int, default=None
        Number of components, at most the rank. None: 30, or the rank if it is lower.
    kernel : {"linear", "rbf", "poly", "laplacian", "precomputed"} or callable, \
            default="linear"
        Kernel. ``"poly"`` is ``(gamma x'z + 1)^3``; a callable takes two rows and
        returns a number; ``"precomputed"``: X is the square kernel matrix in
        `fit`, and the kernel between new and fitted rows in `transform`.
    gamma : float, default=None
        Parameter of the rbf, laplacian and poly kernels, as in `TCA`. (What the paper
        calls gamma is `label_weight`.)
    reg : float, default=1.0
        Weight mu of the norm of W against the gap of the means.
    label_weight : float in [0, 1], default=0.5
        Weight c of the labels against the variance. 0 needs no labels; 1 leaves at most
        as many components as classes.
    label_kernel : {"auto", "class", "linear"}, default="auto"
        Kernel of the labels. ``"class"``: 1 for rows of the same class, else 0;
        ``"linear"``: the product of two numbers, which are standardised over the
        labelled rows first. ``"auto"``: ``"linear"`` if there are fractions among the
        labels, else ``"class"``.
    laplacian_weight : float, default=1.0
        Weight lam of the graph. 0 needs no graph. What it does depends on the size of
        the kernel's values: try powers of ten, up to 10^4 for ``"rbf"``, and less than
        1 for ``"linear"`` with many columns of unit variance.
    n_neighbors : int, default=5
        Neighbours of each row, of which the row itself is none. Two rows are joined if
        either is a neighbour of the other.
    width : float, default=None
        Width s of the weights ``exp(-||x_i - x_j||^2 / (2 s^2))`` of the graph. None:
        the median distance between rows of both domains together, over 2,000 rows if
        there are more.
    train_on : {"source", "labeled"}, default="source"
        Rows whose labels are used: those of the source only, or labelled target rows as
        well.
    scale : {"unit", "whiten"}, default="unit"
        Length of the components: columns of W of norm 1, or the constraint
        ``W'K H T H K W = I`` of the paper, which blows noise up, as in `TCA`.
    tol : float, default=1e-8
        Relative accuracy of the eigenvalues in the Lanczos solver.
    max_iter : int, default=None
        Largest number of its restarts, after which a dense solver takes over.
        None: ARPACK's default, 10 n.

    Attributes
    ----------
    coefficients_ : ndarray of shape (n_samples, n_components)
        W, for all kernels but the linear one.
    components_ : ndarray of shape (n_features, n_components)
        ``X'W``, for the linear kernel: rows map to ``x components_``.
    eigenvalues_ : ndarray of shape (n_components,)
        Generalised eigenvalues; their sum is the objective above.
    objective_ : float
        Value of the objective.
    mmd_ : float
        ``||W'K l||^2``: squared distance of the domain means in the embedding.
    residual_ : float
        ``max_j ||S q_j - phi_j q_j|| / phi_1`` of the symmetric form of the
        eigenproblem.
    n_iter_ : int
        Products with its operator; 1 if a dense solver was used.
    gamma_ : float or None
        The gamma in use; None if the kernel has none.
    width_ : float or None
        The width in use; None if there is no graph.
    X_fit_ : {ndarray, sparse matrix} of shape (n_samples, n_features)
        Rows of `fit`, for kernels that need them.
    n_features_in_ : int
        Number of features seen in `fit`.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the features, if X was a data frame.

    Raises
    ------
    ValueError
        If `n_components` exceeds the rank, if no row is labelled that should be, if
        labels that are no numbers meet ``label_kernel="linear"``, or if a precomputed
        kernel is not square and symmetric.
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
    sstca : The same as a function.
    TCA : The same without labels and graph.

    Notes
    -----
    **Paper and public code.** The paper introduces the weight of the graph as
    ``lam / n^2``, with n the number of all rows, and writes lam for that quotient from
    then on. Here `laplacian_weight` is the lam of the quotient; public toolboxes have
    no quotient, and their lam is ``laplacian_weight / n^2``. The paper has c = 0.5, and
    so has this class; the toolbox has 0.1, lam = 1, five neighbours, and for s the mean
    distance where the median is taken here. The paper fixes the constraint, a toolbox
    the length of eigenvectors: see `scale`.

    With ``label_weight=0`` and ``laplacian_weight=0`` this is `TCA`. With
    ``label_weight=1`` and ``laplacian_weight=0`` it is a discriminant analysis that
    also draws the means of the domains together.

    For ``"precomputed"`` neighbours are those in the feature space of the kernel, for
    all others those of the rows. Unlabelled source rows have a part in all but K_y.
    Several sources are pooled, and so are several targets.

    The matrix to invert is factored once, O(n^3), and Lanczos takes O(n^2) a step; K
    and the factor are n x n. With the linear kernel and fewer columns than rows nothing
    is; the cost is O(n d^2 + d^3) and the search for neighbours.

    References
    ----------
    .. [1] S. J. Pan, I. W. Tsang, J. T. Kwok, Q. Yang. Domain adaptation via
       transfer component analysis. IEEE Transactions on Neural Networks 22(2),
       2011, section IV.

    Examples
    --------
    >>> import numpy as np
    >>> from skadapt import SSTCA
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(200, 6))
    >>> X[100:, 0] += 3.0
    >>> sample_domain = np.repeat([1, -1], 100)
    >>> y = (X[:, 1] > 0).astype(float)
    >>> y[100:] = np.nan
    >>> mapper = SSTCA(1, label_weight=0.9, laplacian_weight=0.0)
    >>> Z = mapper.fit(X, y, sample_domain=sample_domain).transform(X)
    >>> bool(abs(np.corrcoef(Z[100:, 0], X[100:, 1])[0, 1]) > 0.9)
    True
    """

    _parameter_constraints: dict = {
        **_CONSTRAINTS,
        "train_on": [StrOptions({"source", "labeled"})],
    }
    _min_rows = 2

    def __init__(
        self,
        n_components=None,
        kernel="linear",
        gamma=None,
        reg=1.0,
        label_weight=0.5,
        label_kernel="auto",
        laplacian_weight=1.0,
        n_neighbors=5,
        width=None,
        train_on="source",
        scale="unit",
        tol=1e-8,
        max_iter=None,
    ):
        self.n_components = n_components
        self.kernel = kernel
        self.gamma = gamma
        self.reg = reg
        self.label_weight = label_weight
        self.label_kernel = label_kernel
        self.laplacian_weight = laplacian_weight
        self.n_neighbors = n_neighbors
        self.width = width
        self.train_on = train_on
        self.scale = scale
        self.tol = tol
        self.max_iter = max_iter

    @property
    def _accept_sparse(self):
        return self.kernel in KERNEL_NAMES

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None, *, sample_domain=None):
        """Learn the map.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows of source and target, in any order.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Labels, or values for ``label_kernel="linear"``; NaN (in an array of floats)
            or None (in an array of objects) marks an unlabelled row. Those of target
            rows are never used with ``train_on="source"``, whatever y holds there.
            Ignored with ``label_weight=0``.
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
        labels = None
        if self.label_weight > 0:
            if y is None:
                raise ValueError(
                    "requires y to be passed, but the target y is None: components "
                    "depend on the labels, unless label_weight=0."
                )
            check_consistent_length(X, y)
            labels = as_labels(y)
            if sample_domain is not None and self.train_on == "source":
                ids = check_sample_domain(sample_domain, X.shape[0])
                labels = mask_target_labels(labels, ids)
        parameters = self.get_params(deep=False)
        del parameters["train_on"]
        solution = _solve(X, labels, source, target, **parameters)
        found = solution.found
        self.gamma_, self.width_ = solution.gamma, solution.width
        self.eigenvalues_ = found.eigenvalues
        self.objective_ = float(found.eigenvalues.sum())
        self.mmd_, self.residual_ = found.mmd, found.residual
        self.n_iter_ = found.n_iter
        if self.kernel == "linear":
            self.components_ = solution.components
        else:
            self.coefficients_ = solution.coefficients
            if self.kernel != "precomputed":
                self.X_fit_ = X.copy()
        return self

    def _transform(self, X, is_source):
        if self.kernel == "linear":
            return np.asarray(X @ self.components_)
        if self.kernel == "precomputed":
            return X @ self.coefficients_
        return kernel_matrix(X, self.X_fit_, self.kernel, self.gamma_) @ (
            self.coefficients_
        )

    @property
    def _n_features_out(self):
        return len(self.eigenvalues_)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.pairwise = self.kernel == "precomputed"
        tags.target_tags.required = self.label_weight > 0
        return tags


@validate_params(
    {
        "Xs": ["array-like", "sparse matrix"],
        "ys": ["array-like", None],
        "Xt": ["array-like", "sparse matrix"],
        **_CONSTRAINTS,
    },
    prefer_skip_nested_validation=True,
)
def sstca(
    Xs,
    ys,
    Xt,
    *,
    n_components=None,
    kernel="linear",
    gamma=None,
    reg=1.0,
    label_weight=0.5,
    label_kernel="auto",
    laplacian_weight=1.0,
    n_neighbors=5,
    width=None,
    scale="unit",
    tol=1e-8,
    max_iter=None,
):
    """Semi-supervised transfer components of two samples.

    Parameters
    ----------
    Xs : {array-like, sparse matrix} of shape (n_source, n_features)
        Source rows. With ``kernel="precomputed"`` the rows of the kernel matrix
        that belong to the source, of shape (n_source, n_source + n_target).
    ys : array-like of shape (n_source,) or (n_source, n_outputs)
        Their labels, NaN or None where unlabelled; None if ``label_weight=0``.
    Xt : {array-like, sparse matrix} of shape (n_target, n_features)
        Target rows. With ``kernel="precomputed"`` the remaining rows of the
        kernel matrix.
    n_components : int, default=None
        Number of components. None: 30, or the rank if it is lower.
    kernel : {"linear", "rbf", "poly", "laplacian", "precomputed"} or callable, \
            default="linear"
        Kernel, as in `SSTCA`.
    gamma : float, default=None
        Parameter of the kernel, as in `SSTCA`.
    reg : float, default=1.0
        Weight of the norm of W.
    label_weight : float in [0, 1], default=0.5
        Weight of the labels against the variance.
    label_kernel : {"auto", "class", "linear"}, default="auto"
        Kernel of the labels.
    laplacian_weight : float, default=1.0
        Weight of the graph of neighbours.
    n_neighbors : int, default=5
        Neighbours of each row.
    width : float, default=None
        Width of the weights of the graph. None: the median distance between rows.
    scale : {"unit", "whiten"}, default="unit"
        Length of the components.
    tol : float, default=1e-8
        Relative accuracy of the eigenvalues.
    max_iter : int, default=None
        Largest number of Lanczos restarts.

    Returns
    -------
    result : SSTCAResult
        Named tuple ``(embedding, coefficients, objective, mmd, residual,
        n_iter)``: the mapped rows, source first, the matrix W of shape (n_source +
        n_target, n_components), and the figures described in `SSTCA`.

    Raises
    ------
    ValueError
        If `n_components` exceeds the rank, if no row is labelled and ``label_weight >
        0``, if the samples differ in their columns, or if a precomputed kernel is not
        square and symmetric.
    TypeError
        If a sample is sparse and the kernel precomputed or a callable.

    Warns
    -----
    ConvergenceWarning
        If the residual exceeds `tol` and what the dtype can resolve.

    See Also
    --------
    SSTCA : The estimator, with the formulas.

    References
    ----------
    .. [1] S. J. Pan, I. W. Tsang, J. T. Kwok, Q. Yang. Domain adaptation via
       transfer component analysis. IEEE Transactions on Neural Networks 22(2),
       2011, section IV.

    Examples
    --------
    >>> import numpy as np
    >>> from skadapt import sstca
    >>> rng = np.random.default_rng(0)
    >>> Xs, Xt = rng.normal(size=(30, 4)), rng.normal(size=(20, 4))
    >>> result = sstca(Xs, np.arange(30) % 2, Xt, n_components=2, kernel="rbf")
    >>> result.embedding.shape
    (50, 2)
    """
    Xs, Xt = check_samples(
        Xs, Xt, accept_sparse="csr" if kernel in KERNEL_NAMES else False
    )
    labels = None
    if label_weight > 0:
        if ys is None:
            raise ValueError("ys is None: give labels, or label_weight=0.")
        check_consistent_length(Xs, ys)
        ys = as_labels(ys)
        ids = np.repeat([1, -1], [Xs.shape[0], Xt.shape[0]])
        padded = np.concatenate([ys, np.repeat(ys[:1], Xt.shape[0], axis=0)])
        labels = mask_target_labels(padded, ids)
    if sparse.issparse(Xs):
        X = sparse.vstack([Xs, Xt], format="csr")
    else:
        X = np.concatenate([Xs, Xt])
    rows = np.arange(X.shape[0])
    source, target = rows[: Xs.shape[0]], rows[Xs.shape[0] :]
    solution = _solve(
        X,
        labels,
        source,
        target,
        n_components=n_components,
        kernel=kernel,
        gamma=gamma,
        reg=reg,
        label_weight=label_weight,
        label_kernel=label_kernel,
        laplacian_weight=laplacian_weight,
        n_neighbors=n_neighbors,
        width=width,
        scale=scale,
        tol=tol,
        max_iter=max_iter,
    )
    found, W = solution.found, solution.coefficients
    embedding = X @ solution.components if solution.K is None else solution.K @ W
    return SSTCAResult(
        np.asarray(embedding),
        W,
        float(found.eigenvalues.sum()),
        found.mmd,
        found.residual,
        found.n_iter,
    )


class _Solution(NamedTuple):
    found: LabeledComponents  # eigenvalues and the figures of merit
    coefficients: np.ndarray  # W (n, k)
    components: np.ndarray | None  # X'W (d, k), linear kernel only
    K: np.ndarray | None  # the kernel matrix, if it was needed
    gamma: float | None
    width: float | None


def _solve(
    X,
    labels,
    source,
    target,
    *,
    n_components,
    kernel,
    gamma,
    reg,
    label_weight,
    label_kernel,
    laplacian_weight,
    n_neighbors,
    width,
    scale,
    tol,
    max_iter,
):
    n, d = X.shape
    k = min(n_components or _DEFAULT_COMPONENTS, n)
    K, components, laplacian = None, None, None
    weights = Weights(
        float(reg), float(label_weight), float(laplacian_weight) / n**2, scale
    )
    Y = np.zeros((n, 0)) if labels is None else _label_columns(labels, label_kernel)
    gamma = resolve_gamma(gamma, kernel, X[source], X[target])
    if not (kernel == "linear" and d < n):
        # The matrix to invert squares the kernel, and with it the rounding of float32.
        K = _square_kernel(X.astype(np.float64, copy=False), kernel, gamma)
    if laplacian_weight > 0:
        graph, width = _neighbors(X, source, target, kernel, n_neighbors, width)
        laplacian = sparse.diags_array(graph.sum(axis=1)) - graph
    else:
        width = None
    if K is None:
        parts = [DomainMoments.from_rows(X[rows]) for rows in (source, target)]
        # Without domains, source and target are the same rows: count them once.
        pooled = parts[0] if len(source) == n else parts[0].merge(parts[1])
        gap = parts[0].mean - parts[1].mean
        roughness = None
        if laplacian is not None:
            roughness = X.T @ (laplacian @ X)
            if sparse.issparse(roughness):
                roughness = roughness.toarray()
        class_sums = np.asarray(X.T @ (Y - Y.mean(axis=0)))
        found, components, C = labeled_linear_components(
            pooled, gap, roughness, class_sums, weights, k
        )
        W = X @ C.astype(X.dtype)
    else:
        contrast = np.zeros(n)
        contrast[source] += 1 / len(source)
        contrast[target] -= 1 / len(target)
        found = labeled_kernel_components(
            K, contrast, laplacian, Y, weights, k, tol=tol, max_iter=max_iter
        )
        W = found.vectors
        if kernel == "linear":
            components = X.T @ W
    _check_rank(found, n_components, label_weight)
    limit = max(tol, 100 * np.finfo(X.dtype).eps)
    if found.residual > limit:
        warnings.warn(
            f"The eigenvectors have residual {found.residual:.1e}, more than "
            f"{limit:.1e}: increase max_iter or reg, or lower n_components.",
            ConvergenceWarning,
            stacklevel=3,
        )
    if components is not None:
        components = np.ascontiguousarray(components, dtype=X.dtype)
    # The order in which pickle gives them back, in which products have the same bits.
    W = np.ascontiguousarray(W, dtype=X.dtype)
    return _Solution(found, W, components, K, gamma, width)


def _check_rank(found, n_components, label_weight):
    rank = len(found.eigenvalues)
    if not rank:
        raise ValueError(
            "All rows are the same under this kernel, or all labels are: the matrix of "
            "variance and labels has rank 0, so there is no component."
        )
    if n_components is not None and rank < n_components:
        limited = ", which label_weight=1 limits to the classes" * (label_weight == 1)
        raise ValueError(
            f"n_components={n_components} is more than the rank {rank} of the matrix "
            f"of variance and labels{limited}: set n_components to at most {rank}, or "
            "to None."
        )


def _square_kernel(X, kernel, gamma):
    if kernel != "precomputed":
        return np.ascontiguousarray(kernel_matrix(X, None, kernel, gamma))
    check_symmetric(X)
    return np.ascontiguousarray(X)


def _label_columns(labels, label_kernel):
    """Y (n, c) with ``K_y = Y Y'``; rows of 0 where unlabelled."""
    labeled = is_labeled(labels)
    if not labeled.any():
        raise ValueError(
            "y holds no labelled source row: components depend on the labels, unless "
            "label_weight=0."
        )
    known = natural_labels(labels[labeled])
    kind = type_of_target(known, input_name="y")
    by_class = kind in ("binary", "multiclass")
    if label_kernel == "class" and not by_class:
        raise ValueError(
            f"label_kernel='class' takes class labels, and y is {kind}: use "
            "label_kernel='linear'."
        )
    if label_kernel == "class" or (label_kernel == "auto" and by_class):
        classes, codes = np.unique(known, return_inverse=True)
        columns = codes[:, np.newaxis] == np.arange(len(classes))
    else:
        if np.asarray(known).dtype.kind not in "iuf":
            raise ValueError(
                "label_kernel='linear' takes numbers as labels, and y has type "
                f"{np.asarray(known).dtype}: use label_kernel='class'."
            )
        columns = known.reshape(len(known), -1).astype(np.float64)
        columns = columns - columns.mean(axis=0)
        spread = columns.std(axis=0)
        columns /= np.where(spread > 0, spread, 1.0)
    Y = np.zeros((len(labels), columns.shape[1]))
    Y[labeled] = columns
    return Y


def _neighbors(X, source, target, kernel, n_neighbors, width):
    """Graph of nearest neighbours with Gaussian weights (CSR), and their width."""
    n_neighbors = min(n_neighbors, X.shape[0] - 1)
    if kernel == "precomputed":
        squares = X.diagonal()[:, np.newaxis] + X.diagonal() - 2.0 * X
        distances = np.sqrt(np.maximum(squares, 0))
        np.fill_diagonal(distances, 0)
        if width is None:
            width = float(np.median(distances[np.triu_indices(len(X), 1)])) or 1.0
        graph = kneighbors_graph(
            distances, n_neighbors, mode="distance", metric="precomputed"
        )
    else:
        if width is None:
            width = 1.0 / np.sqrt(median_gamma(X[source], X[target]))
        graph = kneighbors_graph(X, n_neighbors, mode="distance")
    graph = sparse.csr_array(graph, dtype=np.float64)
    graph.data = np.exp(-((graph.data / width) ** 2) / 2)
    return graph.maximum(graph.T).tocsr(), float(width)
