"""Methods that re-weight the rows of the source."""

from skadapt.instance._kmm import KMM, KMMResult, kernel_mean_matching

__all__ = ["KMM", "KMMResult", "kernel_mean_matching"]
