"""The semidefinite programme of maximum mean discrepancy embedding."""

from typing import NamedTuple

import numpy as np
from scipy import linalg

from skadapt.solvers._blas import matmul

# Share of the way to the boundary that a step goes.
_FRACTION = 0.95
# Steps below which the next one goes to the middle, and below which there is none.
_SHORT, _NO_STEP = 0.3, 1e-8
# Relative addition to the diagonal of the linear system.
_RIDGE = 1e-13
# Variance of a group of rows that counts as none, where the largest given distance is
# 1; and what counts as none of a vector or constraint that others leave over. Rounding
# is some 1e-14.
_FLAT, _DEPENDENT = 1e-10, 1e-7


class EmbeddingProgramme(NamedTuple):
    """Solution of the programme.

    Attributes
    ----------
    K : ndarray of shape (n, n)
        The kernel matrix, symmetric and centred.
    objective : float
        Value of the objective.
    residual : float
        The largest violation of a distance, relative to the largest squared distance,
        or the gap between the objective and its bound, relative to ``1 + |objective|``
        in these units, whichever is more.
    n_iter : int
        Iterations.
    """

    K: np.ndarray
    objective: float
    residual: float
    n_iter: int


def solve_embedding(contrast, pairs, D, trace_weight, *, tol, max_iter):
    """Match the domains in a kernel matrix that keeps the given distances.

    With L = l l' for the contrast l of the domains ::

        min_K  <L, K> - lam tr K
        s.t.   K_ii + K_jj - 2 K_ij = d_ij^2 for the given pairs,  K 1 = 0,  K psd.

    With an orthonormal basis U of vectors that sum to 0, K = U Q U', the programme is
    ``min <C, Q>`` over psd Q with ``b_e'Q b_e = d_e^2``, b_e = U'(e_i - e_j), and its
    dual ``max d^2'y`` over S = C - sum_e y_e b_e b_e' psd. As the graph of the pairs is
    connected, y = -t with a large t is strictly feasible, and S stays feasible from
    there.

    An interior of the primal has to be made. Rows of which all distances are known fix
    their part of K, and where they lie in fewer dimensions than they might, that part
    is singular: v'K v = 0 for each null vector v of it, so K v = 0. U leaves these v
    out (facial reduction, Krislock and Wolkowicz 2010), and constraints that follow
    from others then are dropped. Such groups are the cliques of the graph, and unions
    of two that share rows which span the smaller one.

    A primal-dual interior point method with the direction of Helmberg, Rendl,
    Vanderbei and Wolkowicz and Mehrotra's corrector. Because the constraints have rank
    one, the matrix of its linear system is the elementwise product of B'Q B and B'S^-1
    B: an iteration costs O(n^3 + n m^2 + m^3) for m pairs, where a general solver works
    on n^2 / 2 unknowns.

    Parameters
    ----------
    contrast : ndarray of shape (n,)
        The vector l; sums to 0.
    pairs : ndarray of shape (m, 2)
        Rows of each pair. They join all rows.
    D : ndarray of shape (n, n)
        Squared Euclidean distances of all rows. Those of pairs that are not given
        matter only where they follow from those that are.
    trace_weight : float
        lam, not negative.
    tol : float
        Residual to reach.
    max_iter : int
        Largest number of iterations.

    Returns
    -------
    EmbeddingProgramme
    """
    squares = D[tuple(pairs.T)]
    unit = squares.max()
    d2 = squares / unit
    U = _basis_of_face(pairs, D / unit)
    B = U[pairs[:, 0]] - U[pairs[:, 1]]  # (m, p)
    needed = _independent(B)
    B, d2 = B[needed], d2[needed]
    c = matmul(U.T, contrast[:, np.newaxis])
    # The objective in units in which its larger part has the weight 1.
    size = max(trace_weight, float(contrast @ contrast))
    C = (matmul(c, c.T) - trace_weight * np.eye(U.shape[1])) / size

    Q, y, S = _start(C, B, d2)
    best = None
    for n_iter in range(1, max_iter + 1):
        at_pairs = np.einsum("ei,ei->e", matmul(B, Q), B)
        violation = np.abs(at_pairs - d2).max()
        objective = np.vdot(C, Q)
        gap = abs(objective - d2 @ y) / (1 + abs(objective))
        residual = max(violation, gap)
        if best is None or residual < best[1]:
            best = Q, residual, n_iter
        if residual <= tol:
            break
        step = _step(Q, y, S, C, B, d2)
        if step is None:
            break
        Q, y, S = step
    Q, residual, _ = best
    K = matmul(matmul(U, Q), U.T) * unit
    K = (K + K.T) / 2
    value = contrast @ K @ contrast - trace_weight * np.trace(K)
    residual = max(residual, _violation(K, pairs, squares))
    return EmbeddingProgramme(K, float(value), float(residual), n_iter)


