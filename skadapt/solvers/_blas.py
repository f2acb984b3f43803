"""Matrix products through SciPy's BLAS.

NumPy and SciPy wheels each bring a BLAS with threads of its own, and idle threads
wait actively for a while. A solver that alternates between `@` and
`scipy.linalg` has both pools fight for the cores: on two cores, 16 ms against
5 ms a turn of L-BFGS-B with a 5,000 x 5,000 matrix. So the solvers, which need
`scipy.linalg` anyway, take their products from SciPy too.
"""

import numpy as np
from scipy.linalg import get_blas_funcs


def matmul(A, B):
    """A @ B in C order, for dense matrices."""
    (gemm,) = get_blas_funcs(("gemm",), (A, B))
    # In Fortran's eyes a C-ordered matrix is its transpose: (AB)' = B'A'.
    right, trans_right = (A.T, 0) if A.flags.c_contiguous else (A, 1)
    left, trans_left = (B.T, 0) if B.flags.c_contiguous else (B, 1)
    return gemm(1.0, left, right, trans_a=trans_left, trans_b=trans_right).T


def gram(R):
    """R'R, symmetric to the bit, at half the cost of a product."""
    if not R.size:  # syrk refuses a side of length 0, in words on the terminal
        return np.zeros((R.shape[1],) * 2, R.dtype)
    (syrk,) = get_blas_funcs(("syrk",), (R,))
    upper = syrk(1.0, R.T) if R.flags.c_contiguous else syrk(1.0, R, trans=1)
    return upper + np.triu(upper, 1).T


def symv(K, v):
    """K @ v for a C-ordered symmetric K; reads one triangle only."""
    (product,) = get_blas_funcs(("symv",), (K,))
    return product(1.0, K.T, v, lower=1)
