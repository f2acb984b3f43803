"""What JDA, BDA and JGSA share: pseudo-labels, and components in turns with them."""

from abc import abstractmethod
from numbers import Integral, Real

import numpy as np
from sklearn.base import (
    ClassNamePrefixFeaturesOutMixin,
    _fit_context,
    clone,
    is_classifier,
)
from sklearn.neighbors import KNeighborsClassifier
from sklearn.utils import check_consistent_length
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.multiclass import check_classification_targets

from skadapt._base import BaseMapper
from skadapt._domains import is_labeled, mask_target_labels, natural_labels
from skadapt._kernels import resolve_gamma
from skadapt.feature._transfer_space import (
    DEFAULT_COMPONENTS,
    KERNELS,
    LINEAR,
    FeatureSpace,
    check_rank,
    check_unit_rows,
    embed,
    is_one_of,
    map_of_rows,
    take_rows,
    unit_rows,
)
from skadapt.solvers._class_gaps import class_gaps


class PseudoLabels:
    """Mixin: what mappers that label the target rows ask of y and of `estimator`."""

    def _check_labels(self, X, y, source):
        """Labelled source rows and their labels."""
        if y is None:
            raise ValueError(
                f"requires y to be passed, but the target y is None: "
                f"{type(self).__name__} learns from the labels of source rows."
            )
        check_consistent_length(X, y)
        ids = np.full(X.shape[0], -1)
        ids[source] = 1
        y = mask_target_labels(y, ids)
        labelled = source[is_labeled(y[source])]
        if not len(labelled):
            raise ValueError(
                "y holds no labelled source row: the labels of the source are what "
                f"{type(self).__name__} learns from."
            )
        names = natural_labels(y[labelled])
        check_classification_targets(names)
        return labelled, names

    def _resolve_estimator(self):
        if self.estimator is None:
            return KNeighborsClassifier(1)
        if not is_classifier(self.estimator):
            raise ValueError(
                f"estimator must be a classifier, got {self.estimator!r}: give, for "
                "example, LogisticRegression()."
            )
        return self.estimator

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        return tags


class PseudoLabelMapper(PseudoLabels, ClassNamePrefixFeaturesOutMixin, BaseMapper):
    """Base class of mappers that bring class means together by pseudo-labels.

    A subclass implements ``_weighting(X, is_source)``, which returns a function of the
    vectors of `class_gaps` and of the labels: the vectors as the objective weighs them.
    """

    _parameter_constraints: dict = {
        "n_components": [Interval(Integral, 1, None, closed="left"), None],
        "kernel": [StrOptions(set(KERNELS)), callable],
        "gamma": [Interval(Real, 0, None, closed="neither"), None],
        "reg": [Interval(Real, 0, None, closed="neither")],
        "scale": [StrOptions({"unit", "whiten"})],
        "normalize": ["boolean"],
        "estimator": [HasMethods(["fit", "predict"]), None],
        "n_iter": [Interval(Integral, 1, None, closed="left")],
    }
    _min_rows = 2

    @property
    def _accept_sparse(self):
        return is_one_of(self.kernel, KERNELS)

    @abstractmethod
    def _weighting(self, X, is_source):
        """A function ``(gaps, labels) -> V`` of shape (n_samples, 1 + n_classes)."""

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None, *, sample_domain=None):
        """Learn the map and the labels of the target rows, in turns.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows of source and target, in any order.
        y : array-like of shape (n_samples,)
            Class labels; NaN (in an array of floats) or None (in an array of objects)
            marks an unlabelled row. Labels of target rows are never used, whatever y
            holds there; unlabelled source rows count in the variance and in the gap
            between the domains.
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
        labelled, names = self._check_labels(X, y, source)
        estimator = self._resolve_estimator()
        classes, codes = np.unique(names, return_inverse=True)
        is_source = np.zeros(X.shape[0], dtype=bool)
        is_source[source] = True
        labels = np.full(len(is_source), -1)
        labels[labelled] = codes

        # In double precision throughout: a pseudo-label is no matter of rounding.
        rows = X.astype(np.float64, copy=False)
        if self.normalize:
            check_unit_rows(X)
            rows = unit_rows(rows)
        Xs, Xt = take_rows(rows, source), take_rows(rows, target)
        self.gamma_ = resolve_gamma(self.gamma, self.kernel, Xs, Xt)
        del Xs, Xt
        space, R = FeatureSpace.of_rows(rows, self.kernel, self.gamma_)
        if self.n_iter > 1:
            space = space.diagonal()
        weigh = self._weighting(rows, is_source)

        n_changes, found = [], None
        for turn in range(self.n_iter):
            gaps = class_gaps(labels, is_source, len(classes))
            marginal = gaps[:, :1]
            V = weigh(gaps, labels) if turn else marginal
            if self.normalize:
                V = _of_norm_one(V)
            found, A = space.components(
                space.project(R.T @ V),
                self.reg,
                min(self.n_components or DEFAULT_COMPONENTS, len(is_source)),
                scale=self.scale,
            )
            check_rank(found, self.n_components, self.kernel)
            Z = np.asarray(R @ A)
            mmd = float(np.sum((marginal.T @ Z) ** 2))
            Z = unit_rows(Z) if self.normalize else Z
            model = clone(estimator).fit(Z[labelled], names)
            predicted = np.searchsorted(classes, model.predict(Z[target]))
            changed = np.count_nonzero(predicted != labels[target])
            n_changes.append(changed if turn else len(target))
            labels[target] = predicted
            if turn and not changed:
                break
        self.pseudo_labels_ = classes[predicted]
        self.n_changes_ = np.array(n_changes)
        self.eigenvalues_ = found.eigenvalues
        self.objective_ = float(found.eigenvalues.sum())
        self.mmd_, self.residual_ = mmd, found.residual
        K = None if R is rows else R
        self._row_map = map_of_rows(rows, A, self.kernel, self.gamma_, X.dtype, K)
        for name in ("components_", "coefficients_", "X_fit_"):
            vars(self).pop(name, None)  # of an earlier fit with another kernel
        if is_one_of(self.kernel, LINEAR):
            self.components_ = self._row_map.C
        else:
            self.coefficients_, self.X_fit_ = self._row_map.C, self._row_map.points
        return self

    def _transform(self, X, is_source):
        return embed(X, self._row_map, self.normalize)

    @property
    def _n_features_out(self):
        return len(self.eigenvalues_)


def _of_norm_one(V):
    """V over the root of the Frobenius norm of V V', which is that of V'V."""
    norm = np.linalg.norm(V.T @ V)
    return V / np.sqrt(norm) if norm > 0 else V