def solve_embedding_cvxpy(contrast, pairs, D, trace_weight, *, tol, max_iter):
    """The same programme by Clarabel through cvxpy: the referee.

    See `solve_embedding`; `tol` is the solver's, and the residual the violation of the
    distances.
    """
    import cvxpy as cp  # slow to import

    K = cp.Variable(D.shape, PSD=True)
    i, j = pairs.T
    squares = D[i, j]
    unit = squares.max()
    kept = K[i, i] + K[j, j] - 2 * K[i, j] == squares / unit
    objective = cp.sum(cp.multiply(np.outer(contrast, contrast), K))
    objective -= trace_weight * cp.trace(K)
    problem = cp.Problem(cp.Minimize(objective), [kept, cp.sum(K, axis=1) == 0])
    problem.solve(
        solver="CLARABEL",
        tol_gap_abs=tol,
        tol_gap_rel=tol,
        tol_feas=tol,
        max_iter=max_iter,
    )
    found = K.value * unit
    n_iter = int(problem.solver_stats.num_iters)
    residual = _violation(found, pairs, squares)
    return EmbeddingProgramme(found, float(problem.value * unit), residual, n_iter)


def _violation(K, pairs, squares):
    """Largest error of a squared distance, relative to the largest of them."""
    i, j = pairs.T
    found = K[i, i] + K[j, j] - 2 * K[i, j]
    return float(np.abs(found - squares).max() / squares.max())


def _basis_of_face(pairs, D):
    """Orthonormal columns that span what K may have as its range."""
    n = len(D)
    neighbors = [set() for _ in range(n)]
    for a, b in pairs.tolist():
        neighbors[a].add(b)
        neighbors[b].add(a)
    null = [np.ones((n, 1)) / np.sqrt(n)]
    for rows in _rigid_groups(_cliques(neighbors), D):
        rows = sorted(rows)
        flat, vectors = _flat_directions(rows, D)
        if flat.any():
            found = np.zeros((n, np.count_nonzero(flat)))
            found[rows] = vectors[:, flat]
            null.append(found)
    basis, lengths, _ = linalg.svd(np.hstack(null), check_finite=False)
    rank = np.count_nonzero(lengths > _DEPENDENT * lengths[0])
    return np.ascontiguousarray(basis[:, rank:])


def _flat_directions(rows, D):
    """Principal directions of rows, and which of them have no variance."""
    centred = linalg.helmert(len(rows)).T
    gram = -0.5 * matmul(centred.T, matmul(D[np.ix_(rows, rows)], centred))
    values, vectors = linalg.eigh(gram, check_finite=False)
    flat = values <= _FLAT * max(values[-1], 1.0)
    return flat, matmul(centred, vectors)


def _rigid_groups(cliques, D):
    """Sets of rows all of whose distances follow from the given ones.

    Two such sets that share enough rows to span one of them cannot move against one
    another, and are one set.
    """

    def dimension(rows):
        return np.count_nonzero(~_flat_directions(sorted(rows), D)[0])

    groups = [(rows, dimension(rows)) for rows in cliques if len(rows) > 1]
    done = []
    while groups:
        rows, spanned = groups.pop()
        i = 0
        while i < len(groups):
            other, other_spanned = groups[i]
            shared = rows & other
            least = min(spanned, other_spanned)
            if len(shared) > max(least, 1) and dimension(shared) == least:
                rows, spanned = rows | other, max(spanned, other_spanned)
                groups.pop(i)
                groups.extend(done)  # the larger set may now hold on to them
                done, i = [], 0
            else:
                i += 1
        done.append((rows, spanned))
    return [rows for rows, _ in done]


def _cliques(neighbors):
    """Maximal cliques of a graph (Bron and Kerbosch, with pivots)."""
    found = []

    def extend(clique, candidates, seen):
        if not candidates and not seen:
            found.append(clique)
            return
        pivot = max(candidates | seen, key=lambda v: len(neighbors[v] & candidates))
        for v in sorted(candidates - neighbors[pivot]):
            extend(clique | {v}, candidates & neighbors[v], seen & neighbors[v])
            candidates = candidates - {v}
            seen = seen | {v}

    extend(set(), set(range(len(neighbors))), set())
    return found


