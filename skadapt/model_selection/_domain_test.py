"""A permutation test of whether a classifier tells two samples apart.

The classifier is ridge regression on the domains. Its scores of held-out rows are
linear in the domains, so that those of hundreds of permutations are one solve a fold
and a product of matrices, and the AUC is compared with its own exact null.
"""

from itertools import combinations
from typing import NamedTuple

import numpy as np
from scipy import sparse
from scipy.linalg import cho_factor, cho_solve
from sklearn.kernel_approximation import Nystroem
from sklearn.preprocessing import StandardScaler

from skadapt._kernels import median_gamma

# Penalty, in mean eigenvalues of the second moments. Of .01, .1 and 1, on 11 pairs of
# Gaussian and other samples: 1 loses differences along axes of small variance.
_RIDGE = 0.1
# Landmarks of the Gaussian kernel.
_N_LANDMARKS = 150
# Scores that differ by less than this share of the largest are ties: the same rows
# come out of a product of matrices with different last digits.
_TIE = 1e-9
# Columns of permutations whose scores are ranked at a time.
_RANKED = 64


class _Columns(NamedTuple):
    """Columns Z of the rows, or their Gram matrix ZZ' where that is smaller."""

    values: np.ndarray
    is_gram: bool = False

    def ridge(self, train, test):
        """Ridge regression as a function of the values at `train`."""
        if self.is_gram:
            Z, right = None, self.values[np.ix_(train, test)]
            G = self.values[np.ix_(train, train)]
        else:
            Z, right = self.values[train], self.values[test].T
            G = Z.T @ Z
        mean = G.trace() / len(G)
        G.flat[:: len(G) + 1] += _RIDGE * mean if mean > 0 else 1.0
        smoother = cho_solve(cho_factor(G, lower=True, overwrite_a=True), right).T
        return lambda D: smoother @ (D if Z is None else Z.T @ D)


class _View:
    """Ridge regression for each fold; what does not depend on the domains, once."""

    def __init__(self, columns, folds):
        self._of_fold = []
        for fold, own in enumerate(columns):
            train, test = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
            self._of_fold.append((train, test, own.ridge(train, test)))

    def predict(self, D):
        """Each fold's rows, and predictions there from the rows of D elsewhere."""
        for train, test, ridge in self._of_fold:
            yield test, ridge(D(train))


class DomainTest(NamedTuple):
    """Result of a test."""

    z: float
    pvalue: float
    auc: float
    detectable_auc: float  # at which z would be the threshold given


class DomainViews:
    """What the classifiers see of the rows.

    Linear columns, scaled over all rows, and columns of a Gaussian kernel of median
    width: neither depends on the domains. Both are given, since a linear classifier
    sees no change of spread or shape and the kernel is weak for a small change of one
    mean among many columns.

    A third view holds class scores, models of the classes fitted to source rows: a
    difference of class shares lies in these few columns, however many X has. They
    depend on which rows are labelled source rows, so that nothing that is used to judge
    a fold may come from it: the classifier of the domains that is tested on fold f sees
    scores of fold g by a model of the folds other than f and g.

    Parameters
    ----------
    X : {ndarray, CSR} of shape (n, d), float64
    codes : ndarray of shape (n,), int
        Class of each labelled source row, -1 elsewhere.
    folds : ndarray of shape (n,), int
        At least three of them.
    rng : RandomState
        Draws the landmarks.

    Attributes
    ----------
    columns : list of two _View
    classes : _View
    class_scores : ndarray of shape (n, n_classes - 1)
        Of each row by models that have not seen its fold.
    """

    def __init__(self, X, codes, folds, rng):
        columns = _linear_and_kernel_columns(X, rng)
        n_folds = folds.max() + 1
        self.columns = [_View([own] * n_folds, folds) for own in columns]
        scores = _class_scores(columns, codes, folds)
        self.classes = _View([_Columns(own) for own in scores], folds)
        self.class_scores = scores[folds, np.arange(len(folds))]


def _linear_and_kernel_columns(X, rng):
    n, d = X.shape
    Z = StandardScaler(with_mean=not sparse.issparse(X)).fit_transform(X)
    if d > n:
        K = Z @ Z.T
        K = K.toarray() if sparse.issparse(K) else K
        mean = K.mean(axis=0)
        linear = _Columns(K - mean - mean[:, np.newaxis] + mean.mean(), is_gram=True)
    else:
        rows = Z.toarray() if sparse.issparse(Z) else Z
        linear = _Columns(rows - rows.mean(axis=0))
    drawn = np.sort(rng.choice(n, min(n, _N_LANDMARKS), replace=False))
    kernel = Nystroem(
        "rbf", gamma=median_gamma(Z, Z[:0]), n_components=len(drawn), random_state=0
    )
    F = kernel.fit(Z[drawn]).transform(Z)
    return linear, _Columns(F - F.mean(axis=0))


