"""Subspace alignment: rotate the source subspace onto that of the target."""

from numbers import Integral
from typing import NamedTuple

import numpy as np
from sklearn.base import ClassNamePrefixFeaturesOutMixin
from sklearn.utils._param_validation import Interval, StrOptions, validate_params

from skadapt._base import BaseMapper, check_samples, row_blocks
from skadapt.solvers._blas import matmul
from skadapt.solvers._geodesic_flow import some_axes
from skadapt.solvers._moments import DomainMoments

# Dimension when none is given, or the rank if lower; the published settings lie
# between 20 and 80.
_DEFAULT_COMPONENTS = 30

# Deviation gamma and risk delta of the stability bound: those of the paper's
# experiments, quoted from memory.
_DEVIATION = 1e5
_RISK = 0.1

_CONSTRAINTS = {
    "n_components": [
        Interval(Integral, 1, None, closed="left"),
        StrOptions({"stability"}),
        None,
    ],
    "align_means": ["boolean"],
}


class SubspaceAlignmentResult(NamedTuple):
    """Result of `subspace_alignment`.

    Attributes
    ----------
    X_source : ndarray of shape (n_source, n_components)
        Mapped source rows.
    X_target : ndarray of shape (n_target, n_components)
        Mapped target rows.
    source_components : ndarray of shape (n_features, n_components)
        Axes of the source, aligned to those of the target.
    target_components : ndarray of shape (n_features, n_components)
        Principal axes of the target.
    """

    X_source: np.ndarray
    X_target: np.ndarray
    source_components: np.ndarray
    target_components: np.ndarray


class SubspaceAlignment(ClassNamePrefixFeaturesOutMixin, BaseMapper):
    """Subspace alignment of principal components.

    With P_s and P_t (d, k) the principal axes of the two domains, each about its
    own mean, source and target rows become ::

        x P_s (P_s' P_t)      and      x P_t.

    Parameters
    ----------
    n_components : int or "stability", default=None
        Dimension k of the subspaces, at most the rank of either domain.
        ``"stability"``: the largest below the rank at which the subspaces are stable
        by the bound of the paper, see the notes: most often all columns but one of up
        to ten columns, and 10 to 30 of more. None: 30, or the rank if it is lower.
    align_means : bool, default=False
        Whether to subtract each domain's mean first. Of no effect after
        standardisation per domain, where both are 0 as in the paper.

    Attributes
    ----------
    source_components_ : ndarray of shape (n_features, n_components)
        Axes of the source, aligned: ``P_s P_s' P_t``.
    target_components_ : ndarray of shape (n_features, n_components)
        Principal axes of the target, P_t.
    n_components_ : int
        The dimension k in use.
    source_mean_, target_mean_ : ndarray of shape (n_features,)
        Means of the domains.
    n_features_in_ : int
        Number of features seen in `fit`.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the features, if X was a data frame.

    Raises
    ------
    ValueError
        If `n_components` exceeds the rank of a domain, or if a domain has fewer
        than two rows or no variance.
    TypeError
        If X is sparse.

    Warns
    -----
    NoAdaptationWarning
        If `fit` gets no `sample_domain`.

    See Also
    --------
    subspace_alignment : The same as a function.
    CORAL : Keeps all columns.

    Notes
    -----
    Costs O(n d^2 + k d^2), or O(n^2 d) for a domain with fewer rows than columns.

    The **stability bound** asks for a gap between neighbouring eigenvalues of the
    covariance that sampling cannot close. In units in which the columns of a domain
    have mean variance 1, so that k does not depend on the units of X, k is the largest
    with ::

        lambda_k - lambda_(k+1) >= 16 k^(3/2) B (1 + sqrt(ln(2/delta) / 2))
                                   / (gamma sqrt(n))

    in both domains, and 1 if there is none; B is the largest distance of a row from
    the mean of its domain and n the number of rows of the smaller domain. As nothing
    follows the last axis, k is less than the rank of either domain. The risk is
    delta = 0.1 and the deviation gamma = 10^5; these and the constants are quoted from
    memory. With such a gamma the bound guarantees nothing. With few columns nearly
    every gap is large enough, and k is one less than their number: 3 on iris, 12 on
    wine (standardised), 4 or 9 for Gaussian samples with 5 or 10 columns. That leaves
    rows nearly as they are, so choose k otherwise there. Of many columns it is a scale
    that gives useful numbers, 16 to 21 on the tasks of Office-Caltech, where larger
    ones do better.

    With all d axes of domains of rank d both maps are one rotation: every distance
    stays as it is in X, within a domain and between domains.

    References
    ----------
    .. [1] B. Fernando, A. Habrard, M. Sebban, T. Tuytelaars. Unsupervised visual
       domain adaptation using subspace alignment. ICCV 2013, Algorithm 1 and section
       3.4.

    Examples
    --------
    >>> import numpy as np
    >>> from skadapt import SubspaceAlignment
    >>> rng = np.random.default_rng(0)
    >>> X, sample_domain = rng.normal(size=(40, 5)), np.repeat([1, -1], 20)
    >>> mapper = SubspaceAlignment(n_components=2)
    >>> mapper.fit_transform(X, sample_domain=sample_domain).shape
    (40, 2)
    """

    _parameter_constraints = _CONSTRAINTS
    _min_rows_per_domain = 2

    def __init__(self, n_components=None, align_means=False):
        self.n_components = n_components
        self.align_means = align_means

    def _fit_map(self, X, source, target):
        self._fit_moments(*_moments(X[source], X[target], self.n_components))

    def _fit_moments(self, source, target, n_components):
        self.source_mean_, self.target_mean_ = source.mean, target.mean
        self.source_components_, self.target_components_ = _aligned_axes(
            source, target, n_components
        )
        self.n_components_ = self.target_components_.shape[1]

    def _transform(self, X, is_source):
        out = np.empty((len(X), self._n_features_out), dtype=X.dtype)
        for rows, mean, components in (
            (is_source, self.source_mean_, self.source_components_),
            (~is_source, self.target_mean_, self.target_components_),
        ):
            if rows.any():
                out[rows] = _project(X[rows], components, mean, self.align_means)
        return out

    @property
    def _n_features_out(self):
        return self.target_components_.shape[1]


