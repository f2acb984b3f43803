"""What `diagnose_shift` says where the truth is known: level, power, class shares.

Each line is 100 draws, generators and resampled real data; nothing is tuned here.
"""

import time
import warnings
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from sklearn.datasets import load_breast_cancer, load_digits, make_moons

from benchmarks._harness import Table
from skadapt import diagnose_shift, stack_domains
from skadapt.datasets import (
    make_covariate_shift,
    make_label_shift,
    make_rotation,
    make_scaling,
)

KINDS = ("none", "label", "feature", "unclear")


class Case(NamedTuple):
    """What is drawn, how many rows a domain, and what is true of it."""

    truth: str
    name: str
    n_rows: int
    draw: Callable  # of (n_rows, generator): Xs, ys, Xt, yt


def _generator(make, **options):
    def draw(n, rng):
        data = make(n, n, random_state=int(rng.integers(2**31)), **options)
        target = data.sample_domain < 0
        return data.X[~target], data.y[~target], data.X[target], data.y[target]

    return draw


def _halves(draw):
    """Identity: both domains are halves of one sample of a source."""

    def halves(n, rng):
        X, y, _, _ = draw(2 * n, rng)
        return X[:n], y[:n], X[n : 2 * n], y[n : 2 * n]

    return halves


def _resampled(load, p, q):
    """Rows of two halves by class shares p and q; None: drawn from Dirichlet(1/2)."""

    def draw(n, rng):
        X, y = load(n, rng)
        halves = np.array_split(rng.permutation(len(y)), 2)
        parts = []
        for rows, shares in zip(halves, (p, q)):
            n_classes = y.max() + 1
            if shares is None:
                shares = rng.dirichlet(np.full(n_classes, 0.5))
            counts = rng.multinomial(n, shares)
            chosen = [rows[y[rows] == j][:c] for j, c in enumerate(counts)]
            chosen = np.concatenate(chosen)
            parts += [X[chosen], y[chosen]]
        return parts

    return draw


def _shuffled(load):
    def draw(n, rng):
        X, y = load(n, rng)
        rows = rng.permutation(len(y))
        return X[rows], y[rows], None, None

    return draw


def _changed(draw, change):
    """The halves of one sample, the target's rows changed."""

    def changed(n, rng):
        Xs, ys, Xt, yt = _halves(draw)(n, rng)
        return Xs, ys, change(Xt, rng), yt

    return changed


def _digits(n, rng):
    return load_digits(return_X_y=True)


def _cancer(n, rng):
    return load_breast_cancer(return_X_y=True)


def _moons(n, rng):
    return make_moons(10 * n, noise=0.2, random_state=int(rng.integers(2**31)))


def _circles(n, rng):
    """Two rings about one centre, which no linear classifier tells apart."""
    y = rng.integers(2, size=10 * n)
    angle = rng.uniform(0, 2 * np.pi, len(y))
    X = (1 + y)[:, np.newaxis] * np.column_stack([np.cos(angle), np.sin(angle)])
    return X + 0.2 * rng.normal(size=X.shape), y


def _normal(d):
    def draw(n, rng):
        y = rng.integers(3, size=n)
        X = rng.normal(size=(n, d))
        X[np.arange(n), y] += 2
        return X, y, None, None

    return draw


def _lognormal(n, rng):
    y = rng.integers(2, size=n)
    return np.exp(rng.normal(size=(n, 10)) + y[:, np.newaxis]), y, None, None


def _rolled(X, rng):
    return np.roll(X.reshape(-1, 8, 8), 1, axis=2).reshape(X.shape)


def _moved(X, rng):
    return X + 0.4 * np.eye(X.shape[1])[-1]


def _spread(X, rng):
    return X.mean(axis=0) + 1.3 * (X - X.mean(axis=0))