def _class_scores(columns, codes, folds):
    """Scores of all rows for each fold f that is judged, shape (n_folds, n, k - 1).

    Of a row of another fold g: the prediction by a model of the folds other than f and
    g; of a row of f itself: the mean of these models over g.
    """
    n_folds = folds.max() + 1
    # The last class's score is minus the sum of the others.
    indicators = np.eye(codes.max() + 1)[codes][:, :-1]
    scores = np.zeros((n_folds, *indicators.shape))
    for f, g in combinations(range(n_folds), 2):
        held_out = (folds == f) | (folds == g)
        train, test = np.flatnonzero(~held_out), np.flatnonzero(held_out)
        labeled = codes[train] >= 0
        D = np.zeros((len(train), indicators.shape[1]))
        D[labeled] = indicators[train][labeled]
        D[labeled] -= D[labeled].mean(axis=0)
        predicted = sum(own.ridge(train, test)(D) for own in columns)
        for judged in (f, g):
            in_judged = folds[test] == judged
            scores[judged, test[~in_judged]] = predicted[~in_judged]
            scores[judged, test[in_judged]] += predicted[in_judged] / (n_folds - 1)
    return scores - scores.mean(axis=1, keepdims=True)


def permuted_within(groups, is_target, n_permutations, rng):
    """Observed domains and permutations of them within groups, shape (n, 1 + P).

    `groups` holds one column for all permutations, or one for each.
    """
    T = np.empty((len(is_target), 1 + n_permutations), dtype=bool)
    T[:, 0] = is_target
    for column in range(n_permutations):
        group = groups[:, min(column, groups.shape[1] - 1)]
        shuffled = np.lexsort((rng.random_sample(len(group)), group))
        T[np.argsort(group, kind="stable"), 1 + column] = is_target[shuffled]
    return T


def domain_test(views, T, weights, threshold):
    """Whether any of the views tells the domains apart better than it should.

    Each column of T is a partition into target and source rows, the first the
    observed one, the others draws from the null. In each fold the score is ``(S +
    lambda I)^-1 (m_t - m_s)``, with the second moments S and the (weighted) means of
    the rows of the other folds; the AUC is over the pairs within a fold. Each view's
    AUC is standardised by its mean and standard deviation over the null, the largest
    is the statistic, and z is that standardised in the same way.

    Parameters
    ----------
    views : list of _View
    T : ndarray of shape (n, 1 + P), bool
    weights : ndarray of shape (n, 1 + P)
        Weights of source rows; those of target rows are not used.
    threshold : float
        The z of `detectable_auc`.
    """
    V = np.where(T, 0.0, weights)
    aucs = np.stack([_cross_fitted_auc(view, T, V) for view in views])
    mean, std = aucs[:, 1:].mean(axis=1), aucs[:, 1:].std(axis=1)
    std = np.where(std > 0, std, np.inf)  # a view in which all rows are the same
    standardised = (aucs - mean[:, np.newaxis]) / std[:, np.newaxis]
    largest = standardised.max(axis=0)
    null = largest[1:]
    spread = null.std()
    best = standardised[:, 0].argmax()
    detectable = null.mean() + threshold * spread
    detectable = mean[best] + detectable * aucs[best, 1:].std()
    return DomainTest(
        z=float((largest[0] - null.mean()) / spread) if spread > 0 else 0.0,
        pvalue=float((1 + np.count_nonzero(null >= largest[0])) / (1 + len(null))),
        auc=float(aucs[best, 0]),
        detectable_auc=float(min(1.0, detectable)),
    )


def _cross_fitted_auc(view, T, V):
    """AUC of each column, over all pairs of a source and a target row of one fold."""
    wins, pairs = np.zeros(T.shape[1]), np.zeros(T.shape[1])
    contrasts = view.predict(lambda rows: _share(T[rows]) - _share(V[rows]))
    for test, scores in contrasts:
        for start in range(0, T.shape[1], _RANKED):
            some = slice(start, start + _RANKED)
            won, of = _won_pairs(scores[:, some], T[test, some], V[test, some])
            wins[some] += won
            pairs[some] += of
    return np.where(pairs > 0, wins / np.where(pairs > 0, pairs, 1.0), 0.5)


def _share(W):
    """Columns divided by their sums; those of sum 0 as they are."""
    sums = W.sum(axis=0)
    return W / np.where(sums > 0, sums, 1.0)


def _won_pairs(scores, T, V):
    """Weight of the pairs in which the target row is higher, ties by half; of all."""
    order = np.argsort(scores, axis=0, kind="stable")
    scores, T, V = (np.take_along_axis(A, order, axis=0) for A in (scores, T, V))
    first = np.ones(scores.shape, dtype=bool)
    first[1:] = np.diff(scores, axis=0) > _TIE * np.abs(scores).max(axis=0)
    last = np.ones(scores.shape, dtype=bool)
    last[:-1] = first[1:]
    upto = np.cumsum(V, axis=0)
    before = np.maximum.accumulate(np.where(first, upto - V, 0.0), axis=0)
    through = np.where(last, upto, np.inf)
    through = np.minimum.accumulate(through[::-1], axis=0)[::-1]
    won = np.einsum("ij,ij->j", T, 0.5 * (before + through))
    return won, T.sum(axis=0) * upto[-1]