def _independent(B):
    """Constraints ``b_e b_e'`` that no others imply, in ascending order."""
    products = matmul(B, B.T) ** 2
    (pstrf,) = linalg.get_lapack_funcs(("pstrf",), (products,))
    tolerance = _DEPENDENT * products.diagonal().max(initial=0.0)
    _, pivots, rank, _ = pstrf(products, tol=tolerance, lower=1)
    return np.sort(pivots[:rank] - 1)


def _start(C, B, d2):
    """A large multiple of the identity, and a dual point that is strictly feasible."""
    p = len(C)
    stiffness = matmul(B.T, B)
    weakest = linalg.eigvalsh(stiffness, subset_by_index=(0, 0), check_finite=False)[0]
    lowest = linalg.eigvalsh(C, subset_by_index=(0, 0), check_finite=False)[0]
    t = (max(-lowest, 0.0) + 1.0) / weakest
    y = np.full(len(d2), -t)
    S = C + t * stiffness
    return np.eye(p) * max(1.0, d2.sum() / p), y, S


def _step(Q, y, S, C, B, d2):
    """One predictor-corrector iteration; None if rounding stops it."""
    p = len(Q)
    try:
        R = linalg.cholesky(S, lower=True, check_finite=False)
        inverse = linalg.cho_solve((R, True), np.eye(p), check_finite=False)
        system = matmul(matmul(B, Q), B.T) * matmul(matmul(B, inverse), B.T)
        # Where distances leave no room the system nears singularity.
        system.flat[:: len(system) + 1] *= 1 + _RIDGE
        factor = linalg.cho_factor(system, lower=True, check_finite=False)
    except linalg.LinAlgError:
        return None
    mu = np.vdot(Q, S) / p

    def direction(target, correction=None):
        """Steps in Q, y and S towards ``Q S = target I``."""
        dQ = target * inverse - Q
        if correction is not None:
            dQ -= correction
        shift = np.einsum("ei,ei->e", matmul(B, Q + dQ), B)
        dy = linalg.cho_solve(factor, d2 - shift, check_finite=False)
        dS = -matmul(B.T * dy, B)
        inner = matmul(matmul(Q, dS), inverse)
        dQ -= (inner + inner.T) / 2
        return dQ, dy, dS

    def lengths(move):
        return _length(Q, move[0]), _length(S, move[2], R)

    ahead = direction(0.0)
    steps = lengths(ahead)
    if None in steps:
        return None
    primal, dual = (min(1.0, length) for length in steps)
    left = np.vdot(Q + primal * ahead[0], S + dual * ahead[2]) / p
    power = max(1.0, 3.0 * min(primal, dual) ** 2)
    target = mu * min(1.0, max(left / mu, 0.0)) ** power
    product = matmul(matmul(ahead[0], ahead[2]), inverse)
    move = direction(target, (product + product.T) / 2)
    steps = lengths(move)
    if None in steps or min(steps) < _SHORT:
        # Too close to the boundary to hurry: back to the middle first.
        centring = direction(mu)
        others = lengths(centring)
        if None not in others and (None in steps or min(others) > min(steps)):
            move, steps = centring, others
    if None in steps or not np.isfinite(move[1]).all() or max(steps) < _NO_STEP:
        return None
    primal, dual = (min(1.0, _FRACTION * length) for length in steps)
    y = y + dual * move[1]
    return Q + primal * move[0], y, C - matmul(B.T * y, B)


def _length(Q, dQ, R=None):
    """How far Q may go along dQ and stay psd; None if it is not."""
    try:
        if R is None:
            R = linalg.cholesky(Q, lower=True, check_finite=False)
        scaled = linalg.solve_triangular(R, dQ, lower=True, check_finite=False)
        scaled = linalg.solve_triangular(R, scaled.T, lower=True, check_finite=False)
    except linalg.LinAlgError:
        return None
    scaled = (scaled + scaled.T) / 2
    if not np.isfinite(scaled).all():
        return None
    lowest = linalg.eigvalsh(scaled, subset_by_index=(0, 0), check_finite=False)[0]
    return np.inf if lowest >= 0 else -1.0 / lowest
