"""Rows as the features of the eigenproblem that TCA, JDA and BDA share.

The problem of `skadapt.solvers._transfer_components` is stated for features F. Those of
a kernel are the columns of its matrix K, those of ``kernel="primal"`` the columns of X;
where X has fewer columns than rows neither needs a matrix of the size of K.
"""

from typing import NamedTuple

import numpy as np
from sklearn.preprocessing import normalize
from sklearn.utils import gen_batches

from skadapt._base import row_blocks, some_rows
from skadapt._kernels import KERNEL_NAMES, check_symmetric, kernel_matrix
from skadapt.solvers._blas import gram, matmul
from skadapt.solvers._moments import DomainMoments
from skadapt.solvers._transfer_components import (
    KernelVariance,
    MatrixVariance,
    leading_components,
    linear_coordinates,
    rounding_of_variance,
    row_space,
)

# Kernels for which a row maps to a product with its columns, and those that take CSR.
LINEAR = ("linear", "primal")
KERNELS = (*KERNEL_NAMES, "primal")

# Dimension when none is given, or the rank if lower; published settings lie
# between 20 and 100.
DEFAULT_COMPONENTS = 30

# Rows whose random features are in memory at a time.
_BLOCK_ROWS = 1024


def is_one_of(kernel, names):
    """Whether the kernel, which may be a callable, is named here."""
    return isinstance(kernel, str) and kernel in names


def unit_rows(X):
    """Rows of Euclidean length 1, in a copy; rows of zeros stay as they are."""
    return normalize(X)


def check_unit_rows(X):
    """Refuse rows of which length 1 leaves nothing but a sign."""
    if X.shape[1] == 1:
        raise ValueError(
            "normalize=True brings rows to length 1 and takes at least 2 features, got "
            "n_features = 1: set normalize=False."
        )


class FeatureSpace(NamedTuple):
    """Features ``F = R L``: R are the rows of X, or the kernel matrix of all rows."""

    variance: object  # F'HF
    basis: np.ndarray | None  # L; None for the identity
    noise: float  # variance that is rounding of F
    duals: np.ndarray | None = None  # C with W = X C A, for the linear kernel on X

    @classmethod
    def of_moments(cls, pooled, kernel):
        """From the moments of the rows of X alone."""
        scatter = pooled.dense_scatter()
        moment = scatter + pooled.count * np.outer(pooled.mean, pooled.mean)
        shape = pooled.count, len(moment)
        if kernel == "primal":
            noise = rounding_of_variance(np.trace(moment), *shape, moment.dtype)
            return cls(MatrixVariance(scatter), None, noise)
        basis, duals = linear_coordinates(moment, pooled.count)
        inner = matmul(basis.T, matmul(scatter, basis))
        # F'F is diagonal, of the squares of the squared lengths of the basis.
        size = np.sum(np.einsum("ij,ij->j", basis, basis) ** 2)
        noise = rounding_of_variance(size, *shape, moment.dtype)
        return cls(MatrixVariance(inner), basis, noise, duals)

    @classmethod
    def of_kernel(cls, K, kernel):
        """From a kernel matrix, which is that of the linear kernel for the primal."""
        if kernel != "primal":
            size = np.einsum("ij,ij->", K, K, dtype=np.float64)
            noise = rounding_of_variance(size, *K.shape, K.dtype)
            return cls(KernelVariance(K), None, noise)
        basis = row_space(K)
        coordinates = matmul(K, basis)
        centred = coordinates - coordinates.mean(axis=0)
        noise = rounding_of_variance(np.trace(K), *K.shape, K.dtype)
        return cls(MatrixVariance(gram(centred)), basis, noise)

    @classmethod
    def of_rows(cls, X, kernel, gamma):
        """The space of the rows of X, and R."""
        if is_one_of(kernel, LINEAR) and X.shape[1] < X.shape[0]:
            return cls.of_moments(DomainMoments.from_rows(X), kernel), X
        K = square_kernel(X, kernel, gamma)
        return cls.of_kernel(K, kernel), K

    def diagonal(self):
        """The same space in coordinates in which F'HF is diagonal."""
        variance, axes = self.variance.diagonal()
        return FeatureSpace(variance, self.coefficients(axes), self.noise)

    def project(self, RV):
        """``F'V`` from ``R'V``."""
        RV = np.asarray(RV, dtype=np.float64)
        return RV if self.basis is None else matmul(self.basis.T, RV)

    def coefficients(self, A):
        """``L A``: rows of R times it are the embedding."""
        return A if self.basis is None else matmul(self.basis, A)

    def components(self, B, reg, n_components, **options):
        """Components in the coordinates of F, and the coefficients of the rows of R."""
        found = leading_components(
            self.variance, B, reg, n_components, noise=self.noise, **options
        )
        coefficients = self.coefficients(found.vectors)
        # The sign is free. Fixed here, where the axes of no solver are left, it does
        # not depend on rounding.
        peak = np.abs(coefficients).argmax(axis=0) if coefficients.size else []
        signs = np.sign(coefficients[peak, np.arange(len(peak))])
        return found._replace(vectors=found.vectors * signs), coefficients * signs


