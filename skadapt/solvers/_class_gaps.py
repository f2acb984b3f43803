"""Gaps between the means of two domains, of all rows and of each class."""

import numpy as np


def class_gaps(labels, is_source, n_classes):
    """Vectors whose products with a matrix are gaps of its column means.

    Parameters
    ----------
    labels : ndarray of shape (n_samples,)
        Class of each row as an integer in 0 ... n_classes - 1; -1 where unknown.
    is_source : ndarray of shape (n_samples,), bool
        Whether a row is of the source.
    n_classes : int
        Number of classes.

    Returns
    -------
    gaps : ndarray of shape (n_samples, 1 + n_classes)
        Column 0 is 1/n on source and -1/m on target rows; column 1 + c the same
        among the rows of class c, or 0 if either domain has no row of it. Then
        ``gaps.T @ X`` are differences of means, source minus target.
    """
    gaps = np.zeros((len(labels), 1 + n_classes))
    for column, members in enumerate(
        [np.ones(len(labels), dtype=bool), *(labels == c for c in range(n_classes))]
    ):
        source, target = members & is_source, members & ~is_source
        if source.any() and target.any():
            gaps[source, column] = 1 / np.count_nonzero(source)
            gaps[target, column] = -1 / np.count_nonzero(target)
    return gaps
