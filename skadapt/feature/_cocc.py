"""CoCC: classify documents by co-clustering them with their words."""

import warnings
from numbers import Integral, Real

import numpy as np
from scipy import sparse
from scipy.special import softmax
from sklearn.base import _fit_context
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.naive_bayes import MultinomialNB
from sklearn.preprocessing import normalize
from sklearn.svm import LinearSVC
from sklearn.utils import check_consistent_length, check_random_state
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.extmath import randomized_svd
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import (
    _check_sample_weight,
    check_is_fitted,
    column_or_1d,
    validate_data,
)

from skadapt._base import spread_order
from skadapt._domains import (
    as_labels,
    check_sample_domain,
    is_labeled,
    mask_target_labels,
    natural_labels,
)
from skadapt._predictor import (
    BasePredictor,
    TargetClassifierMixin,
    fit_weighted,
    takes_domains,
)

__all__ = ["CoCC"]

# Number of word clusters in the paper.
_WORD_CLUSTERS = 64
# Dimensions, power iterations and turns of k-means of the start of the words: it has
# to be sensible, not converged.
_DIMENSIONS = 50
_POWER_ITERATIONS = 4
_KMEANS_TURNS = 20
# Folds of the consistency error.
_FOLDS = 3
# A class that keeps a smaller share of the documents that the start gave it is lost,
# if those were enough for the share to be at least one document.
_LEAST_SHARE = 0.05


