"""Least squares on a kernel and a graph, with a penalty of low rank that changes.

The problem, over functions f of a kernel's space with F = (f(x_1), ..., f(x_N))', is ::

    min_f  ||E^(1/2) (Y - F)||^2 + eta ||f||^2_K + tr(F' (rho Lap + lam V V') F)

with E diagonal, not negative, 0 for rows without a label. With A = E + rho Lap and
``S = K (A K + eta I)^-1``, which is symmetric, Woodbury's formula gives ::

    F = S E Y - lam S V (I + lam V'S V)^-1 V'S E Y.

S does not know of V: it is factored once, and another V costs one product of S with V.
"""

import numpy as np
from scipy import sparse
from scipy.linalg import cho_factor, cho_solve, eigh, lu_factor, lu_solve, solve
from sklearn.utils import gen_batches

from skadapt.solvers._blas import matmul

# Rows of a block of a product with landmarks.
_BLOCK_ROWS = 2048


class KernelSmoother:
    """S of the kernel matrix of all rows, by one LU decomposition.

    Parameters
    ----------
    K : ndarray of shape (n_samples, n_samples)
        Kernel matrix, positive semidefinite, float64.
    A : CSR array of shape (n_samples, n_samples)
        Positive semidefinite.
    eta : float
        Positive.
    """

    def __init__(self, K, A, eta):
        self._kernel = K
        system = A @ K
        system.flat[:: len(K) + 1] += eta
        # LAPACK wants Fortran's order, in which this is the transpose: no copy.
        self._factors = lu_factor(system.T, overwrite_a=True, check_finite=False)

    def solve(self, B):
        """``(A K + eta I)^-1 B``: coefficients of the function of values ``S B``."""
        return lu_solve(self._factors, B, trans=1, check_finite=False)

    def values(self, coefficients):
        """Values of the function at the rows."""
        return matmul(self._kernel, coefficients)

    def dual(self, coefficients):
        """Coefficients of the function at the centres of the kernel, which are rows."""
        return coefficients


class LandmarkSmoother:
    """S of the kernel ``K_NL K_LL^-1 K_LN`` of a few landmarks, never formed.

    With ``K = P P'``, ``P = K_NL R`` and ``R R' = K_LL^-1``, it is
    ``S = P (P'A P + eta I)^-1 P'``. Costs O(N r^2 + r^3) and N r numbers.

    Parameters
    ----------
    kernel_rows : callable
        Gives the rows ``K_NL[rows]``, float64, for a slice.
    core : ndarray of shape (n_landmarks, n_landmarks)
        K_LL.
    A : CSR array of shape (n_samples, n_samples)
        Positive semidefinite.
    eta : float
        Positive.
    """

    def __init__(self, kernel_rows, core, A, eta):
        values, vectors = eigh(core, check_finite=False)
        # Landmarks that nearly repeat others leave rounding for eigenvalues.
        kept = values > len(core) * np.finfo(np.float64).eps * values[-1]
        self._root = vectors[:, kept] / np.sqrt(values[kept])
        n, r = A.shape[0], self._root.shape[1]
        blocks = list(gen_batches(n, _BLOCK_ROWS))
        self._features = np.empty((n, r))
        for rows in blocks:
            self._features[rows] = matmul(kernel_rows(rows), self._root)
        system = eta * np.eye(r)
        for rows in blocks:
            system += matmul(self._features[rows].T, A[rows] @ self._features)
        self._factor = cho_factor(system, overwrite_a=True, check_finite=False)

    def solve(self, B):
        """``(P'A P + eta I)^-1 P'B``: coefficients of P for the values ``S B``."""
        inner = matmul(self._features.T, B)
        return cho_solve(self._factor, inner, check_finite=False)

    def values(self, coefficients):
        """Values of the function at the rows."""
        return matmul(self._features, coefficients)

    def dual(self, coefficients):
        """Coefficients of the function at the landmarks."""
        return matmul(self._root, coefficients)


def penalised_values(smoother, fitted, V, lam):
    """Values F of the solution with the penalty ``lam V V'``, and its gaps ``V'F``.

    Parameters
    ----------
    smoother : KernelSmoother or LandmarkSmoother
        S.
    fitted : ndarray of shape (n_samples, n_classes)
        ``S E Y``: the values without this penalty.
    V : ndarray of shape (n_samples, n_gaps)
        Columns of the penalty.
    lam : float
        Its weight.

    Returns
    -------
    values : ndarray of shape (n_samples, n_classes)
    gaps : ndarray of shape (n_gaps, n_classes)
        The coefficients of the solution are ``smoother.solve(E Y - lam V gaps)``.
    """
    smooth = smoother.values(smoother.solve(V))
    system = np.eye(V.shape[1]) + lam * matmul(V.T, smooth)
    gaps = solve(system, matmul(V.T, fitted), check_finite=False)
    return fitted - lam * matmul(smooth, gaps), gaps


def graph_laplacian(weights):
    """Normalised Laplacian ``I - D^(-1/2) W D^(-1/2)`` of a sparse symmetric W.

    Parameters
    ----------
    weights : sparse array of shape (n_samples, n_samples)
        Symmetric, not negative, with a positive sum in each row.

    Returns
    -------
    CSR array of shape (n_samples, n_samples)
    """
    root = sparse.diags_array(1.0 / np.sqrt(weights.sum(axis=1)))
    return sparse.csr_array(sparse.eye_array(weights.shape[0]) - root @ weights @ root)
