"""Data sets of several domains: generators with known answers, and real ones."""

# Authors: The skadapt developers
# SPDX-License-Identifier: BSD-3-Clause

from skadapt.datasets._digits import load_mnist_optdigits
from skadapt.datasets._fetch import get_data_home
from skadapt.datasets._generators import (
    make_concept_shift,
    make_covariate_shift,
    make_label_shift,
    make_rotation,
    make_scaling,
)
from skadapt.datasets._office_caltech import fetch_office_caltech

__all__ = [
    "fetch_office_caltech",
    "get_data_home",
    "load_mnist_optdigits",
    "make_concept_shift",
    "make_covariate_shift",
    "make_label_shift",
    "make_rotation",
    "make_scaling",
]
