"""Boosting for regression transfer: Friedman #1, two linear sources, UCI tables.

Friedman #1 and the thirds of the tables follow Pardoe & Stone (ICML 2010); their
learners were M5P and a neural net, here it is a tree of depth 6. 25 target rows are
labelled. No parameter is tuned, and test rows are seen by no method.
"""

import time
import warnings
from contextlib import ExitStack
from typing import NamedTuple

import numpy as np
from sklearn.base import clone
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.tree import DecisionTreeRegressor

from benchmarks._harness import Table
from benchmarks._peers import absence, open_peer
from skadapt import (
    NegativeTransferWarning,
    NoAdaptationWarning,
    TrAdaBoostRegressor,
    TransferRegressor,
    TwoStageTrAdaBoostRegressor,
)
from skadapt.datasets import fetch_uci_regression

TREE = DecisionTreeRegressor(max_depth=6, random_state=0)
TARGET, TARGET_R2 = "target alone", "target alone, AdaBoost.R2"
TARGET_RIDGE = "target alone, ridge regression"
BOTH, BOTH_R2 = "source + target", "source + target, AdaBoost.R2"
EQUAL, EQUAL_R2 = "equal mass", "equal mass, AdaBoost.R2"
BASELINES = (TARGET, TARGET_R2, TARGET_RIDGE, BOTH, BOTH_R2, EQUAL, EQUAL_R2)
TRADABOOST, TWO_STAGE = "TrAdaBoost.R2", "two-stage TrAdaBoost.R2"
STARTED_EQUAL = "TrAdaBoost.R2 from equal mass"
DYNAMIC = "TrAdaBoost.R2 from equal mass, dynamic"
PEERS = {
    "adapt: TrAdaBoostR2": "tradaboost_r2_adapt",
    "adapt: TwoStageTrAdaBoostR2": "two_stage_tradaboost_r2_adapt",
}
N_LABELED = 25
TABLES = {"concrete": "MPa", "housing": "1000 $", "auto-mpg": "miles per gallon"}


class Settings(NamedTuple):
    """How long everything boosts."""

    n_estimators: int
    n_steps: int
    cv: int


class Problem(NamedTuple):
    """Source rows, the labelled target rows, and those to test on."""

    Xs: np.ndarray
    ys: np.ndarray
    source: np.ndarray  # 1, 2, ...
    Xt: np.ndarray
    yt: np.ndarray
    X: np.ndarray
    y: np.ndarray

    @property
    def both(self):
        """X, y and sample_domain of the labelled rows."""
        ids = np.concatenate([self.source, np.full(len(self.yt), -1)])
        return np.vstack([self.Xs, self.Xt]), np.concatenate([self.ys, self.yt]), ids


def run(quick=False):
    """Thirty draws of a generator, ten of each third of a table (``quick``: two)."""
    settings = Settings(3, 3, 2) if quick else Settings(15, 10, 5)
    n_draws = 2 if quick else 30
    with ExitStack() as stack:
        # Without source rows these methods are AdaBoost.R2, which is a row here.
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore", NoAdaptationWarning)
        warnings.simplefilter("ignore", NegativeTransferWarning)
        peer = None if quick else stack.enter_context(open_peer("adapt"))
        absent = [] if peer else [absence("adapt") or "adapt: not run"]
        for distance in (1,) if quick else (1, 2, 4):
            draws = [_friedman(distance, seed) for seed in range(n_draws)]
            title = f"Friedman #1, 5 sources of 100 rows at distance {distance}"
            table = _table(title, TREE, [draws], settings, peer)
            table.notes += absent
            if distance < 4:
                table.notes += _requirement(table)
            yield table
        draws = [_linear(seed) for seed in range(n_draws)]
        title = "Two linear sources, one of which misleads; ridge regression"
        table = _table(title, Ridge(), [draws], settings, peer)
        table.notes += absent
        yield table
        for name in list(TABLES)[:1] if quick else TABLES:
            thirds = [
                _third(name, third, 2 if quick else 10)
                for third in ("low", "middle", "high")
            ]
            yield _table(f"{name}, {TABLES[name]}", TREE, thirds, settings)
            aligned = [[_aligned(draw, TREE) for draw in third] for third in thirds]
            title = f"{name}, {TABLES[name]}, source labels aligned"
            yield _table(title, TREE, aligned, settings)


