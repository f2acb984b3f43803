"""Subspaces of two domains and the geodesic between them on the Grassmannian."""

from typing import NamedTuple

import numpy as np
from scipy import linalg

from skadapt.solvers._blas import matmul
from skadapt.solvers._moments import DomainMoments

# The disagreement that counts as 1: the authors' code rounds it to two digits.
_FULL_DISAGREEMENT = 0.995


class GeodesicFlow(NamedTuple):
    """Root of the geodesic flow kernel of two subspaces."""

    factor: np.ndarray  # (d, 2p), L with G = L L'
    angles: np.ndarray  # (p,), principal angles in radians, ascending


def principal_axes(X, p):
    """Leading principal axes of rows about their own mean.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features) or DomainMoments
        Rows, or their moments.
    p : int
        Number of axes.

    Returns
    -------
    axes : ndarray of shape (n_features, min(p, rank)), float64
        Orthonormal columns, by decreasing variance, each with its largest entry
        positive.
    """
    moments = X if isinstance(X, DomainMoments) else DomainMoments.from_rows(X)
    _, axes = moments.spectrum(p)
    return _with_positive_peak(axes)


def some_axes(X, p, name):
    """`principal_axes` of a domain of this name, of which there must be one."""
    axes = principal_axes(X, p)
    if not axes.shape[1]:
        raise ValueError(f"The {name} has no variance: all of its rows are the same.")
    return axes


def axes_of_domains(source, target, p, labelled=None):
    """Axes for a geodesic from the source to the target.

    Parameters
    ----------
    source, target : ndarray of shape (n_samples, n_features) or DomainMoments
        Rows, or their moments.
    p : int
        Number of axes.
    labelled : tuple of (ndarray, ndarray), default=None
        Rows of the source and their classes, for its axes by partial least squares.
        None: `principal_axes`, as in the target.

    Returns
    -------
    Ps, Pt : ndarray of shape (n_features, k)
        Orthonormal columns, at least one and at most p of either.
    """
    Pt = some_axes(target, p, "target")
    if labelled is None:
        return some_axes(source, p, "source"), Pt
    rows, classes = labelled
    if len(np.unique(classes)) < 2:
        raise ValueError(
            "y holds one class only in the source: subspace='pls' takes axes that go "
            "with the classes. Use subspace='pca'."
        )
    Ps = pls_axes(rows, classes, p)
    if not Ps.shape[1]:
        raise ValueError(
            "The means of the classes are the same in the source, so no axis goes with "
            "the classes: use subspace='pca'."
        )
    return Ps, Pt


def pls_axes(X, y, p):
    """Leading weight vectors of partial least squares of rows on their classes.

    With X centred and Y the indicators of the classes, weight k is the leading left
    singular vector of ``X_k'Y``, where ``X_k`` is X less its projection on the scores
    ``t_j = X_j w_j`` before k (PLS2 in mode A, without scaling): the `x_weights_` of
    scikit-learn's ``PLSRegression(p, scale=False)``, which finds them by power
    iteration.

    Only the (d, C) matrix ``X_k'Y`` is deflated, so that a weight costs two products
    of X and a vector.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Rows.
    y : ndarray of shape (n_samples,)
        Class of each row.
    p : int
        Number of weights.

    Returns
    -------
    axes : ndarray of shape (n_features, k), float64
        Orthonormal columns, each with its largest entry positive; k is less than p
        if nothing is left that goes with the classes.
    """
    X = np.subtract(X, X.mean(axis=0, dtype=np.float64), dtype=np.float64)
    n, d = X.shape
    classes, code = np.unique(y, return_inverse=True)
    Y = np.zeros((n, len(classes)))
    Y[np.arange(n), code] = 1.0
    Y -= Y.mean(axis=0)
    cross = matmul(X.T, Y)
    W, P, T = np.empty((d, p)), np.empty((d, p)), np.empty((n, p))
    # Sums leave rounding of this size where nothing is left.
    noise = max(n, d) * np.finfo(np.float64).eps * np.linalg.norm(X)
    least = noise * np.linalg.norm(Y)
    found = 0
    while found < p:
        left, singular, _ = linalg.svd(cross, full_matrices=False)
        if singular[0] <= least:
            break
        # In exact arithmetic w is orthogonal to the weights before, and t to theirs.
        w = left[:, 0] - W[:, :found] @ (W[:, :found].T @ left[:, 0])
        w /= np.linalg.norm(w)
        t = X @ w - T[:, :found] @ (P[:, :found].T @ w)
        t -= T[:, :found] @ (T[:, :found].T @ t)
        length = np.linalg.norm(t)
        if length <= noise:
            break
        W[:, found], T[:, found] = w, t / length
        P[:, found] = X.T @ T[:, found]
        cross -= np.outer(P[:, found], T[:, found] @ Y)
        found += 1
    return _with_positive_peak(W[:, :found])


def geodesic_factor(Ps, Pt):
    """The matrix L (d, 2p) with ``G = L L'``, the geodesic flow kernel.

    Rows times L have the inner products ``x G z'``. See `geodesic_flow`.

    Parameters
    ----------
    Ps, Pt : ndarray of shape (n_features, p)
        Orthonormal bases of two subspaces of one dimension.

    Returns
    -------
    factor : ndarray of shape (n_features, 2 p), float64
    """
    return geodesic_flow(Ps, Pt).factor


