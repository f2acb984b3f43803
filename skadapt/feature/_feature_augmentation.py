"""Feature augmentation: columns that all domains share, and a copy for each of them."""

from numbers import Real

import numpy as np
from scipy import sparse
from sklearn.base import _fit_context
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV
from sklearn.utils import check_consistent_length, gen_batches
from sklearn.utils._param_validation import HasMethods, Interval
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import (
    _check_feature_names_in,
    _check_sample_weight,
    check_is_fitted,
    column_or_1d,
    validate_data,
)

from skadapt._base import BaseMapper
from skadapt._domains import (
    as_labels,
    check_sample_domain,
    is_labeled,
    natural_labels,
    warn_no_adaptation,
)
from skadapt._predictor import (
    BasePredictor,
    TargetClassifierMixin,
    estimator_has,
    fit_weighted,
    takes_domains,
)

# Entries that are multiplied at a time where the order of domains is found.
_BLOCK_ROWS = 4096


class FeatureAugmentation(BaseMapper):
    r"""Give every row a shared copy of its columns and one of its own domain.

    Of K domains with d columns, a row x of domain k becomes ::

        [ c x | 0 ... 0 | x | 0 ... 0 ]

    with ``(K + 1) d`` columns, where x stands in the block of domain k. A linear model
    on these rows has the weights ``c v + u_k`` in domain k and is free to learn what
    all domains have in common and what is different in each (EasyAdapt [1]_). The
    target block is learned from labelled target rows: fit the model with
    ``TransferClassifier(..., train_on="labeled")``.

    Parameters
    ----------
    shared_scale : float, default=1.0
        Factor c of the shared block. Under a squared penalty the weights of single
        domains cost c^2 times as much as shared ones: large values pool the domains,
        small ones separate them.

    Attributes
    ----------
    domains_ : ndarray of shape (n_domains,)
        Ids of the domains in the order of their blocks, which follow the shared one:
        sources, then targets. Several of a kind are ordered by their rows, not by
        their ids, which are names. -1 alone if `fit` was given no domains.
    n_features_in_ : int
        Number of features seen in `fit`.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the features, if X was a data frame.

    Raises
    ------
    ValueError
        In `transform`, if a domain was not seen in `fit`, or if several targets were
        and `sample_domain` does not say which.

    Warns
    -----
    NoAdaptationWarning
        If `fit` gets no `sample_domain`.

    See Also
    --------
    EasyAdaptClassifier : The same with unlabelled target rows (EA++).
    TwoStageFeatureClassifier : Where the target has no labels.

    Notes
    -----
    The inner product of two rows is ``(c^2 + 1) x'z`` within a domain and ``c^2 x'z``
    between domains: with c = 1 rows of one domain count twice. CSR comes out as CSR
    with twice the stored entries; a dense X takes K + 1 times its memory.

    Rows of all domains weigh the same in the model; ``target_weight`` of
    `TransferClassifier` changes that. With few labelled target rows the twofold
    number of weights can cost more than it brings: where both domains follow one law,
    30 labels and 6 columns lose 7 points of accuracy against pooling. Without any, the
    shared weights alone predict the target, about half of what the sources have
    learned.

    References
    ----------
    .. [1] H. Daume III. Frustratingly easy domain adaptation. ACL 2007, section 3.

    Examples
    --------
    >>> import numpy as np
    >>> from skadapt import FeatureAugmentation
    >>> X = np.array([[1.0, 2.0], [3.0, 4.0]])
    >>> FeatureAugmentation().fit_transform(X, sample_domain=[1, -1])
    array([[1., 2., 1., 2., 0., 0.],
           [3., 4., 0., 0., 3., 4.]])
    """

    _parameter_constraints = {
        "shared_scale": [Interval(Real, 0, None, closed="neither")]
    }
    _accept_sparse = True

    def __init__(self, shared_scale=1.0):
        self.shared_scale = shared_scale

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None, *, sample_domain=None):
        """Take note of the domains.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows of all domains, in any order.
        y : ignored
            Present for the interface; labels do not change the map.
        sample_domain : array-like of shape (n_samples,), default=None
            Domain of each row, each with its own id. None takes all rows as one
            domain, with a `NoAdaptationWarning`.

        Returns
        -------
        self : object
            The fitted mapper.
        """
        X = self._validate(X, reset=True)
        if sample_domain is None:
            warn_no_adaptation(self, stacklevel=4)
            self.domains_ = np.array([-1])
        else:
            ids = check_sample_domain(sample_domain, X.shape[0], both=True)
            self.domains_ = _ordered_domains(X, ids)
        self._scale = float(self.shared_scale)
        return self

    def transform(self, X, sample_domain=None):
        """Augment rows.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows.
        sample_domain : array-like of shape (n_samples,) or int, default=None
            Domain of each row; one int stands for all rows. None: rows of the
            target, if there was only one in `fit`.

        Returns
        -------
        X_new : {ndarray, sparse matrix} of shape (n_samples, (n_domains + 1) * \
                n_features)
            Augmented rows, in the order of X; CSR if X is sparse.
        """
        check_is_fitted(self)
        X = self._validate(X, reset=False)
        block = _block_of_rows(self, sample_domain, X.shape[0])
        return _augmented(X, block, len(self.domains_), self._scale)

    def get_feature_names_out(self, input_features=None):
        """Names of the columns of the output.

        Parameters
        ----------
        input_features : array-like of str, default=None
            Names of the columns of the input. None: those of `fit`.

        Returns
        -------
        names : ndarray of str
            ``shared_`` or ``domain<id>_`` and the name of the column.
        """
        check_is_fitted(self)
        names = _check_feature_names_in(self, input_features)
        blocks = ["shared", *(f"domain{domain}" for domain in self.domains_)]
        return np.array(
            [f"{block}_{name}" for block in blocks for name in names], dtype=object
        )