def _friedman(distance, seed):
    """Five sources of other coefficients, drawn anew, around those of the target."""
    rng = np.random.default_rng([seed, distance])
    Xs, ys = [], []
    for _ in range(5):
        a = rng.normal(1, 0.1 * distance, 4)
        b, c = rng.normal(1, 0.1 * distance, 5), rng.normal(0, 0.05 * distance, 5)
        Xs.append(rng.uniform(size=(100, 10)))
        ys.append(_friedman_values(Xs[-1], a, b, c, rng))
    X = rng.uniform(size=(N_LABELED + 2000, 10))
    y = _friedman_values(X, np.ones(4), np.ones(5), np.zeros(5), rng)
    return Problem(
        np.vstack(Xs),
        np.concatenate(ys),
        np.repeat(np.arange(1, 6), 100),
        *(X[:N_LABELED], y[:N_LABELED], X[N_LABELED:], y[N_LABELED:]),
    )


def _friedman_values(X, a, b, c, rng):
    z = b * X[:, :5] + c
    return (
        a[0] * 10 * np.sin(np.pi * z[:, 0] * z[:, 1])
        + a[1] * 20 * (z[:, 2] - 0.5) ** 2
        + a[2] * 10 * z[:, 3]
        + a[3] * 5 * z[:, 4]
        + rng.normal(size=len(X))
    )


def _linear(seed):
    """20 slopes; 200 source rows agree, 100 have ten of them with the other sign."""
    rng = np.random.default_rng(seed)
    X, slopes = rng.normal(size=(300 + N_LABELED + 1000, 20)), rng.normal(size=20)
    y = X @ slopes + rng.normal(size=len(X))
    y[200:300] -= 2 * X[200:300, :10] @ slopes[:10]
    labeled, test = slice(300, 300 + N_LABELED), slice(300 + N_LABELED, None)
    return Problem(
        *(X[:300], y[:300], np.repeat([1, 2], [200, 100])),
        *(X[labeled], y[labeled], X[test], y[test]),
    )


def _third(name, target, n_draws):
    data = fetch_uci_regression(name, target=target)
    source = data.sample_domain > 0
    X, y = data.X[~source], data.y[~source]
    draws = []
    for seed in range(n_draws):
        order = np.random.default_rng(seed).permutation(len(y))
        labeled, test = order[:N_LABELED], order[N_LABELED:]
        draws.append(
            Problem(
                data.X[source],
                data.y[source],
                data.sample_domain[source],
                *(X[labeled], y[labeled], X[test], y[test]),
            )
        )
    return draws


def _aligned(problem, learner):
    """Source labels on the scale on which a learner of that source fits the target."""
    ys = problem.ys.copy()
    for source in np.unique(problem.source):
        rows = problem.source == source
        expert = clone(learner).fit(problem.Xs[rows], problem.ys[rows])
        outputs = expert.predict(problem.Xt)[:, np.newaxis]
        line = LinearRegression().fit(outputs, problem.yt)
        ys[rows] = line.predict(problem.ys[rows][:, np.newaxis])
    return problem._replace(ys=ys)


def _methods(learner, settings):
    """Functions that take a problem and predict its test rows."""
    boosted = TrAdaBoostRegressor(
        learner, settings.n_estimators, initial_weight="domain", random_state=0
    )
    by_row = clone(boosted).set_params(initial_weight="row")
    two_stage = TwoStageTrAdaBoostRegressor(
        learner,
        settings.n_estimators,
        settings.n_steps,
        cv=settings.cv,
        random_state=0,
    )

    def alone(model):
        return lambda p: clone(model).fit(p.Xt, p.yt).predict(p.X)

    def joined(model):
        def predict(p):
            X, y, ids = p.both
            return clone(model).fit(X, y, sample_domain=ids).predict(p.X)

        return predict

    def pooled(p, mass=None):
        X, y, ids = p.both
        start = "row"
        if mass == "equal":
            start = np.where(ids > 0, 1 / len(p.ys), 1 / len(p.yt))
        model = clone(boosted).set_params(initial_weight=start)
        return model.fit(X, y).predict(p.X)

    plain = TransferRegressor(learner, train_on="labeled")
    equal = clone(plain).set_params(target_weight="domain")
    return {
        TARGET: alone(learner),
        TARGET_R2: alone(by_row),
        TARGET_RIDGE: alone(Ridge()),
        BOTH: joined(plain),
        BOTH_R2: pooled,
        EQUAL: joined(equal),
        EQUAL_R2: lambda p: pooled(p, "equal"),
        TRADABOOST: joined(by_row),
        STARTED_EQUAL: joined(boosted),
        DYNAMIC: joined(clone(boosted).set_params(dynamic=True)),
        TWO_STAGE: joined(two_stage),
    }


