"""Linear predictors of many pivots from the presence of the other columns.

For rows x_i in {0, 1}^d and signs t_il (+1 where row i holds pivot l, else -1) there
is one problem a pivot ::

    min_{w_l, b_l}  1/n sum_i L(t_il (w_l'x_i + b_l)) + reg (|w_l|^2 + (b_l - s_l)^2)

with s_l the sign of most rows, from which the intercept is not drawn away, and L(q)
the modified Huber loss, (1 - q)^2 for -1 <= q < 1, -4q below and 0 above, or the
squared loss (1 - q)^2. With C = 1 / (2 reg n) its dual is a box problem ::

    max_a  sum_i a_i (1 - t_i s) - a_i^2 / (4C) - |sum_i a_i t_i (x_i, 1)|^2 / 2

with 0 <= a_i <= 4C for the modified Huber and no bounds for the squared loss, and
(w, b - s) = sum_i a_i t_i (x_i, 1). It is solved by dual coordinate ascent: every a_i
in turn goes to its optimum, (w, b) follows. The duality gap certifies the result.

Why it is fast: the pivots see the same rows, so blocks of them are solved in lockstep.
Each stored entry x_ij is read once for a block and costs one vector addition to the
scores and one to the weights, over contiguous numbers of single precision; the weights
that the second needs were just read by the first. Ascent needs the rows in changing
random order: in one fixed order, at reg = 1e-3, the gap after 14 sweeps over 8,000
reviews was 1e-1 instead of 1e-4. Rows stored in random order and visited in shuffled
chunks come close to that, and are read as streams.
"""

from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numba
import numpy as np
from numba import njit

# Pivots solved in lockstep: their weights in one column are two cache lines.
_BLOCK = 32
# Neighbouring rows that are visited together, if that leaves as many chunks or more.
_CHUNK = 32
# Sweeps between two looks at the gap, which cost about half a sweep.
_SWEEPS = 2
_TINY = np.finfo(np.float64).tiny


class PivotPredictors(NamedTuple):
    """Solution of `fit_pivot_predictors` for m pivots."""

    columns: np.ndarray  # columns that are present and no pivots, (n_columns,)
    weights: np.ndarray  # their weights, (n_columns, m)
    intercepts: np.ndarray  # (m,)
    objectives: np.ndarray  # values of the objective, (m,)
    gaps: np.ndarray  # duality gaps over the objective, (m,)
    n_iter: int  # most sweeps over the rows in any block


def fit_pivot_predictors(
    presence,
    pivots,
    *,
    loss="modified_huber",
    reg=0.01,
    tol=1e-2,
    max_iter=1000,
    seed=0,
    dtype=np.float32,
):
    """Solve the problem above for every pivot; all pivots are masked in the inputs.

    Parameters
    ----------
    presence : CSR array of shape (n_samples, n_features)
        Its stored entries are the ones of x, whatever their values.
    pivots : ndarray of shape (n_pivots,)
        Columns.
    loss : {"modified_huber", "squared"}
        The loss L.
    reg : float
        Regularisation, > 0.
    tol : float
        Duality gap to reach, relative to the objective. Single precision resolves
        some 1e-6.
    max_iter : int
        Largest number of sweeps over the rows.
    seed : int
        Draws the order of the rows, the same for all pivots.
    dtype : dtype
        Of the weights.

    Returns
    -------
    result : PivotPredictors
    """
    n, d = presence.shape
    m = len(pivots)
    order = np.random.RandomState(seed).permutation(n)
    presence = presence[order]
    counts = np.bincount(presence.indices, minlength=d)
    counts[pivots] = 0
    # Frequent columns first: their weights share pages of memory.
    columns = np.argsort(-counts, kind="stable")[: np.count_nonzero(counts)]
    inputs = presence[:, columns]
    held = presence[:, pivots].tocsc()
    problem = inputs.indptr, _unsigned(inputs.indices), loss == "squared", reg
    weights = np.empty((len(columns), m), dtype=dtype)
    intercepts = np.empty(m, dtype=dtype)
    objectives, gaps = np.empty(m), np.empty(m)

    def solve(first):
        block = slice(first, min(first + _BLOCK, m))
        signs = _signs(held, block, n, dtype)
        W, b, objective, gap, n_iter = _solve_block(
            *problem, signs, len(columns), tol, max_iter, seed
        )
        weights[:, block], intercepts[block] = W, b
        objectives[block], gaps[block] = objective, gap
        return n_iter

    with ThreadPoolExecutor(numba.get_num_threads()) as pool:
        n_iter = max(pool.map(solve, range(0, m, _BLOCK)))
    return PivotPredictors(columns, weights, intercepts, objectives, gaps, n_iter)


