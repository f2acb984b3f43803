"""Scores of features and predictions that are computed without fitting a model."""

from numbers import Real

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp
from sklearn.covariance import ledoit_wolf_shrinkage
from sklearn.utils import check_array, check_consistent_length
from sklearn.utils._param_validation import Interval, StrOptions, validate_params
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import column_or_1d

from skadapt._base import row_blocks
from skadapt._domains import as_labels, is_labeled, natural_labels

# How far the probabilities of a row may sum from 1: float32 through a softmax.
_SUM_TOLERANCE = 1e-3
# Ratios of the precisions a and b, relative to the largest eigenvalue of F F'.
_RATIOS = 1e-8, 1e8


@validate_params(
    {"P": ["array-like"], "y": ["array-like"]}, prefer_skip_nested_validation=True
)
def leep(P, y):
    """Log expected empirical prediction: do the source's classes tell the target's?

    With the probabilities ``P[i, z]`` that a source model gives target row i for its
    own classes z, and the labels y of these rows [1]_ ::

        mean_i log sum_z p(y_i | z) P[i, z],    p(y, z) = mean_i [y_i = y] P[i, z],

    the log likelihood of the classifier that guesses z with the source model, then y
    from z. The classes of the two domains need not be the same.

    Parameters
    ----------
    P : array-like of shape (n_target, n_source_classes)
        Class probabilities of a source model for labelled target rows. Rows sum to 1.
    y : array-like of shape (n_target,)
        Labels of the target rows.

    Returns
    -------
    score : float
        In nats, at most 0; larger is better.

    Raises
    ------
    ValueError
        If P holds no probabilities, if rows and labels differ in number, or if a row
        is unlabelled.

    See Also
    --------
    log_me : The same question to features.

    Notes
    -----
    In this package's tasks of feature shift (47 and 35, with 25 to 37 models each and
    3 labelled target rows a class) its rank correlation with the accuracy on the target
    was .46 and .42 in the mean; that of the accuracy on the same rows was .47 and .31.

    References
    ----------
    .. [1] C. V. Nguyen, T. Hassner, M. Seeger, C. Archambeau. LEEP: a new measure to
       evaluate transferability of learned representations. ICML 2020, section 3.

    Examples
    --------
    >>> from skadapt import leep
    >>> y = ["cat", "cat", "dog", "dog"]
    >>> sure = [[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]
    >>> print(f"{leep(sure, y):.2f}")
    0.00
    >>> unsure = [[0.5, 0.5]] * 4
    >>> print(f"{leep(unsure, y):.2f}")
    -0.69
    """
    P = _check_probabilities(P)
    codes, n_classes = _check_labels(y, P)
    joint = np.zeros((n_classes, P.shape[1]))
    np.add.at(joint, codes, P)
    total = joint.sum(axis=0)
    conditional = np.divide(joint, total, out=np.zeros_like(joint), where=total > 0)
    return float(np.log((conditional[codes] * P).sum(axis=1)).mean())


