"""The eigenproblem of semi-supervised transfer component analysis."""

from typing import NamedTuple

import numpy as np
from scipy import linalg
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh

from skadapt.solvers._blas import gram, matmul, symv

# Below this size, or for many components, a dense solver is as fast as Lanczos.
_DENSE_BELOW = 400
# Columns of the product of three n x n matrices that are computed at a time.
_BLOCK_COLUMNS = 256


class LabeledComponents(NamedTuple):
    """Leading eigenvectors of a semi-supervised transfer component problem."""

    vectors: np.ndarray  # (n, k), the matrix W in the coordinates of the problem
    eigenvalues: np.ndarray  # (k,), descending
    mmd: float  # ||W'g||^2, the squared discrepancy left in the embedding
    residual: float  # max_j ||S q_j - phi_j q_j|| / phi_1
    n_iter: int  # products with the operator S; 1 from a dense solver


class Weights(NamedTuple):
    """Weights of the parts of the objective, and the length of the solution."""

    reg: float
    label: float
    laplacian: float
    scale: str


def labeled_kernel_components(
    K, contrast, laplacian, Y, weights, n_components, *, tol, max_iter
):
    """Components that keep variance and labels, near neighbours and means together.

    With K (n, n) the kernel matrix, L = l l' for the contrast l of the domains, G the
    Laplacian of a graph of neighbours, H the centring matrix and Y the labels ::

        (K (L + lam G) K + mu I) W phi = K H ((1 - c) I + c Y Y') H K W,

    k largest phi. The matrix on the left is factored once, B = R R', and the symmetric
    operator ``R^-1 K H (..) H K R^-T`` goes to Lanczos: two products with K and two
    triangular solutions a step. If c = 1 the right side has the rank of Y, and the
    problem the size of its columns.

    Parameters
    ----------
    K : ndarray of shape (n, n), float64
        Symmetric kernel matrix. Read, never written.
    contrast : ndarray of shape (n,)
        The vector l.
    laplacian : sparse matrix of shape (n, n) or None
        G; None stands for 0.
    Y : ndarray of shape (n, c)
        Labels; rows of 0 where unlabelled.
    weights : Weights
        mu, c and lam, and whether the columns of W have norm 1 (``"unit"``) or the
        right side is I (``"whiten"``).
    n_components : int
        k; fewer are returned if the rank is lower.
    tol, max_iter
        Relative accuracy asked of the eigenvalues; largest number of Lanczos
        restarts, after which a dense solver takes over, or None.

    Returns
    -------
    LabeledComponents
    """
    n = len(K)
    c = weights.label
    g = symv(K, contrast)
    B = np.outer(g, g)
    if laplacian is not None and weights.laplacian > 0:
        laplacian = weights.laplacian * laplacian
        for start in range(0, n, _BLOCK_COLUMNS):
            columns = slice(start, start + _BLOCK_COLUMNS)
            B[:, columns] += matmul(K, laplacian @ K[:, columns])
    R = _factor(B, weights.reg)
    products = 0

    def operate(q):
        nonlocal products
        products += 1
        inner = symv(K, _solve(R, q, transposed=True))
        inner -= inner.mean()
        inner = (1 - c) * inner + c * (Y @ (Y.T @ inner))
        inner -= inner.mean()
        return _solve(R, symv(K, inner))

    labels = _solve(R, matmul(K, Y - Y.mean(axis=0))) if c > 0 else None
    Q = None
    if c == 1:
        Q = _range_eigenvectors(labels, n_components)
    elif n > _DENSE_BELOW and 4 * n_components < n:
        Q = _lanczos(operate, n, n_components, tol, max_iter)
    if Q is None or not products:
        products = 1
    if Q is None:
        root = _solve(R, K)
        root -= root.mean(axis=1, keepdims=True)
        S = (1 - c) * gram(root.T)
        if c > 0:
            S += c * matmul(labels, labels.T)
        Q = _leading_eigenvectors(S, n_components)
    n_iter = products
    SQ = np.column_stack([operate(q) for q in Q.T]) if Q.size else np.empty_like(Q)
    # What the centred matrix would be if nothing cancelled.
    size = float(np.linalg.norm(K)) ** 2 / weights.reg
    return _finish(Q, SQ, R, g, weights.scale, size, n_iter)


