"""Counts, means and scatter of domains, and what follows from them alone."""

from typing import NamedTuple

import numpy as np
from scipy import linalg, sparse

from skadapt.solvers._blas import gram, matmul

# Least share of the first eigenvalue that the last one asked for must have if axes
# come from the Gram matrix of the rows: there their error is eps over the share, not
# over its root as in a singular value decomposition. With it 1e-10, over the gap.
_LEAST_SHARE = 1e-6


class DomainMoments(NamedTuple):
    """Count, mean and scatter of the rows of one domain.

    The scatter ``M = sum (x - mean)(x - mean)'`` is kept as M itself (d, d) or,
    from fewer rows than columns, as a factor R (r, d) with ``M = R'R``: that is
    the smaller of the two and what the low-rank forms work on. Sums are float64
    whatever the rows are.
    """

    count: int
    mean: np.ndarray
    scatter: np.ndarray | None
    factor: np.ndarray | None

    @classmethod
    def from_rows(cls, X):
        """Moments of rows X (n, d), dense or CSR."""
        n, d = X.shape
        if sparse.issparse(X):
            X = X.astype(np.float64)
            mean = np.asarray(X.mean(axis=0)).ravel()
            scatter = (X.T @ X).toarray() - n * np.outer(mean, mean)
            # The difference leaves rounding where a column is constant.
            smallest, largest = (
                bound.toarray().ravel() for bound in (X.min(axis=0), X.max(axis=0))
            )
            varies = smallest < largest
            return cls(n, mean, scatter * np.outer(varies, varies), None)
        mean = X.mean(axis=0, dtype=np.float64)
        centred = np.subtract(X, mean, dtype=np.float64)
        if n < d:
            return cls(n, mean, None, centred)
        return cls(n, mean, gram(centred), None)

    def merge(self, other):
        """Moments of the rows of both (Chan, Golub and LeVeque 1979)."""
        n = self.count + other.count
        gap = other.mean - self.mean
        mean = self.mean + gap * (other.count / n)
        between = gap * np.sqrt(self.count * other.count / n)
        if self.factor is not None and other.factor is not None:
            factor = np.vstack([self.factor, other.factor, between])
            if len(factor) < len(mean):
                return DomainMoments(n, mean, None, factor)
            return DomainMoments(n, mean, gram(factor), None)
        scatter = self.dense_scatter() + other.dense_scatter()
        return DomainMoments(n, mean, scatter + np.outer(between, between), None)

    def dense_scatter(self):
        """The scatter as a (d, d) matrix."""
        return gram(self.factor) if self.scatter is None else self.scatter

    def spectrum(self, n_components=None):
        """Leading eigenvalues of the covariance M / (n - 1), with eigenvectors.

        Returns
        -------
        values : ndarray of shape (k,)
            In descending order. Those that are rounding noise are left out: below
            ``max(n, d) * eps`` of the largest, or below its square of ``n |mean|^2``.
        vectors : ndarray of shape (d, k)
            Orthonormal columns.
        """
        freedom = max(self.count - 1, 1)
        if self.scatter is None:
            singular, vectors = _right_singular(self.factor, n_components)
            values = singular**2 / freedom
        else:
            d = len(self.mean)
            subset = None
            if n_components is not None and n_components < d:
                subset = (d - n_components, d - 1)
            values, vectors = linalg.eigh(
                self.scatter, subset_by_index=subset, check_finite=False
            )
            values, vectors = values[::-1] / freedom, vectors[:, ::-1]
        noise = max(self.count, len(self.mean)) * np.finfo(np.float64).eps
        # The mean of a constant column is wrong by so much of its size.
        centring = noise**2 * self.count * (self.mean @ self.mean) / freedom
        keep = values > max(noise * values[0], centring)
        if n_components is not None:
            keep[n_components:] = False
        return values[keep], vectors[:, keep]


def _right_singular(R, n_components):
    """Leading singular values of R (r, d), r < d, and right vectors as columns.

    Few of them come from an eigendecomposition of R R', where that is accurate; all
    are returned where it is not.
    """
    r = len(R)
    if n_components is not None and n_components < r:
        squares, left = linalg.eigh(
            gram(R.T), subset_by_index=(r - n_components, r - 1), check_finite=False
        )
        if squares[0] > _LEAST_SHARE * squares[-1]:
            # In an orthonormal basis of what they span, as exact as a decomposition.
            basis, _ = linalg.qr(matmul(R.T, left), mode="economic", check_finite=False)
            _, singular, rows = linalg.svd(
                matmul(R, basis), full_matrices=False, check_finite=False
            )
            return singular, matmul(basis, rows.T)
    _, singular, rows = linalg.svd(R, full_matrices=False, check_finite=False)
    return singular, rows.T


class CovarianceRoot(NamedTuple):
    """(S + r I)^p of a covariance S, as ``c I + V diag(f) V'`` with a thin V."""

    complement: float  # c = r^p: what it does to directions without variance
    excess: np.ndarray  # f = (s + r)^p - r^p, one for each column of V
    vectors: np.ndarray

    @classmethod
    def of(cls, moments, reg, power):
        """Root of the covariance of `moments`; with ``reg=0`` a pseudo-inverse."""
        values, vectors = moments.spectrum()
        complement = float(reg) ** power if reg > 0 else 0.0
        return cls(complement, (values + reg) ** power - complement, vectors)

    def matrix(self):
        """The root as a (d, d) matrix."""
        root = matmul(self.vectors * self.excess, self.vectors.T)
        root.flat[:: len(root) + 1] += self.complement
        return root

    def apply(self, X):
        """X times the root, without a (d, d) matrix."""
        inner = matmul(X, self.vectors) * self.excess
        return matmul(inner, self.vectors.T) + self.complement * X


class CoralMap(NamedTuple):
    """``x -> (x - m_s) (S_s + r I)^(-1/2) (S_t + r I)^(1/2)``."""

    mean: np.ndarray
    steps: tuple  # matrices or CovarianceRoots, applied in this order

    @classmethod
    def between(cls, source, target, reg):
        """The map that gives rows of `source` the covariance of `target`."""
        whiten = CovarianceRoot.of(source, reg, -0.5)
        colour = CovarianceRoot.of(target, reg, 0.5)
        if source.factor is None and target.factor is None:
            # One (d, d) matrix serves every later call.
            return cls(source.mean, (matmul(whiten.matrix(), colour.matrix()),))
        return cls(source.mean, (whiten, colour))

    def apply(self, X):
        """Map rows X (n, d) to centred rows."""
        X = np.subtract(X, self.mean, dtype=np.float64)
        for step in self.steps:
            X = step.apply(X) if isinstance(step, CovarianceRoot) else matmul(X, step)
        return X
