"""EasyTL: nearest class mean after alignment, with a row for every class."""

from numbers import Real

import numpy as np
from scipy import sparse
from scipy.optimize import brentq, linear_sum_assignment
from scipy.special import softmax
from sklearn.base import _fit_context
from sklearn.metrics.pairwise import euclidean_distances
from sklearn.neighbors import NearestCentroid
from sklearn.utils import ClassifierTags, InputTags, TargetTags, check_consistent_length
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import (
    _check_sample_weight,
    check_is_fitted,
    column_or_1d,
    validate_data,
)

from skadapt._domains import (
    as_labels,
    check_sample_domain,
    is_labeled,
    mask_target_labels,
    natural_labels,
)
from skadapt._predictor import BasePredictor, TargetClassifierMixin
from skadapt.solvers._moments import CoralMap, DomainMoments

__all__ = ["EasyTL"]

# Sharpness of the probabilities times the mean squared distance: the least, at which
# classes hardly differ but keep their order, and where the search starts.
_SHARPNESS = 1e-3, 10.0


class EasyTL(TargetClassifierMixin, BasePredictor):
    r"""Easy transfer learning.

    The source gets the covariance of the target (CORAL), and target rows go to the
    class of the source whose mean is nearest [1]_. No class is left without a row: the
    labels of the target solve the linear programme ::

        min  sum_jc M_jc D_jc    over M >= 0 with
        sum_c M_jc = 1 for each row j,   sum_j M_jc >= 1 for each class c

    with D the distances of the rows to the means. Where every class is nearest to some
    row, that is nearest class mean.

    Parameters
    ----------
    align : {"coral"} or None, default="coral"
        Whether the source gets the covariance of the target. Without, X may be sparse.
    reg : float, default=1.0
        Ridge on both covariances, as in `CORAL`.

    Attributes
    ----------
    transduction_ : ndarray of shape (n_target,)
        Labels of the target rows of `fit`, in the order of X.
    n_reassigned_ : int
        Target rows that are not in the class of the nearest mean, so that no class is
        empty: where these are 0, `predict` gives `transduction_`.
    centroids_ : ndarray of shape (n_classes, n_features)
        Means of the classes of the aligned source.
    sharpness_ : float
        Factor of the squared distances in `predict_proba`, in their inverse unit.
    classes_ : ndarray of shape (n_classes,)
        Class labels, in the natural dtype of the labelled values.
    n_features_in_ : int
        Number of features seen in `fit`.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the features, if X was a data frame.

    Raises
    ------
    ValueError
        If `sample_domain` lacks sources or targets, if no source row is labelled, if
        labels are no classes, or if a domain has fewer than two rows with
        ``align="coral"``.
    TypeError
        If X is sparse with ``align="coral"``: the map fills every entry.

    Warns
    -----
    NoAdaptationWarning
        If `fit` gets no `sample_domain`. This is nearest class mean then.

    See Also
    --------
    CORAL : The alignment alone, for any classifier.
    MEDA : Aligns classes, too, in rounds.

    Notes
    -----
    **The programme** is a transportation problem, whose vertices are integral. One of
    its solutions gives each class one row of its own, and each other row to its
    nearest mean. Which rows the classes get is an assignment problem, with the costs
    ``D_jc - min_k D_jk``: it is solved exactly, in O(C^2 n_target) for C classes,
    and only where a class is empty. With fewer target rows than classes there is
    no solution, and rows go to the nearest mean.

    **New rows** go to the nearest mean, source rows too. A row that the programme put
    into another class is predicted by the nearest mean as well: `predict` and
    `transduction_` then differ in `n_reassigned_` rows.

    **Probabilities** are those of spherical Gaussian classes of one width and of equal
    shares, ``softmax(-sharpness_ D^2)``. The width is that of the greatest likelihood
    of the labelled source rows, aligned, each with the mean of its own class taken
    without it, and labels smoothed by Laplace's rule; so the probabilities are
    calibrated for the source, not for the target. The most probable class is that of
    the nearest mean.

    Unlabelled source rows have a part in the covariance; target labels are never used.
    Several sources are pooled, and so are several targets. Weights count as numbers of
    rows in the means and in the likelihood, and not in the covariance.

    A linear map moves means as it moves rows, so alignment costs the map of C rows,
    and of all labelled ones for the probabilities. The distances take n_target C
    numbers. Columns should be standardised in each domain,
    ``PerDomain(StandardScaler())``.

    References
    ----------
    .. [1] J. Wang, Y. Chen, H. Yu, M. Huang, Q. Yang. Easy transfer learning by
       exploiting intra-domain structures. ICME 2019.

    Examples
    --------
    >>> import numpy as np
    >>> from skadapt import EasyTL
    >>> from skadapt.datasets import load_mnist_optdigits
    >>> data = load_mnist_optdigits()
    >>> truth = data.y[data.sample_domain < 0]
    >>> for align in (None, "coral"):
    ...     model = EasyTL(align).fit(data.X, data.y, sample_domain=data.sample_domain)
    ...     print(f"{np.mean(model.transduction_ == truth):.2f}")
    0.45
    0.64
    """

    _parameter_constraints: dict = {
        "align": [StrOptions({"coral"}), None],
        "reg": [Interval(Real, 0, None, closed="left")],
    }

    def __init__(self, align="coral", reg=1.0):
        self.align = align
        self.reg = reg

    def _resolve_estimator(self):
        return NearestCentroid()

    def _check_rows(self, X, *, reset):
        return validate_data(
            self,
            X,
            reset=reset,
            accept_sparse="csr" if self.align is None else False,
            dtype=[np.float64, np.float32],
        )

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_weight=None, *, sample_domain=None):
        """Find the class means and label the target rows.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows of all domains, in any order; sparse with ``align=None`` only.
        y : array-like of shape (n_samples,)
            Labels; NaN (in an array of floats) or None (in an array of objects)
            marks an unlabelled row. Labels of target rows are never used, whatever
            y holds there.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights of the labelled source rows in the means; a row of
            weight 2 counts as two. Those of other rows are not used. Probabilities,
            not labels, depend on the unit: weights of mean 1 keep the number of rows.
        sample_domain : array-like of shape (n_samples,), default=None
            Domain of each row, > 0 for sources and < 0 for targets. Several of
            either are pooled. None takes the class means of all rows, with a
            `NoAdaptationWarning`.

        Returns
        -------
        self : object
            The fitted classifier.
        """
        X, _ = self._check_start(X, y)
        for name in ("transduction_", "n_reassigned_"):
            vars(self).pop(name, None)
        if sample_domain is None:
            self._fit_one_domain(X, y, sample_weight)
            return self
        check_consistent_length(X, y)
        y = column_or_1d(as_labels(y))
        ids = check_sample_domain(sample_domain, X.shape[0], both=True)
        y = mask_target_labels(y, ids)
        training = is_labeled(y)
        self._check_training_rows(training, ids)
        source, target = np.flatnonzero(ids > 0), np.flatnonzero(ids < 0)
        to_target = self._alignment(X, source, target)
        self._fit_means(X, y, training, sample_weight, to_target)

        distances = euclidean_distances(X[target], self.centroids_)
        nearest = distances.argmin(axis=1)
        labels = _without_empty_classes(distances, nearest)
        self.transduction_ = self.classes_[labels]
        self.n_reassigned_ = int(np.count_nonzero(labels != nearest))
        return self

    def _fit_one_domain(self, X, y, sample_weight):
        y = column_or_1d(self._check_one_domain(X, y))
        check_consistent_length(X, y)
        self._fit_means(X, y, np.ones(len(y), dtype=bool), sample_weight, None)

    def _alignment(self, X, source, target):
        """What is done to source rows, or None."""
        if self.align is None:
            return None
        for name, rows in (("source", source), ("target", target)):
            if len(rows) < 2:
                raise ValueError(
                    f"EasyTL with align='coral' needs two {name} rows for a "
                    "covariance, got n_samples = 1: give more rows, or use align=None."
                )
        moments = [DomainMoments.from_rows(X[rows]) for rows in (source, target)]
        coral = CoralMap.between(*moments, self.reg)
        return lambda rows: coral.apply(rows) + coral.mean

    def _fit_means(self, X, y, training, sample_weight, to_target):
        """Means of the classes, and the width of the probabilities."""
        weights = np.ones(X.shape[0])
        if sample_weight is not None:
            weights = _check_sample_weight(
                sample_weight, X, dtype=np.float64, ensure_non_negative=True
            )
            training = training & (weights > 0)
            if not training.any():
                raise ValueError(
                    "sample_weight is 0 for every labelled source row: give some of "
                    "them a positive weight."
                )
        labels = natural_labels(y[training])
        check_classification_targets(labels)
        self.classes_, codes = np.unique(labels, return_inverse=True)
        rows, weights = X[np.flatnonzero(training)], weights[training]
        sums = sparse.csr_array(
            (weights, (codes, np.arange(len(codes)))),
            shape=(len(self.classes_), len(codes)),
        )
        totals = np.bincount(codes, weights)
        means = sums @ rows
        means = means.toarray() if sparse.issparse(means) else means
        means = means / totals[:, np.newaxis]
        if to_target is not None:
            rows, means = to_target(rows), to_target(means)
        self.centroids_ = means
        squares = euclidean_distances(rows, means, squared=True)
        self.sharpness_ = _sharpness(squares, codes, weights, totals)

    def predict(self, X, sample_domain=None):
        """Predict the class of the nearest mean.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows, in the columns of the target.
        sample_domain : array-like of shape (n_samples,) or int, default=None
            Domain of each row; one int stands for all rows. It changes nothing.

        Returns
        -------
        y_pred : ndarray of shape (n_samples,)
            Class labels.
        """
        nearest = self._squares(X, sample_domain).argmin(axis=1)
        return self.classes_[nearest]

    def predict_proba(self, X, sample_domain=None):
        """Predict class probabilities, those of Gaussian classes of one width.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows, in the columns of the target.
        sample_domain : array-like of shape (n_samples,) or int, default=None
            Domain of each row; one int stands for all rows. It changes nothing.

        Returns
        -------
        proba : ndarray of shape (n_samples, n_classes)
            Probabilities, columns in the order of `classes_`.
        """
        squares = self._squares(X, sample_domain)
        return softmax(-self.sharpness_ * squares, axis=1)

    def _squares(self, X, sample_domain):
        check_is_fitted(self)
        X = self._check_rows(X, reset=False)
        if sample_domain is not None:
            check_sample_domain(sample_domain, X.shape[0], scalar=True)
        return euclidean_distances(X, self.centroids_, squared=True)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags = InputTags(sparse=self.align is None)
        tags.target_tags = TargetTags(required=True)
        tags.classifier_tags = ClassifierTags()
        return tags


