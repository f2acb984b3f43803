"""How much each column differs between two samples."""

from typing import NamedTuple

import numpy as np
from scipy import sparse
from scipy.stats import kstwobign

# Numbers of a block of columns that are sorted at a time: 64 MB.
_BLOCK_NUMBERS = 8_000_000


class ColumnShifts(NamedTuple):
    """How much each column of X differs between source and target.

    Parameters
    ----------
    names : ndarray of shape (n_features,)
        Names of the columns of a data frame, or their numbers.
    difference : ndarray of shape (n_features,)
        Mean of the target minus mean of the source, in standard deviations of the
        source; of both together where a column is constant in the source.
    ks : ndarray of shape (n_features,)
        Kolmogorov-Smirnov distance between 0 and 1: the largest difference of the
        distribution functions.
    pvalue : ndarray of shape (n_features,)
        p-value of that distance by Kolmogorov's limit law, too large rather than too
        small for columns of few values.
    pvalue_adjusted : ndarray of shape (n_features,)
        The same adjusted for the number of columns by Holm's method: where no column
        differs, one is below .05 in at most 5 % of samples.
    """

    names: np.ndarray
    difference: np.ndarray
    ks: np.ndarray
    pvalue: np.ndarray
    pvalue_adjusted: np.ndarray

    def __repr__(self):
        """How many columns there are, and differ."""
        differ = np.count_nonzero(self.pvalue_adjusted < 0.05)
        return f"<{len(self.names)} columns, {differ} with pvalue_adjusted < 0.05>"

    def to_frame(self):
        """The report as a data frame, the largest distance first.

        Returns
        -------
        frame : pandas.DataFrame
            One row a column of X; the index holds `names`.

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        try:
            import pandas as pd
        except ImportError as error:
            raise ImportError(
                "to_frame needs pandas: install it (pip install pandas), or use the "
                "arrays of the report."
            ) from error
        items = self._asdict()
        index = pd.Index(items.pop("names"), name="column")
        frame = pd.DataFrame(items, index=index)
        return frame.iloc[np.argsort(-self.ks, kind="stable")]


def column_shifts(X, is_target, names):
    """`ColumnShifts` of the rows of X; sparse columns with their zeros, as rows are."""
    n_rows, n_columns = X.shape
    if sparse.issparse(X):
        X = X.tocsc()
    width = max(1, _BLOCK_NUMBERS // n_rows)
    ks, difference = np.empty(n_columns), np.empty(n_columns)
    for start in range(0, n_columns, width):
        block = slice(start, start + width)
        part = X[:, block]
        if sparse.issparse(part):
            # One block of columns at a time is all that is ever dense.
            part = part.toarray()
        part = np.asarray(part, dtype=np.float64)
        ks[block] = _ks_distances(part, is_target)
        difference[block] = _mean_differences(part, is_target)
    n_target = np.count_nonzero(is_target)
    size = n_target * (n_rows - n_target) / n_rows
    pvalue = kstwobign.sf(np.sqrt(size) * ks)
    return ColumnShifts(names, difference, ks, pvalue, holm(pvalue))


def _ks_distances(X, is_target):
    order = np.argsort(X, axis=0)
    X = np.take_along_axis(X, order, axis=0)
    n_target = np.count_nonzero(is_target)
    steps = np.where(is_target, 1.0 / n_target, -1.0 / (len(X) - n_target))
    gaps = np.abs(np.cumsum(steps[order], axis=0))
    # Distribution functions are compared after the last of equal values.
    gaps[:-1][X[1:] == X[:-1]] = 0.0
    gaps[-1] = 0.0  # both are 1 there, to rounding
    return gaps.max(axis=0)


def _mean_differences(X, is_target):
    source, target = X[~is_target], X[is_target]
    change = target.mean(axis=0) - source.mean(axis=0)
    varies = source.min(axis=0) < source.max(axis=0)
    scale = np.where(varies, source.std(axis=0), X.std(axis=0))
    # Constant in both: rounding of the means apart, there is no change.
    constant = X.min(axis=0) == X.max(axis=0)
    return np.where(constant, 0.0, change / np.where(constant, 1.0, scale))


def holm(pvalues):
    """Holm's step-down adjustment of p-values."""
    order = np.argsort(pvalues, kind="stable")
    steps = pvalues[order] * np.arange(len(pvalues), 0, -1)
    adjusted = np.empty(len(pvalues))
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted
