"""Distances between domains, tests whether there is any, scores of features."""

from skadapt.metrics._mmd import mmd
from skadapt.metrics._mmd_test import MMDTestResult, mmd_test
from skadapt.metrics._proxy_a_distance import ProxyADistanceResult, proxy_a_distance
from skadapt.metrics._transferability import (
    corr_c,
    h_score,
    leep,
    log_me,
    soft_neighborhood_density,
)

__all__ = [
    "MMDTestResult",
    "ProxyADistanceResult",
    "corr_c",
    "h_score",
    "leep",
    "log_me",
    "mmd",
    "mmd_test",
    "proxy_a_distance",
    "soft_neighborhood_density",
]
