"""Importance weighting on real tables, and on shifts whose density ratio is known.

Every weighter has its default parameters, chosen without a target label, and the
estimator on top is plain: logistic regression (C = 1), ridge regression (alpha = 1),
or the classifier that a row names. Missing values are the source's medians and columns
are standardised on the source. Where a domain has more rows than that, 2,000 of it are
drawn once for all methods of a task, which is what the matrices of KMM can bear.
"""

import time
import warnings
from collections import Counter
from collections.abc import Callable
from functools import partial
from itertools import permutations
from typing import NamedTuple

import numpy as np
from sklearn.base import BaseEstimator, clone, is_classifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import KFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from benchmarks._harness import Table
from skadapt import (
    KLIEP,
    KMM,
    ULSIF,
    DegenerateWeightsWarning,
    DomainClassifierWeights,
    GaussianWeights,
    KDEWeights,
    NearestNeighborWeights,
    RuLSIF,
    TransferClassifier,
    TransferRegressor,
)
from skadapt.datasets import (
    fetch_adult,
    fetch_amazon_reviews,
    fetch_mushroom,
    fetch_wine_quality,
    fetch_wisdm,
    make_biased_breast_cancer,
    make_covariate_shift,
)

WEIGHTERS = {
    "KMM": KMM(),
    "KLIEP": KLIEP(random_state=0),
    "ULSIF": ULSIF(random_state=0),
    "RuLSIF": RuLSIF(random_state=0),
    "domain classifier": DomainClassifierWeights(random_state=0),
    "nearest neighbour": NearestNeighborWeights(random_state=0),
    "KDE": KDEWeights(random_state=0),
    "Gaussian": GaussianWeights(random_state=0),
}
MAX_ROWS, QUICK_ROWS = 2000, 150
FOLDS = KFold(5, shuffle=True, random_state=0)
LOGISTIC = LogisticRegression(max_iter=1000)

UNWEIGHTED = "unweighted"
CEILING = "target labels"
ORACLE = "true weights"


class RealProblem(NamedTuple):
    """A table of which each task takes two parts."""

    name: str
    tasks: dict  # name to a function without arguments that loads the task
    estimator: BaseEstimator = LOGISTIC


def _pairs(fetch, names):
    return {
        f"{source} -> {target}": partial(fetch, source=source, target=target)
        for source, target in permutations(names, 2)
    }


WHITE_TO_RED = {"source": "white", "target": "red"}
REAL = [
    RealProblem(
        "mushroom by stalk shape", _pairs(fetch_mushroom, ["enlarging", "tapering"])
    ),
    RealProblem(
        "wine quality, the grade",
        {"white -> red": partial(fetch_wine_quality, **WHITE_TO_RED)},
        Ridge(),
    ),
    RealProblem(
        "wine quality, grade 6 or higher",
        {
            "white -> red": partial(
                fetch_wine_quality, task="classification", **WHITE_TO_RED
            )
        },
    ),
    RealProblem("adult by region", _pairs(fetch_adult, ["United-States", "other"])),
    RealProblem(
        "adult by sex", _pairs(partial(fetch_adult, by="sex"), ["Male", "Female"])
    ),
    RealProblem(
        "WISDM, each user from all others",
        {
            f"others -> user {user}": partial(fetch_wisdm, target=user)
            for user in range(1, 37)
        },
    ),
    RealProblem(
        "Amazon reviews, 400 terms",
        _pairs(
            partial(fetch_amazon_reviews, version="400"),
            ["books", "dvd", "electronics", "kitchen"],
        ),
    ),
]
QUICK_REAL = [
    problem._replace(tasks=dict(list(problem.tasks.items())[:2])) for problem in REAL
]


class KnownProblem(NamedTuple):
    """A shift that can be drawn again, with its density ratio."""

    name: str
    draw: Callable  # of random_state
    estimator: BaseEstimator
    repeats: int