@validate_params(
    {"features": ["array-like"], "y": ["array-like"]},
    prefer_skip_nested_validation=True,
)
def log_me(features, y):
    """Log marginal evidence of a linear model of the labels on the features.

    For each class the 0/1 labels t are modelled as ``t ~ N(F w, 1/b)`` with ``w ~ N(0,
    1/a)``, and the score is the mean over the classes of the evidence per row [1]_ ::

        1/n max_{a, b} log p(t | F, a, b).

    It does not overfit as the accuracy of a fitted head would.

    Parameters
    ----------
    features : array-like of shape (n_target, n_features)
        F, features of labelled target rows.
    y : array-like of shape (n_target,)
        Labels of these rows.

    Returns
    -------
    score : float
        In nats a row; larger is better.

    Raises
    ------
    ValueError
        If features are not finite numbers, if rows and labels differ in number, if a
        row is unlabelled, or if there is one class.

    See Also
    --------
    h_score : How far apart the classes are, in features.

    Notes
    -----
    For a given ratio a / b the best b is known, so that the maximum is sought over one
    number, between 1e-8 and 1e8 times the largest eigenvalue of ``F F'``. (Where F
    gives the labels without error the evidence has no largest value but grows towards
    the lower end.) The fixed point iteration of the published code, which ends after at
    most 11 rounds, can stop far from the maximum where columns are more than rows. F is
    not centred: add a column of ones for an intercept.

    Costs a singular value decomposition, ``O(n d min(n, d))``.

    In this package's tasks of feature shift (47 and 35, with 25 to 37 models each and
    3 labelled target rows a class) its rank correlation with the accuracy on the target
    was .05 and .05 in the mean: it tells nothing about adapters.

    References
    ----------
    .. [1] K. You, Y. Liu, J. Wang, M. Long. LogME: practical assessment of pre-trained
       models for transfer learning. ICML 2021.

    Examples
    --------
    >>> import numpy as np
    >>> from skadapt import log_me
    >>> rng = np.random.default_rng(0)
    >>> y = np.repeat([0, 1], 50)
    >>> noise = rng.normal(size=(100, 5))
    >>> useful = noise + 2 * y[:, np.newaxis]
    >>> print(f"{log_me(noise, y):.2f} {log_me(useful, y):.2f}")
    -1.07 -0.52
    """
    F = check_array(features, dtype=np.float64, input_name="features")
    codes, n_classes = _check_labels(y, F)
    if n_classes < 2:
        raise ValueError(
            "y holds one class: evidence for features takes labelled rows of two "
            "classes or more."
        )
    left, s, _ = np.linalg.svd(F, full_matrices=False)
    is_class = codes[:, np.newaxis] == np.arange(n_classes)
    squares = (left.T @ is_class) ** 2
    return float(
        np.mean(
            [
                _largest_evidence(s**2, squares[:, k], np.sum(is_class[:, k]), len(F))
                for k in range(n_classes)
            ]
        )
    )


def _largest_evidence(values, squares, total, n):
    """``1/n max log N(t; 0, I / b + F F' / a)`` over a and b.

    `values` are eigenvalues of F F', `squares` the squared coordinates of t in their
    eigenvectors, `total` is t't. With r = a / b the quadratic form is b Q(r), ``Q =
    total - sum_j squares_j values_j / (r + values_j)``, the best b is n / Q, and what
    is left, ``-n/2 log Q(r) - 1/2 sum_j log(1 + values_j / r)``, is a function of r.
    """
    scale = values.max(initial=0.0) or 1.0
    outside = max(total - squares.sum(), 0.0)

    def negative(log_r):
        r = scale * np.exp(log_r)[..., np.newaxis]
        Q = outside + np.sum(squares * (r / (r + values)), axis=-1)
        return n * np.log(Q) + np.log1p(values / r).sum(axis=-1)

    # It may have several maxima: a grid finds the largest, to be refined.
    grid = np.linspace(*np.log(_RATIOS), 101)
    best = int(negative(grid).argmin())
    bounds = grid[max(best - 1, 0)], grid[min(best + 1, 100)]
    refined = minimize_scalar(negative, bounds=bounds, method="bounded").fun
    least = min(refined, negative(grid[best]))
    return (n * np.log(n) - n - n * np.log(2 * np.pi) - least) / (2 * n)