def square_kernel(X, kernel, gamma):
    """The kernel matrix of all rows of X, which may be one already."""
    if is_one_of(kernel, ("precomputed",)):
        check_symmetric(X)
        return np.ascontiguousarray(X)
    kernel = "linear" if is_one_of(kernel, ("primal",)) else kernel
    return np.ascontiguousarray(kernel_matrix(X, None, kernel, gamma))


def check_rank(found, n_components, kernel=None):
    """Refuse a problem without components, or with fewer than asked for."""
    rank = len(found.eigenvalues)
    primal = is_one_of(kernel, ("primal",))
    what = "centred rows" if primal else "centred kernel matrix"
    if not rank:
        under = "" if primal else " under this kernel"
        raise ValueError(
            f"All rows are the same{under}: the rank of the {what} is 0, so there is "
            "no component."
        )
    if n_components is not None and rank < n_components:
        raise ValueError(
            f"n_components={n_components} is more than the rank {rank} of the {what}: "
            f"set n_components to at most {rank}, or to None."
        )


class KernelRows(NamedTuple):
    """``x -> k(x, points) C``: Nystroem's features, or components."""

    points: object
    kernel: object
    gamma: float | None
    C: np.ndarray | None = None

    @classmethod
    def draw(cls, X, kernel, gamma, n_landmarks, random_state):
        """Features whose inner products are near the kernel, from some rows of X."""
        points = some_rows(X, n_landmarks, random_state)
        C = row_space(kernel_matrix(points, None, kernel, gamma))
        return cls(points, kernel, gamma, C)

    def __call__(self, X):
        values = kernel_matrix(X, self.points, self.kernel, self.gamma)
        return values if self.C is None else values @ self.C

    def then(self, A):
        """The features followed by a product with A."""
        return self._replace(C=A if self.C is None else matmul(self.C, A))

    def width(self):
        """Numbers that a row takes."""
        return self.points.shape[0]


class FourierRows(NamedTuple):
    """``x -> sqrt(2/r) cos(x weights + offset)``: random Fourier features.

    With C, which holds the factor sqrt(2/r) then, products of them with C.
    """

    weights: np.ndarray
    offset: np.ndarray
    C: np.ndarray | None = None

    @classmethod
    def draw(cls, n_columns, gamma, n_landmarks, random_state):
        """r features whose inner products are near the rbf kernel."""
        weights = random_state.normal(size=(n_columns, n_landmarks))
        offset = random_state.uniform(0, 2 * np.pi, n_landmarks)
        return cls(np.sqrt(2 * gamma) * weights, offset)

    def __call__(self, X):
        values = np.asarray(X @ self.weights)
        values += self.offset
        np.cos(values, out=values)
        if self.C is not None:
            return values @ self.C
        values *= np.sqrt(2 / self.width())
        return values

    def then(self, A):
        """The features followed by a product with A."""
        return self._replace(C=np.sqrt(2 / self.width()) * A)

    def width(self):
        """Numbers that a row takes."""
        return len(self.offset)


class ColumnMap(NamedTuple):
    """``x -> x C``."""

    C: np.ndarray

    def __call__(self, X):
        return np.asarray(X @ self.C)

    def width(self):
        """Numbers that a row takes."""
        return self.C.shape[1]


def map_of_rows(X, coefficients, kernel, gamma, dtype, K=None):
    """The map with the values ``R coefficients`` at the rows of X: R is K or X."""
    if is_one_of(kernel, LINEAR) and K is not None:
        coefficients = np.asarray(X.T @ coefficients)
    C = coefficients.astype(dtype, copy=False)
    if K is None or is_one_of(kernel, (*LINEAR, "precomputed")):
        return ColumnMap(C)
    return KernelRows(X.copy(), kernel, gamma, C)


def embed(X, row_map, unit):
    """Values of the map at the rows of X, in blocks that fit the working memory."""
    Z = np.empty((X.shape[0], row_map.C.shape[1]), X.dtype)
    for rows in row_blocks(X.shape[0], row_map.width()):
        Z[rows] = row_map(unit_rows(X[rows]) if unit else X[rows])
    return unit_rows(Z) if unit else Z


def row_moments(X, features=None):
    """Moments of rows, or of their features a block at a time."""
    if features is None:
        return DomainMoments.from_rows(X)
    moments = None
    for rows in gen_batches(X.shape[0], _BLOCK_ROWS):
        part = DomainMoments.from_rows(features(X[rows]))
        moments = part if moments is None else moments.merge(part)
    return moments


def take_rows(X, rows):
    """``X[rows]`` for ascending rows, without a copy where they follow one another."""
    if rows[-1] - rows[0] + 1 == len(rows):
        return X[rows[0] : rows[-1] + 1]
    return X[rows]
