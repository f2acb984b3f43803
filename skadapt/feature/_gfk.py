"""Geodesic flow kernel: the subspaces between source and target, all of them."""

from numbers import Integral
from typing import NamedTuple

import numpy as np
from sklearn.base import ClassNamePrefixFeaturesOutMixin, _fit_context
from sklearn.utils import check_consistent_length
from sklearn.utils._param_validation import Interval, StrOptions, validate_params
from sklearn.utils.multiclass import check_classification_targets

from skadapt._base import BaseMapper, check_samples
from skadapt._domains import as_labels, is_labeled, natural_labels
from skadapt.solvers._blas import matmul
from skadapt.solvers._geodesic_flow import (
    axes_of_domains,
    geodesic_flow,
    subspace_disagreement,
)
from skadapt.solvers._moments import DomainMoments

# Dimension when none is given, or the rank if lower: the larger of the two that the
# authors use on Office-Caltech.
_DEFAULT_COMPONENTS = 20

_CONSTRAINTS = {
    "n_components": [
        Interval(Integral, 1, None, closed="left"),
        StrOptions({"disagreement"}),
        None,
    ],
    "subspace": [StrOptions({"pca", "pls"})],
}


class GeodesicFlowResult(NamedTuple):
    """Result of `geodesic_flow_kernel`.

    Attributes
    ----------
    source_kernel : ndarray of shape (n_source, n_source)
        Kernel between source rows, to train on.
    target_kernel : ndarray of shape (n_target, n_source)
        Kernel between target and source rows, to predict from.
    components : ndarray of shape (n_features, 2 * n_components)
        The matrix L: rows times L have the kernel as their inner products.
    angles : ndarray of shape (n_components,)
        Principal angles between the subspaces, in radians, ascending.
    """

    source_kernel: np.ndarray
    target_kernel: np.ndarray
    components: np.ndarray
    angles: np.ndarray