def cases():
    """All cases, one after another."""
    tenth, third = np.full(10, 0.1), np.array([0.3, 0.3, 0.4])
    two = _generator(make_label_shift)
    three = _generator(
        make_label_shift, n_features=10, priors_source=third,
        priors_target=(0.7, 0.2, 0.1),
    )  # fmt: skip
    covariate = _generator(make_covariate_shift)
    digits = _shuffled(_digits)
    yield from (
        Case("none", name, n, _halves(draw))
        for name, draw, sizes in (
            ("normal, 5 columns", _normal(5), (100, 300, 1000)),
            ("normal, 200 columns", _normal(200), (100, 300, 1000)),
            ("normal, 1,000 columns", _normal(1000), (300,)),
            ("lognormal, 10 columns", _lognormal, (100, 300, 1000)),
            ("digits", digits, (150, 300, 800)),
            ("breast cancer", _shuffled(_cancer), (100, 250)),
        )
        for n in sizes
    )
    yield from (
        Case("label", name, n, draw)
        for name, draw, sizes in (
            ("normal, .5 to .8", two, (100, 300, 1000)),
            ("normal, 3 classes", three, (100, 300, 1000)),
            ("digits, Dirichlet", _resampled(_digits, tenth, None), (300,)),
            (
                "cancer, .35 to .7",
                _resampled(_cancer, [0.35, 0.65], [0.7, 0.3]),
                (140,),
            ),
            (
                "moons, .5 to .75",
                _resampled(_moons, [0.5] * 2, [0.75, 0.25]),
                (300, 1000),
            ),
            (
                "rings, .5 to .8",
                _resampled(_circles, [0.5] * 2, [0.8, 0.2]),
                (300, 1000),
            ),
        )
        for n in sizes
    )
    yield from (
        Case("feature", name, n, draw)
        for name, draw, sizes in (
            ("covariate shift, 1 sd", covariate, (100, 300, 1000)),
            ("one of 5 means, .4 sd", _changed(_normal(5), _moved), (300, 1000)),
            ("spread of 5, x 1.3", _changed(_normal(5), _spread), (300, 1000)),
            ("rotation, 30 degrees", _generator(make_rotation), (100, 300)),
            ("scaling", _generator(make_scaling), (100, 300)),
            ("digits, one pixel aside", _changed(digits, _rolled), (150, 300, 800)),
        )
        for n in sizes
    )


def measure(case, n_draws):
    """One row of the table."""
    found, errors = [], []
    start = time.perf_counter()
    for seed in range(n_draws):
        Xs, ys, Xt, yt = case.draw(case.n_rows, np.random.default_rng(seed))
        X, y, sample_domain = stack_domains(Xs, ys, Xt)
        result = diagnose_shift(X, y, sample_domain, random_state=seed)
        found.append(result)
        true = np.array([np.mean(yt == label) for label in result.classes])
        errors.append(np.abs(result.target_priors - true).sum() / 2)
    z = np.array([result.z for result in found])
    z_label = np.array([result.z_label for result in found])
    return {
        "truth": case.truth,
        "case": case.name,
        "rows": case.n_rows,
        "draws": n_draws,
        **{kind: sum(result.kind == kind for result in found) for kind in KINDS},
        "z": float(z.mean()),
        "z_sd": float(z.std()),
        "z_label": float(z_label.mean()),
        "z_label_sd": float(z_label.std()),
        "share_error": float(np.mean(errors)),
        "seconds": (time.perf_counter() - start) / n_draws,
    }


def run(quick):
    """The table."""
    table = Table(
        "Diagnosis of shift where the truth is known, draws out of 100",
        {
            "truth": "{truth}",
            "case": "{case}",
            "rows": "{rows}",
            **{kind: f"{{{kind}}}" for kind in KINDS},
            "z (sd)": "{z:.1f} ({z_sd:.1f})",
            "z_label (sd)": "{z_label:.1f} ({z_label_sd:.1f})",
            "error of shares": "{share_error:.3f}",
            "seconds": "{seconds:.2f}",
        },
        notes=[
            "rows: of each domain, some fewer where a class of digits or cancer runs "
            "out. error of shares: total variation between estimated and true class "
            "shares of the target, which has a meaning under label shift only.",
        ],
    )
    with warnings.catch_warnings():
        # Some draws hold no row of a class in the target, whose share is then 0.
        warnings.filterwarnings("ignore", message="The predictions of")
        for case in cases():
            if not quick or case.n_rows <= 140:
                table.rows.append(measure(case, 5 if quick else 100))
    yield table