class EasyAdaptClassifier(TargetClassifierMixin, BasePredictor):
    r"""Linear classifier on augmented columns, with unlabelled target rows (EA++).

    A linear model with the weights v for all domains and :math:`u_k` for each of them,
    as on the rows of `FeatureAugmentation`. Labelled rows of all domains train it, and
    every unlabelled target row x asks that the models of the domains agree on it,
    :math:`(u_k - u_t)^\top x \approx 0` for each source k (co-regularisation [1]_).

    Parameters
    ----------
    estimator : classifier, default=None
        A linear scikit-learn classifier with the parameter `fit_intercept` whose `fit`
        takes `sample_weight`. With more than two classes it must be a logistic
        regression, whose loss treats all classes alike. None:
        ``LogisticRegression(max_iter=1000)``.
    shared_scale : float, default=1.0
        Factor of the shared block, as in `FeatureAugmentation`.
    unlabeled_weight : float, default=0.1
        Weight of an unlabelled target row for each source and each class, where a
        labelled row has 1. 0 is feature augmentation alone.
    intercept_scaling : float, default=1.0
        The constant column that each domain gets instead of the intercept. Its
        weights are penalised like all others, less so if this is large.

    Attributes
    ----------
    estimator_ : classifier
        The classifier fitted to augmented rows.
    classes_ : ndarray of shape (n_classes,)
        Class labels, in the natural dtype of the labelled values.
    domains_ : ndarray of shape (n_domains,)
        Ids of the domains in the order of their blocks, as in `FeatureAugmentation`;
        None if `fit` was given no domains.
    n_features_in_ : int
        Number of features seen in `fit`.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the features, if X was a data frame.

    Raises
    ------
    ValueError
        If no source row or no target row is labelled, if the classifier has no
        `fit_intercept` or takes no `sample_weight`, or if it is no logistic
        regression and there are more than two classes. In `predict`, if a domain was
        not seen in `fit`, or if several targets were and `sample_domain` does not say
        which.

    Warns
    -----
    NoAdaptationWarning
        If `fit` gets no `sample_domain`. The classifier is fitted to X as it is then.

    See Also
    --------
    FeatureAugmentation : The columns alone, for any model.
    TrAdaBoostClassifier : Another use of a few labelled target rows.

    Notes
    -----
    For an unlabelled row x of target t and each source k the training set gets the row
    ``[0 | .. x .. | .. -x ..]``, x in the block of k and -x in that of t, once with
    each class as its label. A loss that is symmetric in the classes has its least
    value for such a group where all classes score the same on the row, which is where
    the models of k and t agree.

    An intercept that all domains share would be pulled to equal scores by these rows,
    whatever the class shares are. So there is none: a constant column is augmented
    with the others, and cancels as they do.

    Unlabelled source rows are left out. With u unlabelled target rows, K sources and C
    classes the training set grows by u K C rows; give CSR, which is kept.

    References
    ----------
    .. [1] H. Daume III, A. Kumar, A. Saha. Frustratingly easy semi-supervised domain
       adaptation. Workshop on Domain Adaptation for NLP, 2010.

    Examples
    --------
    >>> import numpy as np
    >>> from skadapt import EasyAdaptClassifier
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(1000, 20))
    >>> sample_domain = np.repeat([1, -1], 500)
    >>> X[:500, 10:] = 0  # columns of the target alone
    >>> truth = (X.sum(axis=1) > 0).astype(float)
    >>> y = truth.copy()
    >>> y[540:] = np.nan  # 40 labelled target rows
    >>> model = EasyAdaptClassifier().fit(X, y, sample_domain=sample_domain)
    >>> print(f"{model.score(X[540:], truth[540:]):.2f}")
    0.90
    """

    _uses_target_labels = True
    _parameter_constraints: dict = {
        "estimator": [HasMethods(["fit", "predict"]), None],
        "shared_scale": [Interval(Real, 0, None, closed="neither")],
        "unlabeled_weight": [Interval(Real, 0, None, closed="left")],
        "intercept_scaling": [Interval(Real, 0, None, closed="neither")],
    }

    def __init__(
        self,
        estimator=None,
        *,
        shared_scale=1.0,
        unlabeled_weight=0.1,
        intercept_scaling=1.0,
    ):
        self.estimator = estimator
        self.shared_scale = shared_scale
        self.unlabeled_weight = unlabeled_weight
        self.intercept_scaling = intercept_scaling

    def _resolve_estimator(self):
        if self.estimator is None:
            return LogisticRegression(max_iter=1000)
        return self.estimator

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y, sample_weight=None, *, sample_domain=None):
        """Fit the classifier to augmented rows.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows of all domains, in any order.
        y : array-like of shape (n_samples,)
            Class labels; NaN (in an array of floats) or None (in an array of objects)
            marks an unlabelled row. Some rows of the sources and of the targets have
            to be labelled.
        sample_weight : array-like of shape (n_samples,), default=None
            Row weights; for unlabelled target rows they multiply `unlabeled_weight`.
        sample_domain : array-like of shape (n_samples,), default=None
            Domain of each row, > 0 for sources and < 0 for targets, each with its own
            id. None fits the classifier to all rows as they are, with a
            `NoAdaptationWarning`.

        Returns
        -------
        self : object
            The fitted classifier.
        """
        X, estimator = self._check_start(X, y)
        if sample_domain is None:
            self.domains_ = None
            self._fit_without_adaptation(estimator, X, y, sample_weight)
            return self
        if takes_domains(estimator):
            raise ValueError(
                f"{type(estimator).__name__} takes sample_domain itself: fit it by "
                f"itself instead of as the estimator of {type(self).__name__}."
            )
        check_consistent_length(X, y)
        y = column_or_1d(as_labels(y))
        ids = check_sample_domain(sample_domain, X.shape[0], both=True)
        labeled = is_labeled(y)
        self._check_training_rows(labeled, ids)
        labels = natural_labels(y[labeled])
        check_classification_targets(labels)
        classes = np.unique(labels)
        self._check_linear(estimator, len(classes))
        self.domains_ = _ordered_domains(X, ids)
        self._scales = float(self.shared_scale), float(self.intercept_scaling)
        weights = None
        if sample_weight is not None:
            weights = _check_sample_weight(sample_weight, X, dtype=np.float64)

        known = np.flatnonzero(labeled)
        rows = [self._augment(X[known], ids[known])]
        free = np.flatnonzero(~labeled & (ids < 0))
        if len(free) and self.unlabeled_weight > 0:
            weights = np.ones(len(ids)) if weights is None else weights
            asked = self._disagreements(X[free], ids[free])
            n_sources = np.count_nonzero(self.domains_ > 0)
            rows += [asked] * len(classes)
            labels = np.concatenate([labels, np.repeat(classes, asked.shape[0])])
            of_asked = np.tile(weights[free], n_sources * len(classes))
            weights = np.concatenate([weights[known], of_asked * self.unlabeled_weight])
        elif weights is not None:
            weights = weights[known]
        if weights is not None:
            self._check_takes_weights(estimator)
        estimator.set_params(fit_intercept=False)
        self.estimator_ = fit_weighted(estimator, _stack(rows), labels, weights)
        return self

    def _check_training_rows(self, training, ids):
        super()._check_training_rows(training, ids)
        if not training[ids < 0].any():
            raise ValueError(
                "y holds no labelled target row: what is particular to the target is "
                "learned from its labels. Label some rows, or use "
                "TransferClassifier, which needs none."
            )

    def _check_linear(self, estimator, n_classes):
        name = type(estimator).__name__
        if "fit_intercept" not in estimator.get_params(deep=False):
            raise ValueError(
                f"{name} has no parameter fit_intercept: feature augmentation with "
                "unlabelled rows takes a linear classifier that has, such as "
                "LogisticRegression."
            )
        joint = isinstance(estimator, (LogisticRegression, LogisticRegressionCV))
        if n_classes > 2 and self.unlabeled_weight > 0 and not joint:
            raise ValueError(
                f"{name} may split the {n_classes} classes one against the rest, which "
                "unlabelled rows would bias: use LogisticRegression, or "
                "unlabeled_weight=0."
            )

    def _check_rows(self, X, *, reset):
        return validate_data(
            self, X, reset=reset, accept_sparse="csr", dtype=[np.float64, np.float32]
        )

    def _with_constant(self, X):
        constant = np.full((X.shape[0], 1), self._scales[1], dtype=X.dtype)
        if sparse.issparse(X):
            return sparse.hstack([X, constant], format="csr", dtype=X.dtype)
        return np.hstack([X, constant])

    def _augment(self, X, sample_domain):
        block = _block_of_rows(self, sample_domain, X.shape[0])
        n_domains = len(self.domains_)
        return _augmented(self._with_constant(X), block, n_domains, self._scales[0])

    def _disagreements(self, X, ids):
        """Rows whose score is that of each source less that of the row's target."""
        X = self._with_constant(X)
        target = _block_of_rows(self, ids, X.shape[0])
        n_blocks = 1 + len(self.domains_)
        return _stack(
            [
                _placed(X, ((1 + k, 1.0), (1 + target, -1.0)), n_blocks)
                for k in np.flatnonzero(self.domains_ > 0)
            ]
        )

    def _rows_of(self, X, sample_domain):
        check_is_fitted(self)
        X = self._check_rows(X, reset=False)
        if self.domains_ is None:
            if sample_domain is not None:
                check_sample_domain(sample_domain, X.shape[0], scalar=True)
            return X
        return self._augment(X, sample_domain)

    def predict(self, X, sample_domain=None):
        """Predict the class of rows.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows.
        sample_domain : array-like of shape (n_samples,) or int, default=None
            Domain of each row; one int stands for all rows. None: rows of the
            target, if there was only one in `fit`.

        Returns
        -------
        y_pred : ndarray of shape (n_samples,)
            Class labels.
        """
        rows = self._rows_of(X, sample_domain)
        return self.estimator_.predict(rows)

    @available_if(estimator_has("predict_proba"))
    def predict_proba(self, X, sample_domain=None):
        """Predict class probabilities.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows.
        sample_domain : array-like of shape (n_samples,) or int, default=None
            Domain of each row, as in `predict`.

        Returns
        -------
        proba : ndarray of shape (n_samples, n_classes)
            Probabilities, columns in the order of `classes_`.
        """
        rows = self._rows_of(X, sample_domain)
        return self.estimator_.predict_proba(rows)

    @available_if(estimator_has("decision_function"))
    def decision_function(self, X, sample_domain=None):
        """Scores of the fitted classifier.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows.
        sample_domain : array-like of shape (n_samples,) or int, default=None
            Domain of each row, as in `predict`.

        Returns
        -------
        scores : ndarray of shape (n_samples,) or (n_samples, n_classes)
            Scores of the classifier.
        """
        rows = self._rows_of(X, sample_domain)
        return self.estimator_.decision_function(rows)

    @property
    def classes_(self):
        """Class labels, in the natural dtype of the labelled values."""
        check_is_fitted(self)
        return self.estimator_.classes_