class CoCC(TargetClassifierMixin, BasePredictor):
    r"""Co-clustering based classification of documents out of domain.

    Documents of the target are put into the classes of the source and words into k
    clusters, so that the classes and the clusters of words keep as much as they can of
    what documents say about words, in the target, and classes about words, in the
    source [1]_. With f(d, w) the share of word w in document d in all words of the
    target and g(y, w) that of word w in class y in all words of the source, hats for
    clusters and I for mutual information, it lowers ::

        I_f(D; W) - I_f(D^; W^) + lam (I_g(Y; W) - I_g(Y; W^))

    by moving all documents, then all words, and so on, from labels that a classifier
    of the source gives. The clusters of words carry them over: words of the target
    that the source lacks join clusters of words that it has.

    Parameters
    ----------
    n_word_clusters : int, default=None
        Number k of word clusters, at least 2. None: 64, or the number of words if
        there are fewer.
    lam : float, default=0.25
        Weight of the source's classes in the clusters of words, >= 0. 0 leaves the
        source no part but the start.
    init : classifier or array-like of shape (n_target,), default=None
        Labels of the target rows to start from: predictions of a classifier that is
        fitted to the source, or the labels themselves, in the order of the target rows
        in X. None: ``MultinomialNB()``.
    word_init : {"svd", "posterior", "random"} or array-like, default="svd"
        Clusters of words to start from: k-means on a latent semantic analysis of all
        documents; equal groups along the smoothed share of the classes of the source
        in each word; random ones, which forget the start of the documents unless words
        move first; or the clusters themselves in an array of shape (n_features,),
        numbered from 0, whose number takes the place of `n_word_clusters`.
    order : {"auto", "documents-first", "words-first"}, default="auto"
        What moves first. ``"auto"`` runs both and keeps the run whose labels of the
        target a linear SVM predicts with the smaller error, in cross-validation within
        the target; of equal errors the run nearer to the start. Random words always
        move first.
    max_iter : int, default=15
        Largest number of turns, in each of which documents and words move once.
    random_state : int, RandomState instance or None, default=None
        Draws the start of the words.

    Attributes
    ----------
    transduction_ : ndarray of shape (n_target,)
        Labels of the target rows of `fit`, in the order of X.
    word_clusters_ : ndarray of shape (n_features,)
        Cluster of each word; -1 for words of neither a target row nor a labelled
        source row.
    cluster_log_prob_ : ndarray of shape (n_classes, n_word_clusters)
        Logarithm of each cluster's share in the words of each class of the target, a
        share of 0 being -708; 0 for clusters without a word of the target.
    objective_path_ : ndarray of shape (n_half_steps + 1,)
        Loss of mutual information in nats, at the start and after each half-step of
        the run that was kept. It never rises.
    n_iter_ : int
        Turns of the run that was kept; `max_iter` if something still moved.
    order_ : str
        Order of the run that was kept.
    consistency_errors_ : dict of str to float
        With ``order="auto"``: share of the target's labels that the linear SVM gets
        wrong in cross-validation, averaged over the classes, for each order and for
        the labels of the ``"start"``; NaN where all labels are the same.
    estimator_ : classifier
        The classifier of the start, fitted to the source. Not if `init` is an array.
    classes_ : ndarray of shape (n_classes,)
        Class labels, in the natural dtype of the labelled values.
    n_features_in_ : int
        Number of words seen in `fit`.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the words, if X was a data frame.

    Raises
    ------
    ValueError
        If X has negative values, if the target or the labelled source has no words or
        they share none, if `init` or `word_init` does not fit the data, or if random
        words are to follow the documents.

    Warns
    -----
    NoAdaptationWarning
        If `fit` gets no `sample_domain`.
    UserWarning
        If `n_word_clusters` is more than there are words, or if a class loses nearly
        all documents that the start gave it.

    See Also
    --------
    TransferClassifier : Any classifier with an adapter that maps or weights.

    Notes
    -----
    X holds counts or other weights that are not negative; CSR is taken as it is, and
    dense rows are turned into it. Documents without any word keep the label of the
    start. The vocabulary should be that of both domains: fit the vectoriser on all
    documents.

    New documents go to the class y of the largest ``sum_w n(d, w) log f(w^ | y)``, as
    those of `fit` did; they move nothing. There is no prior of the classes in it, so
    that classes of very different size blur. Probabilities are those of naive Bayes
    with equal priors over clusters of words, and as sure of themselves. A document
    without any known word goes to the first class. Source rows are treated alike.

    Without `sample_domain` naive Bayes is fitted to all rows, whatever `init` is, and
    only `estimator_`, `classes_` and `n_iter_` are set.

    References
    ----------
    .. [1] W. Dai, G. Xue, Q. Yang, Y. Yu. Co-clustering based classification for
       out-of-domain documents. KDD 2007.
    .. [2] I. Dhillon, S. Mallela, D. Modha. Information-theoretic co-clustering. KDD
       2003.

    Examples
    --------
    >>> from sklearn.feature_extraction.text import CountVectorizer
    >>> from skadapt import CoCC, stack_domains
    >>> source = ["engine wheel win", "wheel engine race", "vote law win", "law vote"]
    >>> target = ["engine goal win", "goal team", "law peace win", "peace treaty"]
    >>> words = CountVectorizer().fit(source + target)
    >>> X, y, sample_domain = stack_domains(
    ...     words.transform(source), ["rec", "rec", "talk", "talk"],
    ...     words.transform(target))
    >>> model = CoCC(n_word_clusters=4, random_state=0)
    >>> model = model.fit(X, y, sample_domain=sample_domain)
    >>> model.transduction_
    array(['rec', 'rec', 'talk', 'talk'], dtype='<U4')
    >>> model.predict(words.transform(["a treaty of law", "the team"]))
    array(['talk', 'rec'], dtype='<U4')
    """

    _parameter_constraints: dict = {
        "n_word_clusters": [Interval(Integral, 2, None, closed="left"), None],
        "lam": [Interval(Real, 0, None, closed="left")],
        "init": [HasMethods(["fit", "predict"]), "array-like", None],
        "word_init": [StrOptions({"svd", "posterior", "random"}), "array-like"],
        "order": [StrOptions({"auto", "documents-first", "words-first"})],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        n_word_clusters=None,
        lam=0.25,
        init=None,
        word_init="svd",
        order="auto",
        max_iter=15,
        *,
        random_state=None,
    ):
        self.n_word_clusters = n_word_clusters
        self.lam = lam
        self.init = init
        self.word_init = word_init
        self.order = order
        self.max_iter = max_iter
        self.random_state = random_state

    def _resolve_estimator(self):
        return self.init if hasattr(self.init, "fit") else MultinomialNB()

    def _check_rows(self, X, *, reset):
        X = validate_data(
            self, X, reset=reset, accept_sparse="csr", dtype=[np.float64, np.float32]
        )
        X = sparse.csr_array(X)
        if X.nnz <= np.iinfo(np.int32).max:
            # The linear SVM takes no wider indices.
            places = (p.astype(np.int32, copy=False) for p in (X.indices, X.indptr))
            X = sparse.csr_array((X.data, *places), shape=X.shape)
        if X.nnz and X.data.min() < 0:
            raise ValueError(
                f"Negative values in data passed to {type(self).__name__}: give it "
                "counts or weights of words, not standardised columns."
            )
        return X

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y, sample_weight=None, *, sample_domain=None):
        """Put the target rows into the classes of the source.

        Parameters
        ----------
        X : {array-like, sparse matrix, data frame} of shape (n_samples, n_features)
            Counts or weights of words in the documents of all domains, in any order,
            not negative.
        y : array-like of shape (n_samples,)
            Labels; NaN (in an array of floats) or None (in an array of objects)
            marks an unlabelled row. Unlabelled source rows have a part in
            ``word_init="svd"`` only; labels of target rows are never used, whatever
            y holds there.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative factors of the counts of each row; a row of weight 2 counts as
            two rows. A target row of weight 0 is labelled, and moves nothing.
        sample_domain : array-like of shape (n_samples,), default=None
            Domain of each row, > 0 for sources and < 0 for targets. Several of
            either are pooled. None fits naive Bayes to all rows, with a
            `NoAdaptationWarning`.

        Returns
        -------
        self : object
            The fitted classifier.
        """
        X, estimator = self._check_start(X, y)
        self._forget()
        if sample_domain is None:
            self._fit_without_adaptation(MultinomialNB(), X, y, sample_weight)
            self.classes_, self.n_iter_ = self.estimator_.classes_, 1
            self._word_scores = self.estimator_.feature_log_prob_.T
            self._class_scores = self.estimator_.class_log_prior_
            return self

        self._check_order()
        check_consistent_length(X, y)
        y = column_or_1d(as_labels(y))
        ids = check_sample_domain(sample_domain, X.shape[0], both=True)
        y = mask_target_labels(y, ids)
        labeled = is_labeled(y)
        self._check_training_rows(labeled, ids)
        weights = np.ones(X.shape[0])
        if sample_weight is not None:
            self._check_takes_weights(estimator)
            weights = _check_sample_weight(
                sample_weight, X, dtype=np.float64, ensure_non_negative=True
            )
            labeled &= weights > 0
            if not labeled.any():
                raise ValueError(
                    "sample_weight is 0 for every labelled source row: give some of "
                    "them a positive weight."
                )
        labels = natural_labels(y[labeled])
        check_classification_targets(labels)
        self.classes_, codes = np.unique(labels, return_inverse=True)

        source, target = X[np.flatnonzero(labeled)], X[np.flatnonzero(ids < 0)]
        target.sum_duplicates()
        by_class = np.zeros((len(codes), len(self.classes_)))
        by_class[np.arange(len(codes)), codes] = weights[labeled]
        class_words = source.T @ by_class
        target_weights = weights[ids < 0]
        known = _known_words(class_words, target.T @ target_weights)

        rows = self._start_of_rows(
            estimator,
            source,
            labels,
            None if sample_weight is None else weights[labeled],
            target,
        )
        documents = None
        if self.order == "auto" or self._words_are("svd"):
            documents = _unit_documents(X, weights)
        words = self._start_of_words(documents, weights, class_words, known)
        run = self._cocluster(
            (target, target_weights, class_words, rows, words), documents, ids < 0
        )
        self._warn_of_lost_classes(rows, run.rows)
        self.transduction_ = self.classes_[run.rows]
        self.word_clusters_ = np.where(known, run.words, -1)
        self.objective_path_ = run.objective_path
        self.n_iter_ = run.n_iter
        self.cluster_log_prob_ = _log_shares(run.table).T
        self._word_scores = self.cluster_log_prob_.T[run.words]
        self._word_scores[~known] = 0.0
        self._class_scores = np.zeros(len(self.classes_))
        return self

    def _forget(self):
        """Drop what an earlier fit set: the next one may not set all of it."""
        for name in list(vars(self)):
            if name.endswith("_") and name not in (
                "n_features_in_",
                "feature_names_in_",
            ):
                delattr(self, name)

    def _check_order(self):
        if self.order == "documents-first" and self._words_are("random"):
            raise ValueError(
                "word_init='random' with order='documents-first' moves the documents "
                "by clusters that mean nothing, and forgets where they started: use "
                "order='words-first', or word_init='svd'."
            )

    def _words_are(self, name):
        return isinstance(self.word_init, str) and self.word_init == name

    def _start_of_rows(self, estimator, source, labels, weights, target):
        """Class numbers of the target rows to start from."""
        if self.init is None or hasattr(self.init, "fit"):
            if takes_domains(estimator):
                raise ValueError(
                    f"{type(estimator).__name__} takes sample_domain itself: fit it by "
                    "itself and give its predictions for the target rows as init."
                )
            self.estimator_ = fit_weighted(estimator, source, labels, weights)
            start = np.asarray(self.estimator_.predict(target))
        else:
            start = natural_labels(column_or_1d(as_labels(self.init)))
            if len(start) != target.shape[0]:
                raise ValueError(
                    f"init has {len(start)} labels for {target.shape[0]} target rows: "
                    "give one label for each of them, in the order of X."
                )
        foreign = ~np.isin(start, self.classes_)
        if foreign.any():
            raise ValueError(
                f"init gives the label {start[foreign][0]!r}, which no labelled source "
                f"row has: its labels must be among {self.classes_.tolist()}."
            )
        return np.searchsorted(self.classes_, start)

    def _start_of_words(self, documents, weights, class_words, known):
        """Cluster numbers of the words to start from."""
        words = np.zeros(len(known), dtype=np.int64)
        if not isinstance(self.word_init, str):
            given = np.asarray(self.word_init)
            if given.shape != words.shape or given.dtype.kind not in "iu":
                raise ValueError(
                    f"word_init has shape {given.shape} and type {given.dtype}: give "
                    f"one int for each of the {len(words)} columns of X."
                )
            if given.min() < 0:
                raise ValueError(
                    "word_init holds negative numbers: count the clusters from 0."
                )
            return given.astype(np.int64)
        n_words = np.count_nonzero(known)
        n_clusters = min(self.n_word_clusters or _WORD_CLUSTERS, n_words)
        if self.n_word_clusters is not None and n_clusters < self.n_word_clusters:
            warnings.warn(
                f"n_word_clusters={self.n_word_clusters} is more than the {n_words} "
                "words of the target and the labelled source: each word is a cluster "
                f"of its own, {n_clusters} in all.",
                stacklevel=4,
            )
        rng = check_random_state(self.random_state)
        if self._words_are("random"):
            words[known] = rng.randint(n_clusters, size=n_words)
        elif n_clusters == n_words:
            words[known] = np.arange(n_words)
        elif self._words_are("posterior"):
            words[known] = _groups_along_posterior(class_words[known], n_clusters)
        else:
            words[known] = _latent_clusters(
                documents[:, known], weights, n_clusters, rng
            )
        return words

    def _cocluster(self, start, documents, is_target):
        """The run that is kept; sets what tells it from the others."""
        # numba takes half a second to load, which is for those who use it.
        from skadapt.solvers._coclustering import cocluster

        orders = [self.order]
        if self.order == "auto":
            # Documents that move by random clusters forget their start.
            random = self._words_are("random")
            orders = ["documents-first"] * (not random) + ["words-first"]
        n_clusters = int(start[-1].max()) + 1
        runs = {
            order: cocluster(
                *start,
                n_clusters,
                lam=float(self.lam),
                max_iter=self.max_iter,
                words_first=order == "words-first",
            )
            for order in orders
        }
        self.order_ = orders[0]
        if self.order == "auto":
            rows = {"start": start[-2], **{order: runs[order].rows for order in orders}}
            self.consistency_errors_ = {
                name: _consistency_error(documents[is_target], labels)
                for name, labels in rows.items()
            }

            def demerit(order):
                # Where all labels are the same there is nothing to predict. Of runs
                # that differ in names only, the start knows which are right.
                error = np.nan_to_num(self.consistency_errors_[order], nan=1.0)
                return error, np.mean(rows[order] != rows["start"])

            self.order_ = min(orders, key=demerit)
        return runs[self.order_]

    def _warn_of_lost_classes(self, start, rows):
        before, after = (
            np.bincount(part, minlength=len(self.classes_)) for part in (start, rows)
        )
        enough = before * _LEAST_SHARE >= 1
        lost = np.flatnonzero(enough & (after < _LEAST_SHARE * before))
        if len(lost):
            y = lost[0]
            warnings.warn(
                f"Class {self.classes_[y]} has {after[y]} of {len(rows)} target rows, "
                f"and had {before[y]} at the start: a few very long documents may "
                "outweigh all others. Damp the counts, as 1 + log(counts) does.",
                stacklevel=4,
            )

    def predict(self, X, sample_domain=None):
        """Predict the class of documents.

        Parameters
        ----------
        X : {array-like, sparse matrix, data frame} of shape (n_samples, n_features)
            Counts or weights of words, not negative.
        sample_domain : array-like of shape (n_samples,) or int, default=None
            Domain of each row; one int stands for all rows. It changes nothing.

        Returns
        -------
        y_pred : ndarray of shape (n_samples,)
            Class labels.
        """
        scores = self._scores(X, sample_domain)
        return self.classes_[scores.argmax(axis=1)]

    def predict_proba(self, X, sample_domain=None):
        """Predict class probabilities.

        Parameters
        ----------
        X : {array-like, sparse matrix, data frame} of shape (n_samples, n_features)
            Counts or weights of words, not negative.
        sample_domain : array-like of shape (n_samples,) or int, default=None
            Domain of each row; one int stands for all rows. It changes nothing.

        Returns
        -------
        proba : ndarray of shape (n_samples, n_classes)
            Probabilities, columns in the order of `classes_`.
        """
        return softmax(self._scores(X, sample_domain), axis=1)

    @available_if(lambda self: hasattr(self, "transduction_"))
    def decision_function(self, X, sample_domain=None):
        """Logarithms of the probabilities of the classes, up to a constant in each row.

        Only after a fit with `sample_domain`: naive Bayes has none.

        Parameters
        ----------
        X : {array-like, sparse matrix, data frame} of shape (n_samples, n_features)
            Counts or weights of words, not negative.
        sample_domain : array-like of shape (n_samples,) or int, default=None
            Domain of each row; one int stands for all rows. It changes nothing.

        Returns
        -------
        scores : ndarray of shape (n_samples,) or (n_samples, n_classes)
            In nats; of two classes the second's less the first's.
        """
        scores = self._scores(X, sample_domain)
        return scores[:, 1] - scores[:, 0] if scores.shape[1] == 2 else scores

    def _scores(self, X, sample_domain):
        """Logarithm of each class's probability, up to a constant in each row."""
        check_is_fitted(self)
        X = self._check_rows(X, reset=False)
        if sample_domain is not None:
            check_sample_domain(sample_domain, X.shape[0], scalar=True)
        return X @ self._word_scores + self._class_scores

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.input_tags.positive_only = True
        tags.input_tags.allow_nan = False
        # As naive Bayes: a law of counts, whose classes differ in their shares.
        tags.classifier_tags.poor_score = True
        return tags


