"""Joint geometrical and statistical alignment: a map for each domain."""

from numbers import Integral, Real

import numpy as np
from sklearn.base import ClassNamePrefixFeaturesOutMixin, _fit_context, clone
from sklearn.utils._param_validation import HasMethods, Interval

from skadapt._base import BaseMapper
from skadapt.feature._pseudo_labels import PseudoLabels
from skadapt.feature._transfer_space import check_unit_rows, unit_rows
from skadapt.solvers._blas import matmul
from skadapt.solvers._class_gaps import class_gaps
from skadapt.solvers._joint_alignment import JointAlignment

# Dimension when none is given, if there are as many: the authors' on Office-Caltech.
_DEFAULT_COMPONENTS = 30


class JGSA(PseudoLabels, ClassNamePrefixFeaturesOutMixin, BaseMapper):
    """Joint geometrical and statistical alignment.

    Finds a map A of source rows and a map B of target rows at once. The mapped
    domains and their classes have nearly the same means, the target keeps its
    variance, the source its classes apart, and A and B stay close ::

        max_{A,B}  tr(W' diag(beta S_b, mu S_t) W)  over
                   tr(W' (T + beta diag(S_w, 0)) W)
                   + lam ||A - B||^2 + mu ||B||^2,             W = [A; B],

    the k leading generalised eigenvectors, with the scatters S_b between and S_w
    within the classes of the source, the scatter S_t of the target, and
    ``tr(W'TW)`` the squared gaps between the mapped means of the domains, of all rows
    and of each class. Target rows enter the latter by pseudo-labels, which a
    classifier on the mapped rows replaces from round to round.

    Parameters
    ----------
    n_components : int, default=None
        Number of components k, at most the rank of ``diag(S_b, S_t)``. None: 30, or
        the number of columns or the rank if one is lower. More components than
        columns pair directions of the domains that have nothing in common.
    reg : float, default=1.0
        Weight lam > 0 of the distance of the maps. The larger, the more A and B
        become one map.
    scatter_weight : float, default=0.1
        Weight beta >= 0 of the scatters of the source between and within classes.
    variance_weight : float, default=1.0
        Weight mu > 0 of the variance of the target, and of the norm of B.
    n_iter : int, default=10
        Largest number of rounds. The loop ends before if no pseudo-label changes,
        because then all further rounds are the same.
    normalize : bool, default=True
        Whether rows are brought to Euclidean length 1 before they are mapped (mapped
        rows are left as they are). The published figures are reached only so.
    estimator : classifier, default=None
        Gives the pseudo-labels: at first from the rows themselves, then from the
        mapped rows. None: `KNeighborsClassifier` with one neighbour.

    Attributes
    ----------
    source_components_, target_components_ : ndarray of shape (n_features, n_components)
        The maps A and B; the columns of [A; B] have norm 1.
    eigenvalues_ : ndarray of shape (n_components,)
        Generalised eigenvalues of the last round, descending; their sum is the
        objective.
    pseudo_labels_ : ndarray of shape (n_target,)
        Labels that the classifier gives to the mapped target rows after the last
        round, in the order in which they stand in X.
    n_changes_ : ndarray of shape (n_rounds,)
        Number of target rows to which each round gave another label than they had
        before it; before the first they have those predicted from the rows themselves.
    n_features_in_ : int
        Number of features seen in `fit`.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the features, if X was a data frame.

    Raises
    ------
    ValueError
        If no source row is labelled, if labels are no classes, if `n_components`
        exceeds the rank, if all rows are the same, if X has one column and `normalize`
        leaves but its sign, or if `estimator` is no classifier.
    TypeError
        If X is sparse: centred rows are not.

    Warns
    -----
    NoAdaptationWarning
        If `fit` gets no `sample_domain`.

    See Also
    --------
    TCA : One map, means of all rows only.
    SubspaceAlignment : Two maps, without labels.

    Notes
    -----
    The gaps are weighted as in the authors' code, which the published figures need:
    ``T = (C t_0 + t_1 + ... + t_C) / (C (1/n_s + 1/n_t))`` with t_0 of the means of
    the domains and t_c of those of class c; a class without a pseudo-label is left
    out.

    The problem is solved in the eigenvectors of S_w, where its right side is a row of
    2 x 2 blocks plus a matrix of rank 1 + C, at the size of the rank of
    ``diag(S_b, S_t)`` instead of 2 d. Set-up costs O(n d^2 + d^3), or O(n^2 d) for a
    domain with fewer rows than columns, and a round O(q^3) for that rank q, beside the
    classifier. The largest matrices are q x q and d x min(n, d).

    Unlabelled source rows have a part in the means of the domains only; labels of
    target rows are never used. Several sources are pooled, and so are several
    targets.

    References
    ----------
    .. [1] J. Zhang, W. Li, P. Ogunbona. Joint geometrical and statistical alignment
       for visual domain adaptation. CVPR 2017, section 3.

    Examples
    --------
    >>> import numpy as np
    >>> from skadapt import JGSA
    >>> from skadapt.datasets import make_rotation
    >>> data = make_rotation(random_state=0)
    >>> mapper = JGSA(n_components=2, reg=10.0, normalize=False)
    >>> Z = mapper.fit_transform(data.X, data.y, sample_domain=data.sample_domain)
    >>> truth = data.y[data.sample_domain < 0]
    >>> bool(np.mean(mapper.pseudo_labels_ == truth) > 0.95)
    True
    >>> mapper.n_changes_
    array([33,  3,  0])
    """

    _parameter_constraints: dict = {
        "n_components": [Interval(Integral, 1, None, closed="left"), None],
        "reg": [Interval(Real, 0, None, closed="neither")],
        "scatter_weight": [Interval(Real, 0, None, closed="left")],
        "variance_weight": [Interval(Real, 0, None, closed="neither")],
        "n_iter": [Interval(Integral, 1, None, closed="left")],
        "normalize": ["boolean"],
        "estimator": [HasMethods(["fit", "predict"]), None],
    }
    _min_rows_per_domain = 2

    def __init__(
        self,
        n_components=None,
        reg=1.0,
        scatter_weight=0.1,
        variance_weight=1.0,
        n_iter=10,
        normalize=True,
        estimator=None,
    ):
        self.n_components = n_components
        self.reg = reg
        self.scatter_weight = scatter_weight
        self.variance_weight = variance_weight
        self.n_iter = n_iter
        self.normalize = normalize
        self.estimator = estimator

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y=None, *, sample_domain=None):
        """Learn both maps.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows of source and target, in any order.
        y : array-like of shape (n_samples,)
            Class labels; NaN (in an array of floats) or None (in an array of objects)
            marks an unlabelled row. Those of target rows are never used, whatever y
            holds there.
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
        labelled, labels = self._check_labels(X, y, source)
        if self.normalize:
            check_unit_rows(X)
        rows = np.searchsorted(source, labelled)
        estimator = self._resolve_estimator()
        classes, known = np.unique(labels, return_inverse=True)
        # In double precision throughout: a pseudo-label is no matter of rounding.
        Xs, Xt = (self._rows(X[part].astype(np.float64)) for part in (source, target))
        codes = np.full(len(Xs), -1)
        codes[rows] = known
        problem = JointAlignment(
            Xs,
            codes,
            Xt,
            lam=self.reg,
            beta=self.scatter_weight,
            mu=self.variance_weight,
        )

        def pseudo_labels(Zs, Zt):
            model = clone(estimator).fit(Zs[rows], labels)
            return np.searchsorted(classes, model.predict(Zt))

        limit = self.n_components or min(_DEFAULT_COMPONENTS, X.shape[1])
        pseudo = pseudo_labels(Xs, Xt)
        n_changes = []
        for _ in range(self.n_iter):
            Vs, Vt = _contrasts(codes, pseudo, len(classes))
            maps = problem.solve(Vs, Vt, limit)
            self._check_rank(len(maps.eigenvalues))
            before = pseudo
            pseudo = pseudo_labels(matmul(Xs, maps.source), matmul(Xt, maps.target))
            n_changes.append(np.count_nonzero(pseudo != before))
            if not n_changes[-1]:
                break
        self.source_components_, self.target_components_ = maps.source, maps.target
        self.eigenvalues_ = maps.eigenvalues
        self.pseudo_labels_ = classes[pseudo]
        self.n_changes_ = np.array(n_changes)
        return self

    def _rows(self, X):
        return unit_rows(X) if self.normalize else X

    def _check_rank(self, rank):
        if not rank:
            cause = "All target rows are the same, and so are the means of the classes"
            if self.normalize:
                cause += ", once rows have length 1: try normalize=False"
            raise ValueError(f"{cause}. There is no variance to keep.")
        if self.n_components is not None and rank < self.n_components:
            raise ValueError(
                f"n_components={self.n_components} is more than the rank {rank} of the "
                "scatters between the classes of the source and of the target: set "
                f"n_components to at most {rank}, or to None."
            )

    def _transform(self, X, is_source):
        out = np.empty((len(X), self._n_features_out), dtype=X.dtype)
        for rows, components in (
            (is_source, self.source_components_),
            (~is_source, self.target_components_),
        ):
            if rows.any():
                out[rows] = matmul(
                    self._rows(X[rows]), components.astype(X.dtype, copy=False)
                )
        return out

    @property
    def _n_features_out(self):
        return len(self.eigenvalues_)


def _contrasts(codes, pseudo, n_classes):
    """Weighted gaps of means, a column for all rows and for each class."""
    n, m = len(codes), len(pseudo)
    is_source = np.arange(n + m) < n
    gaps = class_gaps(np.concatenate([codes, pseudo]), is_source, n_classes)
    weights = np.ones(1 + n_classes)
    weights[0] = n_classes
    # The norm of the first term alone, as in the authors' code.
    gaps *= np.sqrt(weights / (n_classes * (1 / n + 1 / m)))
    return gaps[:n], gaps[n:]