def labeled_linear_components(pooled, gap, roughness, class_sums, weights, k):
    """The same problem for the linear kernel, from matrices of the columns.

    With the second moments ``X'X = V D^2 V'``, the columns of W lie in the span of
    ``U = X V D^-1``. In these coordinates K l is ``D V'X'l``, K G K is ``D V'(X'GX) V
    D``, K H K is ``D V'M V D`` with the pooled scatter M, and K H Y is ``D V'X'H Y``: a
    problem of size rank(X).

    Parameters
    ----------
    pooled : DomainMoments
        Moments of all rows.
    gap : ndarray of shape (d,)
        ``X'l``, the difference of the domain means.
    roughness : ndarray of shape (d, d) or None
        ``X'GX``; None stands for 0.
    class_sums : ndarray of shape (d, c)
        ``X'H Y``.
    weights : Weights
        As in `labeled_kernel_components`.
    k : int
        Number of components.

    Returns
    -------
    found : LabeledComponents
        ``vectors`` are in the coordinates U.
    components : ndarray of shape (d, k)
        ``X'W``: a row x maps to ``x X'W``.
    coefficients : ndarray of shape (d, k)
        C with ``W = X C``.
    """
    scatter = pooled.dense_scatter()
    moment = scatter + pooled.count * np.outer(pooled.mean, pooled.mean)
    squares, V = linalg.eigh(moment, check_finite=False)
    noise = max(len(moment), pooled.count) * np.finfo(np.float64).eps
    keep = squares > noise * max(squares[-1], 0.0)
    if not keep.any():
        empty = np.empty((len(moment), 0))
        none = LabeledComponents(empty, np.empty(0), 0.0, 0.0, 1)
        return none, empty, empty
    D, V = np.sqrt(squares[keep]), V[:, keep]

    def inner(matrix):
        return matmul(V.T, matmul(matrix, V)) * np.outer(D, D)

    g = D * (gap @ V)
    B = np.outer(g, g)
    if roughness is not None:
        B += weights.laplacian * inner(roughness)
    R = _factor(B, weights.reg)
    labels = D[:, np.newaxis] * matmul(V.T, class_sums)
    right = (1 - weights.label) * inner(scatter)
    right += weights.label * matmul(labels, labels.T)
    S = _solve(R, np.ascontiguousarray(_solve(R, right).T))
    S = (S + S.T) / 2
    Q = _leading_eigenvectors(S, min(k, len(S)))
    size = squares[-1] ** 2 / weights.reg
    found = _finish(Q, matmul(S, Q), R, g, weights.scale, size, 1)
    return found, matmul(V * D, found.vectors), matmul(V / D, found.vectors)


def _factor(B, reg):
    """The lower Cholesky factor of ``B + reg I``; B is overwritten."""
    B.flat[:: len(B) + 1] += reg
    # LAPACK wants the order of Fortran, in which B is its own transpose.
    return linalg.cholesky(B.T, lower=True, overwrite_a=True, check_finite=False)


def _solve(R, V, transposed=False):
    """``R^-1 V``, or ``R^-T V``."""
    return linalg.solve_triangular(
        R, V, lower=True, trans=int(transposed), check_finite=False
    )


def _leading_eigenvectors(S, k):
    n = len(S)
    _, Q = linalg.eigh(S, subset_by_index=(n - k, n - 1), check_finite=False)
    return Q


def _range_eigenvectors(M, k):
    """Leading eigenvectors of M M', which has the rank of M at most."""
    Q, lengths, _ = linalg.svd(M, full_matrices=False, check_finite=False)
    return Q[:, lengths > 0][:, :k]


def _lanczos(operate, n, k, tol, max_iter):
    """Leading eigenvectors by Lanczos from a fixed start; None if it fails."""
    try:
        _, Q = eigsh(
            LinearOperator(
                (n, n), matvec=lambda q: operate(q.ravel()), dtype=np.float64
            ),
            k=k,
            which="LA",
            v0=np.random.default_rng(0).standard_normal(n),
            ncv=min(n, max(2 * k + 1, k + 20)),
            tol=tol,
            maxiter=max_iter,
        )
    except ArpackNoConvergence:
        return None
    return Q


def _finish(Q, SQ, R, g, scale, size, products):
    """Rayleigh-Ritz values in descending order, ``W = R^-T Q`` scaled, the residual."""
    values = np.einsum("ij,ij->j", Q, SQ)
    order = np.argsort(values)[::-1]
    Q, SQ, values = Q[:, order], SQ[:, order], values[order]
    eps = len(Q) * np.finfo(np.float64).eps
    largest = max(values.max(initial=0.0), np.finfo(np.float64).tiny)
    residual = np.linalg.norm(SQ - Q * values, axis=0).max(initial=0.0) / largest
    # What is left are the eigenvalues that S resolves from zero.
    rank = np.count_nonzero(values > max(eps * largest, eps**2 * size))
    values = values[:rank]
    W = _solve(R, Q[:, :rank], transposed=True)
    W /= np.sqrt(values) if scale == "whiten" else np.linalg.norm(W, axis=0)
    # The sign is free; fix it so that results are repeatable.
    peak = np.abs(W).argmax(axis=0)
    W *= np.sign(W[peak, np.arange(rank)])
    left = W.T @ g
    return LabeledComponents(W, values, float(left @ left), float(residual), products)