def _unsigned(indices):
    """Indices for which compiled code need not ask whether they are negative."""
    return np.ascontiguousarray(indices).view(f"u{indices.itemsize}")


def _signs(held, block, n, dtype):
    """t of the pivots in a block, shape (n, n_block)."""
    signs = np.full((n, block.stop - block.start), -1, dtype=dtype)
    for lane, pivot in enumerate(range(block.start, block.stop)):
        signs[held.indices[held.indptr[pivot] : held.indptr[pivot + 1]], lane] = 1
    return signs


def _solve_block(indptr, columns, squared, reg, signs, n_columns, tol, max_iter, seed):
    n, width = signs.shape
    dtype = signs.dtype.type
    ridge = dtype(reg * n)  # 1 / (2C)
    low, high = (-np.inf, np.inf) if squared else (0.0, 2 / (reg * n))
    start = np.where(signs.sum(axis=0, dtype=np.float64) > 0, 1, -1).astype(dtype)
    W, b = np.zeros((n_columns, width), dtype=dtype), start.copy()
    a = np.zeros((n, width), dtype=dtype)
    problem = indptr, columns, signs, ridge, dtype(low), dtype(high), W, b, a
    length = max(1, min(_CHUNK, n // _CHUNK))
    chunks = np.arange(0, n, length)
    rng = np.random.RandomState(seed)
    for n_iter in range(1, max_iter + 1):
        rng.shuffle(chunks)
        _sweep(*problem, chunks, length)
        if n_iter % _SWEEPS and n_iter < max_iter:
            continue
        losses, linear, square = _sums(*problem, start)
        norm = np.einsum("jk,jk->k", W, W, dtype=np.float64) + (b - start) ** 2.0
        objective = losses / n + reg * norm
        dual = 2 * reg * (linear - 0.5 * reg * n * square - 0.5 * norm)
        gap = (objective - dual) / np.maximum(objective, _TINY)
        if gap.max() <= tol:
            break
    return W, b, objective, gap, n_iter


@njit(cache=True, nogil=True)
def _scores(indptr, columns, i, W, b, z):
    """z = W'x_i + b; four columns at a time, so that z is touched less often."""
    width = len(z)
    for k in range(width):
        z[k] = b[k]
    p, last = indptr[i], indptr[i + 1]
    while p + 4 <= last:
        w0, w1 = W[columns[p]], W[columns[p + 1]]
        w2, w3 = W[columns[p + 2]], W[columns[p + 3]]
        for k in range(width):
            z[k] += (w0[k] + w1[k]) + (w2[k] + w3[k])
        p += 4
    while p < last:
        w0 = W[columns[p]]
        for k in range(width):
            z[k] += w0[k]
        p += 1


@njit(cache=True, nogil=True)
def _sweep(indptr, columns, signs, ridge, low, high, W, b, a, chunks, length):
    """Move every a_i to its optimum, for all pivots of the block in lockstep."""
    n, width = signs.shape
    one = ridge / ridge  # in the dtype of the weights
    z, step = np.empty(width, W.dtype), np.empty(width, W.dtype)
    for chunk in chunks:
        for i in range(chunk, min(chunk + length, n)):
            _scores(indptr, columns, i, W, b, z)
            # |(x_i, 1)|^2 is the number of entries of the row, and one.
            rate = one / (one * (indptr[i + 1] - indptr[i]) + one + ridge)
            t, old = signs[i], a[i]
            for k in range(width):
                new = old[k] + (one - t[k] * z[k] - ridge * old[k]) * rate
                new = new if new > low else low
                new = new if new < high else high
                step[k] = (new - old[k]) * t[k]
                old[k] = new
            for k in range(width):
                if step[k] != 0:
                    break
            else:
                continue
            for p in range(indptr[i], indptr[i + 1]):
                w = W[columns[p]]
                for k in range(width):
                    w[k] += step[k]
            for k in range(width):
                b[k] += step[k]


@njit(cache=True, nogil=True)
def _sums(indptr, columns, signs, ridge, low, high, W, b, a, start):
    """Sums over the rows of the terms of the objective and of its dual."""
    n, width = signs.shape
    losses, linear, square = np.zeros(width), np.zeros(width), np.zeros(width)
    z = np.empty(width, W.dtype)
    for i in range(n):
        _scores(indptr, columns, i, W, b, z)
        for k in range(width):
            t, ai = float(signs[i, k]), float(a[i, k])
            short = 1.0 - t * z[k]
            # L = max_v 2 v short - v^2 over v = ridge a within the bounds.
            v = min(max(short, ridge * low), ridge * high)
            losses[k] += v * (2.0 * short - v)
            linear[k] += ai * (1.0 - t * start[k])
            square[k] += ai * ai
    return losses, linear, square
