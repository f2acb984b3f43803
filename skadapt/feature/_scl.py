"""Structural correspondence learning."""

import warnings
from numbers import Integral, Real
from typing import NamedTuple

import numpy as np
from scipy import sparse
from scipy.linalg import eigh, lstsq, qr, svd
from scipy.special import rel_entr
from sklearn.base import _fit_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_consistent_length, check_random_state
from sklearn.utils._param_validation import Interval, RealNotInt, StrOptions
from sklearn.utils.extmath import row_norms
from sklearn.utils.validation import _check_feature_names_in, check_is_fitted

from skadapt._base import BaseMapper, row_blocks, spread_order
from skadapt._domains import (
    as_labels,
    check_sample_domain,
    is_labeled,
    mask_target_labels,
    natural_labels,
)
from skadapt.solvers._blas import gram

# Number of pivots when none is given, or half of the columns present if fewer.
_DEFAULT_PIVOTS = 500
# Rows of each domain that hold a pivot when min_df is not given.
_DEFAULT_MIN_DF = 10


class CorrespondencesResult(NamedTuple):
    """Result of `SCL.correspondences`.

    Attributes
    ----------
    features : ndarray of shape (n_neighbors,)
        Names of the nearest features of the other domain, the nearest first; their
        columns if there are no names.
    columns : ndarray of shape (n_neighbors,)
        Their columns.
    similarities : ndarray of shape (n_neighbors,)
        Cosine with the feature that was asked for.
    """

    features: np.ndarray
    columns: np.ndarray
    similarities: np.ndarray