def _covariate_shift(**parameters):
    name = ", ".join(f"{key} {value}" for key, value in parameters.items())
    draw = partial(make_covariate_shift, 500, 1000, **parameters)
    return KnownProblem(f"covariate shift, {name}", draw, LOGISTIC, 20)


def _breast_cancer(bias, train_size, C):
    name = f"breast cancer, {bias} bias of {train_size:.0%}, C = {C}"
    draw = partial(make_biased_breast_cancer, bias, train_size=train_size)
    # 1 / n_features, which is what .1 is to the nine columns of Huang et al.
    return KnownProblem(name, draw, SVC(C=C, gamma=1 / 30), 30)


KNOWN = [
    *(_covariate_shift(shift=shift) for shift in (0.5, 1.0, 1.5, 2.0)),
    _covariate_shift(shift=1.0, scale=0.5),
    _covariate_shift(shift=1.0, n_features=10),
    *(
        _breast_cancer(bias, train_size, C)
        for bias in ("feature", "joint", "label")
        for train_size in (0.1, 0.25)
        for C in (0.1, 1.0)
    ),
]
QUICK_KNOWN = [
    problem._replace(repeats=2)
    for problem in KNOWN
    if "shift 2.0" in problem.name or "label bias of 25%" in problem.name
]


def run(quick=False):
    """Measure every weighter on every problem.

    ``quick``: two tasks of each problem, few rows, two repeats of a few shifts.
    """
    for problem in QUICK_REAL if quick else REAL:
        yield _real_table(problem, QUICK_ROWS if quick else MAX_ROWS)
    yield from _known_tables(QUICK_KNOWN if quick else KNOWN)


# -- one fit ---------------------------------------------------------------------


def _prepare(data, max_rows=None):
    """Rows of both domains, imputed and standardised on the source."""
    rng = np.random.default_rng(0)
    parts = []
    for rows in (data.sample_domain > 0, data.sample_domain < 0):
        rows = np.flatnonzero(rows)
        if max_rows is not None and len(rows) > max_rows:
            rows = np.sort(rng.choice(rows, max_rows, replace=False))
        parts.append(rows)
    rows = np.concatenate(parts)
    n_source = len(parts[0])
    preparation = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    X = preparation.fit(data.X[rows[:n_source]]).transform(data.X[rows])
    return X, data.y[rows], np.sign(data.sample_domain[rows])


class Fit(NamedTuple):
    """What one weighter did on one task."""

    predicted: np.ndarray | None
    share: float | None = None  # effective sample size over source rows
    seconds: float | None = None
    warned: frozenset = frozenset()
    failure: str | None = None


def _fit(estimator, weighter, X, y, sample_domain):
    """Fit on weighted source rows, predict the target rows; a refusal is a result."""
    transfer = TransferClassifier if is_classifier(estimator) else TransferRegressor
    model = transfer(estimator, weighter)
    is_target = sample_domain < 0
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        start = time.perf_counter()
        try:
            model.fit(X, np.where(is_target, np.nan, y), sample_domain=sample_domain)
            predicted = model.predict(X[is_target])
        except (ValueError, np.linalg.LinAlgError) as error:
            return Fit(None, failure=str(error))
        seconds = time.perf_counter() - start
    share = 1.0
    if weighter is not None:
        share = model.adapter_.effective_sample_size_ / np.sum(~is_target)
    warned = frozenset(warning.category.__name__ for warning in caught)
    return Fit(predicted, float(share), seconds, warned)


def _quality(estimator, y, predicted):
    """Accuracy in %, or root mean squared error."""
    if is_classifier(estimator):
        return 100 * float(np.mean(predicted == y))
    return float(np.sqrt(np.mean((predicted - y) ** 2)))


# -- real tables -----------------------------------------------------------------