@validate_params(
    {
        "features": ["array-like"],
        "y": ["array-like"],
        "reg": [Interval(Real, 0, 1, closed="left"), StrOptions({"auto"})],
    },
    prefer_skip_nested_validation=True,
)
def h_score(features, y, *, reg="auto"):
    """H-score: variance of the class means relative to that of the features.

    ``tr(cov(F)^-1 cov(E[F | y]))`` [1]_, with the shrunk covariance of [2]_ ::

        (1 - r) tr(((1 - r) cov(F) + r tr(cov(F)) / d I)^-1 cov(E[F | y])).

    Parameters
    ----------
    features : array-like of shape (n_target, n_features)
        F, features of labelled target rows.
    y : array-like of shape (n_target,)
        Labels of these rows.
    reg : float in [0, 1) or "auto", default="auto"
        Shrinkage r. ``"auto"``: by the formula of Ledoit and Wolf. 0: the first
        formula, with the pseudo-inverse.

    Returns
    -------
    score : float
        Between 0 and the number of classes less 1; larger is better.

    Raises
    ------
    ValueError
        If features are not finite numbers, if rows and labels differ in number, or if
        a row is unlabelled.

    See Also
    --------
    log_me : Evidence of a linear model.

    Notes
    -----
    With more columns than rows and ``reg=0`` every set of labels has the largest score.
    A singular value decomposition of F replaces the inverse.

    In this package's tasks of feature shift (47 and 35, with 25 to 37 models each and
    3 labelled target rows a class) its rank correlation with the accuracy on the target
    was .10 and .11 in the mean.

    References
    ----------
    .. [1] Y. Bao, Y. Li, S.-L. Huang, L. Zhang, L. Zheng, A. Zamir, L. Guibas. An
       information-theoretic approach to transferability in task transfer learning.
       ICIP 2019.
    .. [2] S. Ibrahim, N. Ponomareva, R. Mazumder. Newer is not always better:
       rethinking transferability metrics, their peculiarities, stability and
       performance. ECML PKDD 2022.

    Examples
    --------
    >>> import numpy as np
    >>> from skadapt import h_score
    >>> rng = np.random.default_rng(0)
    >>> y = np.repeat([0, 1], 50)
    >>> noise = rng.normal(size=(100, 5))
    >>> useful = noise + 2 * y[:, np.newaxis]
    >>> print(f"{h_score(noise, y):.2f} {h_score(useful, y):.2f}")
    0.00 0.82
    """
    F = check_array(features, dtype=np.float64, input_name="features")
    codes, n_classes = _check_labels(y, F)
    F = F - F.mean(axis=0)
    if reg == "auto":
        reg = ledoit_wolf_shrinkage(F, assume_centered=True) if F.any() else 0.0
    left, s, _ = np.linalg.svd(F, full_matrices=False)
    variances = s**2 / len(F)
    rank = s > s.max(initial=0.0) * max(F.shape) * np.finfo(float).eps
    # Class means of the rows in the principal axes: sums over n_k^(1/2).
    sums = np.zeros((n_classes, len(s)))
    np.add.at(sums, codes, left * s)
    between = (sums**2 / np.bincount(codes)[:, np.newaxis]).sum(axis=0) / len(F)
    shrunk = (1 - reg) * variances + reg * variances.sum() / F.shape[1]
    return float((1 - reg) * np.sum(between[rank] / shrunk[rank]))


