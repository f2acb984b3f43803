"""Scores of predictions that need no label of the target, on plain arrays.

Larger is better. P, of shape (n_target, n_classes), holds class probabilities of
target rows, and Q, of shape (n_source, n_classes), of source rows that the model has
not seen; `correct` says which of these it gets right.
"""

import numpy as np
from scipy import sparse
from scipy.special import entr, softmax
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from skadapt._base import spread_order
from skadapt._calibration import log_probabilities

# Mixtures of each row, with as many others.
_N_MIXTURES = 5
# Share of a row in its mixture with another; Hu et al. (2023).
_SHARE = 0.55
# Largest importance weight; their mean over the source is 1 in expectation.
_LARGEST_RATIO = 50.0
# Xie et al. (2024): order of the norm, and the mean cross entropy to equal shares up
# to which the exponential function is expanded.
_NORM_ORDER, _LARGEST_CROSS_ENTROPY = 4, 5.0


def entropy_score(P):
    """``-mean_i H(p_i)`` in nats."""
    return -float(entr(P).sum(axis=1).mean())


def information_maximization_score(P):
    """``H(mean_i p_i) - mean_i H(p_i)`` in nats; 0 if all rows are alike."""
    P = np.asarray(P, dtype=np.float64)
    return float(entr(P.mean(axis=0)).sum()) + entropy_score(P)


def mano_score(P):
    """``(mean r^4)^(1/4)``, r being the logits brought to rows of sum 1.

    Logits q are the logarithms of P, of row mean 0. Where their mean cross entropy
    to equal shares is at most 5, r is ``1 + q + q^2 / 2`` over its sum, and P
    otherwise.
    """
    log_p = log_probabilities(P)
    if -log_p.mean() <= _LARGEST_CROSS_ENTROPY:
        q = log_p - log_p.mean(axis=1, keepdims=True)
        r = 1 + q + q**2 / 2
        r /= r.sum(axis=1, keepdims=True)
    else:
        r = softmax(log_p, axis=1)
    return float(np.mean(r**_NORM_ORDER) ** (1 / _NORM_ORDER))


def atc_score(Q, correct, P):
    """Accuracy predicted by the share of target rows above a threshold.

    The threshold is on the largest probability of a row. It is that above which lies
    the share ``mean(correct)`` of the source rows; where several rows lie on it, they
    count in part, in source and target alike.
    """
    confidence = np.sort(Q.max(axis=1))[::-1]
    n_above = np.count_nonzero(correct)
    if not n_above:
        return 0.0
    threshold = confidence[n_above - 1]
    above = np.count_nonzero(confidence > threshold)
    ties = np.count_nonzero(confidence == threshold)
    part = (n_above - above) / ties
    confidence = P.max(axis=1)
    return float(
        np.mean(confidence > threshold) + part * np.mean(confidence == threshold)
    )


def doc_score(Q, correct, P):
    """Source accuracy less the fall in mean confidence from source to target."""
    fall = Q.max(axis=1).mean(dtype=np.float64) - P.max(axis=1).mean(dtype=np.float64)
    return float(np.mean(correct) - fall)


def mixval_score(P_mixed, first, second):
    """Share of mixed rows that get the class of the row that they are more of.

    Parameters
    ----------
    P_mixed : ndarray of shape (n_rows, n_classes)
        Probabilities of the rows that `mixed_rows` makes.
    first, second : ndarray of shape (n_rows,)
        Columns of the classes predicted for the two rows of each.

    Returns
    -------
    score : float in [0, 1]
        Mean of the shares in pairs of one class and in pairs of two. There are none
        of two where one class is predicted throughout: their share is 0 then, lest
        the model that tells nothing apart be the best. Where there are none of one,
        the other share alone.
    """
    agrees = P_mixed.argmax(axis=1) == first
    same = first == second
    between = agrees[~same].mean() if not same.all() else 0.0
    within = agrees[same].mean() if same.any() else between
    return float((within + between) / 2)


