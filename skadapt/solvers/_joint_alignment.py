"""Two coupled maps: means of the domains together, classes of the source apart."""

from typing import NamedTuple

import numpy as np
from scipy import linalg

from skadapt.solvers._blas import gram, matmul
from skadapt.solvers._moments import DomainMoments
from skadapt.solvers._transfer_components import rounding_of_variance


class Maps(NamedTuple):
    """Leading solutions of the eigenproblem of `JointAlignment`."""

    source: np.ndarray  # (d, k), A
    target: np.ndarray  # (d, k), B; the columns of [A; B] have norm 1
    eigenvalues: np.ndarray  # (k,), descending


class JointAlignment:
    """The eigenproblem of joint geometrical and statistical alignment.

    For maps A of the source and B of the target, W = [A; B], it is ::

        Smax W = Smin W Phi,         k largest phi,
        Smax = diag(beta S_b, mu S_t)
        Smin = F + G G',   F = [[beta S_w + lam I,       -lam I     ],
                                [     -lam I,       (lam + mu) I    ]]

    with the scatters S_b between and S_w within the classes of the source, the scatter
    S_t of the target, and G = [X_s'V_s; X_t'V_t] for the contrasts V between the
    domains. Over a pseudo-label loop only V changes.

    In the eigenvectors of S_w, F is a row of 2 x 2 blocks, so its inverse is known
    once S_w is decomposed. With Smax = D D' the phi are the eigenvalues of
    ``D' Smin^-1 D``, which is ``D'F^-1 D`` less a matrix of the rank of G by Woodbury's
    formula, and ``w = Smin^-1 D y``. That problem has the size
    q = rank(S_b) + rank(S_t), not 2 d; set-up costs O(n d^2 + d^3), or O(n^2 d) for a
    domain with fewer rows than columns, and a solution O(q^3) or less.

    Parameters
    ----------
    Xs : ndarray of shape (n_source, n_features), float64
        Source rows.
    classes : ndarray of shape (n_source,)
        Class of each source row in 0 ... C - 1; -1 where unknown, and then without a
        part in S_b and S_w.
    Xt : ndarray of shape (n_target, n_features), float64
        Target rows.
    lam, mu : float
        Positive.
    beta : float
        Not negative.
    """

    def __init__(self, Xs, classes, Xt, *, lam, beta, mu):
        self.Xs, self.Xt = Xs, Xt
        between, within = _class_scatters(Xs, classes)
        target = DomainMoments.from_rows(Xt)
        # The roots of the blocks of Smax, D = diag(Db, Dt).
        self.Db = np.sqrt(beta) * between
        spread, axes = target.spectrum()
        self.Dt = axes * np.sqrt(mu * spread * (target.count - 1))

        size = beta * np.square(Xs).sum() + mu * np.square(Xt).sum()
        n_rows = max(len(Xs), len(Xt))
        self._noise = rounding_of_variance(size, n_rows, Xs.shape[1], np.float64)

        freedom = max(within.count - 1, 1)
        values, self.U = within.spectrum()
        self._blocks = _inverse_blocks(beta * freedom * values, lam, mu)
        # What the inverse does where S_w is 0; nothing if it is so nowhere.
        d = Xs.shape[1]
        rest = _inverse_blocks(np.zeros(()), lam, mu)
        self._rest = rest if self.U.shape[1] < d else (0.0, 0.0, 0.0)

        zero = np.zeros_like(self.Db)
        Bs, Bt = self._solve_ridge(self.Db, zero)
        self.fixed = np.block(
            [
                [matmul(self.Db.T, Bs), matmul(Bt.T, self.Dt)],
                [matmul(self.Dt.T, Bt), self._target_block()],
            ]
        )

    def _target_block(self):
        """Dt' F^-1 Dt with the lower right block of F^-1."""
        inner = matmul(self.U.T, self.Dt)
        excess = self._blocks[2] - self._rest[2]
        # One sign: F^-1 falls as S_w grows.
        block = np.sign(excess.sum()) * gram(
            inner * np.sqrt(np.abs(excess))[:, np.newaxis]
        )
        return block + self._rest[2] * gram(self.Dt)

    def _solve_ridge(self, Ys, Yt):
        """F^-1 [Ys; Yt]."""
        Cs, Ct = matmul(self.U.T, Ys), matmul(self.U.T, Yt)
        ss, st, tt = (
            (block - rest)[:, np.newaxis]
            for block, rest in zip(self._blocks, self._rest)
        )
        ss0, st0, tt0 = self._rest
        return (
            matmul(self.U, ss * Cs + st * Ct) + ss0 * Ys + st0 * Yt,
            matmul(self.U, st * Cs + tt * Ct) + st0 * Ys + tt0 * Yt,
        )

    def solve(self, Vs, Vt, n_components):
        """Leading maps for the contrasts ``[Vs; Vt]``.

        Parameters
        ----------
        Vs : ndarray of shape (n_source, r)
            Rows of V of the source.
        Vt : ndarray of shape (n_target, r)
            Rows of V of the target.
        n_components : int
            Largest k.

        Returns
        -------
        Maps
            With fewer columns if Smax has a lower rank.
        """
        Gs, Gt = matmul(self.Xs.T, Vs), matmul(self.Xt.T, Vt)
        Hs, Ht = self._solve_ridge(Gs, Gt)
        core = matmul(Gs.T, Hs) + matmul(Gt.T, Ht)
        core.flat[:: len(core) + 1] += 1.0
        factor = linalg.cholesky(core, lower=True)
        Z = np.vstack([matmul(self.Db.T, Hs), matmul(self.Dt.T, Ht)])
        Z = linalg.solve_triangular(factor, Z.T, lower=True)
        reduced = self.fixed - gram(Z)
        q = len(reduced)
        k = min(n_components, q)
        phi, Y = linalg.eigh(
            reduced, subset_by_index=(q - k, q - 1), check_finite=False
        )
        phi, Y = phi[::-1], Y[:, ::-1]
        keep = phi > q * np.finfo(np.float64).eps * max(phi[0], 0.0)
        phi, Y = phi[keep], Y[:, keep]
        # w = F^-1 (D y - G core^-1 Z y)
        left = linalg.solve_triangular(factor, matmul(Z, Y), lower=True, trans=1)
        n_between = self.Db.shape[1]
        A, B = self._solve_ridge(
            matmul(self.Db, Y[:n_between]) - matmul(Gs, left),
            matmul(self.Dt, Y[n_between:]) - matmul(Gt, left),
        )
        W = np.vstack([A, B])
        lengths = np.linalg.norm(W, axis=0)
        # w'Smax w is phi^2; of unit length it is more than the rounding of the rows.
        keep = phi**2 > self._noise * lengths**2
        W, phi = W[:, keep] / lengths[keep], phi[keep]
        # The sign is free; fix it so that results are repeatable.
        peak = np.abs(W).argmax(axis=0)
        W *= np.sign(W[peak, np.arange(W.shape[1])])
        return Maps(W[: len(A)], W[len(A) :], phi)


def _class_scatters(X, classes):
    """A root (d, C) of the scatter between classes, and moments of that within."""
    X, classes = X[classes >= 0], classes[classes >= 0]
    counts = np.bincount(classes)
    sums = np.zeros((len(counts), X.shape[1]))
    np.add.at(sums, classes, X)
    means = sums / counts[:, np.newaxis]
    between = (means - X.mean(axis=0)) * np.sqrt(counts)[:, np.newaxis]
    return between.T, DomainMoments.from_rows(X - means[classes])


def _inverse_blocks(scatter, lam, mu):
    """Entries 11, 12 and 22 of the inverse of [[s + lam, -lam], [-lam, lam + mu]]."""
    determinant = lam * mu + scatter * (lam + mu)
    return (lam + mu) / determinant, lam / determinant, (scatter + lam) / determinant