def _without_empty_classes(distances, nearest):
    """Solution of the linear programme: class numbers of the rows."""
    n_rows, n_classes = distances.shape
    if n_rows < n_classes or len(np.unique(nearest)) == n_classes:
        return nearest
    costs = distances - distances.min(axis=1, keepdims=True)
    rows, classes = linear_sum_assignment(costs)
    labels = nearest.copy()
    labels[rows] = classes
    return labels


def _sharpness(squares, codes, weights, totals):
    """Factor b of the greatest likelihood of the labels, ``softmax(-b squares)``.

    The distance of a row to the mean of its class without it is n / (n - 1) times
    that to the mean with it, n being the number of rows of the class. Labels are
    smoothed by Laplace's rule, as if each class had been seen once more in place of
    each other: so separate classes do not make b infinite.
    """
    scale = squares.mean()
    if not scale > 0:
        return 1.0  # rows that are all alike
    used = totals[codes] > 1
    if len(totals) == 1 or not used.any():
        return float(1 / scale)
    squares, codes, weights = squares[used] / scale, codes[used], weights[used]
    own, of_class = (np.arange(len(codes)), codes), totals[codes]
    squares[own] *= (of_class / (of_class - 1)) ** 2
    n = weights.sum()
    truth = np.full(squares.shape, 1 / (n + len(totals)))
    truth[own] += n / (n + len(totals))
    mean = weights @ (truth * squares).sum(axis=1)

    def slope(b):
        expected = softmax(-b * squares, axis=1) * squares
        return weights @ expected.sum(axis=1) - mean

    low, high = _SHARPNESS
    if slope(low) <= 0:
        return float(low / scale)
    while slope(high) > 0:
        high *= 2
    return float(brentq(slope, low, high) / scale)
