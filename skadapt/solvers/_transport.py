"""Couplings of two samples, the maps that extend them, and the Gaussian map."""

from typing import NamedTuple

import numpy as np
from scipy import linalg
from scipy.special import logsumexp, softmax, xlogy

from skadapt.solvers._blas import matmul

# Sinkhorn's iterations between two absorptions of their scalings into the costs.
_CHUNK = 100
# The entropy is lowered to `reg` from this share of the range of the costs, by this
# factor at a time, each time until the marginals are right to this much.
_FIRST_ENTROPY, _LOWERED, _ROUGH = 0.01, 0.25, 1e-3
# Largest number of Sinkhorn's iterations in a round of the group lasso.
_INNER_ITER = 10_000
# Rounds of the line search of the group lasso; its steps need no more digits.
_LINE_SEARCH = 5
# Power of the distance by which neighbours correct a mapped row.
_POWER = 8


class Coupling(NamedTuple):
    """Mass that each source row sends to each target row.

    Attributes
    ----------
    plan : ndarray of shape (n, m)
        Sums to 1; rows have the sum 1/n.
    potential : ndarray of shape (m,)
        Dual variables of the target rows, in units of the costs.
    objective : float
        Value of the objective.
    residual : float
        What is missing to the optimum: a bound on the excess of the objective; for the
        entropic coupling the absolute deviations of the column sums from 1/m, summed.
    n_iter : int
        Iterations.
    """

    plan: np.ndarray
    potential: np.ndarray
    objective: float
    residual: float
    n_iter: int


def import_ot():
    """The package POT, or a sentence that says how to get it."""
    try:
        import ot  # slow to import
    except ImportError as error:
        raise ImportError(
            "Couplings are computed by POT, which is not installed: "
            "pip install skadapt[ot], or use method='linear', which needs none."
        ) from error
    return ot


def exact_coupling(costs, max_iter):
    """``min <G, costs>`` by network simplex; the solution is sparse."""
    plan, log = import_ot().emd(*_uniform(costs), costs, numItermax=max_iter, log=True)
    f, g = log["u"], log["v"]
    # Dual variables that are too large by d are feasible after a shift by d.
    excess = (f[:, np.newaxis] + g - costs).max()
    gap = log["cost"] - f.mean() - g.mean() + max(excess, 0.0)
    return Coupling(plan, g, float(log["cost"]), float(max(gap, 0.0)), 1)


def entropic_coupling(costs, reg, tol, max_iter):
    """``min <G, costs> + reg sum G log G`` by Sinkhorn's iterations."""
    f, g, n_iter = _sinkhorn(costs, reg, tol, max_iter)
    plan = _plan(costs, reg, f, g)
    objective = np.vdot(plan, costs) + reg * xlogy(plan, plan).sum()
    residual = np.abs(plan.sum(axis=0) - 1.0 / plan.shape[1]).sum()
    return Coupling(plan, g, float(objective), float(residual), n_iter)


def group_lasso_coupling(costs, memberships, reg, group_reg, tol, max_iter):
    """Entropic coupling that sends the classes of the source to different rows.

    With I_c the source rows of class c ::

        min  <G, costs> + reg sum G log G + group_reg sum_c sum_j ||G[I_c, j]||

    over couplings G. By generalised conditional gradients (Rakotomamonjy, Flamary and
    Courty 2015): the last term is replaced by its linearisation, Sinkhorn's iterations
    solve what is left, and a line search goes towards that solution. The linearised
    problem bounds the optimum from below, so that the gap is known.

    Parameters
    ----------
    costs : ndarray of shape (n, m)
    memberships : ndarray of shape (n, n_classes)
        1 where a row is of a class; rows of 0 belong to no group.
    reg, group_reg, tol : float
        `tol` is the gap to reach.
    max_iter : int
        Largest number of rounds.

    Returns
    -------
    Coupling
    """
    grouped = memberships.any(axis=1)[:, np.newaxis]

    def norms(G):
        return np.sqrt(memberships.T @ (G * G))

    def smooth(G):
        return np.vdot(G, costs) + reg * xlogy(G, G).sum()

    def gradient(G, of_groups):
        spread = memberships @ of_groups
        return np.divide(G, spread, out=np.zeros_like(G), where=grouped & (spread > 0))

    inner = tol / 10, _INNER_ITER
    f, g, _ = _sinkhorn(costs, reg, *inner)
    G = _plan(costs, reg, f, g)
    for n_iter in range(1, max_iter + 1):  # noqa: B007
        of_groups = norms(G)
        slopes = gradient(G, of_groups)
        linear = costs + group_reg * slopes
        f, g, _ = _sinkhorn(linear, reg, *inner, start=(f, g))
        best = _plan(linear, reg, f, g)
        step = best - G
        # The gap of the linearised problem bounds that of the objective.
        gap = smooth(G) - smooth(best) - group_reg * np.vdot(slopes, step)
        if gap <= tol:
            break

        def slope_at(length):
            H = G + length * step
            derivative = linear_part + reg * np.vdot(
                step, np.log(np.maximum(H, np.finfo(np.float64).tiny))
            )
            return derivative + group_reg * np.vdot(step, gradient(H, norms(H)))

        linear_part = np.vdot(step, costs)
        G = G + _line_search(slope_at) * step
    objective = smooth(G) + group_reg * norms(G).sum()
    return Coupling(G, g, float(objective), float(max(gap, 0.0)), n_iter)