def _real_table(problem, max_rows):
    methods = {UNWEIGHTED: None, **WEIGHTERS}
    quality = {name: {} for name in (*methods, CEILING)}
    fits = {name: {} for name in methods}
    for task, load in problem.tasks.items():
        X, y, sample_domain = _prepare(load(), max_rows)
        target = sample_domain < 0
        for name, weighter in methods.items():
            fit = _fit(problem.estimator, weighter, X, y, sample_domain)
            fits[name][task] = fit
            if fit.failure is None:
                quality[name][task] = _quality(
                    problem.estimator, y[target], fit.predicted
                )
        predicted = y[target]
        if len(np.unique(predicted)) > 1:  # otherwise the label is the prediction
            predicted = cross_val_predict(
                clone(problem.estimator), X[target], y[target], cv=FOLDS
            )
        quality[CEILING][task] = _quality(problem.estimator, y[target], predicted)

    accuracy = is_classifier(problem.estimator)
    rows = [
        _real_row(name, quality[name], quality[UNWEIGHTED], fits.get(name), accuracy)
        for name in quality
    ]
    n_tasks = len(problem.tasks)
    measure = "accuracy, %" if accuracy else "RMSE"
    digits = 2 if accuracy else 4
    return Table(
        f"{problem.name}: {type(problem.estimator).__name__}, {n_tasks} "
        f"task{'s' * (n_tasks > 1)}, at most {max_rows} rows of each domain",
        {
            "row": "{row}",
            measure: f"{{value:.{digits}f}}",
            "worst task": f"{{worst:.{digits}f}}",
            "gain": f"{{gain:+.{digits}f}}",
            "worst gain": f"{{worst_gain:+.{digits}f}}",
            "tasks better / worse": "{better} / {worse}",
            "ESS, %": "{share:.1f}",
            "seconds": "{seconds:.1f}",
        },
        rows,
        [
            "Gain: over unweighted, above 0 is better. ESS: effective sample size over"
            " source rows, mean of the tasks.",
            f'"{CEILING}": the same estimator on the same target rows with their '
            "labels, 5-fold CV; a ceiling, no competitor.",
            *_verdicts(rows, digits),
        ],
    )


def _real_row(name, quality, floor, fits, accuracy):
    """A row of the table; without figures if a task is missing from them."""
    row = {"row": name, "tasks": quality}
    if fits is not None:
        shares = {task: fit.share for task, fit in fits.items()}
        row |= {
            "shares": shares,
            "warnings": dict(Counter(w for fit in fits.values() for w in fit.warned)),
            "failures": {t: fit.failure for t, fit in fits.items() if fit.failure},
        }
    if len(quality) < len(floor):
        return row
    sign = 1 if accuracy else -1
    gains = np.array([sign * (quality[task] - floor[task]) for task in floor])
    values = list(quality.values())
    row["value"] = float(np.mean(values))
    row["worst"] = min(values) if accuracy else max(values)
    if name != UNWEIGHTED:
        row |= {
            "gain": float(gains.mean()),
            "worst_gain": float(gains.min()),
            "better": int(np.sum(gains > 0)),
            "worse": int(np.sum(gains < 0)),
        }
    if fits is not None:
        row["share"] = 100 * float(np.mean(list(shares.values())))
        row["seconds"] = sum(fit.seconds for fit in fits.values())
    return row


def _verdicts(rows, digits):
    """Which weighters gain and lose, and what they warned of or refused."""
    measured = [r for r in rows if "gain" in r and r["row"] != CEILING]
    better = [r for r in measured if r["gain"] > 0]
    worse = [r for r in measured if r["gain"] < 0]
    notes = [
        f"{side} than unweighted on average: "
        + (", ".join(f"{r['row']} ({r['gain']:+.{digits}f})" for r in chosen) or "none")
        + "."
        for side, chosen in (("Better", better), ("Worse", worse))
    ]
    if not better:
        notes.append("Negative result: no weighter is better than no weights here.")
    for row in rows:
        for category, count in row.get("warnings", {}).items():
            notes.append(f"{row['row']}: {category} on {count} of the tasks.")
        if failures := row.get("failures"):
            sentence = next(iter(failures.values()))
            notes.append(
                f"{row['row']}: refused {len(failures)} of the tasks: {sentence}"
            )
    return notes