def _known_words(class_words, target_words):
    """Which words the labelled source or the target has."""
    in_source, in_target = class_words.sum(axis=1) > 0, target_words > 0
    cure = "fit the vectoriser on the documents of both domains"
    for found, name in ((in_source, "labelled source"), (in_target, "target")):
        if not found.any():
            raise ValueError(
                f"The {name} rows hold no word: X or sample_weight is 0 throughout; "
                f"{cure}."
            )
    if not (in_source & in_target).any():
        raise ValueError(
            "Target and labelled source rows share no word: no column of X is positive "
            f"in both; {cure}."
        )
    return in_source | in_target


def _unit_documents(X, weights):
    """Square roots of the counts by inverse document frequency, rows of length 1.

    Square roots damp counts as logarithms do, and unlike them leave it to nobody
    whether the documents are counted in words or in shares.
    """
    X = sparse.csr_array(X, dtype=np.float64, copy=True)
    X.sum_duplicates()
    X.data = np.sqrt(X.data)
    of_entries = np.repeat(weights, np.diff(X.indptr))
    frequency = np.bincount(X.indices, of_entries * (X.data > 0), minlength=X.shape[1])
    X.data *= (np.log((1 + weights.sum()) / (1 + frequency)) + 1)[X.indices]
    return normalize(X, copy=False)