def _uniform(costs):
    return tuple(np.full(size, 1.0 / size) for size in costs.shape)


def _plan(costs, reg, f, g):
    return np.exp((f[:, np.newaxis] + g - costs) / reg)


def _sinkhorn(costs, reg, tol, max_iter, start=None):
    """Dual variables of the rows and columns, and the number of iterations.

    POT's iterations multiply scalings that may overflow where `reg` is small. So they
    are given the costs less the dual variables found so far, from which they never go
    far, and the entropy is lowered step by step.
    """
    sinkhorn = import_ot().sinkhorn
    a, b = _uniform(costs)
    stages = [reg]
    if start is None:
        f, g = np.zeros(len(a)), np.zeros(len(b))
        while stages[-1] < _FIRST_ENTROPY * np.ptp(costs):
            stages.append(stages[-1] / _LOWERED)
    else:
        f, g = start
    n_iter = 0
    for stage in reversed(stages):
        goal = tol if stage == reg else _ROUGH
        error = np.inf
        while error >= goal and n_iter < max_iter:
            g = stage * (np.log(b) - logsumexp((f[:, np.newaxis] - costs) / stage, 0))
            f = stage * (np.log(a) - logsumexp((g - costs) / stage, 1))
            _, log = sinkhorn(
                a,
                b,
                costs - f[:, np.newaxis] - g,
                stage,
                numItermax=min(_CHUNK, max_iter - n_iter),
                stopThr=goal / np.sqrt(len(b)),  # POT takes the Euclidean norm
                log=True,
                warn=False,
            )
            f, g = (
                x + stage * np.log(scaling)
                for x, scaling in ((f, log["u"]), (g, log["v"]))
            )
            n_iter += int(log["niter"]) + 1
            error = log["err"][-1] * np.sqrt(len(b))
    return f, g, n_iter


def _line_search(slope_at):
    """Where the slope of a convex function changes its sign, in (0, 1]."""
    low, high = 0.0, 1.0
    above = slope_at(high)
    if above <= 0:
        return high
    below = slope_at(low)
    for _ in range(_LINE_SEARCH):
        if not below < 0:  # nothing to gain that rounding would not hide
            return low
        middle = high - above * (high - low) / (above - below)
        at_middle = slope_at(middle)
        if at_middle > 0:
            high, above, below = middle, at_middle, below / 2  # Illinois
        else:
            low, below, above = middle, at_middle, above / 2
    return low if low > 0 else high / 2


class EntropicMap(NamedTuple):
    """Where a source row goes: the mean of the target rows under its conditional law.

    A row x sends the share ``softmax_j((g_j - c(x, y_j)) / reg)`` to target row j,
    with the potentials g of a coupling, and comes to ``sum_j share_j y_j``. For the
    fitted rows of an entropic coupling these shares are the coupling's own.
    """

    rows: np.ndarray  # target rows, (m, d)
    potential: np.ndarray  # (m,)
    scale: float  # squared distance of cost 1
    reg: float

    def apply(self, X):
        """Images of rows X (n, d)."""
        exponents = self.potential - squared_distances(X, self.rows) / self.scale
        return matmul(softmax(exponents / self.reg, axis=1), self.rows)


