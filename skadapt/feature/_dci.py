"""DCI: terms of each domain described by how they go with pivots that both share."""

import warnings
from numbers import Integral
from typing import NamedTuple

import numpy as np
from scipy import sparse
from scipy.special import rel_entr
from sklearn.base import _fit_context
from sklearn.utils import check_consistent_length
from sklearn.utils._param_validation import Interval, StrOptions, validate_params
from sklearn.utils.multiclass import type_of_target
from sklearn.utils.validation import _check_feature_names_in, check_is_fitted

from skadapt._base import BaseMapper, check_samples
from skadapt._domains import as_labels, is_labeled, natural_labels
from skadapt.solvers._correspondence import scale_rows, term_profiles

# Number of pivots when none is given, or that of the candidates if lower.
_DEFAULT_PIVOTS = 500
# Least standard deviation of a column to divide by, as in the authors' code.
_LEAST_SPREAD = 1e-5
# Share of rows without a term that is worth no warning: most collections have a few.
_FEW_EMPTY = 0.01

_CONSTRAINTS = {
    "n_pivots": [Interval(Integral, 1, None, closed="left"), None],
    "dcf": [StrOptions({"cosine", "linear", "pmi"})],
    "min_df": [Interval(Integral, 1, None, closed="left")],
    "unify": [StrOptions({"pivots", "all"})],
    "post": [StrOptions({"source", "domain"}), None],
}


class DCIResult(NamedTuple):
    """Result of `dci`.

    Attributes
    ----------
    X_source : ndarray of shape (n_source, n_pivots)
        Mapped source rows.
    X_target : ndarray of shape (n_target, n_pivots)
        Mapped target rows.
    pivots : ndarray of shape (n_pivots,)
        Columns of the pivots, the strongest first.
    source_embedding, target_embedding : ndarray of shape (n_features, n_pivots)
        Profiles of the terms in each domain.
    """

    X_source: np.ndarray
    X_target: np.ndarray
    pivots: np.ndarray
    source_embedding: np.ndarray
    target_embedding: np.ndarray


