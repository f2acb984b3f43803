"""Seeded samples of two domains whose shift is known in closed form."""

# Authors: The skadapt developers
# SPDX-License-Identifier: BSD-3-Clause

from numbers import Integral, Real

import numpy as np
from scipy.special import ndtri
from sklearn.utils import Bunch, check_random_state
from sklearn.utils._param_validation import Interval, validate_params

_SIZE = [Interval(Integral, 1, None, closed="left")]
_NOISE_RATE = [Interval(Real, 0, 0.5, closed="both")]

# Two classes with unit covariance whose means lie this far apart: the best rule is
# right on Phi(1.5) = 93.3 % of the rows, so that errors of a method can be seen.
_SCALING_CLASS_DISTANCE = 3.0


@validate_params(
    {
        "n_source": _SIZE,
        "n_target": _SIZE,
        "n_features": _SIZE,
        "shift": [Real, "array-like"],
        "scale": [Interval(Real, 0, None, closed="neither")],
        "noise": _NOISE_RATE,
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def make_covariate_shift(
    n_source=500,
    n_target=500,
    n_features=2,
    *,
    shift=1.0,
    scale=1.0,
    noise=0.0,
    random_state=None,
):
    """Draw two domains that differ in p(x) only, with their density ratio.

    Source rows follow N(0, I), target rows N(`shift`, `scale`^2 I). Both are labelled
    by one rule, the parabola ``y = 1`` where ``x_2 + 1 > x_1 ** 2`` (with one feature,
    where ``|x_1| < 1``); columns from the third on carry no label. A straight line
    cannot follow the parabola everywhere: the best line for the source is close to
    horizontal, the best line for the target is a tangent on the side of the shift, and
    importance weighting finds it from source labels alone.

    Parameters
    ----------
    n_source : int, default=500
        Number of source rows.

    n_target : int, default=500
        Number of target rows.

    n_features : int, default=2
        Number of columns d.

    shift : float or array-like of shape (n_features,), default=1.0
        Mean of the target, in standard deviations of the source. A number moves the
        first column only.

    scale : float, default=1.0
        Standard deviation of the target in every column, in standard deviations of
        the source. The importance weights have a finite variance only below sqrt(2).

    noise : float, default=0.0
        Probability, in [0, 0.5], that a label is turned over, in both domains.

    random_state : int, RandomState instance or None, default=None
        Determines the rows and the labels. Pass an int for the same data in each call.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        With n = `n_source` + `n_target`, source rows first:

        X : ndarray of shape (n, n_features)
            The rows, float64.
        y : ndarray of shape (n,)
            The labels 0 and 1, int64. **Those of the target rows are given too**: mask
            them (NaN in a float `y`) where a method must not see them.
        sample_domain : ndarray of shape (n,)
            1 for a source row, -1 for a target row, int64.
        density_ratio : ndarray of shape (n,)
            p_target(x) / p_source(x) at every row.
        log_density_ratio : ndarray of shape (n,)
            Its natural logarithm, which does not overflow.
        labeling_probability : ndarray of shape (n,)
            p(y = 1 | x), the same function in both domains.

    Raises
    ------
    ValueError
        If `shift` is not finite, or an array not of shape (n_features,).

    References
    ----------
    .. [1] H. Shimodaira, "Improving predictive inference under covariate shift by
       weighting the log-likelihood function", Journal of Statistical Planning and
       Inference 90 (2000), 227-244.

    Examples
    --------
    >>> from skadapt.datasets import make_covariate_shift
    >>> data = make_covariate_shift(300, 200, shift=1.5, random_state=0)
    >>> data.X.shape, data.density_ratio.shape
    ((500, 2), (500,))
    >>> data.sample_domain[[0, -1]]
    array([ 1, -1])
    """
    shift = _finite_values("shift", shift, n_features)
    if shift.ndim == 0:
        shift = np.r_[shift, np.zeros(n_features - 1)]
    rng = check_random_state(random_state)
    X = rng.standard_normal((n_source + n_target, n_features))
    X[n_source:] *= scale
    X[n_source:] += shift

    second = X[:, 1] if n_features > 1 else 0.0
    clean = second + 1.0 > X[:, 0] ** 2
    labeling_probability = np.where(clean, 1.0 - noise, noise)
    y = _flip_labels(clean, noise, rng)

    log_density_ratio = (
        0.5 * (X**2).sum(axis=1)
        - 0.5 * (((X - shift) / scale) ** 2).sum(axis=1)
        - n_features * np.log(scale)
    )
    # Far in the tail of a wide target the ratio itself may exceed float64; inf is then
    # its right rounding, and the logarithm remains exact.
    with np.errstate(over="ignore"):
        density_ratio = np.exp(log_density_ratio)
    return Bunch(
        X=X,
        y=y,
        sample_domain=_two_domains(n_source, n_target),
        density_ratio=density_ratio,
        log_density_ratio=log_density_ratio,
        labeling_probability=labeling_probability,
    )


@validate_params(
    {
        "n_source": _SIZE,
        "n_target": _SIZE,
        "priors_source": ["array-like"],
        "priors_target": ["array-like"],
        "n_features": _SIZE,
        "class_sep": [Interval(Real, 0, None, closed="left")],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def make_label_shift(
    n_source=500,
    n_target=500,
    *,
    priors_source=(0.5, 0.5),
    priors_target=(0.8, 0.2),
    n_features=2,
    class_sep=2.0,
    random_state=None,
):
    """Draw two domains that differ in p(y) only, with their class priors.

    Class k follows N(m_k, I) in both domains. The means lie on the first axis, centred
    at 0 and `class_sep` apart from one class to the next; the other columns carry no
    label. Labels are drawn independently, so the share of a class in the sample is
    close to its prior and not equal to it.

    Parameters
    ----------
    n_source : int, default=500
        Number of source rows.

    n_target : int, default=500
        Number of target rows.

    priors_source : array-like of shape (n_classes,), default=(0.5, 0.5)
        Probability of each class in the source; positive, with sum 1.

    priors_target : array-like of shape (n_classes,), default=(0.8, 0.2)
        Probability of each class in the target; may hold zeros, with sum 1.

    n_features : int, default=2
        Number of columns d.

    class_sep : float, default=2.0
        Distance of neighbouring class means, in standard deviations inside a class.

    random_state : int, RandomState instance or None, default=None
        Determines the rows and the labels. Pass an int for the same data in each call.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        With n = `n_source` + `n_target`, source rows first:

        X : ndarray of shape (n, n_features)
            The rows, float64.
        y : ndarray of shape (n,)
            The labels 0 .. n_classes - 1, int64. **Those of the target rows are given
            too**: mask them (NaN in a float `y`) where a method must not see them.
        sample_domain : ndarray of shape (n,)
            1 for a source row, -1 for a target row, int64.
        priors_source, priors_target : ndarray of shape (n_classes,)
            The true class probabilities.
        class_weights : ndarray of shape (n_classes,)
            ``priors_target / priors_source``, the true weight of each class.
        class_means : ndarray of shape (n_classes, n_features)
            The means m_k, from which p(y | x) follows in each domain.

    Raises
    ------
    ValueError
        If the priors are not two probability vectors of one length, at least 2, or
        if one of `priors_source` is zero.

    References
    ----------
    .. [1] M. Saerens, P. Latinne, C. Decaestecker, "Adjusting the outputs of a
       classifier to new a priori probabilities: a simple procedure", Neural
       Computation 14 (2002), 21-41.
    .. [2] Z. Lipton, Y.-X. Wang, A. Smola, "Detecting and correcting for label shift
       with black box predictors", ICML 2018.

    Examples
    --------
    >>> from skadapt.datasets import make_label_shift
    >>> data = make_label_shift(priors_target=(0.9, 0.1), random_state=0)
    >>> data.class_weights
    array([1.8, 0.2])
    """
    priors_source = _probability_vector("priors_source", priors_source)
    priors_target = _probability_vector("priors_target", priors_target)
    if len(priors_source) != len(priors_target):
        raise ValueError(
            f"priors_source has {len(priors_source)} classes and priors_target "
            f"{len(priors_target)}: give one number per class in both."
        )
    if not priors_source.all():
        raise ValueError(
            "priors_source must be positive in every class: a class that the source "
            "never shows has no weight p_target(y) / p_source(y)."
        )
    n_classes = len(priors_source)
    class_means = np.zeros((n_classes, n_features))
    class_means[:, 0] = class_sep * (np.arange(n_classes) - (n_classes - 1) / 2)

    rng = check_random_state(random_state)
    y = np.r_[
        rng.choice(n_classes, size=n_source, p=priors_source),
        rng.choice(n_classes, size=n_target, p=priors_target),
    ].astype(np.int64)
    X = rng.standard_normal((n_source + n_target, n_features)) + class_means[y]
    return Bunch(
        X=X,
        y=y,
        sample_domain=_two_domains(n_source, n_target),
        priors_source=priors_source,
        priors_target=priors_target,
        class_weights=priors_target / priors_source,
        class_means=class_means,
    )


@validate_params(
    {
        "n_source": _SIZE,
        "n_target": _SIZE,
        "angle": [Interval(Real, None, None, closed="neither")],
        "noise": [Interval(Real, 0, None, closed="left")],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def make_rotation(
    n_source=300, n_target=300, *, angle=30.0, noise=0.1, random_state=None
):
    """Draw two half moons, and the same law turned by an angle as the target.

    The labels say on which moon a row lies. The pair of moons is centred at the
    origin, so that the rotation leaves the mean where it is and centring each domain
    does not help. The pair is its own mirror image through the origin, with the classes
    exchanged: beyond 90 degrees no method without target labels can tell the angle
    from ``angle - 180``.

    Parameters
    ----------
    n_source : int, default=300
        Number of source rows.

    n_target : int, default=300
        Number of target rows.

    angle : float, default=30.0
        Rotation of the target, in degrees, counter-clockwise.

    noise : float, default=0.1
        Standard deviation of the Gaussian noise around the moons, which are half
        circles of radius 1.

    random_state : int, RandomState instance or None, default=None
        Determines the rows and the labels. Pass an int for the same data in each call.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        With n = `n_source` + `n_target`, source rows first:

        X : ndarray of shape (n, 2)
            The rows, float64.
        y : ndarray of shape (n,)
            The moon, 0 (upper in the source) or 1, int64, each with probability 1/2.
            **Those of the target rows are given too**: mask them (NaN in a float `y`)
            where a method must not see them.
        sample_domain : ndarray of shape (n,)
            1 for a source row, -1 for a target row, int64.
        rotation : ndarray of shape (2, 2)
            The orthogonal matrix R for which R x has the law of the target when x has
            the law of the source: ``X_source @ rotation.T`` looks like the target.

    Examples
    --------
    >>> from skadapt.datasets import make_rotation
    >>> data = make_rotation(angle=90, random_state=0)
    >>> data.rotation.round(3) + 0.0
    array([[ 0., -1.],
           [ 1.,  0.]])
    """
    rng = check_random_state(random_state)
    n = n_source + n_target
    y = rng.randint(2, size=n).astype(np.int64)
    arc = rng.uniform(0.0, np.pi, size=n)
    # The moons of sklearn.datasets.make_moons, (cos, sin) and (1 - cos, 1/2 - sin),
    # less the centre (1/2, 1/4) of the pair; the second is minus the first.
    X = np.c_[np.cos(arc) - 0.5, np.sin(arc) - 0.25]
    X[y == 1] *= -1.0
    X += noise * rng.standard_normal((n, 2))

    cos, sin = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
    rotation = np.array([[cos, -sin], [sin, cos]])
    X[n_source:] = X[n_source:] @ rotation.T
    return Bunch(
        X=X,
        y=y,
        sample_domain=_two_domains(n_source, n_target),
        rotation=rotation,
    )


@validate_params(
    {
        "n_source": _SIZE,
        "n_target": _SIZE,
        "n_features": _SIZE,
        "scale": [Real, "array-like"],
        "offset": [Real, "array-like"],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def make_scaling(
    n_source=300,
    n_target=300,
    *,
    n_features=5,
    scale=(0.2, 5.0),
    offset=(-2.0, 2.0),
    random_state=None,
):
    """Draw two classes, and the same law with other units as the target.

    Each column of the target has the law of that column of the source times a scale
    plus an offset, as if other instruments had measured it. Both classes have
    covariance I in the source and are equally likely; their means lie 3 standard
    deviations apart on the diagonal, symmetric about 0, so that each column helps
    equally and the best possible accuracy in both domains is 93.3 %. Standardising
    each domain by itself undoes the shift.

    Parameters
    ----------
    n_source : int, default=300
        Number of source rows.

    n_target : int, default=300
        Number of target rows.

    n_features : int, default=5
        Number of columns d.

    scale : float, tuple (low, high) or array-like of shape (n_features,), \
            default=(0.2, 5.0)
        Positive factor of each column. A number holds for all columns, a **tuple** is
        the range from which one factor per column is drawn (uniformly on the log
        scale), a list or an array gives them.

    offset : float, tuple (low, high) or array-like of shape (n_features,), \
            default=(-2.0, 2.0)
        What is added to each column after scaling, in the units of the source. Read
        like `scale`; a range is drawn from uniformly.

    random_state : int, RandomState instance or None, default=None
        Determines the map, the rows and the labels. Pass an int for the same data in
        each call.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        With n = `n_source` + `n_target`, source rows first:

        X : ndarray of shape (n, n_features)
            The rows, float64.
        y : ndarray of shape (n,)
            The labels 0 and 1, int64. **Those of the target rows are given too**: mask
            them (NaN in a float `y`) where a method must not see them.
        sample_domain : ndarray of shape (n,)
            1 for a source row, -1 for a target row, int64.
        scale, offset : ndarray of shape (n_features,)
            The map: ``X_source * scale + offset`` looks like the target.

    Raises
    ------
    ValueError
        If a scale is not positive, a value not finite, a tuple not a pair
        ``low <= high``, or an array not of shape (n_features,).

    Examples
    --------
    >>> from skadapt.datasets import make_scaling
    >>> data = make_scaling(n_features=2, scale=[1, 10], offset=0, random_state=0)
    >>> data.scale, data.offset
    (array([ 1., 10.]), array([0., 0.]))
    """
    rng = check_random_state(random_state)
    scale = _column_values("scale", scale, n_features, rng, positive=True)
    offset = _column_values("offset", offset, n_features, rng)

    n = n_source + n_target
    y = rng.randint(2, size=n).astype(np.int64)
    half_distance = _SCALING_CLASS_DISTANCE / 2
    X = rng.standard_normal((n, n_features))
    X += (half_distance / np.sqrt(n_features)) * (2 * y - 1)[:, None]
    X[n_source:] *= scale
    X[n_source:] += offset
    return Bunch(
        X=X,
        y=y,
        sample_domain=_two_domains(n_source, n_target),
        scale=scale,
        offset=offset,
    )


@validate_params(
    {
        "n_source": _SIZE,
        "n_target": _SIZE,
        "n_features": [Interval(Integral, 2, None, closed="left")],
        "flip": [Interval(Real, 0, 1, closed="both")],
        "noise": _NOISE_RATE,
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def make_concept_shift(
    n_source=500,
    n_target=500,
    *,
    n_features=2,
    flip=0.3,
    noise=0.0,
    random_state=None,
):
    """Draw two domains with the same p(x) that label a part of the space differently.

    Rows of both domains follow N(0, I). The source labels ``y = 1`` where ``x_2 > 0``.
    The target agrees where ``x_1 <= threshold`` and says the opposite beyond, a region
    of probability `flip`. A model that is right on the source is then right on
    ``1 - flip`` of the target, and no re-weighting by p(x) can change that: labelled
    target rows are needed.

    Parameters
    ----------
    n_source : int, default=500
        Number of source rows.

    n_target : int, default=500
        Number of target rows.

    n_features : int, default=2
        Number of columns d, at least 2. Those from the third on carry no label.

    flip : float, default=0.3
        Probability, in [0, 1], of the region where the rules disagree.

    noise : float, default=0.0
        Probability, in [0, 0.5], that a label is turned over, in both domains.

    random_state : int, RandomState instance or None, default=None
        Determines the rows and the labels. Pass an int for the same data in each call.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        With n = `n_source` + `n_target`, source rows first:

        X : ndarray of shape (n, n_features)
            The rows, float64.
        y : ndarray of shape (n,)
            The labels 0 and 1, int64, each row by the rule of its own domain. **Those
            of the target rows are given too**: mask them (NaN in a float `y`) where a
            method must not see them.
        sample_domain : ndarray of shape (n,)
            1 for a source row, -1 for a target row, int64.
        agree : ndarray of shape (n,)
            True where the two rules give the same label, for rows of both domains.
        threshold : float
            The rules agree where ``x_1 <= threshold``, the (1 - flip) quantile of the
            standard normal law.

    Examples
    --------
    >>> from skadapt.datasets import make_concept_shift
    >>> data = make_concept_shift(flip=0.5, random_state=0)
    >>> data.threshold
    0.0
    >>> bool((data.agree == (data.X[:, 0] <= 0)).all())
    True
    """
    rng = check_random_state(random_state)
    X = rng.standard_normal((n_source + n_target, n_features))
    sample_domain = _two_domains(n_source, n_target)
    threshold = float(ndtri(1.0 - flip))
    agree = X[:, 0] <= threshold
    clean = (X[:, 1] > 0) ^ ((sample_domain < 0) & ~agree)
    return Bunch(
        X=X,
        y=_flip_labels(clean, noise, rng),
        sample_domain=sample_domain,
        agree=agree,
        threshold=threshold,
    )


def _two_domains(n_source, n_target):
    return np.repeat(np.array([1, -1], dtype=np.int64), [n_source, n_target])


def _flip_labels(clean, noise, rng):
    """Labels 0 and 1, each turned over with probability `noise`."""
    return (clean ^ (rng.uniform(size=len(clean)) < noise)).astype(np.int64)


def _finite_values(name, value, n_values):
    """`value` as a float array of no dimension or of shape (n_values,)."""
    try:
        value = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must hold numbers only, got {value!r}.") from None
    if value.ndim and value.shape != (n_values,):
        raise ValueError(
            f"{name} must be a number or have shape ({n_values},), "
            f"got shape {value.shape}."
        )
    if not np.isfinite(value).all():
        raise ValueError(f"{name} must be finite, got {value.tolist()}.")
    return value


def _column_values(name, value, n_features, rng, *, positive=False):
    """One value per column: as given, or drawn where a tuple gives the range."""
    is_range = isinstance(value, tuple)
    if is_range and len(value) != 2:
        raise ValueError(
            f"{name} as a tuple is a range (low, high), got {len(value)} values: give "
            "the values of the columns as a list or an array."
        )
    value = _finite_values(name, value, 2 if is_range else n_features)
    if positive and (value <= 0).any():
        raise ValueError(f"{name} must be positive, got {value.tolist()}.")
    if not is_range:
        return np.broadcast_to(value, n_features).copy()
    low, high = value
    if low > high:
        raise ValueError(f"{name} has a range with low > high, got ({low}, {high}).")
    if positive:
        return np.exp(rng.uniform(np.log(low), np.log(high), size=n_features))
    return rng.uniform(low, high, size=n_features)


def _probability_vector(name, value):
    value = np.asarray(value)
    if value.ndim != 1 or len(value) < 2 or value.dtype.kind not in "fiu":
        raise ValueError(f"{name} must be a list of at least two probabilities.")
    value = value.astype(np.float64)
    # The tolerance of numpy.random.RandomState.choice, which draws from them.
    if not (value >= 0).all() or abs(value.sum() - 1.0) > 1e-8:
        raise ValueError(
            f"{name} must be non-negative with sum 1, got {value.tolist()}."
        )
    return value