def mixing_partners(X):
    """For each row the positions of the rows that it is mixed with, never its own.

    Of 600 rows, the score of one mixture a row has a standard deviation of .011 over
    the draw of partners, as large as the differences that it is to tell; hence five.

    Parameters
    ----------
    X : {ndarray, sparse matrix} of shape (n_rows, n_features)
        At least two rows, numbers.

    Returns
    -------
    partners : list of 5 ndarrays of shape (n_rows,), intp
        Permutations of one cycle. They pair the same rows whatever their order.
    """
    order = spread_order(X)
    rng = np.random.default_rng(0)
    partners = []
    for _ in range(_N_MIXTURES):
        cycle = order[rng.permutation(len(order))]
        partner = np.empty(len(order), dtype=np.intp)
        partner[cycle] = np.roll(cycle, -1)
        partners.append(partner)
    return partners


def mixed_rows(X, partner):
    """Rows ``.55 x_i + .45 x_partner(i)``, as the kind of container that X is."""
    if hasattr(X, "iloc"):
        values = mixed_rows(X.to_numpy(dtype=np.float64), partner)
        return type(X)(values, index=X.index, columns=X.columns)
    return _SHARE * X + (1 - _SHARE) * X[partner]


def iwcv_score(correct, w):
    """``sum_i w_i correct_i / sum_i w_i``, the importance-weighted accuracy."""
    return float(np.average(correct, weights=np.asarray(w, dtype=np.float64)))


def dev_score(losses, w):
    """Importance-weighted loss with a control variate, negative.

    ``-(mean(w l) + eta (mean(w) - 1))`` with ``eta = -cov(w l, w) / var(w)``: the
    weights have mean 1 in expectation, and what they are off by in the sample tells
    by how much the weighted loss is. Equal weights leave eta at 0.
    """
    w = np.asarray(w, dtype=np.float64)
    weighted = w * losses
    deviation = w - w.mean()
    variance = deviation @ deviation
    eta = -(deviation @ weighted) / variance if variance > 0 else 0.0
    return -float(weighted.mean() + eta * (w.mean() - 1))


def domain_ratio(X, is_target, *, n_folds=5):
    """``p_target / p_source`` at the source rows, by logistic regression.

    Each row is scored by a classifier of source against target rows that has not seen
    it: ``w(x) = n_source / n_target  p(target | x) / p(source | x)``, at most 50. The
    columns are scaled by mean and standard deviation of the source. They have to be
    those of the data: columns that were mapped with the help of held-out rows, such
    as to equal means, tell these apart worse than chance.

    Parameters
    ----------
    X : {ndarray, sparse matrix} of shape (n_samples, n_features)
        Numbers. Sparse rows are scaled, not centred.
    is_target : ndarray of shape (n_samples,), bool
        At least two rows of each kind.
    n_folds : int, default=5
        Number of folds; no more than there are rows of a kind.

    Returns
    -------
    ratio : ndarray of shape (n_source,)
        In the order of the source rows of X. The same in any order of the rows.
    """
    # The same rows in the same order give the same sums, to the last bit.
    order = np.argsort(is_target, kind="stable")
    order = order[spread_order(X[order])]
    X, is_target = X[order].astype(np.float64), is_target[order]
    scaler = StandardScaler(with_mean=not sparse.issparse(X))
    Z = scaler.fit(X[np.flatnonzero(~is_target)]).transform(X)
    if Z.shape[1] > Z.shape[0]:
        Z = _coordinates(Z)
    counts = np.bincount(is_target)
    n_folds = min(n_folds, counts.min())
    folds = np.empty(len(is_target), dtype=np.intp)
    rng = np.random.default_rng(0)
    for kind, count in enumerate(counts):
        folds[is_target == kind] = rng.permutation(count) % n_folds
    ratio = np.empty(len(is_target))
    for fold in range(n_folds):
        train, held = folds != fold, folds == fold
        n_source, n_target = np.bincount(is_target[train])
        model = LogisticRegression(tol=1e-6, max_iter=1000)
        model.fit(Z[train], is_target[train])
        log_odds = model.decision_function(Z[held])
        ratio[held] = np.exp(
            np.minimum(log_odds + np.log(n_source / n_target), np.log(_LARGEST_RATIO))
        )
    found = np.empty_like(ratio)
    found[order] = ratio
    is_source = np.empty_like(is_target)
    is_source[order] = ~is_target
    return found[is_source]


def _coordinates(Z):
    """Rows in an orthonormal basis of their span: the same products, fewer columns."""
    gram = Z @ Z.T
    values, vectors = np.linalg.eigh(gram.toarray() if sparse.issparse(gram) else gram)
    return vectors * np.sqrt(np.maximum(values, 0))