class GFK(ClassNamePrefixFeaturesOutMixin, BaseMapper):
    """Geodesic flow kernel.

    Source and target are two subspaces of dimension p, two points of a Grassmannian.
    Phi(t) for t from 0 to 1 is the geodesic between them, a path of subspaces that
    turns the one into the other. Rows are compared in all of them at once ::

        k(x, z) = int_0^1 (Phi(t)'x)'(Phi(t)'z) dt = x G z',

    and the mapper takes x to ``x L`` with ``G = L L'``, whatever its domain: inner
    products of mapped rows are the kernel.

    Parameters
    ----------
    n_components : int or "disagreement", default=None
        Dimension p of the subspaces, at most the rank of either domain; the result
        has 2 p columns. ``"disagreement"``: the smallest p at which a direction of
        either domain is orthogonal to what both have in common, see the notes.
        None: 20, or the rank if it is lower.
    subspace : {"pca", "pls"}, default="pca"
        Axes of the source: principal components, or the weight vectors of partial
        least squares on the indicators of the classes, which needs source labels.
        Those of the target are principal components.

    Attributes
    ----------
    components_ : ndarray of shape (n_features, 2 * n_components)
        The matrix L: ``[P_s, 0]`` if the subspaces are one.
    angles_ : ndarray of shape (n_components,)
        Principal angles between the subspaces, in radians, ascending. Angles of 0 are
        directions in common.
    n_components_ : int
        The dimension p in use.
    disagreements_ : ndarray of shape (n_components,)
        D(1), ..., D(p) of the notes; only with ``n_components="disagreement"``.
    n_features_in_ : int
        Number of features seen in `fit`.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the features, if X was a data frame.

    Raises
    ------
    ValueError
        If `n_components` exceeds the rank of a domain or the number of axes that PLS
        finds, if a domain has fewer than two rows or no variance, or if
        ``subspace="pls"`` meets no labels or labels of one class only.
    TypeError
        If X is sparse: a principal component fills every entry.

    Warns
    -----
    NoAdaptationWarning
        If `fit` gets no `sample_domain`.

    See Also
    --------
    geodesic_flow_kernel : The same as a function, with the kernel matrices.
    SubspaceAlignment : Turns the source subspace to the target's, in one step.

    Notes
    -----
    With ``P_s'P_t = U cos(Theta) W'``, ``A = P_s U`` and R the unit vectors along
    ``P_t W - A cos(Theta)``, the geodesic is
    ``Phi(t) = A cos(t Theta) + R sin(t Theta)`` and its integral has 2 x 2 blocks, one
    for each angle, whose root is known in closed form. So L costs O(d p^2) after the
    axes, which cost O(n d^2 + p d^2), or O(n^2 d) for a domain with fewer rows than
    columns. Neither G (d, d) nor a basis of the null space is formed.

    Axes are those of each domain about its own mean. The map itself is linear: the
    domain means stay apart if they are, so `PerDomain` should come before.

    The **subspace disagreement** compares the p leading principal axes of each domain
    with those of all rows together. With alpha_p and beta_p the largest angles,
    ``D(p) = (sin(alpha_p) + sin(beta_p)) / 2`` is 1 where both are right angles; the
    smallest such p, to two digits, is taken, and half of the columns (at most the
    rank) if there is none. The rule looks at principal components also if
    ``subspace="pls"``.

    Unlabelled source rows have a part in the principal axes, not in those of PLS;
    target labels are never used. Several sources are pooled, and so are several
    targets.

    References
    ----------
    .. [1] B. Gong, Y. Shi, F. Sha, K. Grauman. Geodesic flow kernel for unsupervised
       domain adaptation. CVPR 2012, sections 3.2 and 3.4.

    Examples
    --------
    >>> import numpy as np
    >>> from skadapt import GFK
    >>> rng = np.random.default_rng(0)
    >>> X, sample_domain = rng.normal(size=(40, 5)), np.repeat([1, -1], 20)
    >>> mapper = GFK(n_components=2).fit(X, sample_domain=sample_domain)
    >>> mapper.transform(X).shape
    (40, 4)
    >>> G = mapper.components_ @ mapper.components_.T
    >>> int(np.linalg.matrix_rank(G))
    4
    """

    _parameter_constraints: dict = _CONSTRAINTS
    _min_rows_per_domain = 2

    def __init__(self, n_components=None, subspace="pca"):
        self.n_components = n_components
        self.subspace = subspace

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None, *, sample_domain=None):
        """Find the subspaces and the kernel between them.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows of source and target, in any order.
        y : array-like of shape (n_samples,), default=None
            Class labels, for ``subspace="pls"`` only; NaN (in an array of floats) or
            None (in an array of objects) marks an unlabelled row. Those of target
            rows are never used, whatever y holds there.
        sample_domain : array-like of shape (n_samples,), default=None
            Domain of each row, > 0 for sources and < 0 for targets. Several of
            either are pooled. None takes all rows as source and as target, with
            a `NoAdaptationWarning`.

        Returns
        -------
        self : object
            The fitted mapper.
        """
        X, source, target = self._check_fit(X, sample_domain)
        ys = None
        if self.subspace == "pls":
            if y is None:
                raise ValueError(
                    "requires y to be passed, but the target y is None: "
                    "subspace='pls' takes axes that go with the classes of the source."
                )
            check_consistent_length(X, y)
            ys = as_labels(y)[source]
        flow, disagreements = _flow(
            X[source], ys, X[target], self.n_components, self.subspace
        )
        self.components_, self.angles_ = flow.factor, flow.angles
        self.n_components_ = len(flow.angles)
        if disagreements is not None:
            self.disagreements_ = disagreements
        elif hasattr(self, "disagreements_"):
            del self.disagreements_
        return self

    def _transform(self, X, is_source):
        return _mapped(X, self.components_)

    @property
    def _n_features_out(self):
        return self.components_.shape[1]

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = self.subspace == "pls"
        return tags


