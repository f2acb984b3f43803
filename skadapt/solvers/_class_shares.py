"""Class probabilities of many rows made to agree with given class shares."""

import numpy as np

# Rounds of the scaling; fewer where the shares are met to this accuracy.
_ROUNDS = 100
_ACCURACY = 1e-12


def column_scales(proba, shares):
    """Factors of the classes that give the mean of the rows the given shares.

    Sinkhorn's scaling: columns are multiplied by share over mean, rows divided by
    their sums, in turns. All that is left of it is one factor for each column, since
    those of the rows are their sums ::

        scaled = proba * scales;  scaled /= scaled.sum(axis=1, keepdims=True)

    Parameters
    ----------
    proba : ndarray of shape (n_samples, n_classes)
        Probabilities; rows sum to 1.
    shares : ndarray of shape (n_classes,)
        Positive, of sum 1.

    Returns
    -------
    scales : ndarray of shape (n_classes,)
        1 for a class that no row gives any probability.
    """
    scales = np.ones(len(shares))
    for _ in range(_ROUNDS):
        means = rescale(proba, scales).mean(axis=0)
        found = means > 0
        scales[found] *= shares[found] / means[found]
        if np.abs(means - shares)[found].max() <= _ACCURACY:
            break
    return scales


def rescale(proba, scales):
    """Rows times the factors of the classes, of sum 1 again."""
    scaled = proba * scales
    return scaled / scaled.sum(axis=1, keepdims=True)


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
