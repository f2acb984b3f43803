"""Two-stage features: a problem whose general columns are known, and three to one.

Generated: three sources of 300 labelled rows and a target of 600 unlabelled ones, 150
binary columns. Thirty are general, P(1 | class) = .20 / .45 everywhere; thirty of each
domain have .15 / .55 at home. In the target those of the sources are mildly reversed,
.24 / .16; elsewhere they say nothing, .20 / .20. Amazon: the train rows of three
domains with labels, those of the fourth without, scored on its test rows; `reg` is
chosen by the pooled classifier on a fifth of the source rows held out, for all rows of
the table.
"""

import time
import warnings

import numpy as np
from scipy import sparse
from sklearn.linear_model import LogisticRegression

from benchmarks._harness import Table
from skadapt import TwoStageFeatureClassifier, TwoStageFeatureSelector
from skadapt.datasets import fetch_amazon_reviews

N_GENERAL = 30
HEURISTICS = ("domain-cv", "joint")
BARS = {"domain-cv, stage 1": 0.88, "domain-cv, stage 2": 0.96}


def general_and_specific(seed, n_sources=3, n_rows=300, n_target=600):
    """Rows, labels and domains of the generated problem."""
    rng = np.random.default_rng(seed)
    X, y, ids = [], [], []
    for k in range(n_sources + 1):
        labels = rng.integers(2, size=n_rows if k < n_sources else n_target)
        p = np.full((2, N_GENERAL * (n_sources + 2)), 0.2)
        p[:, :N_GENERAL] = [[0.2], [0.45]]
        if k == n_sources:
            p[:, N_GENERAL:] = [[0.24], [0.16]]
        own = N_GENERAL * (k + 1)
        p[:, own : own + N_GENERAL] = [[0.15], [0.55]]
        X.append((rng.random((len(labels), p.shape[1])) < p[labels]).astype(float))
        y.append(labels)
        ids.append(np.full(len(labels), k + 1 if k < n_sources else -1))
    return np.concatenate(X), np.concatenate(y), np.concatenate(ids)


def run(quick=False):
    """Twenty draws and four targets (``quick``: two draws, one target, few rows)."""
    warnings.simplefilter("ignore", UserWarning)
    yield generated(2 if quick else 20)
    yield reviews(quick)


def generated(n_draws):
    """Accuracy on the unlabelled target rows."""
    values = {}

    def keep(name, value):
        values.setdefault(name, []).append(float(value))

    for seed in range(n_draws):
        X, y, ids = general_and_specific(seed)
        target = ids < 0
        Xs, ys, Xt, yt = X[~target], y[~target], X[target], y[target]
        visible = np.where(target, np.nan, y)
        pooled = LogisticRegression(C=0.1, max_iter=1000)
        keep("pooled logistic regression", pooled.fit(Xs, ys).score(Xt, yt))
        general = slice(0, N_GENERAL)
        pooled.fit(Xs[:, general], ys)
        keep("oracle: the general columns", pooled.score(Xt[:, general], yt))
        for heuristic in HEURISTICS:
            for stage, n_rounds in ((1, 0), (2, 5)):
                model = TwoStageFeatureClassifier(
                    N_GENERAL, heuristic, n_rounds=n_rounds
                )
                model.fit(X, visible, sample_domain=ids)
                keep(f"{heuristic}, stage {stage}", model.score(Xt, yt))
            keep(f"{heuristic}, general columns found", model.support_[general].mean())
    rows = [
        {
            "row": name,
            "mean": float(np.mean(found)),
            "least": min(found),
            "most": max(found),
            "bar": BARS.get(name),
        }
        for name, found in values.items()
    ]
    return Table(
        f"Generated: accuracy on the target, {n_draws} draws",
        {
            "row": "{row}",
            "mean": "{mean:.3f}",
            "least": "{least:.3f}",
            "most": "{most:.3f}",
            "bar": "{bar:.2f}",
        },
        rows,
        ["The pooled classifier should be at most .70: that is the problem's point."],
    )


def reviews(quick):
    """Three domains of the Amazon reviews to the fourth."""
    data = fetch_amazon_reviews(version="5000", subset="all")
    presence = sparse.csr_array((data.X > 0).astype(np.float64))
    train = data.split == "train"
    if quick:
        train &= np.arange(len(train)) % 10 == 0
    numbers = (300,) if quick else (1000, 2000)
    values = {}
    for k in range(1, 2 if quick else 5):
        is_target = data.sample_domain == k
        fit = np.flatnonzero(train)
        test = np.flatnonzero((data.split == "test") & is_target)
        ids = np.where(is_target, -1, data.sample_domain)[fit]
        source = fit[ids > 0]
        X, y = presence[source], data.y[source]
        Xt, yt = presence[test], data.y[test]
        visible = np.where(ids > 0, data.y[fit], np.nan)
        held = np.random.default_rng(0).random(len(source)) < 0.2
        reg = max(
            (3e-4, 1e-3, 3e-3, 1e-2),
            key=lambda reg: _logistic(reg, ~held, X, y).score(X[held], y[held]),
        )

        def keep(name, score, start):
            seconds = time.perf_counter() - start
            values.setdefault(name, []).append((100 * float(score), seconds))

        every = np.full(len(source), True)
        start = time.perf_counter()
        keep("pooled, all columns", _logistic(reg, every, X, y).score(Xt, yt), start)
        for heuristic in HEURISTICS:
            for n in numbers:
                start = time.perf_counter()
                selector = TwoStageFeatureSelector(n, heuristic, reg=reg)
                selector.fit(presence[fit], visible, sample_domain=ids)
                columns = selector.get_support(indices=True)
                pooled = _logistic(reg, every, X[:, columns], y)
                name = f"{heuristic}, {n:,} columns"
                keep(f"{name}, pooled", pooled.score(Xt[:, columns], yt), start)
                for stage, n_rounds in ((1, 0), (2, 5)):
                    start = time.perf_counter()
                    model = TwoStageFeatureClassifier(
                        n, heuristic, reg=reg, n_rounds=n_rounds
                    )
                    model.fit(presence[fit], visible, sample_domain=ids)
                    keep(f"{name}, stage {stage}", model.score(Xt, yt), start)
    rows = [
        {
            "row": name,
            "mean": float(np.mean([score for score, _ in found])),
            "targets": [score for score, _ in found],
            "worst": min(score for score, _ in found),
            "seconds": float(np.mean([seconds for _, seconds in found])),
        }
        for name, found in values.items()
    ]
    best = max(rows[1:], key=lambda row: row["mean"])
    gain = best["mean"] - rows[0]["mean"]
    return Table(
        f"Amazon reviews, three domains to one, accuracy in %, mean of "
        f"{len(rows[0]['targets'])} targets",
        {
            "row": "{row}",
            "mean": "{mean:.2f}",
            "worst target": "{worst:.2f}",
            "seconds": "{seconds:.1f}",
        },
        rows,
        [
            f"The best of {len(rows) - 1} forms, {best['row']}, has {gain:+.2f} points "
            f"on the pooled classifier: {'no gain' if gain <= 0 else 'a gain'}."
        ],
    )


def _logistic(reg, rows, X, y):
    C = 1 / (reg * np.count_nonzero(rows))
    return LogisticRegression(C=C, max_iter=2000).fit(X[rows], y[rows])