@validate_params(
    {
        "Xs": ["array-like"],
        "Xt": ["array-like"],
        "ys": ["array-like", None],
        **_CONSTRAINTS,
    },
    prefer_skip_nested_validation=True,
)
def geodesic_flow_kernel(Xs, Xt, *, ys=None, n_components=None, subspace="pca"):
    """Geodesic flow kernel of two samples.

    Parameters
    ----------
    Xs : array-like of shape (n_source, n_features)
        Source rows, at least two.
    Xt : array-like of shape (n_target, n_features)
        Target rows, at least two.
    ys : array-like of shape (n_source,), default=None
        Class labels of the source rows, NaN or None where unlabelled; for
        ``subspace="pls"`` only.
    n_components : int or "disagreement", default=None
        Dimension p of the subspaces, as in `GFK`.
    subspace : {"pca", "pls"}, default="pca"
        Axes of the source, as in `GFK`.

    Returns
    -------
    result : GeodesicFlowResult
        Named tuple ``(source_kernel, target_kernel, components, angles)``: the kernel
        between source rows (n_source, n_source), that between target and source rows
        (n_target, n_source), the matrix L (n_features, 2 p) and the angles (p,) in
        radians.

    Raises
    ------
    ValueError
        If `n_components` exceeds the rank of a sample or the number of axes that PLS
        finds, if a sample has fewer than two rows or no variance, if the samples
        differ in their columns, or if ``subspace="pls"`` meets no labels or labels of
        one class only.
    TypeError
        If a sample is sparse.

    See Also
    --------
    GFK : The estimator, with the formulas; its rows take less room than the kernel.

    References
    ----------
    .. [1] B. Gong, Y. Shi, F. Sha, K. Grauman. Geodesic flow kernel for unsupervised
       domain adaptation. CVPR 2012, sections 3.2 and 3.4.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.svm import SVC
    >>> from skadapt import geodesic_flow_kernel
    >>> rng = np.random.default_rng(0)
    >>> Xs, Xt = rng.normal(size=(50, 6)), rng.normal(size=(40, 6))
    >>> ys, yt = np.repeat([0, 1], 25), np.repeat([0, 1], 20)
    >>> Xs[:, 0] += 8 * ys - 4  # the classes, along other axes in the target
    >>> Xt[:, :2] += 6 * yt[:, np.newaxis] - 3
    >>> result = geodesic_flow_kernel(Xs, Xt, n_components=1)
    >>> model = SVC(kernel="precomputed").fit(result.source_kernel, ys)
    >>> float(model.score(result.target_kernel, yt))
    1.0
    """
    Xs, Xt = check_samples(Xs, Xt, ensure_min_samples=2)
    if subspace == "pls":
        if ys is None:
            raise ValueError(
                "subspace='pls' takes axes that go with the classes of the source: "
                "give their labels as ys, or use subspace='pca'."
            )
        check_consistent_length(Xs, ys)
        ys = as_labels(ys)
    flow, _ = _flow(Xs, ys, Xt, n_components, subspace)
    Zs, Zt = (_mapped(X, flow.factor) for X in (Xs, Xt))
    return GeodesicFlowResult(
        matmul(Zs, Zs.T), matmul(Zt, Zs.T), flow.factor, flow.angles
    )


def _flow(Xs, ys, Xt, n_components, subspace):
    """The geodesic flow, and the disagreements if they chose its dimension."""
    source, target = DomainMoments.from_rows(Xs), DomainMoments.from_rows(Xt)
    limit = n_components or _DEFAULT_COMPONENTS
    if n_components == "disagreement":
        limit = max(1, len(source.mean) // 2)
    labelled = _labelled(Xs, ys) if subspace == "pls" else None
    Ps, Pt = axes_of_domains(source, target, limit, labelled)
    p, disagreements = min(Ps.shape[1], Pt.shape[1]), None
    if n_components == "disagreement":
        p, disagreements = subspace_disagreement(source, target, p)
    elif n_components is not None and p < n_components:
        what = f"rank {p} of the target"
        if Ps.shape[1] == p:
            what = f"rank {p} of the source"
            if subspace == "pls":
                what = f"{p} axes that partial least squares finds in the source"
        raise ValueError(
            f"n_components={n_components} is more than the {what}: set n_components to "
            f"at most {p}, or to None."
        )
    return geodesic_flow(Ps[:, :p], Pt[:, :p]), disagreements


def _labelled(X, y):
    """The labelled rows, with their classes."""
    rows = np.flatnonzero(is_labeled(y))
    if not len(rows):
        raise ValueError(
            "y holds no labelled source row: subspace='pls' takes axes that go with "
            "the classes of the source."
        )
    classes = natural_labels(y[rows])
    check_classification_targets(classes)
    return X[rows], classes


def _mapped(X, components):
    return matmul(X, components.astype(X.dtype, copy=False))