def _peer_method(peer, task, learner, settings):
    name = "ridge" if isinstance(learner, Ridge) else "tree"

    def predict(p):
        arrays = {"Xs": p.Xs, "ys": p.ys, "Xt": p.Xt, "yt": p.yt, "X": p.X}
        outputs, _, _ = peer.run(task, arrays, learner=name, **settings._asdict())
        return outputs["y"]

    return predict


def _table(title, learner, groups, settings, peer=None):
    """Errors over groups of draws; draws of a group have the same target."""
    methods = _methods(learner, settings)
    if isinstance(learner, Ridge):
        del methods[TARGET_RIDGE]  # TARGET is the same
    if peer is not None:
        for name, task in PEERS.items():
            methods[name] = _peer_method(peer, task, learner, settings)
    errors, seconds = {}, {}
    for name, predict in methods.items():
        start = time.perf_counter()
        errors[name] = np.array(
            [
                [np.sqrt(np.mean((predict(p) - p.y) ** 2)) for p in draws]
                for draws in groups
            ]
        )
        seconds[name] = time.perf_counter() - start
    rows = []
    for name, values in errors.items():
        mean, se = _mean_and_error(values)
        row = {"row": name, "rmse": mean, "se": se, "seconds": seconds[name]}
        row["errors"] = values.tolist()
        row["z"] = {
            other: _z(values, errors[other]) for other in BASELINES if other in errors
        }
        for key, other in (("alone", TARGET_R2), ("both", BOTH_R2), ("equal", EQUAL)):
            row[key] = row["z"][other]
        rows.append(row)
    count = len(groups[0])
    draws = f"{count} draws" if len(groups) == 1 else f"{count} draws of each third"
    notes = [
        f"z: paired differences in standard errors, negative is better. "
        f"{settings.n_estimators} rounds, {settings.n_steps} steps, {settings.cv} "
        "folds.",
        *(_verdict(row) for row in rows if row["row"] not in BASELINES),
    ]
    return Table(
        f"{title}: {N_LABELED} labelled target rows, {draws}",
        {
            "row": "{row}",
            "RMSE": "{rmse:.2f} ({se:.2f})",
            "z to target, R2": "{alone:+.1f}",
            "z to both, R2": "{both:+.1f}",
            "z to equal mass": "{equal:+.1f}",
            "seconds": "{seconds:.1f}",
        },
        rows,
        notes,
    )


def _mean_and_error(values):
    """Mean over groups and draws; its standard error, from draws inside groups."""
    n_groups, n_draws = values.shape
    variances = values.var(axis=1, ddof=1) / n_draws
    return float(values.mean()), float(np.sqrt(variances.sum()) / n_groups)


def _z(values, others):
    """None for a method beside itself."""
    difference, se = _mean_and_error(values - others)
    return difference / se if se else None


def _verdict(row):
    """What a method gains on and loses to by more than two standard errors."""
    better = [name for name, z in row["z"].items() if z < -2]
    worse = [name for name, z in row["z"].items() if z > 2]
    return (
        f"{row['row']}: better than {'; '.join(better) or 'no baseline'}. "
        f"Worse than {'; '.join(worse) or 'none'}."
    )


def _requirement(table):
    """Whether boosting is ahead of the target alone by four standard errors."""
    notes = []
    for row in table.rows:
        if row["row"] in (TRADABOOST, STARTED_EQUAL, DYNAMIC, TWO_STAGE):
            z = max(row["z"][TARGET], row["z"][TARGET_R2])
            holds = "holds" if z < -4 else "does NOT hold"
            notes.append(
                f"{row['row']} four standard errors ahead of the target alone, one "
                f"tree or AdaBoost.R2: {holds} ({-z:.1f})."
            )
    return notes