def _latent_clusters(documents, weights, n_clusters, rng):
    """k-means of the words in the leading directions of the documents.

    What is drawn is drawn for words, so that the order of the documents has no part.
    """
    rows = documents.multiply(np.sqrt(weights)[:, np.newaxis])
    rows = normalize(rows, axis=0).tocsr()
    n_dimensions = min(_DIMENSIONS, *rows.shape)
    _, lengths, directions = randomized_svd(
        rows,
        n_dimensions,
        n_iter=_POWER_ITERATIONS,
        transpose=False,
        flip_sign=False,
        random_state=rng,
    )
    words = normalize((directions * lengths[:, np.newaxis]).T)
    kmeans = KMeans(n_clusters, n_init=1, max_iter=_KMEANS_TURNS, random_state=rng)
    with warnings.catch_warnings():
        # Fewer distinct words than clusters leave some of these empty.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return kmeans.fit(words).labels_


def _groups_along_posterior(class_words, n_clusters):
    """Equal groups of words, ordered by class and by how much they speak for it."""
    share = (class_words + 1) / (class_words + 1).sum(axis=0)
    share /= share.sum(axis=1, keepdims=True)
    best = share.argmax(axis=1)
    height = share[np.arange(len(share)), best]
    # Falling in the first class, rising in the second: with two, one ranking.
    order = np.lexsort((np.where(best == 0, -height, height), best))
    groups = np.empty(len(share), dtype=np.int64)
    groups[order] = np.arange(len(share)) * n_clusters // len(share)
    return groups