def geodesic_flow(Ps, Pt):
    """Root of the kernel that integrates over the geodesic of two subspaces.

    With ``P_s'P_t = U cos(Theta) W'``, ``A = P_s U`` and the unit vectors
    ``R = (P_t W - A cos(Theta)) / sin(Theta)`` the geodesic on the Grassmannian from
    the first subspace to the second is ``Phi(t) = A cos(t Theta) + R sin(t Theta)``,
    and the kernel is ::

        G = int_0^1 Phi(t) Phi(t)' dt = [A R] [[a, b], [b, e]] [A R]'

    with diagonal blocks ``a = (1 + sin(2 theta) / (2 theta)) / 2``,
    ``b = sin(theta)^2 / (2 theta)`` and ``e = 1 - a``. Each angle has a 2 x 2 block
    of its own, whose root ``[[r11, r12], [r12, r22]]`` is known in closed form; the
    root of the kernel is ``[A r11 + R r12, A r12 + R r22]``. It costs O(d p^2), and
    nothing is d x d.

    Both halves are multiplied by U', which changes no inner product and makes them
    functions of the bases alone, however the SVD turns equal angles: of ``P_s = P_t``
    the factor is ``[P_s, 0]``.

    The angles are ``arctan2`` of sine and cosine, both computed: accurate at 0 and at
    pi / 2, where an arccos is not.

    Parameters
    ----------
    Ps, Pt : ndarray of shape (n_features, p)
        Orthonormal bases of two subspaces of one dimension: the geodesic is one
        between points of a Grassmannian. If ``2 p > n_features`` the subspaces
        intersect, and some angles are 0.

    Returns
    -------
    GeodesicFlow
    """
    if Ps.shape != Pt.shape:
        raise ValueError(
            f"Two bases of the shapes {Ps.shape} and {Pt.shape} have no geodesic "
            "between them: take as many axes of either domain."
        )
    U, cosine, Wt = linalg.svd(matmul(Ps.T, Pt), check_finite=False)
    A = matmul(Ps, U)
    R = matmul(Pt, Wt.T) - A * cosine
    sine = np.linalg.norm(R, axis=0)
    R /= np.where(sine > 0, sine, 1.0)
    angles = np.arctan2(sine, cosine)
    r11, r12, r22 = _block_roots(angles)
    halves = matmul(A * r11 + R * r12, U.T), matmul(A * r12 + R * r22, U.T)
    return GeodesicFlow(np.hstack(halves), angles)


def subspace_disagreement(source, target, max_components):
    """Number of axes at which the domains disagree with what they have in common.

    With alpha_p and beta_p the largest principal angles between the p leading axes
    of all rows together and those of the source, and of the target ::

        D(p) = (sin(alpha_p) + sin(beta_p)) / 2,

    and the number is the smallest p at which D(p) is 1, to two digits.

    Parameters
    ----------
    source, target : DomainMoments
        Moments of the domains.
    max_components : int
        Largest number, and the result if D stays below 1.

    Returns
    -------
    n_components : int
    disagreements : ndarray of shape (n_components,)
        ``D(1), D(2), ..., D(n_components)``.
    """
    pooled = principal_axes(source.merge(target), max_components)
    parts = [
        matmul(pooled.T, principal_axes(moments, max_components))
        for moments in (source, target)
    ]
    limit = min(part.shape[1] for part in parts)
    disagreements = []
    for p in range(1, limit + 1):
        cosines = [linalg.svdvals(part[:p, :p])[-1] for part in parts]
        sines = np.sqrt(np.maximum(1 - np.square(cosines), 0))
        disagreements.append(sines.mean())
        if disagreements[-1] >= _FULL_DISAGREEMENT:
            break
    return len(disagreements), np.array(disagreements)


def _block_roots(theta):
    """Roots of [[a, b], [b, e]] for each angle: entries 11, 12 and 22."""
    e = _one_minus_sinc(2 * theta) / 2
    a = 1 - e
    b = np.sin(theta) * np.sinc(theta / np.pi) / 2
    D = np.sqrt(np.maximum(a * e - b * b, 0))
    s = np.sqrt(a + e + 2 * D)
    return (a + D) / s, b / s, (e + D) / s


def _one_minus_sinc(x):
    """``1 - sin(x) / x``, without cancellation for a small x."""
    square = x * x
    # x^2/3! - x^4/5! + ... up to x^16/17!: below rounding for x < 1.
    series = np.zeros_like(x)
    for k in range(16, 0, -2):
        series = square / ((k + 1) * k) * (1 - series)
    return np.where(x < 1, series, 1 - np.sinc(x / np.pi))


def _with_positive_peak(axes):
    """Columns with the free sign fixed, so that results are repeatable."""
    if not axes.size:
        return axes
    peak = np.abs(axes).argmax(axis=0)
    return axes * np.sign(axes[peak, np.arange(axes.shape[1])])