@validate_params(
    {"Xs": ["array-like"], "Xt": ["array-like"], **_CONSTRAINTS},
    prefer_skip_nested_validation=True,
)
def subspace_alignment(Xs, Xt, *, n_components=None, align_means=False):
    """Project both domains on principal axes, the source's aligned to the target's.

    Parameters
    ----------
    Xs : array-like of shape (n_source, n_features)
        Source rows, at least two.
    Xt : array-like of shape (n_target, n_features)
        Target rows, at least two.
    n_components : int or "stability", default=None
        Dimension of the subspaces, as in `SubspaceAlignment`.
    align_means : bool, default=False
        Whether to subtract each domain's mean first.

    Returns
    -------
    result : SubspaceAlignmentResult
        Named tuple ``(X_source, X_target, source_components,
        target_components)``: the mapped rows, the aligned axes of the source and
        the axes of the target.

    Raises
    ------
    ValueError
        If `n_components` exceeds the rank of a sample, if a sample has fewer than
        two rows or no variance, or if the samples differ in their columns.
    TypeError
        If a sample is sparse.

    See Also
    --------
    SubspaceAlignment : The estimator, with the formula.

    References
    ----------
    .. [1] B. Fernando, A. Habrard, M. Sebban, T. Tuytelaars. Unsupervised visual
       domain adaptation using subspace alignment. ICCV 2013, Algorithm 1.

    Examples
    --------
    >>> import numpy as np
    >>> from skadapt import subspace_alignment
    >>> Xs = np.array([[2.0, 0.0], [-2.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    >>> Xt = Xs[:, ::-1]
    >>> result = subspace_alignment(Xs, Xt, n_components=2)
    >>> bool(np.allclose(result.source_components, result.target_components))
    True
    """
    Xs, Xt = check_samples(Xs, Xt, ensure_min_samples=2)
    source, target, n_components = _moments(Xs, Xt, n_components)
    Ps, Pt = _aligned_axes(source, target, n_components)
    return SubspaceAlignmentResult(
        _project(Xs, Ps, source.mean, align_means),
        _project(Xt, Pt, target.mean, align_means),
        Ps,
        Pt,
    )


def _moments(Xs, Xt, n_components):
    """Moments of both domains, and the dimension if the rows are to choose it."""
    source, target = DomainMoments.from_rows(Xs), DomainMoments.from_rows(Xt)
    if n_components == "stability":
        n_components = _stable_components((Xs, Xt), (source, target))
    return source, target, n_components


def _aligned_axes(source, target, n_components):
    """P_s P_s' P_t and P_t."""
    limit = n_components or _DEFAULT_COMPONENTS
    Ps, Pt = some_axes(source, limit, "source"), some_axes(target, limit, "target")
    rank = min(Ps.shape[1], Pt.shape[1])
    if n_components is not None and rank < n_components:
        name = "source" if Ps.shape[1] == rank else "target"
        raise ValueError(
            f"n_components={n_components} is more than the rank {rank} of the {name}: "
            f"set n_components to at most {rank}, or to None."
        )
    Ps, Pt = Ps[:, :rank], Pt[:, :rank]
    return matmul(Ps, matmul(Ps.T, Pt)), Pt


def _stable_components(samples, moments):
    """The largest dimension that the stability bound allows in both domains."""
    n = min(part.count for part in moments)
    scale = 16 * (1 + np.sqrt(np.log(2 / _RISK) / 2)) / (_DEVIATION * np.sqrt(n))
    stable = []
    for X, part in zip(samples, moments):
        values, _ = part.spectrum()
        variance = values.sum() / len(part.mean)
        if not variance:
            return 1
        radius = max(
            np.linalg.norm(np.subtract(X[rows], part.mean), axis=1).max()
            for rows in row_blocks(len(X), len(part.mean))
        )
        # One less than the rank: nothing is known of what follows the last axis.
        gaps = -np.diff(values) / variance
        bound = scale * np.arange(1, 1 + len(gaps)) ** 1.5 * radius / np.sqrt(variance)
        stable.append(gaps >= bound)
    shared = min(map(len, stable))
    both = np.flatnonzero(stable[0][:shared] & stable[1][:shared])
    return int(both[-1]) + 1 if len(both) else 1


def _project(X, components, mean, align_means):
    offset = matmul(mean[None, :], components) if align_means else 0.0
    return (matmul(X, components.astype(X.dtype, copy=False)) - offset).astype(
        X.dtype, copy=False
    )
