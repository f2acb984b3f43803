"""The generalised eigenproblem under TCA, JDA and BDA."""

from typing import NamedTuple

import numpy as np
from scipy import linalg
from scipy.sparse.linalg import ArpackError, LinearOperator, eigsh

from skadapt.solvers._blas import gram, matmul, symv

# Below this size, or for many components, a dense solver is as fast as Lanczos.
_DENSE_BELOW = 400


class Components(NamedTuple):
    """Leading eigenvectors of a transfer component problem."""

    vectors: np.ndarray  # (p, k), the matrix A in the coordinates of the features
    eigenvalues: np.ndarray  # (k,), descending
    residual: float  # max_j ||S q_j - phi_j q_j|| / phi_1
    n_iter: int  # products with the operator S; 1 from a dense solver


class MatrixVariance(NamedTuple):
    """``F'HF`` as a matrix."""

    matrix: np.ndarray

    @property
    def size(self):
        return len(self.matrix)

    @property
    def dtype(self):
        return self.matrix.dtype

    def product(self, V):
        """F'HF times a vector (p,) or a matrix (p, k)."""
        return symv(self.matrix, V) if V.ndim == 1 else matmul(self.matrix, V)

    def between(self, deflation):
        """R F'HF R as a matrix."""
        return deflation.apply(deflation.apply(self.matrix).T)

    def diagonal(self):
        """The same variance in its own axes, and these axes as columns."""
        values, axes = linalg.eigh(self.matrix, check_finite=False)
        return DiagonalVariance(np.maximum(values, 0.0)), axes


class DiagonalVariance(NamedTuple):
    """``F'HF`` in coordinates in which it is diagonal."""

    values: np.ndarray

    @property
    def size(self):
        return len(self.values)

    @property
    def dtype(self):
        return self.values.dtype

    def product(self, V):
        """F'HF times a vector (p,) or a matrix (p, k)."""
        return (V.T * self.values).T

    def between(self, deflation):
        """R F'HF R as a matrix."""
        return MatrixVariance(np.diag(self.values)).between(deflation)


class KernelVariance(NamedTuple):
    """``K H K`` for a kernel matrix, which is the only matrix of its size."""

    K: np.ndarray

    @property
    def size(self):
        return len(self.K)

    @property
    def dtype(self):
        return self.K.dtype

    def product(self, V):
        """K H K times a vector (n,) or a matrix (n, k)."""
        if V.ndim == 1:
            inner = symv(self.K, V)
            return symv(self.K, inner - inner.mean())
        inner = matmul(self.K, V.astype(self.K.dtype, copy=False))
        return matmul(self.K, inner - inner.mean(axis=0))

    def between(self, deflation):
        """R K H K R as a matrix."""
        root = deflation.apply(self.K).T
        root -= root.mean(axis=0)
        return gram(root)

    def diagonal(self):
        """The same variance in its own axes, and these axes as columns."""
        return MatrixVariance(gram(self.K - self.K.mean(axis=0))).diagonal()


class _Deflation(NamedTuple):
    """``(reg I + B B')^(-1/2) = (I - U diag(c) U') / sqrt(reg)``, B = U diag(b) V'."""

    axes: np.ndarray
    c: np.ndarray
    reg: float

    @classmethod
    def of(cls, B, reg):
        axes, lengths, _ = linalg.svd(B, full_matrices=False, check_finite=False)
        squares = lengths**2
        # 1 - sqrt(reg / (reg + b^2)), without cancellation for a small b.
        c = squares / (reg + squares) / (1 + np.sqrt(reg / (reg + squares)))
        return cls(axes, c, reg)

    def apply(self, V):
        """Multiply a vector (p,) or the columns of a matrix (p, k)."""
        columns = V.reshape(len(V), -1)
        inner = self.c[:, np.newaxis] * matmul(self.axes.T, columns)
        shifted = columns - matmul(self.axes, inner)
        shifted /= np.sqrt(self.reg)
        return shifted.reshape(V.shape)


