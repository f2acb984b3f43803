"""Data sets of several domains: generators with known answers, and real ones."""

# Authors: The skadapt developers
# SPDX-License-Identifier: BSD-3-Clause

from skadapt.datasets._adult import fetch_adult
from skadapt.datasets._amazon_reviews import fetch_amazon_reviews
from skadapt.datasets._breast_cancer import make_biased_breast_cancer
from skadapt.datasets._coil20 import fetch_coil20
from skadapt.datasets._digits import load_mnist_optdigits
from skadapt.datasets._digits_usps_mnist import fetch_digits_usps_mnist
from skadapt.datasets._fetch import get_data_home
from skadapt.datasets._generators import (
    make_concept_shift,
    make_covariate_shift,
    make_label_shift,
    make_rotation,
    make_scaling,
)
from skadapt.datasets._mushroom import fetch_mushroom
from skadapt.datasets._office_caltech import (
    fetch_office_caltech,
    fetch_office_caltech_splits,
)
from skadapt.datasets._reuters import fetch_reuters_domains
from skadapt.datasets._twenty_newsgroups import fetch_20newsgroups_domains
from skadapt.datasets._uci_regression import fetch_uci_regression
from skadapt.datasets._wine_quality import fetch_wine_quality
from skadapt.datasets._wisdm import fetch_wisdm

__all__ = [
    "fetch_20newsgroups_domains",
    "fetch_adult",
    "fetch_amazon_reviews",
    "fetch_coil20",
    "fetch_digits_usps_mnist",
    "fetch_mushroom",
    "fetch_office_caltech",
    "fetch_office_caltech_splits",
    "fetch_reuters_domains",
    "fetch_uci_regression",
    "fetch_wine_quality",
    "fetch_wisdm",
    "get_data_home",
    "load_mnist_optdigits",
    "make_biased_breast_cancer",
    "make_concept_shift",
    "make_covariate_shift",
    "make_label_shift",
    "make_rotation",
    "make_scaling",
]
