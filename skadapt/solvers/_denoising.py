"""Marginalised denoising autoencoders in closed form.

Rows x in R^d lose each of their entries with probability p, independently; q = 1 - p.
With x~ what is left of x, the least squares problem ::

    min_{W, b}  sum_i E |x_i - W x~_i - b|^2 + reg |W|^2

has a closed solution. With m the mean of the n rows, C = sum (x - m)(x - m)' their
scatter and D = diag(sum_i x_ia^2) the raw second moments, it is ::

    W = q C A^-1,    A = q^2 C + q p D + reg I,    b = m - q W m.

In the paper a column of ones that is never corrupted stands for b; with that column
eliminated its equations are those above. What that gains: since q C = (A - q p D - reg
I) / q, ::

    W = I / q - (p D + reg I / q) A^-1,

and the inverse of one positive definite matrix, d^3 operations, takes the place of a
factorisation with d right-hand sides, (1/3 + 2) d^3. Only where inputs and targets are
not the same columns are the right-hand sides solved for.

Scatters are sums over blocks of rows, with products in the dtype of the rows and sums
in float64. One d x d matrix of float64 is held: scatter, factor and inverse in turn.
"""

import numpy as np
from scipy import sparse
from scipy.linalg import get_blas_funcs, lapack
from sklearn.utils import gen_batches
from sklearn.utils._chunking import get_chunk_n_rows

from skadapt.solvers._blas import matmul

# Rows of a block, at most: enough for a product to be worth a pass over its result.
_BLOCK_ROWS = 2048
# Columns of a block of a large matrix that is made or mirrored piece by piece.
_BLOCK_COLUMNS = 256


def denoising_map(X, noise, reg):
    """Reconstruct all columns of X from all of them.

    Parameters
    ----------
    X : {ndarray, csr_array} of shape (n, d)
        Rows, not corrupted.
    noise : float in [0, 1)
        The probability p.
    reg : float
        Ridge, at least 0.

    Returns
    -------
    coef : ndarray of shape (d, d)
        W', float64: a row x maps to ``x @ coef + intercept``.
    intercept : ndarray of shape (d,)
        b.
    """
    mean = column_means(X)
    if noise == reg == 0:
        return np.eye(len(mean)), np.zeros(len(mean))
    keep = 1 - noise
    A, moment, ridge = _corrupted_scatter(X, mean, noise, reg)
    # Symmetric, so that its transpose, which is in C order, serves as well.
    coef = _inverse(A).T
    coef *= -(noise * moment + ridge / keep)
    np.einsum("ii->i", coef)[:] += 1 / keep
    return coef, mean - keep * (mean @ coef)


def partial_denoising_map(X, Z, noise, reg):
    """Reconstruct the columns of Z from those of X, rows of the same documents.

    Parameters
    ----------
    X : {ndarray, csr_array} of shape (n, d)
        Inputs, not corrupted.
    Z : {ndarray, csr_array} of shape (n, k)
        Targets.
    noise, reg : float
        As in `denoising_map`.

    Returns
    -------
    coef : ndarray of shape (d, k)
        W', float64: a row x maps to ``x @ coef + intercept``.
    intercept : ndarray of shape (k,)
        b.
    """
    mean, target_mean = column_means(X), column_means(Z)
    keep = 1 - noise
    A, _, _ = _corrupted_scatter(X, mean, noise, reg)
    between = _cross_scatter(X, Z, mean, target_mean)
    between *= keep
    coef, _ = lapack.dpotrs(_factor(A), between, overwrite_b=True)
    coef = np.ascontiguousarray(coef)
    return coef, target_mean - keep * (mean @ coef)


def hidden_rows(X, coef, intercept, out):
    """``tanh(X @ coef + intercept)`` in `out`, which may be X itself."""
    for rows in _row_blocks(X.shape[0], coef.shape[1]):
        block = X[rows]
        product = block @ coef if sparse.issparse(block) else matmul(block, coef)
        product += intercept
        out[rows] = np.tanh(product, out=product)
    return out


def column_means(X):
    """Means of the columns in float64."""
    if sparse.issparse(X):
        return np.bincount(X.indices, X.data, minlength=X.shape[1]) / X.shape[0]
    return X.mean(axis=0, dtype=np.float64)


def _row_blocks(n, d):
    return gen_batches(n, get_chunk_n_rows(8 * d, max_n_rows=min(n, _BLOCK_ROWS)))


def _corrupted_scatter(X, mean, noise, reg):
    """A, in Fortran's order with its upper triangle alone; the diagonal D; the ridge.

    A column of zeros gets a ridge of 1, whatever `reg` is: it is neither used nor
    reconstructed, and A stays regular.
    """
    A = _scatter(X, mean)
    diagonal = np.einsum("ii->i", A)
    moment = diagonal + X.shape[0] * mean**2
    ridge = np.where(moment > 0, reg, 1.0)
    A *= (1 - noise) ** 2
    diagonal += (1 - noise) * noise * moment + ridge
    return A, moment, ridge


def _scatter(X, mean):
    """Scatter of the rows about `mean`, at least its upper triangle."""
    if sparse.issparse(X):
        return _cross_scatter(X, X, mean, mean)
    d = len(mean)
    scatter = np.zeros((d, d), order="F")
    (syrk,) = get_blas_funcs(("syrk",), (X,))
    for rows in _row_blocks(len(X), d):
        centred = X[rows] - mean.astype(X.dtype)
        if X.dtype == np.float64:
            syrk(1.0, centred.T, beta=1.0, c=scatter, overwrite_c=True)
        else:
            scatter += syrk(1.0, centred.T)
    return scatter


def _cross_scatter(X, Z, x_mean, z_mean):
    """``(X - x_mean)' (Z - z_mean)`` in Fortran's order, float64."""
    scatter = np.zeros((len(x_mean), len(z_mean)), order="F")
    if sparse.issparse(X):
        Zt, X = Z.T.tocsr().astype(np.float64), X.astype(np.float64)
        weight = X.shape[0] * x_mean
        for columns in gen_batches(len(z_mean), _BLOCK_COLUMNS):
            scatter[:, columns] = (Zt[columns] @ X).toarray().T
            scatter[:, columns] -= np.outer(weight, z_mean[columns])
        return scatter
    for rows in _row_blocks(len(X), max(scatter.shape)):
        centred = X[rows] - x_mean.astype(X.dtype), Z[rows] - z_mean.astype(X.dtype)
        scatter += matmul(centred[0].T, centred[1])
    return scatter


def _factor(A):
    """Cholesky factor of the upper triangle of A, in place."""
    factor, info = lapack.dpotrf(A, overwrite_a=True, clean=False)
    if info:
        raise ValueError(
            "The scatter of the corrupted rows is singular, so there is no unique "
            "reconstruction: increase reg, or noise."
        )
    return factor


def _inverse(A):
    """Inverse of the upper triangle of A, in place and complete."""
    inverse, _ = lapack.dpotri(_factor(A), overwrite_c=True)
    for block in gen_batches(len(A), _BLOCK_COLUMNS):
        corner = np.triu(inverse[block, block])
        inverse[block, block] = corner + np.triu(corner, 1).T
        inverse[block.stop :, block] = inverse[block, block.stop :].T
    return inverse
