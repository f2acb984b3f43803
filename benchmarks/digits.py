"""Accuracy from USPS to MNIST and back, and between the views of COIL-20.

The protocol of Long et al. (2013): grey values, rows of unit length, no
standardisation, all source rows with labels, all target rows without, accuracy on all
target rows. Nothing is chosen on target labels, except where a row says so.
"""

from functools import partial

import numpy as np
from sklearn.decomposition import PCA

from benchmarks._adaptation import (
    LEAST_SQUARES,
    MEAN,
    NN,
    Method,
    measure,
    some_rows,
    unit_rows,
    verdicts,
    views,
)
from benchmarks._harness import Table
from skadapt import (
    GFK,
    JDA,
    JGSA,
    MEDA,
    TCA,
    EasyTL,
    SubspaceAlignment,
)
from skadapt.datasets import fetch_coil20, fetch_digits_usps_mnist

UM, MU = "USPS to MNIST", "MNIST to USPS"
C12, C21 = "COIL 1 to 2", "COIL 2 to 1"
LONG = "Long 2013, from memory"
WANG = "Wang 2018, from memory"
PCA_ROW = "PCA-100 of both domains + 1-NN"
LANDMARKS = "MEDA, 700 landmarks"
FIVE, FIFTEEN = "MEDA, PLS, 5 sizes", "MEDA, PLS, 5 sizes x 3 preparations"


def _of_digits(usps_to_mnist, mnist_to_usps):
    return {UM: usps_to_mnist, MU: mnist_to_usps}


def _fifteen(n_classes):
    return views(
        [unit_rows(), unit_rows(np.sqrt), unit_rows(np.log1p)],
        n_classes,
        n_landmarks=700,
        random_state=0,
    )


METHODS = [
    Method(
        NN,
        NN,
        published=_of_digits(44.70, 65.94),
        source=LONG,
        expected=_of_digits(44.70, 65.94) | {C12: 83.61, C21: 82.78},
        tolerance=0.006,
    ),
    Method(
        PCA_ROW,
        NN,
        lambda task: [PCA(100, svd_solver="covariance_eigh")],
        published=_of_digits(44.95, 66.22),
        source=LONG,
        expected=_of_digits(44.95, 66.22) | {C12: 84.72, C21: 84.03},
        tolerance=0.006,
        choice="100 components as published",
    ),
    Method(
        "TCA, primal, k=100, reg=.1",
        NN,
        lambda task: [TCA(100, kernel="primal", reg=0.1, normalize=True)],
        published=_of_digits(51.05, 56.28),
        source=LONG,
        choice="k and reg as published",
    ),
    Method(
        "JDA, primal, k=100, reg=.1",
        NN,
        lambda task: [JDA(100, kernel="primal", reg=0.1)],
        published=_of_digits(59.65, 67.28),
        source=LONG,
        expected=_of_digits(59.65, 67.28),
        choice="k, reg and 10 rounds as published",
    ),
    Method("SA-80 + 1-NN", NN, lambda task: [SubspaceAlignment(80)]),
    Method("GFK-20 + 1-NN", NN, lambda task: [GFK(20)]),
    Method(
        "JGSA-30 + 1-NN", NN, lambda task: [JGSA(30)], choice="that of Office-Caltech"
    ),
    Method(MEAN, MEAN),
    Method("EasyTL", MEAN, model=EasyTL, choice="reg=1 as published"),
    Method(LEAST_SQUARES, LEAST_SQUARES, choice="eta .1, gamma .5, those of MEDA"),
    Method(
        "MEDA",
        LEAST_SQUARES,
        model=lambda: MEDA(n_landmarks="all"),
        published=_of_digits(72.1, 89.5),
        source=WANG,
        choice="all parameters as published, mu = .5",
    ),
    Method(
        "MEDA, mu estimated",
        LEAST_SQUARES,
        model=lambda: MEDA(mu="estimate", n_landmarks="all", random_state=0),
        published=_of_digits(72.1, 89.5),
        source=WANG,
        least=_of_digits(70.5, 89.0),
        choice="all parameters as published",
    ),
    Method(
        LANDMARKS,
        LEAST_SQUARES,
        model=lambda: MEDA(n_landmarks=700, random_state=0),
    ),
    Method(
        FIVE,
        LEAST_SQUARES,
        part_of=FIFTEEN,
        members=range(5),
        choice="the rule of Office-Caltech, 700 landmarks",
    ),
    Method(
        FIFTEEN,
        LEAST_SQUARES,
        model=partial(_fifteen, n_classes=10),
        prepares=True,
        choice="the rule of Office-Caltech, 700 landmarks",
    ),
]
SLOW = {FIVE, FIFTEEN}


def run(quick=False):
    """Measure every method on both pairs, both ways.

    ``quick``: 150 rows a domain of the digits only, without the slow methods and the
    published figures.
    """
    methods = METHODS
    if quick:
        methods = [
            method._replace(published=None, expected=None, least=None)
            for method in METHODS
            if method.name not in SLOW
        ]
    yield _table(
        "USPS and MNIST, 1,800 and 2,000 images of 16 x 16, accuracy in %",
        {UM: _digits("usps", quick), MU: _digits("mnist", quick)},
        methods,
    )
    if quick:
        return
    fifteen = partial(_fifteen, n_classes=20)
    yield _table(
        "COIL-20, 720 images of 32 x 32 a domain, accuracy in %",
        {C12: fetch_coil20(source="coil1"), C21: fetch_coil20(source="coil2")},
        [
            method._replace(model=fifteen) if method.name == FIFTEEN else method
            for method in METHODS
        ],
    )


def _digits(source, quick):
    data = fetch_digits_usps_mnist(source=source)
    return some_rows(data, 150) if quick else data


def _table(title, tasks, methods):
    rows = measure(methods, tasks, unit_rows())
    columns = {"row": "{row}"}
    for task in tasks:
        columns |= {
            f"{task}: published": f"{{published[{task}]:.2f}}",
            task: f"{{tasks[{task}]:.2f}}",
            f"{task}: floor": f"{{floors[{task}]:.2f}}",
        }
    columns |= {"ceiling": "{ceiling:.2f}", "seconds": "{seconds:.1f}"}
    return Table(
        title,
        columns,
        rows,
        [
            f"Published: {LONG}; MEDA: {WANG}.",
            "Floor: the same classifier on rows of unit length. Ceiling: the same on "
            "the mapped target rows, with their labels, 5-fold CV, mean of both.",
            *_rule_of_counts(rows),
            *verdicts(rows),
        ],
    )


def _rule_of_counts(rows):
    """How the rule for counts does on pixels."""
    mean = {row["row"]: row["skadapt"] for row in rows}
    if FIFTEEN not in mean:
        return []
    gain = mean[FIFTEEN] - mean[LANDMARKS]
    return [
        f"The 15 views of Office-Caltech and the Amazon reviews, here against one MEDA "
        f"with as many landmarks: {gain:+.1f} points. They are a rule for counts."
    ]
