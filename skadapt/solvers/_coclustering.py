"""Co-clustering of documents and words, led by the classes of other documents."""

from typing import NamedTuple

import numpy as np
from numba import njit
from scipy.special import xlogy

# Logarithm of a share of 0: what has any positive mass there never goes there.
_NEVER = -1e30
# A gain below this share of the score is rounding, and nothing moves for it.
_TIE = 1e-12


class CoClustering(NamedTuple):
    """Clusters of documents and words, with the path of the objective."""

    rows: np.ndarray  # (n,), class of each document
    words: np.ndarray  # (m,), cluster of each word
    table: np.ndarray  # (k, c), shares of word clusters in document classes; sum 1
    objective_path: np.ndarray  # at the start and after each half-step
    n_iter: int


def cocluster(
    X, row_weights, class_words, rows, words, n_clusters, *, lam, max_iter, words_first
):
    """Move documents and words in turn so that their clusters keep what they say.

    With f(d, w) the share of word w of document d in all words of the target, g(y, w)
    that of word w of class y in all words of the source, D^ the c classes that the
    documents are put in and W^ the k clusters of the words, ::

        min_{rows, words}  I_f(D; W) - I_f(D^; W^) + lam (I_g(Y; W) - I_g(Y; W^)).

    Algorithm: a document goes to the class y of the largest
    ``sum_j f(d, j) log f(j | y)``, then a word to the cluster j of the largest
    ``sum_y f(y, w) log f(y | j) + lam sum_y g(y, w) log g(y | j)``; what would be as
    well off elsewhere stays. No half-step can raise the objective, which is a loss of
    mutual information in nats.

    Why it is fast: a document is seen through k word clusters and a word through 2 c
    classes. One sweep over the CSR rows moves the documents and sums f(y, w) up while
    each row is in the cache; the words then need none. A turn takes
    O(nnz + (n + m) k c) operations, and no array of n k or m k numbers is made.

    Parameters
    ----------
    X : csr_array of shape (n, m)
        Counts of the target, not negative and without repeated entries. Read only.
    row_weights : ndarray of shape (n,), float64
        Factors of the rows of X.
    class_words : ndarray of shape (m, c), float64
        Counts of the source by word and class.
    rows : ndarray of shape (n,), int64
        Classes to start from. Read only, as `words` is.
    words : ndarray of shape (m,), int64
        Clusters to start from.
    n_clusters : int
        Number k of word clusters; some may be empty.
    lam : float
        Weight of the source.
    max_iter : int
        Largest number of turns: a half-step of the documents and one of the words.
    words_first : bool
        Whether the words move once before the first turn.

    Returns
    -------
    CoClustering
        `n_iter` counts the last turn, in which nothing moved, too.
    """
    rows, words = rows.copy(), words.copy()
    sweep = (X.data, X.indices, X.indptr)
    scale = row_weights / _total(*sweep, row_weights)
    g = class_words / class_words.sum()
    f = np.zeros(g.shape)
    _sum_by_class(*sweep, scale, rows, f)
    of_words = f.sum(axis=1)
    available = _information_of_rows(*sweep, scale) - xlogy(of_words, of_words).sum()
    available += lam * _information(g)
    target = _sum_by_cluster(f, words, n_clusters)
    source = _sum_by_cluster(g, words, n_clusters)
    path = []

    def record():
        path.append(available - _information(target) - lam * _information(source))

    def move_rows():
        n_moved = _move_rows(*sweep, scale, words, _log_within_class(target), rows, f)
        target[:] = _sum_by_cluster(f, words, n_clusters)
        record()
        return n_moved

    def move_words():
        of_target, of_source = _log_within_cluster(target), _log_within_cluster(source)
        n_moved = _move_words(f, g, lam, of_target, of_source, words)
        target[:] = _sum_by_cluster(f, words, n_clusters)
        source[:] = _sum_by_cluster(g, words, n_clusters)
        record()
        return n_moved

    record()
    if words_first:
        move_words()
    n_iter, n_moved = 0, 1
    while n_moved and n_iter < max_iter:
        n_moved = move_rows() + move_words()
        n_iter += 1
    return CoClustering(rows, words, target, np.array(path), n_iter)