class SCL(BaseMapper):
    """Structural correspondence learning: features that predict the same pivots.

    For text, or other columns of which a row holds few. A pivot is a column that is
    frequent in both domains. From the presence of all other columns, ``x > 0``, a
    linear predictor of each pivot's presence is learned on the rows of both domains,
    labelled or not. Columns of either domain that predict the same pivots get similar
    weights, so with W the weights of all pivots (columns of W) and ``W = U D V'`` ::

        theta = U_h',    x -> [x, alpha a theta x],    a = mean|x| / mean|theta x|

    adds h columns in which words of one domain stand for words of the other.

    Parameters
    ----------
    n_pivots : int, default=None
        Number of pivots. None: 500; fewer if there are not as many columns to choose
        from, or if that were more than half of the columns present.
    n_components : int, default=50
        Largest h; the rank of W if that is lower. With `feature_groups`, for each
        group.
    pivot_selection : {"mi", "frequency"} or array-like of int, default="mi"
        ``"mi"``: columns whose presence has the largest mutual information with the
        labels of the source; needs class labels. ``"frequency"``: columns held by
        the most rows, in the domain where they are fewer. Or the columns themselves.
        Ties go to the lower column.
    min_df : int or float in (0, 1), default=None
        Rows of each domain that must hold a pivot, as a number or a share. None: 10,
        or a tenth of the domain's rows if that is fewer.
    loss : {"modified_huber", "squared"}, default="modified_huber"
        Loss L of the predictors.
    reg : float, default=0.01
        Their regularisation: ``mean(L) + reg (|w|^2 + (b - s)^2)`` is minimised, with
        the intercept b and s = -1, or 1 for a pivot that most rows hold.
    negatives : {"keep", "zero"}, default="keep"
        Whether negative weights stay in W, or are set to 0 as in [1]_.
    alpha : float, default=0.5
        Size of the new columns: with 1 their rows are as long as those of X on
        average, over the rows of `fit`.
    output : {"augmented", "shared"}, default="augmented"
        X with the new columns, or the new columns alone.
    feature_groups : array-like of shape (n_features,), default=None
        Type of each column, such as left and right context; each type gets a
        singular value decomposition of its own, and theta has `n_components` rows
        for each.
    realign : float, default=None
        Correction of misalignments with a few labelled target rows [2]_: with z =
        theta x and v_s the least-squares scorer of the classes on labelled source
        rows, ``v`` minimises ``mean((y - v'z - c)^2) + realign mean(z^2) |v -
        v_s|^2`` on the labelled target rows, and the shared columns z of target rows
        become z' with ``v_s'z' = v'z``. None: target labels are masked.
    tol : float, default=1e-2
        Duality gap of every predictor to reach, relative to its objective.
    max_iter : int, default=1000
        Largest number of sweeps over the rows.
    random_state : int, RandomState instance or None, default=None
        Draws the order in which the predictors see the rows. None: from entropy.

    Attributes
    ----------
    pivots_ : ndarray of shape (n_pivots,)
        Columns of the pivots, the best first.
    pivot_scores_ : ndarray of shape (n_pivots,)
        Their mutual information in nats, or their number of rows in the domain where
        that is smaller.
    theta_ : ndarray of shape (n_components, n_features)
        Orthonormal rows; 0 in the columns of pivots. The largest entry of each row is
        positive.
    singular_values_ : ndarray of shape (n_components,)
        Those of W, descending within a group.
    scale_ : float
        The number a.
    realignment_ : ndarray of shape (n_components, n_components) or None
        R with z' = R'z, if `realign` is set; None otherwise.
    document_frequencies_ : ndarray of shape (2, n_features)
        Rows that hold each column, of the source and of the target.
    objective_ : float
        Mean objective of the predictors.
    duality_gap_ : float
        Largest duality gap of a predictor, relative to its objective: a bound on the
        distance to the optimum.
    n_iter_ : int
        Sweeps over the rows.
    n_features_in_ : int
        Number of features seen in `fit`.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the features, if X was a data frame.

    Raises
    ------
    ValueError
        If no column is present in both domains often enough, if labels are needed
        and missing or no classes, if pivots are given that are no columns, or if X
        has a single column.

    Warns
    -----
    UserWarning
        If there are fewer pivots than asked for, or if the predictors find nothing,
        so that there is no new column.
    ConvergenceWarning
        If a predictor did not reach `tol`.
    NoAdaptationWarning
        If `fit` gets no `sample_domain`.

    See Also
    --------
    TCA : Components for columns of numbers.

    Notes
    -----
    The labels of target rows are masked, whatever y holds there, unless `realign` is
    set. Unlabelled source rows take part in everything but the mutual information:
    pass all that there are, of both domains.

    All pivots are masked in the inputs, not only the one predicted. The predictors
    see presence; `transform` applies theta to the values of X. CSR stays CSR.

    References
    ----------
    .. [1] J. Blitzer, R. McDonald, F. Pereira. Domain adaptation with structural
       correspondence learning. EMNLP 2006.
    .. [2] J. Blitzer, M. Dredze, F. Pereira. Biographies, Bollywood, boom-boxes and
       blenders: domain adaptation for sentiment classification. ACL 2007.
    .. [3] R. K. Ando, T. Zhang. A framework for learning predictive structures from
       multiple tasks and unlabeled data. Journal of Machine Learning Research 6,
       2005.
    .. [4] C.-J. Hsieh et al. A dual coordinate descent method for large-scale linear
       SVM. ICML 2008.

    Examples
    --------
    >>> import numpy as np
    >>> from skadapt import SCL
    >>> books = ["good gripping", "good gripping plot", "bad dull", "bad dull plot"]
    >>> tools = ["good sturdy", "good sturdy", "bad leaky", "bad leaky"]
    >>> from sklearn.feature_extraction.text import CountVectorizer
    >>> words = CountVectorizer()
    >>> X = words.fit_transform(books + tools)
    >>> y = np.array([1, 1, 0, 0] + [np.nan] * 4)
    >>> scl = SCL(n_pivots=2, n_components=1, min_df=2, random_state=0)
    >>> scl = scl.fit(X, y, sample_domain=np.repeat([1, -1], 4))
    >>> names = words.get_feature_names_out()
    >>> names[scl.pivots_]
    array(['bad', 'good'], dtype=object)
    >>> scl.correspondences("gripping", 1, feature_names=names).features
    array(['sturdy'], dtype=object)
    >>> scl.transform(X).shape
    (8, 8)
    """

    _parameter_constraints = {
        "n_pivots": [Interval(Integral, 1, None, closed="left"), None],
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "pivot_selection": [StrOptions({"mi", "frequency"}), "array-like"],
        "min_df": [
            Interval(Integral, 1, None, closed="left"),
            Interval(RealNotInt, 0, 1, closed="neither"),
            None,
        ],
        "loss": [StrOptions({"modified_huber", "squared"})],
        "reg": [Interval(Real, 0, None, closed="neither")],
        "negatives": [StrOptions({"keep", "zero"})],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "output": [StrOptions({"augmented", "shared"})],
        "feature_groups": ["array-like", None],
        "realign": [Interval(Real, 0, None, closed="left"), None],
        "tol": [Interval(Real, 0, None, closed="neither")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
    }
    _accept_sparse = True
    _min_rows = 2

    def __init__(
        self,
        n_pivots=None,
        n_components=50,
        pivot_selection="mi",
        min_df=None,
        loss="modified_huber",
        reg=0.01,
        negatives="keep",
        alpha=0.5,
        output="augmented",
        feature_groups=None,
        realign=None,
        tol=1e-2,
        max_iter=1000,
        random_state=None,
    ):
        self.n_pivots = n_pivots
        self.n_components = n_components
        self.pivot_selection = pivot_selection
        self.min_df = min_df
        self.loss = loss
        self.reg = reg
        self.negatives = negatives
        self.alpha = alpha
        self.output = output
        self.feature_groups = feature_groups
        self.realign = realign
        self.tol = tol
        self.max_iter = max_iter
        self.random_state = random_state

    @property
    def _uses_target_labels(self):
        return self.realign is not None

    @property
    def _selects_by_labels(self):
        return isinstance(self.pivot_selection, str) and self.pivot_selection == "mi"

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None, *, sample_domain=None):
        """Learn the map.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows of source and target, in any order.
        y : array-like of shape (n_samples,), default=None
            Classes; NaN or None marks an unlabelled row. Needed with
            ``pivot_selection="mi"``, where the labels of source rows are used, and
            with `realign`, where those of target rows are used as well; not looked
            at otherwise.
        sample_domain : array-like of shape (n_samples,), default=None
            Domain of each row, > 0 for sources and < 0 for targets. Several of
            either are pooled. None takes all rows as source and as target, with
            a `NoAdaptationWarning`.

        Returns
        -------
        self : object
            The fitted mapper.
        """
        # Only those who fit need numba.
        from skadapt.solvers._pivot_predictors import fit_pivot_predictors

        X, source, target = self._check_fit(X, sample_domain)
        if X.shape[1] < 2:
            raise ValueError(
                "SCL predicts columns from other columns, so it needs at least two, "
                f"got n_features = {X.shape[1]}."
            )
        y = self._check_labels(X, y, sample_domain)
        presence = _presence(X)
        self.document_frequencies_ = np.stack(
            [_column_counts(presence[rows]) for rows in (source, target)]
        )
        self._domain_sizes = np.array([len(source), len(target)])
        scores = self.document_frequencies_.min(axis=0)
        if self._selects_by_labels:
            labeled = source[is_labeled(y[source])]
            scores = _mutual_information(presence[labeled], natural_labels(y[labeled]))
        self.pivots_, shortage = self._select_pivots(scores)
        if shortage:
            warnings.warn(shortage, UserWarning, stacklevel=3)
        self.pivot_scores_ = scores[self.pivots_]

        rng = check_random_state(self.random_state)
        predictors = fit_pivot_predictors(
            # The same rows in the same order, however they came.
            presence[spread_order(presence)],
            self.pivots_,
            loss=self.loss,
            reg=self.reg,
            tol=self.tol,
            max_iter=self.max_iter,
            seed=rng.randint(np.iinfo(np.int32).max),
        )
        self.objective_ = float(predictors.objectives.mean())
        self.duality_gap_ = float(predictors.gaps.max())
        self.n_iter_ = predictors.n_iter
        if self.duality_gap_ > self.tol:
            late = np.count_nonzero(predictors.gaps > self.tol)
            warnings.warn(
                f"{late} of {len(self.pivots_)} pivot predictors have a duality gap of "
                f"more than {self.tol:.1e} (up to {self.duality_gap_:.1e}): increase "
                "max_iter, reg or tol.",
                ConvergenceWarning,
                stacklevel=3,
            )
        theta = self._decompose(predictors, X.shape[1])
        if not len(theta):
            warnings.warn(
                "The pivots depend on no other column (rank 0), so SCL adds no column. "
                "It looks at which columns a row holds (> 0): do all rows hold all?",
                UserWarning,
                stacklevel=3,
            )
        self.theta_ = theta.astype(X.dtype)
        Z = np.asarray(X @ self.theta_.T, dtype=np.float64)
        lengths = [row_norms(rows).mean(dtype=np.float64) for rows in (X, Z)]
        self.scale_ = float(lengths[0] / lengths[1]) if lengths[1] > 0 else 1.0
        self.realignment_ = None
        if self.realign is not None and len(theta):
            self.realignment_ = _realignment(Z, y, source, target, self.realign)
        return self

    def _check_labels(self, X, y, sample_domain):
        """Labels that the method may see, or None if it needs none."""
        if not (self._selects_by_labels or self._uses_target_labels):
            return None
        if y is None:
            raise ValueError(
                "SCL requires y to be passed, but the target y is None: it chooses "
                "pivots by the labels of the source. Pass y, or set pivot_selection to "
                "'frequency' (and realign to None)."
            )
        check_consistent_length(X, y)
        y = as_labels(y)
        source = np.ones(len(y), dtype=bool)
        if sample_domain is not None:
            ids = check_sample_domain(sample_domain, len(y))
            source = ids > 0
            if not self._uses_target_labels:
                y = mask_target_labels(y, ids)
        if y.ndim > 1 or natural_labels(y[is_labeled(y)]).dtype.kind == "f":
            raise ValueError(
                "SCL takes classes for labels, one a row: cut numbers into classes, or "
                "set pivot_selection to 'frequency'."
            )
        labels = y[source]
        if not is_labeled(labels).any():
            raise ValueError(
                "y holds no labelled source row: label some, or set pivot_selection to "
                "'frequency'."
            )
        if len(np.unique(natural_labels(labels[is_labeled(labels)]))) < 2:
            raise ValueError(
                "All labelled source rows are of one class, which tells no pivots: set "
                "pivot_selection to 'frequency'."
            )
        return y

    def _select_pivots(self, scores):
        """Columns of the pivots, and what to say if there are too few (or None)."""
        frequencies = self.document_frequencies_
        n_present = np.count_nonzero(frequencies.any(axis=0))
        if not isinstance(self.pivot_selection, str):
            return _given_pivots(self.pivot_selection, frequencies)
        least = [_least_rows(self.min_df, n) for n in self._domain_sizes]
        candidates = np.flatnonzero((frequencies >= np.c_[least]).all(axis=0))
        if not len(candidates):
            raise ValueError(
                f"No column is present (> 0) in at least {least[0]} source rows and "
                f"{least[1]} target rows, so there is no pivot: prepare both domains "
                "with one vocabulary, or lower min_df."
            )
        if n_present < 2:
            raise ValueError(
                "Only one column is present (> 0) in any row, and SCL predicts columns "
                "from other columns."
            )
        wanted = self.n_pivots or _DEFAULT_PIVOTS
        # Something has to be left to predict them from.
        found = min(wanted, len(candidates), n_present // 2)
        best = np.argsort(-scores[candidates], kind="stable")[:found]
        shortage = None
        if self.n_pivots is not None and found < self.n_pivots:
            shortage = (
                f"SCL uses {found} pivots instead of {self.n_pivots}: "
                f"{len(candidates)} columns are present in at least {least[0]} source "
                f"rows and {least[1]} target rows, and at most half of all "
                f"{n_present} columns become pivots."
            )
        return candidates[best], shortage

    def _decompose(self, predictors, n_features):
        """theta, block by block of the feature groups; sets `singular_values_`."""
        W, columns = predictors.weights, predictors.columns
        if self.negatives == "zero":
            W = np.maximum(W, 0)
        groups = np.zeros(n_features, dtype=int)
        if self.feature_groups is not None:
            groups = np.asarray(self.feature_groups)
            if groups.shape != (n_features,):
                raise ValueError(
                    f"feature_groups has shape {groups.shape} for {n_features} "
                    "columns: give the group of each column."
                )
        blocks, values = [], []
        for group in np.unique(groups):
            rows = np.flatnonzero(groups[columns] == group)
            U, singular_values = _left_singular_vectors(W[rows], self.n_components)
            block = np.zeros((len(singular_values), n_features))
            block[:, columns[rows]] = U.T
            blocks.append(block)
            values.append(singular_values)
        self.singular_values_ = np.concatenate(values)
        return np.concatenate(blocks)

    def _transform(self, X, is_source):
        Z = np.asarray(X @ self.theta_.T)
        if self.realignment_ is not None:
            Z[~is_source] = Z[~is_source] @ self.realignment_
        Z = (Z * (self.alpha * self.scale_)).astype(X.dtype, copy=False)
        if self.output == "shared":
            return Z
        if sparse.issparse(X):
            return sparse.hstack([X, type(X)(Z)], format="csr")
        return np.hstack([X, Z])

    def get_feature_names_out(self, input_features=None):
        """Names of the columns of the output.

        Parameters
        ----------
        input_features : array-like of str, default=None
            Names of the columns of X. None: those of `fit`, or x0, x1, ...

        Returns
        -------
        names : ndarray of shape (n_features_out,)
            The names of the columns of X, unless ``output="shared"``, and scl0,
            scl1, ...
        """
        check_is_fitted(self)
        names = _check_feature_names_in(self, input_features)
        new = np.array([f"scl{i}" for i in range(len(self.theta_))], dtype=object)
        return new if self.output == "shared" else np.concatenate([names, new])

    def correspondences(
        self, feature, n_neighbors=5, *, feature_names=None, min_share=0.8
    ):
        """Features of the other domain that are used like a feature of one domain.

        A feature belongs to the domain in which the larger share of the rows holds
        it. Features are compared by the cosine of their columns of ``D theta``, D
        the singular values: of their weights in all pivot predictors, as far as
        theta keeps them.

        Parameters
        ----------
        feature : int or str
            A column, or a name.
        n_neighbors : int, default=5
            Largest number of features to return.
        feature_names : array-like of shape (n_features,), default=None
            Names of the columns, such as those of a vectoriser. None: those seen in
            `fit`, if X was a data frame.
        min_share : float, default=0.8
            How much a feature must belong to the other domain to be returned: the
            share of its rows there over the sum of its shares in both domains.

        Returns
        -------
        result : CorrespondencesResult
            Named tuple ``(features, columns, similarities)``, the nearest first.
            Features that fewer rows hold than a pivot needs are left out.

        Raises
        ------
        ValueError
            If the feature is unknown, a pivot or without weight, or if no feature
            belongs to the other domain.
        """
        check_is_fitted(self)
        names = feature_names
        if names is None:
            names = getattr(self, "feature_names_in_", None)
        names = None if names is None else np.asarray(names, dtype=object)
        column = self._column(feature, names)
        embedding = self.singular_values_[:, None] * self.theta_
        lengths = np.linalg.norm(embedding, axis=0)
        if not lengths[column] > 0:
            known = "a pivot" if column in self.pivots_ else "used by no predictor"
            raise ValueError(
                f"Feature {feature!r} is {known}, so it has no correspondences: ask "
                "for one that predicts pivots."
            )
        shares = self.document_frequencies_ / self._domain_sizes[:, None]
        other = int(shares[0, column] >= shares[1, column])
        least = _least_rows(self.min_df, self._domain_sizes[other])
        candidates = np.flatnonzero(
            (lengths > 0)
            & (self.document_frequencies_[other] >= least)
            & (shares[other] >= min_share * shares.sum(axis=0))
        )
        candidates = candidates[candidates != column]
        if not len(candidates):
            raise ValueError(
                f"No feature belongs to the {('source', 'target')[other]} with a share "
                f"of {min_share} and is present in at least {least} of its rows: lower "
                "min_share."
            )
        cosines = embedding[:, column] @ embedding[:, candidates]
        cosines = cosines / (lengths[column] * lengths[candidates])
        nearest = np.argsort(-cosines, kind="stable")[:n_neighbors]
        columns = candidates[nearest]
        return CorrespondencesResult(
            columns if names is None else names[columns], columns, cosines[nearest]
        )

    def _column(self, feature, names):
        if not isinstance(feature, str):
            if not 0 <= feature < self.n_features_in_:
                raise ValueError(
                    f"Feature {feature} is no column: there are "
                    f"{self.n_features_in_}, counted from 0."
                )
            return int(feature)
        if names is None:
            raise ValueError(
                "The columns have no names: pass feature_names, or a column."
            )
        if len(names) != self.n_features_in_:
            raise ValueError(
                f"feature_names has {len(names)} entries for {self.n_features_in_} "
                "columns."
            )
        found = np.flatnonzero(names == feature)
        if not len(found):
            raise ValueError(f"There is no feature {feature!r} in the names.")
        return int(found[0])

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = self._selects_by_labels or self._uses_target_labels
        return tags


def _presence(X):
    """Ones where X is positive, in CSR format with sorted columns."""
    if not sparse.issparse(X):
        blocks = row_blocks(*X.shape)
        return sparse.vstack(
            [sparse.csr_array(X[block] > 0, dtype=np.float32) for block in blocks],
            format="csr",
        )
    if not X.has_canonical_format:
        X = X.copy()
        X.sum_duplicates()
    held = X.data > 0
    before = np.concatenate([[0], np.cumsum(held)])
    return sparse.csr_array(
        (
            np.ones(before[-1], dtype=np.float32),
            X.indices[held],
            before[X.indptr].astype(X.indptr.dtype),
        ),
        shape=X.shape,
    )


def _column_counts(presence):
    return np.bincount(presence.indices, minlength=presence.shape[1])


def _least_rows(min_df, n_rows):
    if min_df is None:
        return min(_DEFAULT_MIN_DF, -(-n_rows // 10))
    if isinstance(min_df, Integral):
        return int(min_df)
    return max(1, int(np.ceil(min_df * n_rows)))


def _mutual_information(presence, labels):
    """Mutual information, in nats, between each column's presence and the labels."""
    n = len(labels)
    classes, sizes = np.unique(labels, return_counts=True)
    held = np.stack([_column_counts(presence[labels == c]) for c in classes])
    joint = np.stack([held, sizes[:, None] - held]).astype(np.float64)
    independent = joint.sum(axis=1, keepdims=True) * sizes[:, None] / n
    return rel_entr(joint, independent).sum(axis=(0, 1)) / n


def _given_pivots(pivots, frequencies):
    """Pivots that the user chose, as far as both domains hold them."""
    pivots = np.asarray(pivots)
    n_features = frequencies.shape[1]
    if (
        pivots.ndim != 1
        or pivots.dtype.kind not in "iu"
        or len(np.unique(pivots)) < len(pivots)
        or not ((pivots >= 0) & (pivots < n_features)).all()
    ):
        raise ValueError(
            "pivot_selection must be 'mi', 'frequency', or a list of different columns "
            f"between 0 and {n_features - 1}."
        )
    used = pivots[(frequencies[:, pivots] > 0).all(axis=0)]
    others = np.delete(frequencies.any(axis=0), used)
    if not len(used) or not others.any():
        raise ValueError(
            f"{len(used)} of the {len(pivots)} columns in pivot_selection are present "
            f"(> 0) in rows of both domains, and {np.count_nonzero(others)} other "
            "columns are present to predict them from: SCL needs some of each."
        )
    shortage = None
    if len(used) < len(pivots):
        shortage = (
            f"SCL uses {len(used)} pivots instead of {len(pivots)}: the others are "
            "present in no row of one of the domains."
        )
    return used, shortage


def _left_singular_vectors(W, n_components):
    """At most `n_components` left singular vectors, and as many singular values."""
    n_rows, n_columns = W.shape
    if n_rows <= n_columns:
        U, values, _ = svd(W.astype(np.float64), full_matrices=False)
    else:
        # The Gram matrix is small, and exact enough: W has single precision.
        G = np.zeros((n_columns, n_columns))
        for block in row_blocks(n_rows, n_columns):
            G += gram(W[block].astype(np.float64))
        first = max(0, n_columns - n_components)
        squares, V = eigh(G, subset_by_index=(first, n_columns - 1))
        values, V = np.sqrt(np.maximum(squares[::-1], 0)), V[:, ::-1]
    precision = np.finfo(np.float32).eps * np.sqrt(n_columns)
    rank = np.count_nonzero(values > precision * values.max(initial=0))
    rank = min(rank, n_components)
    values = values[:rank]
    if n_rows > n_columns:
        U, R = qr(W @ (V[:, :rank] / values), mode="economic")
        U = U * np.sign(np.diag(R))
    U = U[:, :rank]
    largest = np.abs(U).argmax(axis=0)
    return U * np.sign(U[largest, np.arange(rank)]), values


def _realignment(Z, y, source, target, realign):
    """R, such that the scorer of the source suits the rows ``z R`` of the target."""
    labeled = np.flatnonzero(is_labeled(y))
    labels = natural_labels(y[labeled])
    in_source = np.isin(labeled, source)
    classes = np.unique(labels[in_source])
    fitted, corrected = labeled[in_source], labeled[np.isin(labeled, target)]
    if not len(corrected):
        raise ValueError(
            "realign corrects the map with labelled target rows, and y holds none: "
            "label some, with TransferClassifier(train_on='labeled') if SCL is its "
            "adapter, or set realign to None."
        )
    if not np.isin(labels, classes).all():
        raise ValueError(
            "A labelled target row is of a class that no labelled source row has: "
            "remove it, or set realign to None."
        )
    wanted = (labels[:, None] == classes).astype(np.float64)
    scorer, *_ = lstsq(np.c_[Z[fitted], np.ones(len(fitted))], wanted[in_source])
    V, c = scorer[:-1], scorer[-1]
    Zt = Z[corrected]
    rest = wanted[np.isin(labeled, target)] - Zt @ V - c
    penalty = len(Zt) * realign * np.mean(Z * Z)
    U, *_ = lstsq(Zt.T @ Zt + penalty * np.eye(Z.shape[1]), Zt.T @ rest)
    return np.eye(Z.shape[1]) + U @ np.linalg.pinv(V)