class Correction(NamedTuple):
    """What the images of fitted rows differ by from a map, spread around them.

    ``sum_i w_i(x) r_i`` with weights proportional to ``||x - x_i||^-8``: r_i at x_i,
    continuous everywhere.
    """

    rows: np.ndarray  # fitted source rows, (n, d)
    differences: np.ndarray  # (n, d)

    def apply(self, X):
        """Corrections at rows X (n, d)."""
        distances = squared_distances(X, self.rows)
        nearest = distances.min(axis=1, keepdims=True)
        # At a fitted row the distance is 0, and all other weights are.
        floor = np.finfo(np.float64).tiny
        ratio = np.maximum(nearest, floor) / np.maximum(distances, floor)
        weights = ratio ** (_POWER / 2)
        weights /= weights.sum(axis=1, keepdims=True)
        return matmul(weights, self.differences)


def squared_distances(X, Y):
    """||x_i - y_j||^2, (n, m)."""
    cross = matmul(X, Y.T)
    cross *= -2.0
    cross += np.einsum("ij,ij->i", X, X)[:, np.newaxis]
    cross += np.einsum("ij,ij->i", Y, Y)
    return np.maximum(cross, 0.0, out=cross)


class GaussianMap(NamedTuple):
    """The optimal map between the Gaussians with the moments of two samples.

    ``x -> (x - m_s) A + m_t`` with the symmetric matrix ::

        A = S^(-1/2) (S^(1/2) T S^(1/2))^(1/2) S^(-1/2),

    S and T the covariances (divisor n) plus r I. Outside the span of both samples A is
    the identity, and it is kept as ``A = I + B (A_B - I) B'`` with a basis B of that
    span if there are fewer rows than columns.
    """

    source_mean: np.ndarray
    target_mean: np.ndarray
    basis: np.ndarray | None  # (d, r), orthonormal
    matrix: np.ndarray  # A, or A_B - I
    distance: float  # squared Wasserstein distance of the Gaussians

    @classmethod
    def between(cls, source, target, reg):
        """The map from the moments `source` to `target`, ridge `reg`."""
        basis = None
        moments = source, target
        if all(part.factor is not None for part in moments):
            stacked = np.vstack([part.factor for part in moments])
            if len(stacked) < stacked.shape[1]:
                _, lengths, axes = linalg.svd(stacked, full_matrices=False)
                noise = stacked.shape[1] * np.finfo(np.float64).eps
                basis = axes[lengths > noise * max(lengths[0], 0.0)].T
        if basis is None:
            S, T = (part.dense_scatter() / part.count for part in moments)
        else:
            inner = [matmul(part.factor, basis) for part in moments]
            S, T = (matmul(F.T, F) / part.count for F, part in zip(inner, moments))
        A, trace = _monge_matrix(S, T, reg, source.count)
        gap = source.mean - target.mean
        if basis is not None:
            A = A - np.eye(len(A))
        return cls(source.mean, target.mean, basis, A, float(gap @ gap + trace))

    def apply(self, X):
        """Images of rows X (n, d)."""
        X = np.subtract(X, self.source_mean, dtype=np.float64)
        if self.basis is None:
            return matmul(X, self.matrix) + self.target_mean
        inner = matmul(matmul(X, self.basis), self.matrix)
        return X + matmul(inner, self.basis.T) + self.target_mean


def _monge_matrix(S, T, reg, count):
    """A, and ``tr(S + T - 2 (S^(1/2) T S^(1/2))^(1/2))``, both with the ridge."""
    values, V = linalg.eigh(S, check_finite=False)
    noise = max(count, len(S)) * np.finfo(np.float64).eps
    keep = values > noise * max(values.max(initial=0.0), 0.0)
    values = np.where(keep, values, 0.0) + reg
    roots = np.sqrt(values)
    # Without a ridge nothing is known of directions in which the source is constant.
    inverse = np.divide(1.0, roots, out=np.zeros_like(roots), where=roots > 0)
    middle = matmul(V.T, matmul(T, V))
    middle.flat[:: len(middle) + 1] += reg
    middle *= np.outer(roots, roots)
    squares, W = linalg.eigh((middle + middle.T) / 2, check_finite=False)
    lengths = np.sqrt(np.maximum(squares, 0.0))
    factor = matmul(V * inverse, W) * np.sqrt(lengths)
    trace = values.sum() + np.trace(T) + reg * len(T) - 2.0 * lengths.sum()
    return matmul(factor, factor.T), max(trace, 0.0)