def _ordered_domains(X, ids):
    """Ids of the domains, sources first, in an order that their rows decide.

    Ids are names: giving a domain another one must not move its block. So domains of
    a kind are ordered by the mean of their rows along one fixed random direction.
    """
    direction = np.random.default_rng(0).standard_normal(X.shape[1])
    along = np.empty(X.shape[0])
    for rows in gen_batches(X.shape[0], _BLOCK_ROWS):
        along[rows] = X[rows] @ direction
    domains, number = np.unique(ids, return_inverse=True)
    mean = np.bincount(number, along) / np.bincount(number)
    return domains[np.lexsort((mean, domains < 0))]


def _block_of_rows(estimator, sample_domain, n_samples):
    """Number of each row's domain in ``estimator.domains_``."""
    name, domains = type(estimator).__name__, estimator.domains_
    if sample_domain is None:
        targets = domains[domains < 0]
        if len(targets) > 1:
            raise ValueError(
                f"{name} was fitted on the targets {sorted(targets.tolist())}: say "
                "which one the rows belong to, for instance sample_domain=-1."
            )
        sample_domain = targets[0]
    ids = check_sample_domain(sample_domain, n_samples, scalar=True)
    if len(domains) == 1:  # fitted without domains
        return np.zeros(n_samples, dtype=np.intp)
    order = np.argsort(domains)
    place = np.minimum(np.searchsorted(domains, ids, sorter=order), len(domains) - 1)
    block = order[place]
    unknown = ids[domains[block] != ids]
    if len(unknown):
        raise ValueError(
            f"{name} was not fitted on domain {unknown[0]}: fit it with rows of that "
            f"domain; it knows {sorted(domains.tolist())}."
        )
    return block