# -- known density ratio ---------------------------------------------------------


def _known_tables(problems):
    rows, warned, refused = [], Counter(), {}
    for problem in problems:
        errors = {name: [] for name in (UNWEIGHTED, ORACLE, *WEIGHTERS)}
        for seed in range(problem.repeats):
            data = problem.draw(random_state=seed)
            X, y, sample_domain = _prepare(data)
            source = sample_domain > 0
            for name, weighter in {UNWEIGHTED: None, **WEIGHTERS}.items():
                fit = _fit(problem.estimator, weighter, X, y, sample_domain)
                if fit.failure is None:
                    errors[name].append(_error(y[~source], fit.predicted))
                else:
                    refused[name] = fit.failure
                if DegenerateWeightsWarning.__name__ in fit.warned:
                    warned[name] += 1
            # Scaled to mean 1, as TransferClassifier scales the weighters' weights.
            weights = data.density_ratio[data.sample_domain > 0]
            model = clone(problem.estimator).fit(
                X[source], y[source], sample_weight=weights / weights.mean()
            )
            errors[ORACLE].append(_error(y[~source], model.predict(X[~source])))
        rows.append(_known_row(problem, errors))

    n_fits = sum(problem.repeats for problem in problems)
    yield Table(
        "Known density ratio: error on the target rows in %, mean of the repeats",
        {
            "problem": "{row}",
            "repeats": "{repeats}",
            UNWEIGHTED: "{unweighted:.2f}",
            ORACLE: "{oracle:.2f}",
            **{name: f"{{errors[{name}]:.2f}}" for name in WEIGHTERS},
        },
        rows,
        [
            "Covariate shift: logistic regression. Breast cancer: SVC, rbf kernel.",
            *(
                f"{name}: {DegenerateWeightsWarning.__name__} in {count} of {n_fits} "
                "fits."
                for name, count in warned.items()
            ),
            *(f"{name}: refused some: {refusal}" for name, refusal in refused.items()),
        ],
    )
    helped = sum(row["helps"] for row in rows)
    yield Table(
        "Share of the gap between unweighted and true weights that is closed",
        {
            "problem": "{row}",
            "gap, % of the rows": "{gap}",
            **{name: f"{{shares[{name}]:.0%}}" for name in WEIGHTERS},
        },
        rows,
        [
            "Gap: mean difference of the errors, +- its standard error over the "
            "repeats; true weights help where it exceeds two of those.",
            "Below 0 %: worse than unweighted.",
            f"True weights help in {helped} of {len(rows)} problems.",
        ],
    )


def _error(y, predicted):
    return 100 * float(np.mean(predicted != y))


def _known_row(problem, errors):
    gaps = np.subtract(errors[UNWEIGHTED], errors[ORACLE])
    gap, deviation = float(gaps.mean()), float(gaps.std(ddof=1) / np.sqrt(len(gaps)))
    helps = gap > 2 * deviation
    means = {
        name: float(np.mean(values)) if len(values) == len(gaps) else None
        for name, values in errors.items()
    }
    unweighted, oracle = means.pop(UNWEIGHTED), means.pop(ORACLE)
    shares = {
        name: None if mean is None or not helps else (unweighted - mean) / gap
        for name, mean in means.items()
    }
    return {
        "row": problem.name,
        "repeats": problem.repeats,
        "unweighted": unweighted,
        "oracle": oracle,
        "gap": f"{gap:.2f} +- {deviation:.2f}" if helps else "oracle does not help",
        "gap_mean": gap,
        "gap_standard_error": deviation,
        "helps": bool(helps),
        "errors": means,
        "shares": shares,
    }