@validate_params(
    {
        "P": ["array-like"],
        "temperature": [Interval(Real, 0, None, closed="neither")],
    },
    prefer_skip_nested_validation=True,
)
def soft_neighborhood_density(P, *, temperature=0.05):
    """Soft neighborhood density: entropy of the similarities of a row to the others.

    With rows ``u_i = p_i / |p_i|`` the score is the mean over i of the entropy of
    ``softmax_j(u_i . u_j / temperature)``, j other than i [1]_: large if target rows
    have many neighbours that are predicted like them.

    Parameters
    ----------
    P : array-like of shape (n_target, n_classes)
        Class probabilities of target rows, or any other features of them; at least
        two rows, none of them 0.
    temperature : float, default=0.05
        Divides the similarities.

    Returns
    -------
    score : float
        In nats, between 0 and ``log(n_target - 1)``; larger is better.

    Raises
    ------
    ValueError
        If P is not of finite numbers, has one row or a row that is 0 throughout.

    See Also
    --------
    corr_c : Another score of target probabilities.

    Notes
    -----
    A model that says the same of every row has the largest score. In this package's 82
    tasks of feature shift (47 and 35, with 25 to 37 models each) its rank correlation
    with the accuracy on the target was -.25 and .06 in the mean, and the model that it
    put first lost more than 2 points against no adaptation in 59 of the 82: do not
    choose by it.

    Similarities are computed for blocks of rows: memory is bounded by scikit-learn's
    ``working_memory``, time is ``O(n_target^2 n_classes)``.

    References
    ----------
    .. [1] K. Saito, D. Kim, P. Teterwak, S. Sclaroff, T. Darrell, K. Saenko. Tune it
       the right way: unsupervised validation of domain adaptation via soft neighborhood
       density. ICCV 2021.

    Examples
    --------
    >>> from skadapt import soft_neighborhood_density
    >>> P = [[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.2, 0.8]]
    >>> print(f"{soft_neighborhood_density(P):.2f}")
    0.00
    >>> print(f"{soft_neighborhood_density([[0.5, 0.5]] * 4):.2f}")
    1.10
    """
    P = check_array(P, dtype=np.float64, input_name="P", ensure_min_samples=2)
    norms = np.linalg.norm(P, axis=1, keepdims=True)
    if not norms.all():
        raise ValueError(
            "A row of P is 0 throughout and has no direction: leave such rows out."
        )
    U = P / norms
    n_rows = len(U)
    total = 0.0
    for rows in row_blocks(n_rows, n_rows):
        logits = U[rows] @ U.T / temperature
        logits[np.arange(len(logits)), np.arange(rows.start, rows.stop)] = -np.inf
        logits -= logsumexp(logits, axis=1, keepdims=True)
        shares = np.exp(logits)
        np.copyto(logits, 0.0, where=shares == 0)
        total -= np.sum(shares * logits)
    return float(total / n_rows)


@validate_params({"P": ["array-like"]}, prefer_skip_nested_validation=True)
def corr_c(P):
    """Class correlation: how near ``P'P`` is to a multiple of the identity.

    ``tr(P'P) / |P'P|_F``, the cosine of the two times the root of the number of
    classes [1]_: large if target rows get one class each, and all classes as many.

    Parameters
    ----------
    P : array-like of shape (n_target, n_classes)
        Class probabilities of target rows. Rows sum to 1.

    Returns
    -------
    score : float
        Between 1, for one class throughout or equal probabilities, and the root of
        the number of classes; larger is better.

    Raises
    ------
    ValueError
        If P holds no probabilities.

    See Also
    --------
    soft_neighborhood_density : Another score of target probabilities.

    Notes
    -----
    Public code differs in the sign. In this package's 82 tasks of feature shift (47 and
    35, with 25 to 37 models each) its rank correlation with the accuracy on the target
    was .31 and .28 in the mean, and the model that it put first lost more than 2 points
    against no adaptation in 33 of the 82.

    References
    ----------
    .. [1] W. Tu, W. Deng, L. Zheng, T. Gedeon. What does softmax probability tell us
       about classifiers ranking across diverse test conditions? TMLR 2024.

    Examples
    --------
    >>> from skadapt import corr_c
    >>> print(f"{corr_c([[1.0, 0.0], [0.0, 1.0]]):.2f}")
    1.41
    >>> print(f"{corr_c([[1.0, 0.0], [1.0, 0.0]]):.2f}")
    1.00
    """
    P = _check_probabilities(P)
    products = P.T @ P
    return float(np.trace(products) / np.linalg.norm(products))


def _check_probabilities(P):
    P = check_array(P, dtype=np.float64, input_name="P")
    if P.min() < 0 or np.abs(P.sum(axis=1) - 1).max() > _SUM_TOLERANCE:
        raise ValueError(
            "P must hold probabilities, not negative and of sum 1 in each row: pass "
            "what predict_proba returns."
        )
    return P


def _check_labels(y, rows):
    """Classes of the rows as 0, 1, ... and their number."""
    y = column_or_1d(as_labels(y))
    check_consistent_length(rows, y)
    missing = np.count_nonzero(~is_labeled(y))
    if missing:
        raise ValueError(
            f"{missing} of {len(y)} rows are unlabelled: pass labelled rows only."
        )
    y = natural_labels(y)
    check_classification_targets(y)
    classes, codes = np.unique(y, return_inverse=True)
    return codes, len(classes)
