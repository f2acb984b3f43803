"""Where boosting beats one learner on equal domain mass, and what it costs.

Part of the source follows another concept, so that trusting all of it equally is wrong:
in R(d, m, s) rows are normal in d dimensions, the target's label is the sign of w'x,
and each of 1,000 source rows follows, with chance s, the hyperplane u, which is w with
half of its entries negated. m target rows are labelled, 2,000 others are the test. Then
real data of which a share of the source labels is made to contradict. Parameters are
those of the methods' defaults (N = 20, logistic regression with C = 1), not tuned.
"""

import time
import warnings
from contextlib import ExitStack

import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.ensemble import AdaBoostClassifier, GradientBoostingClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier
from threadpoolctl import threadpool_limits

from benchmarks._harness import Table
from benchmarks._peers import absence, open_peer
from benchmarks._target_labels import (
    DYNAMIC,
    HARD,
    ROW,
    SOFT,
    Draw,
    TargetOnly,
    baselines,
    boosted,
    draw_labels,
    mean_and_error,
)
from skadapt import (
    DegenerateWeightsWarning,
    NegativeTransferWarning,
    TrAdaBoostClassifier,
    TransferClassifier,
)
from skadapt.datasets import fetch_20newsgroups_domains, fetch_adult, fetch_wisdm

N_ESTIMATORS = 20
PEER = "adapt, soft"
# Families R(d, m, s), and the form of TrAdaBoost that is to win in each.
FAMILIES = (
    ((50, 40, 0.3), HARD),
    ((50, 40, 0.45), HARD),
    ((20, 40, 0.3), DYNAMIC),
    ((20, 60, 0.45), DYNAMIC),
)
N_SOURCE, N_TEST = 1000, 2000
FIRST_SEED = 1000  # not the seeds on which the families were picked


def run(quick=False):
    """Four families of hyperplanes, three tables, the cost of a round."""
    warnings.simplefilter("ignore", NegativeTransferWarning)
    warnings.simplefilter("ignore", DegenerateWeightsWarning)
    # scikit-learn's AdaBoost hands its learner weights of sum 1.
    warnings.simplefilter("ignore", ConvergenceWarning)
    with ExitStack() as stack:
        peer = None if quick else stack.enter_context(open_peer("adapt"))
        for (d, m, s), winner in FAMILIES[:1] if quick else FAMILIES:
            draws = [
                _hyperplanes(d, m, s, FIRST_SEED + k) for k in range(3 if quick else 30)
            ]
            yield _family_table(f"R({d}, {m}, {s})", draws, winner, peer)
        yield _flipped_table(3 if quick else 20)
        if not quick:
            yield from _real_tables()
        yield _cost_table(peer, quick)


class Problem:
    """Rows of a source, some of which contradict, and of a target."""

    def __init__(self, X, y, sample_domain, contradicts, draw):
        self.X, self.y, self.sample_domain = X, y, sample_domain
        self.contradicts = contradicts  # of the source rows
        self.draw = draw

    def fit(self, model):
        """Fit on what a model may see; return its error on the test rows."""
        model.fit(self.X, self.draw.y, sample_domain=self.sample_domain)
        rows = self.draw.test
        return float(np.mean(model.predict(self.X[rows]) != self.y[rows]))

    def auc(self, model):
        """How well the weights of the source rows tell those that contradict."""
        return float(roc_auc_score(~self.contradicts, model.source_weights_))