def _augmented(X, block, n_domains, shared_scale):
    return _placed(X, ((0, shared_scale), (1 + block, 1.0)), n_domains + 1)


def _placed(X, copies, n_blocks):
    """Two copies of each row in a row of `n_blocks` times as many columns.

    `copies` are the two pairs of a block, one number or one for each row, and a
    factor; the first block comes before the second.
    """
    n, d = X.shape
    blocks = [np.broadcast_to(block, n) for block, _ in copies]
    factors = [X.dtype.type(factor) for _, factor in copies]
    if not sparse.issparse(X):
        out = np.zeros((n, n_blocks, d), dtype=X.dtype)
        for block, factor in zip(blocks, factors):
            out[np.arange(n), block] = X * factor
        return out.reshape(n, n_blocks * d)
    stored = np.diff(X.indptr)
    total = 2 * int(X.indptr[-1])
    index = sparse.get_index_dtype(maxval=max(n_blocks * d, total))
    data, indices = np.empty(total, X.dtype), np.empty(total, index)
    row = np.repeat(np.arange(n), stored)
    # Entry e of row i is entry e + indptr[i] of the first copy, as that row starts at
    # 2 indptr[i]; the second copy follows the stored[i] entries of the first.
    place = np.arange(len(row)) + X.indptr[row]
    for block, factor in zip(blocks, factors):
        data[place] = X.data * factor
        indices[place] = X.indices + d * block[row].astype(index)
        place = place + stored[row]
    indptr = 2 * X.indptr.astype(index)
    return type(X)((data, indices, indptr), shape=(n, n_blocks * d))


def _stack(parts):
    if sparse.issparse(parts[0]):
        return sparse.vstack(parts, format="csr")
    return np.concatenate(parts)
