"""Class probabilities of many rows made to agree with given class shares."""

import warnings

import numpy as np

# Rounds of the scaling; fewer where the shares are met to this accuracy.
_ROUNDS = 100
_ACCURACY = 1e-12

# Shares that cannot be met: part of the rows by which the nearest are missed at the
# most, and from which on the user is told.
_NEAR = 0.01

# Bound of the factors, and its inverse: no product of two with a probability leaves
# the range of floats, so that a row keeps a sum above 0.
_LARGEST = 1e150


def column_scales(proba, shares):
    """Factors of the classes that give the mean of the rows the given shares.

    Sinkhorn's scaling: columns are multiplied by share over mean, rows divided by
    their sums, in turns. All that is left of it is one factor for each column, since
    those of the rows are their sums ::

        scaled = proba * scales;  scaled /= scaled.sum(axis=1, keepdims=True)

    Classes can have no more rows than give them any probability. Where the shares ask
    for more, the factors would grow without end; the rounds stop once the distance
    (`share_distance`) is within .01 of the least possible.

    Parameters
    ----------
    proba : ndarray of shape (n_samples, n_classes)
        Probabilities; rows sum to 1.
    shares : ndarray of shape (n_classes,)
        Positive, of sum 1.

    Returns
    -------
    scales : ndarray of shape (n_classes,)
        Positive and finite; 1 for a class that no row gives any probability.
    """
    scales = np.ones(len(shares))
    possible = proba > 0
    always_met = possible.all()
    for _ in range(_ROUNDS):
        means = rescale(proba, scales).mean(axis=0)
        found = means > 0
        following = scales.copy()
        with np.errstate(over="ignore"):
            following[found] *= shares[found] / means[found]
        following = np.clip(following, 1 / _LARGEST, _LARGEST)
        if not always_met:
            order = np.argsort(-np.where(found, following, np.inf), kind="stable")
            least = _least_distance(possible[:, order], shares[order])
            if least > _ACCURACY and share_distance(means, shares) <= least + _NEAR:
                break
        scales = following
        if np.abs(means - shares)[found].max() <= _ACCURACY:
            break
    return scales


def _least_distance(possible, shares):
    """What the first so many classes lack if they get all rows that may be theirs.

    By Hall's theorem the largest lack of any set of classes is the distance of the
    shares to the nearest that can be met. Scaling puts the classes that lack rows
    first, so that the sets that begin the order are those to look at.
    """
    first = np.bincount(possible.argmax(axis=1), minlength=len(shares))
    return (np.cumsum(shares) - np.cumsum(first) / len(possible)).max()


def share_distance(means, shares):
    """Part of the rows that would have to change class, between 0 and 1."""
    return np.abs(means - shares).sum() / 2


def rescale(proba, scales):
    """Rows times the factors of the classes, of sum 1 again."""
    scaled = proba * scales
    return scaled / scaled.sum(axis=1, keepdims=True)


def warn_of_missed_shares(proba, shares, classes, stacklevel=3):
    """Say so if the mean of rescaled rows is not near the shares."""
    means = proba.mean(axis=0)
    distance = share_distance(means, shares)
    if distance <= _NEAR:
        return
    worst = (shares - means).argmax()
    warnings.warn(
        f"prior asks for {shares[worst]:.3g} of the target rows in class "
        f"{classes[worst]!s}, and rescaled probabilities come to {means[worst]:.3g} "
        f"(in all classes, {distance:.3g} of the rows are amiss): probabilities of 0 "
        "and 1 cannot be rescaled. Use models with softer ones, other shares, or "
        "prior=None.",
        UserWarning,
        stacklevel=stacklevel,
    )


def resolve_prior(prior, n_classes):
    """The shares that a parameter `prior` stands for; None if it is None."""
    if prior is None:
        return None
    if isinstance(prior, str):
        return np.full(n_classes, 1.0 / n_classes)
    shares = np.asarray(prior, dtype=np.float64)
    if (
        shares.shape != (n_classes,)
        or not (shares > 0).all()
        or abs(shares.sum() - 1.0) > 1e-6
    ):
        raise ValueError(
            f"prior must hold one number for each of the {n_classes} classes, all "
            f"above 0 and with sum 1, got {prior!r}: give them in the order of the "
            'sorted labels, or "uniform", or None.'
        )
    return shares
