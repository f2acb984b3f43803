"""The generalised eigenproblem of transfer component analysis."""

from typing import NamedTuple

import numpy as np
from scipy import linalg
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh

from skadapt.solvers._blas import gram, matmul, symv

# Below this size, or for many components, a dense solver is as fast as Lanczos.
_DENSE_BELOW = 400


class Components(NamedTuple):
    """Leading eigenvectors of a transfer component problem."""

    vectors: np.ndarray  # (n, k), the matrix W in the coordinates of the problem
    eigenvalues: np.ndarray  # (k,), descending
    mmd: float  # ||W'g||^2, the squared discrepancy left in the embedding
    residual: float  # max_j ||S q_j - phi_j q_j|| / phi_1
    n_iter: int  # products with the operator S; 1 from a dense solver


class _Deflation(NamedTuple):
    """``(mu I + g g')^(-1/2) = (I - c u u') / sqrt(mu)``, u = g / ||g||."""

    unit: np.ndarray
    c: float
    mu: float

    @classmethod
    def of(cls, g, mu):
        square = float(g @ g)
        unit = g / np.sqrt(square) if square > 0 else np.zeros_like(g)
        # 1 - sqrt(mu / (mu + g'g)), without cancellation for a small g.
        ratio = square / (mu + square)
        return cls(unit, ratio / (1 + np.sqrt(mu / (mu + square))), mu)

    def apply(self, V):
        """Multiply a vector (n,) or the columns of a matrix (n, k)."""
        inner = self.c * (self.unit @ V)
        shift = np.outer(self.unit, inner) if V.ndim == 2 else self.unit * inner
        return (V - shift) / np.sqrt(self.mu)


def kernel_components(K, contrast, mu, n_components, *, scale, tol, max_iter):
    """Maximise variance and shrink the gap of means in a kernel's feature space.

    With K (n, n) the kernel matrix, L = l l' for the contrast l (1/n_s on source
    rows, -1/n_t on target rows) and H the centring matrix ::

        (K L K + mu I) W phi = K H K W,    k largest phi.

    As L has rank one, so has K L K = g g' with g = K l, and its inverse root is
    known: R = (mu I + g g')^(-1/2). The symmetric operator S = R K H K R has the
    same phi and W = R Q. Lanczos needs two products with K for each product with
    S; neither an n x n inverse nor a second n x n matrix is formed.

    Parameters
    ----------
    K : ndarray of shape (n, n)
        Symmetric kernel matrix. Read, never written.
    contrast : ndarray of shape (n,)
        The vector l.
    mu : float
        Positive.
    n_components : int
        k, less than n.
    scale : {"unit", "whiten"}
        Whether the columns of W have norm 1 or ``W'K H K W = I``.
    tol : float
        Relative accuracy asked of the eigenvalues.
    max_iter : int or None
        Largest number of Lanczos restarts; a dense solver follows if it is
        reached.

    Returns
    -------
    Components
    """
    n = len(K)
    g = symv(K, contrast.astype(K.dtype, copy=False)).astype(np.float64)
    deflation = _Deflation.of(g, mu)
    products = 0

    def operate(q):
        nonlocal products
        products += 1
        inner = symv(K, deflation.apply(q))
        inner -= inner.mean()
        return deflation.apply(symv(K, inner))

    Q = None
    if n > _DENSE_BELOW and 4 * n_components < n:
        Q = _lanczos(operate, n, K.dtype, n_components, tol, max_iter)
    if Q is None:
        products = 1
        root = deflation.apply(K).T
        root -= root.mean(axis=0)
        Q = _leading_eigenvectors(gram(root), n_components)
    n_iter = products
    SQ = np.column_stack([operate(q) for q in Q.T])
    return _finish(Q, SQ, deflation, g, scale, n_iter)


def linear_components(pooled, gap, mu, n_components, scale):
    """The same problem for the linear kernel, from moments alone.

    With the second moments ``X'X = V D^2 V'``, the columns of W lie in the span of
    ``U = X V D^-1`` and, in these coordinates, K H K is ``D V'M V D`` with the
    pooled scatter M and K l is ``D V'(m_s - m_t)``: a problem of size rank(X).

    Parameters
    ----------
    pooled : DomainMoments
        Moments of all rows.
    gap : ndarray of shape (d,)
        Difference of the domain means, ``m_s - m_t``.
    mu : float
        Positive.
    n_components : int
        k; fewer are returned if the rank is lower.
    scale : {"unit", "whiten"}
        Length of the columns of W, as in `kernel_components`.

    Returns
    -------
    found : Components
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
        return Components(empty, np.empty(0), 0.0, 0.0, 1), empty, empty
    D, V = np.sqrt(squares[keep]), V[:, keep]
    g = D * (gap @ V)
    deflation = _Deflation.of(g, mu)
    inner = matmul(V.T, matmul(scatter, V)) * np.outer(D, D)
    S = deflation.apply(deflation.apply(inner).T)
    Q = _leading_eigenvectors(S, min(n_components, len(S)))
    found = _finish(Q, matmul(S, Q), deflation, g, scale, 1)
    return found, matmul(V * D, found.vectors), matmul(V / D, found.vectors)


def _leading_eigenvectors(S, n_components):
    n = len(S)
    _, Q = linalg.eigh(S, subset_by_index=(n - n_components, n - 1), check_finite=False)
    return Q


def _lanczos(operate, n, dtype, n_components, tol, max_iter):
    """Leading eigenvectors by Lanczos from a fixed start; None if it fails."""
    try:
        _, Q = eigsh(
            LinearOperator((n, n), matvec=lambda q: operate(q.ravel()), dtype=dtype),
            k=n_components,
            which="LA",
            v0=np.random.default_rng(0).standard_normal(n).astype(dtype),
            ncv=min(n, max(2 * n_components + 1, n_components + 20)),
            tol=tol,
            maxiter=max_iter,
        )
    except ArpackNoConvergence:
        return None
    return Q


def _finish(Q, SQ, deflation, g, scale, products):
    """Rayleigh-Ritz values in descending order, W = R Q scaled, and the residual."""
    values = np.einsum("ij,ij->j", Q, SQ, dtype=np.float64)
    order = np.argsort(values)[::-1]
    Q, SQ, values = Q[:, order], SQ[:, order], values[order]
    largest = max(values[0], np.finfo(np.float64).tiny) if len(values) else 1.0
    residual = np.linalg.norm(SQ - Q * values, axis=0).max(initial=0.0) / largest
    # What is left are the eigenvalues that S resolves from zero.
    rank = np.count_nonzero(values > len(Q) * np.finfo(Q.dtype).eps * largest)
    values = values[:rank]
    W = deflation.apply(Q[:, :rank])
    W /= np.sqrt(values) if scale == "whiten" else np.linalg.norm(W, axis=0)
    # The sign is free; fix it so that results are repeatable.
    peak = np.abs(W).argmax(axis=0)
    W *= np.sign(W[peak, np.arange(rank)])
    left = W.T @ g
    return Components(W, values, float(left @ left), float(residual), products)