class DCI(BaseMapper):
    r"""Distributional correspondence indexing of texts.

    A term is described by how it goes with pivots: terms that are about as common in
    both domains and say something about the class. "Gripping" in books and "sharp" in
    knives keep the same company, and so have similar profiles; a document is the
    weighted sum of the profiles that its terms have in its own domain.

    Parameters
    ----------
    n_pivots : int, default=None
        Number of pivots m, and of columns of the result. None: 500, or as many as
        there are candidates if they are fewer.
    dcf : {"cosine", "linear", "pmi"}, default="cosine"
        Distributional correspondence function of a term and a pivot, see the notes.
    min_df : int, default=2
        Least number of rows of either domain that hold a pivot.
    unify : {"pivots", "all"}, default="pivots"
        Terms whose two profiles are replaced by their mean: the pivots, or all terms
        that occur in both domains.
    post : {"source", "domain"}, default="source"
        Statistics that bring the columns of the result to mean 0 and variance 1: of
        the source rows of `fit`, or for rows of each domain those of its own rows.
        ``"domain"`` takes the class shares of both domains for equal. None leaves
        rows of length 1.

    Attributes
    ----------
    pivots_ : ndarray of shape (n_pivots,)
        Columns of the pivots, the strongest first.
    strengths_ : ndarray of shape (n_pivots,)
        Their strengths, in nats.
    source_embedding_, target_embedding_ : ndarray of shape (n_features, n_pivots)
        Profiles of the terms in each domain, 0 for terms that do not occur there.
    source_idf_, target_idf_ : ndarray of shape (n_features,)
        Inverse document frequencies of each domain.
    n_features_in_ : int
        Number of features seen in `fit`.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the features, if X was a data frame.

    Raises
    ------
    ValueError
        If X has negative values, if no source row is labelled, if labels are no
        classes, or if no term occurs in `min_df` rows of both domains.

    Warns
    -----
    UserWarning
        If there are fewer candidates than `n_pivots`, or if more than 1 % of the rows
        are empty.
    NoAdaptationWarning
        If `fit` gets no `sample_domain`.

    See Also
    --------
    dci : The same as a function.
    MSDA : Another map of texts, without labels.

    Notes
    -----
    **Input** are counts, such as those of `CountVectorizer`, dense or CSR; rows of all
    domains need one vocabulary. A count c > 1 becomes 1 + log c, and is multiplied by
    the inverse document frequency ``log((1 + n) / (1 + df)) + 1`` of its own domain.

    **Pivots** are the m columns of largest strength ::

        I(presence; class) * min(p_s, p_t) / max(p_s, p_t)

    with the information gain over the labelled source rows and the shares p of all
    rows of each domain that hold the term. Ties go to the more common term.

    **Profiles.** With u_f the column of tf-idf weights of term f and p_f, p_fl the
    shares of rows with f, and with f and l, the correspondence of f and pivot l is ::

        cosine   cos(u_f, u_l) - sqrt(p_f p_l)
        linear   p_fl / p_l - (p_f - p_fl) / (1 - p_l)
        pmi      log2( p_fl / (p_f p_l) )

    Columns of this matrix are standardised over the terms, its rows brought to length
    1, and a row x maps to ``x E`` of length 1, with E the profiles of its domain.

    All rows of a domain shape its profiles, labelled or not: unlabelled source rows
    and further target rows help. Labels choose the pivots, and those of target rows are
    never used. Several sources are pooled, and so are several targets.

    The profiles take ``2 n_features n_pivots`` numbers of the dtype of X: counts as
    float32 halve them.

    References
    ----------
    .. [1] A. Moreo, A. Esuli, F. Sebastiani. Distributional correspondence indexing
       for cross-lingual and cross-domain sentiment classification. Journal of
       Artificial Intelligence Research 55, 2016.

    Examples
    --------
    >>> import numpy as np
    >>> from skadapt import DCI
    >>> rng = np.random.default_rng(0)
    >>> y = rng.integers(0, 2, 1000)
    >>> sample_domain = np.repeat([1, -1], 500)
    >>> words = ["good", "bad", "gripping", "dull", "sharp", "blunt", "the"]
    >>> likes = np.array([1, 0, 1, 0, 1, 0, 0])  # the class that uses each word
    >>> share = np.where(y[:, None] == likes, 0.8, 0.3)
    >>> share[:500, 4:6] = 0  # nobody calls a book sharp
    >>> share[500:, 2:4] = 0
    >>> share[:, 6] = 1
    >>> counts = rng.binomial(1, share)
    >>> index = DCI(n_pivots=2).fit(counts, y, sample_domain=sample_domain)
    >>> sorted(words[column] for column in index.pivots_)
    ['bad', 'good']
    >>> gripping = index.source_embedding_[2]
    >>> sharp, blunt = index.target_embedding_[4:6]
    >>> bool(gripping @ sharp > 0 > gripping @ blunt)
    True
    """

    _parameter_constraints: dict = _CONSTRAINTS
    _accept_sparse = True
    _min_rows_per_domain = 2

    def __init__(
        self,
        n_pivots=None,
        dcf="cosine",
        min_df=2,
        unify="pivots",
        post="source",
    ):
        self.n_pivots = n_pivots
        self.dcf = dcf
        self.min_df = min_df
        self.unify = unify
        self.post = post

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None, *, sample_domain=None):
        """Choose pivots and index the terms of both domains.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Term counts of rows of source and target, in any order.
        y : array-like of shape (n_samples,)
            Class labels; NaN (in an array of floats) or None (in an array of objects)
            marks an unlabelled row. Those of target rows are never used, whatever y
            holds there; unlabelled source rows take part in all but the choice of
            pivots by class.
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
        if y is None:
            raise ValueError(
                "requires y to be passed, but the target y is None: pivots are chosen "
                "by what they say about the labels of the source."
            )
        check_consistent_length(X, y)
        ys = as_labels(y)[source]
        self._keep(_fit_index(X[source], ys, X[target], **self.get_params(deep=False)))
        return self

    def _keep(self, index):
        self.pivots_, self.strengths_ = index.pivots, index.strengths
        self.source_embedding_, self.target_embedding_ = (
            side.embedding for side in index.sides
        )
        self.source_idf_, self.target_idf_ = (side.idf for side in index.sides)
        self._standards = index.standards

    def _validate(self, X, *, reset):
        X = super()._validate(X, reset=reset)
        _check_counts(X, type(self).__name__)
        return X

    def _transform(self, X, is_source):
        out = np.empty((X.shape[0], len(self.pivots_)), X.dtype)
        sides = (
            (is_source, self.source_idf_, self.source_embedding_),
            (~is_source, self.target_idf_, self.target_embedding_),
        )
        for (mask, idf, embedding), standard in zip(sides, self._standards):
            rows = np.flatnonzero(mask)
            if len(rows):
                Z = _project(_damped(X[rows]), _Side(idf, embedding))
                out[rows] = _standardise(Z, standard)
        return out

    def get_feature_names_out(self, input_features=None):
        """Names of the columns of the output, which are those of the pivots.

        Parameters
        ----------
        input_features : array-like of str, default=None
            Names of the columns of the input. None: those of `fit`.

        Returns
        -------
        names : ndarray of str
        """
        check_is_fitted(self)
        names = _check_feature_names_in(self, input_features)
        return np.array([f"dci_{name}" for name in names[self.pivots_]], dtype=object)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.positive_only = True
        tags.target_tags.required = True
        return tags


@validate_params(
    {
        "Xs": ["array-like", "sparse matrix"],
        "ys": ["array-like"],
        "Xt": ["array-like", "sparse matrix"],
        **_CONSTRAINTS,
    },
    prefer_skip_nested_validation=True,
)
def dci(
    Xs,
    ys,
    Xt,
    *,
    n_pivots=None,
    dcf="cosine",
    min_df=2,
    unify="pivots",
    post="source",
):
    """Distributional correspondence indexing of two samples of texts.

    Parameters
    ----------
    Xs : {array-like, sparse matrix} of shape (n_source, n_features)
        Term counts of source rows.
    ys : array-like of shape (n_source,)
        Their class labels, NaN or None where unlabelled.
    Xt : {array-like, sparse matrix} of shape (n_target, n_features)
        Term counts of target rows.
    n_pivots : int, default=None
        Number of pivots. None: 500, or as many as there are candidates.
    dcf : {"cosine", "linear", "pmi"}, default="cosine"
        Distributional correspondence function, as in `DCI`.
    min_df : int, default=2
        Least number of rows of either sample that hold a pivot.
    unify : {"pivots", "all"}, default="pivots"
        Terms whose two profiles are replaced by their mean.
    post : {"source", "domain"}, default="source"
        Statistics that standardise the columns of the result. None leaves rows of
        length 1.

    Returns
    -------
    result : DCIResult
        Named tuple ``(X_source, X_target, pivots, source_embedding,
        target_embedding)``: the mapped rows, the columns of the pivots and the
        profiles of the terms.

    Raises
    ------
    ValueError
        If a sample has negative values, if no source row is labelled, if labels are
        no classes, if the samples differ in their columns, or if no term occurs in
        `min_df` rows of both.

    Warns
    -----
    UserWarning
        If there are fewer candidates than `n_pivots`, or if more than 1 % of the rows
        are empty.

    See Also
    --------
    DCI : The estimator, with the formulas.

    References
    ----------
    .. [1] A. Moreo, A. Esuli, F. Sebastiani. Distributional correspondence indexing
       for cross-lingual and cross-domain sentiment classification. Journal of
       Artificial Intelligence Research 55, 2016.

    Examples
    --------
    >>> import numpy as np
    >>> from skadapt import dci
    >>> rng = np.random.default_rng(0)
    >>> Xs, Xt = rng.poisson(0.4, (300, 50)), rng.poisson(0.4, (200, 50))
    >>> ys = np.minimum(Xs[:, 7], 1)
    >>> result = dci(Xs, ys, Xt, n_pivots=20)
    >>> int(result.pivots[0]), result.X_target.shape
    (7, (200, 20))
    """
    Xs, Xt = check_samples(Xs, Xt, accept_sparse="csr")
    for X in (Xs, Xt):
        _check_counts(X, "dci")
    check_consistent_length(Xs, ys)
    index = _fit_index(Xs, as_labels(ys), Xt, n_pivots, dcf, min_df, unify, post)
    mapped = (
        _standardise(_project(_damped(X), side), standard)
        for X, side, standard in zip((Xs, Xt), index.sides, index.standards)
    )
    return DCIResult(*mapped, index.pivots, *(side.embedding for side in index.sides))


class _Side(NamedTuple):
    """What is known of the terms of one domain."""

    idf: np.ndarray  # (d,)
    embedding: np.ndarray  # (d, m)


class _Index(NamedTuple):
    pivots: np.ndarray
    strengths: np.ndarray
    sides: tuple  # _Side of source and target
    standards: tuple  # mean and spread of the columns for each, or None


def _fit_index(Xs, ys, Xt, n_pivots, dcf, min_df, unify, post):
    labeled = is_labeled(ys)
    classes = _check_classes(ys[labeled])
    counts = _damped(Xs), _damped(Xt)
    _warn_of_empty_rows(counts)
    frequencies = [np.bincount(C.indices, minlength=C.shape[1]) for C in counts]
    shares = [df / C.shape[0] for df, C in zip(frequencies, counts)]
    candidates = np.flatnonzero(np.minimum(*frequencies) >= min_df)
    if not len(candidates):
        raise ValueError(
            f"No term occurs in min_df={min_df} rows of both domains, so there is no "
            "pivot: give both domains one vocabulary (a vectorizer fitted on the texts "
            "of both), or lower min_df."
        )
    if n_pivots is not None and n_pivots > len(candidates):
        warnings.warn(
            f"Only {len(candidates)} terms occur in min_df={min_df} rows of both "
            f"domains, so {len(candidates)} pivots are used instead of "
            f"n_pivots={n_pivots}.",
            UserWarning,
            stacklevel=4,
        )
    gain = _information_gain(counts[0][np.flatnonzero(labeled)], classes)
    lower, upper = (bound(*shares)[candidates] for bound in (np.minimum, np.maximum))
    strengths = gain[candidates] * lower / upper
    # The last key counts most.
    order = np.lexsort((-lower, -strengths))[: n_pivots or _DEFAULT_PIVOTS]
    pivots = candidates[order]

    idf = [_idf(df, C.shape[0]) for df, C in zip(frequencies, counts)]
    embeddings = [
        term_profiles(_unit_weights(C, weight), pivots, dcf, Xs.dtype)
        for C, weight in zip(counts, idf)
    ]
    both = pivots if unify == "pivots" else np.flatnonzero(np.minimum(*frequencies) > 0)
    mean = (embeddings[0][both] + embeddings[1][both]) / 2
    for embedding in embeddings:
        embedding[both] = mean
    sides = tuple(map(_Side, idf, embeddings))
    if post == "source":
        standards = (_standard(_project(counts[0], sides[0])),) * 2
    elif post == "domain":
        standards = tuple(_standard(_project(*pair)) for pair in zip(counts, sides))
    else:
        standards = None, None
    return _Index(pivots, strengths[order], sides, standards)


def _check_counts(X, name):
    values = X.data if sparse.issparse(X) else X
    if values.size and values.min() < 0:
        raise ValueError(
            f"Negative values in data passed to {name}: it takes counts of terms, such "
            "as those of CountVectorizer."
        )


def _check_classes(y):
    """Number of the class of each labelled row."""
    if not len(y):
        raise ValueError(
            "y holds no labelled source row: the labels of the source are what pivots "
            "are chosen by."
        )
    y = natural_labels(y)
    kind = type_of_target(y, input_name="y")
    if kind not in ("binary", "multiclass"):
        raise ValueError(
            f"Pivots are chosen by classes, and y is {kind}: give one class label a "
            "row, for instance numbers cut into bins by KBinsDiscretizer."
        )
    return np.unique(y, return_inverse=True)[1]


def _warn_of_empty_rows(counts):
    n_empty = sum(np.count_nonzero(np.diff(C.indptr) == 0) for C in counts)
    n_rows = sum(C.shape[0] for C in counts)
    if n_empty > _FEW_EMPTY * n_rows:
        warnings.warn(
            f"{n_empty} of {n_rows} rows hold no term: they say nothing, and all of "
            "them map to the same point.",
            UserWarning,
            stacklevel=5,
        )


def _damped(X):
    """Counts as a csr_array of their own, those above 1 as 1 + log(count)."""
    X = sparse.csr_array(X, dtype=np.float64, copy=True)
    X.sum_duplicates()
    X.eliminate_zeros()
    # Weights below 1, which are no counts, stay: value and slope are 1 at 1.
    large = X.data > 1
    X.data[large] = 1 + np.log(X.data[large])
    return X


def _idf(frequency, n_rows):
    return np.log((1 + n_rows) / (1 + frequency)) + 1


def _unit_weights(counts, idf):
    """tf-idf weights with rows of length 1."""
    weights = counts.data * idf[counts.indices]
    row = np.repeat(np.arange(counts.shape[0]), np.diff(counts.indptr))
    length = np.sqrt(np.bincount(row, weights**2, minlength=counts.shape[0]))
    parts = weights / length[row], counts.indices, counts.indptr
    return sparse.csr_array(parts, counts.shape)


def _information_gain(rows, classes):
    """Mutual information of the class and the presence of each column, in nats."""
    n, d = rows.shape
    sizes = np.bincount(classes)
    cell = np.repeat(classes.astype(np.int64), np.diff(rows.indptr)) * d + rows.indices
    present = np.bincount(cell, minlength=len(sizes) * d).reshape(len(sizes), d)
    gain = np.zeros(d)
    for table in (present, sizes[:, np.newaxis] - present):
        independent = np.outer(sizes, table.sum(axis=0)) / n**2
        gain += rel_entr(table / n, independent).sum(axis=0)
    return np.maximum(gain, 0)


def _project(counts, side):
    """Documents as sums of the profiles of their terms, with length 1."""
    weights = (counts.data * side.idf[counts.indices]).astype(side.embedding.dtype)
    weights = sparse.csr_array((weights, counts.indices, counts.indptr), counts.shape)
    return scale_rows(weights @ side.embedding)


def _standard(Z):
    mean = Z.mean(axis=0, dtype=np.float64)
    spread = Z.std(axis=0, dtype=np.float64)
    return mean, np.maximum(spread, _LEAST_SPREAD)


def _standardise(Z, standard):
    if standard is not None:
        Z -= standard[0]
        Z /= standard[1]
    return Z