def _consistency_error(documents, labels):
    """Mean over the classes of the error of a linear SVM that learns the labels.

    In cross-validation. A mean over the rows would praise whoever puts nearly all of
    them into one class.
    """
    if (labels == labels[0]).all():
        return np.nan
    n = len(labels)
    folds, order = np.empty(n, dtype=np.int64), spread_order(documents)
    folds[order[np.argsort(labels[order], kind="stable")]] = np.arange(n) % _FOLDS
    wrong = np.empty(n, dtype=bool)
    for fold in range(min(_FOLDS, n)):
        held, train = folds == fold, folds != fold
        predicted = labels[train][0]
        if (labels[train] != predicted).any():
            svm = LinearSVC(dual=False, random_state=0)
            svm.fit(documents[train], labels[train])
            predicted = svm.predict(documents[held])
        wrong[held] = predicted != labels[held]
    return float(np.mean([wrong[labels == y].mean() for y in np.unique(labels)]))


def _log_shares(table):
    """Logarithm of each word cluster's share in each class, finite."""
    of_class = table.sum(axis=0)
    share = table / np.where(of_class > 0, of_class, 1.0)
    logarithm = np.log(np.maximum(share, np.finfo(np.float64).tiny))
    logarithm[~table.any(axis=1)] = 0.0
    return logarithm