def _information(joint):
    """Mutual information of the rows and columns of a table, in nats."""
    shares = np.concatenate([joint.sum(axis=0), joint.sum(axis=1)])
    return float(xlogy(joint, joint).sum() - xlogy(shares, shares).sum())


def _sum_by_cluster(by_word, words, n_clusters):
    """Sum the rows of (m, c) by the cluster of their word."""
    return np.column_stack(
        [np.bincount(words, column, minlength=n_clusters) for column in by_word.T]
    )


def _log_within_class(table):
    """log f(j | y), shape (k, c)."""
    return _log_ratio(table, table.sum(axis=0))


def _log_within_cluster(table):
    """log f(y | j), shape (c, k): in the sweep the loop over clusters is inside."""
    return _log_ratio(table.T, table.sum(axis=1))


def _log_ratio(shares, total):
    logarithm = np.full(shares.shape, _NEVER)
    positive = shares > 0
    np.log(shares / np.where(total > 0, total, 1.0), out=logarithm, where=positive)
    return logarithm


@njit(cache=True, nogil=True)
def _total(data, indices, indptr, weights):
    """Weighted sum of all counts."""
    total = 0.0
    for d in range(weights.size):
        row = 0.0
        for p in range(indptr[d], indptr[d + 1]):
            row += data[p]
        total += weights[d] * row
    return total


@njit(cache=True, nogil=True)
def _information_of_rows(data, indices, indptr, scale):
    """``sum f(d, w) log f(d, w) - sum f(d) log f(d)``."""
    total = 0.0
    for d in range(scale.size):
        mass = 0.0
        inside = 0.0
        for p in range(indptr[d], indptr[d + 1]):
            share = scale[d] * data[p]
            if share > 0.0:
                mass += share
                inside += share * np.log(share)
        if mass > 0.0:
            total += inside - mass * np.log(mass)
    return total


@njit(cache=True, nogil=True)
def _sum_by_class(data, indices, indptr, scale, rows, f):
    """f(y, w): add each row to the column of its class."""
    for d in range(rows.size):
        for p in range(indptr[d], indptr[d + 1]):
            f[indices[p], rows[d]] += scale[d] * data[p]


@njit(cache=True, nogil=True)
def _move_rows(data, indices, indptr, scale, words, log_share, rows, f):
    """Put each row into its best class and sum f(y, w) anew; how many rows moved."""
    n_clusters, n_classes = log_share.shape
    mass = np.empty(n_clusters)
    score = np.empty(n_classes)
    n_moved = 0
    f[:] = 0.0
    for d in range(rows.size):
        mass[:] = 0.0
        for p in range(indptr[d], indptr[d + 1]):
            mass[words[indices[p]]] += data[p]
        score[:] = 0.0
        for j in range(n_clusters):
            if mass[j] > 0.0:
                for y in range(n_classes):
                    score[y] += mass[j] * log_share[j, y]
        n_moved += _choose(score, rows, d)
        for p in range(indptr[d], indptr[d + 1]):
            f[indices[p], rows[d]] += scale[d] * data[p]
    return n_moved


@njit(cache=True, nogil=True)
def _move_words(f, g, lam, of_target, of_source, words):
    """Put each word into its best cluster; how many words moved."""
    n_classes, n_clusters = of_target.shape
    score = np.empty(n_clusters)
    n_moved = 0
    for w in range(words.size):
        score[:] = 0.0
        for y in range(n_classes):
            in_target, in_source = f[w, y], lam * g[w, y]
            if in_target > 0.0:
                for j in range(n_clusters):
                    score[j] += in_target * of_target[y, j]
            if in_source > 0.0:
                for j in range(n_clusters):
                    score[j] += in_source * of_source[y, j]
        n_moved += _choose(score, words, w)
    return n_moved


@njit(cache=True, nogil=True)
def _choose(score, labels, i):
    """Give i the label of the largest score unless its own is as good; 1 if moved."""
    present = labels[i]
    best = present
    for j in range(score.size):
        if score[j] > score[best]:
            best = j
    if score[best] - score[present] > _TIE * abs(score[present]):
        labels[i] = best
        return 1
    return 0