def _hyperplanes(d, m, s, seed):
    rng = np.random.default_rng(seed)
    n = N_SOURCE + m + N_TEST
    X, w = rng.normal(size=(n, d)), rng.normal(size=d)
    u = np.concatenate([-w[: d // 2], w[d // 2 :]])
    other = np.arange(n) < N_SOURCE
    other &= rng.random(n) < s
    concept = X @ w > 0
    y = np.where(other, X @ u > 0, concept).astype(int)
    contradicts = (y != concept)[:N_SOURCE]
    ids = np.repeat([1, -1], [N_SOURCE, m + N_TEST])
    visible = y.astype(float)
    visible[N_SOURCE + m :] = np.nan
    return Problem(X, y, ids, contradicts, Draw(visible, np.arange(N_SOURCE + m, n)))


def _others(learner):
    """Ensembles of scikit-learn on the target, on both, and on equal mass."""
    ensembles = {
        "AdaBoost": AdaBoostClassifier(learner, n_estimators=N_ESTIMATORS),
        "gradient boosting": GradientBoostingClassifier(random_state=0),
    }
    models = {}
    for name, model in ensembles.items():
        models[f"{name}, target only"] = TargetOnly(model)
        models[f"{name}, both"] = TransferClassifier(model, train_on="labeled")
        models[f"{name}, equal mass"] = TransferClassifier(
            model, train_on="labeled", target_weight="domain"
        )
    models["linear SVM, both"] = TransferClassifier(
        LinearSVC(dual=False), train_on="labeled"
    )
    return models


def _family_table(title, problems, winner, peer):
    learner = LogisticRegression()
    models = baselines(learner) | _others(learner)
    forms = boosted(learner, N_ESTIMATORS, (HARD, DYNAMIC, SOFT))
    errors, aucs = {}, {}
    for name, model in {**models, **forms}.items():
        errors[name] = []
        for problem in problems:
            errors[name].append(problem.fit(model))
            if name in forms:
                aucs.setdefault(name, []).append(problem.auc(model))
    if peer is not None:
        errors[PEER] = [_peer_error(peer, problem) for problem in problems]
    table = Table(
        f"{title}, error over {len(problems)} draws",
        {
            "method": "{method}",
            "error": "{error:.3f} ({se:.3f})",
            f"less {winner}": "{difference:+.3f}",
            "in standard errors": "{z:+.1f}",
            "AUC of the source weights": "{auc:.2f}",
        },
        notes=[
            "AUC: of the weights after the last round, for source rows whose label is "
            "that of the target's concept against the others.",
        ],
    )
    for name, values in errors.items():
        row = {"method": name}
        row["error"], row["se"] = mean_and_error(values)
        if name != winner:
            difference, se = mean_and_error(np.array(values) - np.array(errors[winner]))
            row["difference"] = difference
            row["z"] = difference / se if se else None
        if name in aucs:
            row["auc"] = float(np.mean(aucs[name]))
        table.rows.append(row)
    if peer is None:
        table.notes.append(absence("adapt") or "adapt: not run")
    return table


def _flipped_table(n_draws):
    """A source whose labels are all wrong: what is said, and what it costs."""
    table = Table(
        "Every label of 300 source rows flipped, 60 labelled target rows, error over "
        f"{n_draws} draws",
        {
            "learner": "{learner}",
            "target only": "{target:.3f}",
            "TrAdaBoost": "{hard:.3f}",
            "equal rows": "{row:.3f}",
            "warned": "{warned:.0%}",
        },
    )
    for name, learner in {
        "stump": DecisionTreeClassifier(max_depth=1),
        "logistic regression": LogisticRegression(),
    }.items():
        errors, warned = {"target": [], "hard": [], "row": []}, []
        for k in range(n_draws):
            rng = np.random.default_rng(FIRST_SEED + k)
            X = rng.normal(size=(2360, 10))
            y = (X[:, 0] + 0.5 * X[:, 1] > 0).astype(int)
            y[:300] = 1 - y[:300]
            visible = y.astype(float)
            visible[360:] = np.nan
            ids = np.repeat([1, -1], [300, 2060])
            draw = Draw(visible, np.arange(360, 2360))
            problem = Problem(X, y, ids, None, draw)
            errors["target"].append(problem.fit(TargetOnly(learner)))
            forms = boosted(learner, N_ESTIMATORS, (HARD, ROW))
            for key, model in zip(("hard", "row"), forms.values()):
                with warnings.catch_warnings(record=True) as caught:
                    warnings.simplefilter("always")
                    errors[key].append(problem.fit(model))
                warned.append(
                    any(issubclass(w.category, NegativeTransferWarning) for w in caught)
                )
        means = {key: float(np.mean(values)) for key, values in errors.items()}
        table.rows.append({"learner": name, **means, "warned": float(np.mean(warned))})
    return table


def _peer_error(peer, problem):
    source, labeled = problem.sample_domain > 0, ~np.isnan(problem.draw.y)
    target = labeled & ~source
    outputs, _, _ = peer.run(
        "tradaboost_adapt",
        {
            "Xs": problem.X[source],
            "ys": problem.y[source],
            "Xt": problem.X[target],
            "yt": problem.y[target],
            "X": problem.X[problem.draw.test],
        },
        n_estimators=N_ESTIMATORS,
    )
    return float(np.mean(outputs["y"].ravel() != problem.y[problem.draw.test]))


def _real_tables():
    """Newsgroups, incomes, activities; 0 and 30 % of the source labels made wrong."""
    news = fetch_20newsgroups_domains("rec-talk", vectorizer="tfidf")
    yield _real_table(
        "20 Newsgroups rec-talk, linear SVM, C = .1",
        (news.X, news.y, news.sample_domain),
        LinearSVC(C=0.1, class_weight="balanced", dual=False),
        40,
    )
    adult = fetch_adult(source="Male", target="Female", by="sex")
    rng = np.random.default_rng(0)
    rows = np.sort(rng.choice(len(adult.y), 8000, replace=False))
    yield _real_table(
        "adult, men to women, 8,000 rows, logistic regression",
        (_standardized(adult.X[rows]), adult.y[rows], adult.sample_domain[rows]),
        LogisticRegression(max_iter=1000),
        60,
    )
    wisdm = fetch_wisdm(source=list(range(1, 19)), target=list(range(19, 37)))
    yield _real_table(
        "WISDM, 18 users to 18 others, logistic regression",
        (_standardized(wisdm.X), wisdm.y, wisdm.sample_domain),
        LogisticRegression(max_iter=1000),
        60,
    )


def _standardized(X):
    """Columns of mean 0 and variance 1 over all rows, and 0 where missing."""
    return np.nan_to_num(StandardScaler().fit_transform(X))


def _real_table(title, data, learner, n_labeled):
    X, y, sample_domain = data
    source = np.flatnonzero(sample_domain > 0)
    classes, y = np.unique(y, return_inverse=True)
    forms = (HARD, DYNAMIC)
    models = {
        **baselines(learner),
        "AdaBoost, both": TransferClassifier(
            AdaBoostClassifier(learner, n_estimators=N_ESTIMATORS), train_on="labeled"
        ),
        **boosted(learner, N_ESTIMATORS, forms),
    }
    if not isinstance(learner, LinearSVC):
        models.update(boosted(learner, N_ESTIMATORS, (SOFT,)))
    table = Table(
        f"{title}; {n_labeled} labelled target rows; error over 10 draws, by the share "
        "of source labels that are made wrong",
        {
            "method": "{method}",
            "0": "{error0:.3f} ({se0:.3f})",
            "0.3": "{error30:.3f} ({se30:.3f})",
            "AUC of the source weights": "{auc:.2f}",
        },
    )
    for name, model in models.items():
        row = {"method": name}
        for percent in (0, 30):
            errors, aucs = [], []
            for k in range(10):
                rng = np.random.default_rng(k)
                wrong = rng.random(len(source)) < percent / 100
                labels = y.copy()
                shift = rng.integers(1, len(classes), np.count_nonzero(wrong))
                labels[source[wrong]] = (labels[source[wrong]] + shift) % len(classes)
                draw = draw_labels(labels, sample_domain, n_labeled, k)
                problem = Problem(X, labels, sample_domain, wrong, draw)
                errors.append(problem.fit(model))
                if percent and hasattr(model, "source_weights_"):
                    aucs.append(problem.auc(model))
            row[f"error{percent}"], row[f"se{percent}"] = mean_and_error(errors)
            if aucs:
                row["auc"] = float(np.mean(aucs))
        table.rows.append(row)
    return table


class Timed(ClassifierMixin, BaseEstimator):
    """A learner that adds up the seconds of its own fits."""

    def __init__(self, estimator, seconds):
        self.estimator = estimator
        self.seconds = seconds

    def __sklearn_clone__(self):
        return Timed(self.estimator, self.seconds)

    def fit(self, X, y, sample_weight=None):
        start = time.perf_counter()
        self.estimator_ = type(self.estimator)(**self.estimator.get_params())
        self.estimator_.fit(X, y, sample_weight)
        self.classes_ = self.estimator_.classes_
        self.seconds.append(time.perf_counter() - start)
        return self

    def predict(self, X):
        return self.estimator_.predict(X)


def _cost_table(peer, quick):
    table = Table(
        "Seconds of fit, one thread",
        {
            "problem": "{problem}",
            "rounds": "{rounds}",
            "seconds": "{seconds:.2f}",
            "/ the learners' own fits": "{overhead:.3f}",
            "adapt / skadapt": "{peer:.2f}",
        },
        notes=[
            "adapt: the same learner and rounds, equal rows and the soft loss on both "
            "sides, in turns."
        ],
    )
    n, d = (2_000, 500) if quick else (100_000, 10_000)
    rng = np.random.default_rng(0)
    X = sparse.random_array((n, d), density=50 / d, format="csr", rng=rng)
    y = (X @ rng.normal(size=d) + 0.1 * rng.normal(size=n) > 0).astype(float)
    with threadpool_limits(1):
        table.rows.append(
            _cost(f"{n:,} x {d:,}, sparse", X, y, LinearSVC(C=0.1, dual=False), 10)
        )
        n, d = (500, 10) if quick else (5_000, 50)
        X = rng.normal(size=(n, d))
        y = (X @ rng.normal(size=d) + rng.normal(size=n) > 0).astype(float)
        row = _cost(f"{n:,} x {d:,}, dense", X, y, LogisticRegression(), N_ESTIMATORS)
        if peer is not None:
            row["peer"] = _peer_ratio(peer, X, y)
        table.rows.append(row)
    return table


def _in_domains(y):
    """The last hundredth of the rows is the labelled target."""
    n = len(y)
    return np.where(np.arange(n) < n - max(20, n // 100), 1, -1)


def _cost(problem, X, y, learner, n_estimators):
    ratios, totals = [], []
    for _ in range(3):
        seconds = []
        model = TrAdaBoostClassifier(Timed(learner, seconds), n_estimators)
        start = time.perf_counter()
        model.fit(X, y, sample_domain=_in_domains(y))
        totals.append(time.perf_counter() - start)
        ratios.append(totals[-1] / sum(seconds))
    return {
        "problem": problem,
        "rounds": len(model.estimators_),
        "seconds": min(totals),
        "overhead": float(np.median(ratios)),
    }


def _peer_ratio(peer, X, y):
    """adapt's seconds relative to ours, in turns."""
    ids = _in_domains(y)
    source = ids > 0
    arrays = {
        "Xs": X[source],
        "ys": y[source].astype(int),
        "Xt": X[~source],
        "yt": y[~source].astype(int),
        "X": X[:1],
    }
    ratios = []
    for _ in range(9):
        start = time.perf_counter()
        TrAdaBoostClassifier(
            LogisticRegression(), N_ESTIMATORS, loss="soft", initial_weight="row"
        ).fit(X, y, sample_domain=ids)
        ours = time.perf_counter() - start
        _, theirs, _ = peer.run("tradaboost_adapt", arrays, n_estimators=N_ESTIMATORS)
        ratios.append(theirs / ours)
    return float(np.median(ratios))