def leading_components(
    variance, B, reg, n_components, *, scale, noise=0.0, tol=1e-10, max_iter=None
):
    """Components of much variance on which given gaps of means are small.

    With features F (n, p), the centring matrix H and vectors V (n, r) whose products
    ``B = F'V`` are differences of means that should be small ::

        F'HF a phi = (reg I + B B') a,    k largest phi.

    As B has few columns the inverse root ``R = (reg I + B B')^(-1/2)`` is known from
    their singular value decomposition. The symmetric operator S = R F'HF R has the
    same phi, and A = R Q. Nothing but B changes when other means are to agree.

    Parameters
    ----------
    variance : MatrixVariance, DiagonalVariance or KernelVariance
        F'HF, of size p. Read, never written.
    B : ndarray of shape (p, r)
        The products F'V.
    reg : float
        Positive.
    n_components : int
        k; fewer are returned if the rank is lower.
    scale : {"unit", "whiten"}
        Whether the columns of A have norm 1 or ``A'F'HFA = I``.
    noise : float
        Variance ``a'F'HFa / a'a`` up to which a component is left out.
    tol : float
        Relative accuracy asked of the eigenvalues from Lanczos.
    max_iter : int or None
        Largest number of Lanczos restarts; a dense solver follows if it is reached.

    Returns
    -------
    Components

    Notes
    -----
    A product with S costs two products with K for a kernel matrix, O(p^2) for a
    matrix, and O(p r) where F'HF is diagonal: with one decomposition at the start, each
    further B costs k Lanczos vectors of length p.
    """
    size = variance.size
    if not size:  # rows of zeros span no coordinates
        return Components(np.empty((0, 0), variance.dtype), np.empty(0), 0.0, 1)
    deflation = _Deflation.of(B, reg)
    products = 0

    def operate(Q):
        nonlocal products
        products += 1
        return deflation.apply(variance.product(deflation.apply(Q)))

    if size > _DENSE_BELOW and 4 * n_components < size:
        Q = _lanczos(operate, size, variance.dtype, n_components, tol, max_iter)
        if Q is not None:
            n_iter = products
            return _finish(Q, operate(Q), deflation, scale, noise, n_iter)
    S = variance.between(deflation)
    Q = _leading_eigenvectors(S, min(n_components, size))
    return _finish(Q, matmul(S, Q), deflation, scale, noise, 1)


def rounding_of_variance(size, n_rows, n_columns, dtype):
    """The variance that centring leaves where F has none.

    Parameters
    ----------
    size : float
        Squared Frobenius norm of F before it is centred.
    n_rows, n_columns : int
        Shape of F.
    dtype : dtype
        In which F is centred.

    Returns
    -------
    noise : float
    """
    # Means are wrong by eps of the size of F for each term, variances by the square.
    return float(size) * (max(n_rows, n_columns) * np.finfo(dtype).eps) ** 2


def linear_coordinates(moment, n_rows):
    """Features on which the problem of the linear kernel is one of size d.

    With X'X = V D^2 V' the problem of the kernel matrix X X' is that of the features
    ``F = X V D``; its coefficients are ``W = X V D^-1 A``.

    Parameters
    ----------
    moment : ndarray of shape (d, d)
        X'X.
    n_rows : int
        Number of rows of X.

    Returns
    -------
    features, coefficients : ndarray of shape (d, rank)
        ``V D`` and ``V D^-1``.
    """
    squares, V = linalg.eigh(moment, check_finite=False)
    D, V = _positive_roots(squares, V, n_rows)
    return V * D, V / D


def row_space(K):
    """Coordinates of the rows of X in an orthonormal basis of their span.

    With K = X X' = U D^2 U' and ``C = U D^-1``, the columns of ``X'C`` are orthonormal
    and the rows have the coordinates ``K C``.

    Parameters
    ----------
    K : ndarray of shape (n, n)
        X X'.

    Returns
    -------
    C : ndarray of shape (n, rank)
    """
    squares, U = linalg.eigh(K, check_finite=False)
    D, U = _positive_roots(squares, U, len(K))
    return U / D


def _positive_roots(squares, vectors, n_rows):
    """Roots of the eigenvalues that are not rounding noise, with their vectors."""
    noise = max(len(vectors), n_rows) * np.finfo(vectors.dtype).eps
    keep = squares > noise * max(squares[-1], 0.0)
    return np.sqrt(squares[keep]), vectors[:, keep]


def _leading_eigenvectors(S, n_components):
    n = len(S)
    if not n:
        return np.empty((0, 0))
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
    except ArpackError:  # no convergence, or F'HF is 0 and takes the start with it
        return None
    return Q


def _finish(Q, SQ, deflation, scale, noise, n_iter):
    """Rayleigh-Ritz values in descending order, A = R Q scaled, and the residual."""
    values = np.einsum("ij,ij->j", Q, SQ, dtype=np.float64)
    order = np.argsort(values)[::-1]
    Q, SQ, values = Q[:, order], SQ[:, order], values[order]
    largest = max(values[0], np.finfo(np.float64).tiny) if len(values) else 1.0
    residual = np.linalg.norm(SQ - Q * values, axis=0).max(initial=0.0) / largest
    # What is left are the eigenvalues that S resolves from zero, and of them those
    # that are more than the rounding of F.
    rank = np.count_nonzero(values > len(Q) * np.finfo(Q.dtype).eps * largest)
    A, values = deflation.apply(Q[:, :rank]), values[:rank]
    squares = np.einsum("ij,ij->j", A, A, dtype=np.float64)
    keep = values > noise * squares
    A, values, squares = A[:, keep], values[keep], squares[keep]
    A /= np.sqrt(values if scale == "whiten" else squares)
    return Components(A, values, float(residual), n_iter)
