"""Rows of the benchmarks of mappers, and how each of them is measured.

Source rows have labels, target rows have none, and accuracy is that on all target
rows. A row is a mapper under a classifier, or a classifier that adapts by itself; its
floor is the same classifier without what adapts.
"""

import time
import warnings
from collections.abc import Callable
from typing import NamedTuple

import joblib
import numpy as np
from sklearn import config_context
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_val_score
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, Normalizer, StandardScaler
from sklearn.svm import SVC
from sklearn.utils import Bunch

from benchmarks._harness import Table
from skadapt import JGSA, MEDA, AdapterEnsembleClassifier, PerDomain, TransferClassifier


class KernelLeastSquares(ClassifierMixin, BaseEstimator):
    """The classifier of MEDA without subspaces, gaps and graph."""

    def fit(self, X, y):
        """Regress indicators of the classes on rows of unit length."""
        self.classes_ = np.unique(y)
        ridge = KernelRidge(alpha=0.1, kernel="rbf", gamma=0.5)
        self.model_ = make_pipeline(Normalizer(), ridge)
        self.model_.fit(X, np.equal.outer(y, self.classes_).astype(float))
        return self

    def predict(self, X):
        """Class of the largest value."""
        return self.classes_[self.model_.predict(X).argmax(axis=1)]


C_GRID = {"C": [1e-3, 1e-2, 0.1, 1.0, 10.0]}
SEARCH = {"cv": StratifiedKFold(2, shuffle=True, random_state=0)}
FOLDS = StratifiedKFold(5, shuffle=True, random_state=0)
NN, SVM, LOGISTIC = "1-NN", "linear SVM", "logistic regression"
MEAN, LEAST_SQUARES = "nearest class mean", "kernel least squares"
CLASSIFIERS = {
    NN: KNeighborsClassifier(1),
    SVM: GridSearchCV(SVC(kernel="linear"), C_GRID, **SEARCH),
    LOGISTIC: GridSearchCV(LogisticRegression(max_iter=1000), C_GRID, **SEARCH),
    MEAN: NearestCentroid(),
    LEAST_SQUARES: KernelLeastSquares(),
}
FIXED = "nothing to choose"
BY_SOURCE_CV = "C in 1e-3, 1e-2, .1, 1, 10 by 2-fold stratified CV (shuffled) on source"
NO_FIGURE = "no published figure"
SIZES = (10, 20, 30, 40, 60)


class Method(NamedTuple):
    """A row: what stands between the preparation and the classifier, or a model."""

    name: str
    classifier: str  # what the floor and the ceiling are measured with
    steps: Callable = lambda task: []
    model: Callable | None = None  # a classifier that adapts by itself
    prepares: bool = False  # by itself, too
    part_of: str | None = None  # row whose fitted views are averaged again
    members: tuple = ()  # which of them
    published: float | dict | None = None  # of the mean, or of each task
    source: str = NO_FIGURE
    expected: float | dict | None = None  # exact reading of the figure
    least: float | dict | None = None
    tolerance: float = 0.1
    choice: str = FIXED


def unit_sums():
    """Rows divided by their sum, columns standardised in each domain (divisor n)."""
    return make_pipeline(Normalizer("l1"), PerDomain(StandardScaler()))


def square_roots():
    """The same with the square roots of the divided counts."""
    return make_pipeline(
        Normalizer("l1"), FunctionTransformer(np.sqrt), PerDomain(StandardScaler())
    )


def logarithms():
    """Logarithms of one plus the counts, columns standardised in each domain."""
    return make_pipeline(FunctionTransformer(np.log1p), PerDomain(StandardScaler()))


def unit_rows(function=None):
    """Rows of unit length, of the pixels or of a function of them."""
    if function is None:
        return Normalizer()
    return make_pipeline(FunctionTransformer(function), Normalizer())


def some_rows(data, n_rows):
    """At most so many rows of each domain, for quick forms."""
    rng = np.random.default_rng(0)
    rows = np.concatenate(
        [
            rng.permutation(np.flatnonzero(data.sample_domain == domain))[:n_rows]
            for domain in np.unique(data.sample_domain)
        ]
    )
    kept = {name: data[name][rows] for name in ("X", "y", "sample_domain")}
    return Bunch(**data | kept)


def like_jda(n_classes):
    """The `mu` of MEDA at which the gap of all means weighs as that of one class.

    MEDA gives the gap of all means the weight C (1 - mu) and that of a class mu.
    """
    return n_classes / (n_classes + 1)


def views(preparations, n_classes, sizes=SIZES, jgsa=False, **options):
    """MEDA on every preparation with every size of a PLS basis, and on JGSA."""
    options["mu"] = like_jda(n_classes)
    members = []
    for preparation in preparations:
        models = [MEDA(p, "pls", **options) for p in sizes]
        if jgsa:
            models.append(MEDA(subspace=JGSA(30), **options))
        members += [make_pipeline(clone(preparation), model) for model in models]
    return AdapterEnsembleClassifier(members, calibrate=False, max_samples=None)


def measure(methods, tasks, preparation, classifiers=CLASSIFIERS):
    """One row of figures for each method, with its floors; tasks are bunches.

    Parts of an ensemble are averages over some of its fitted views, whose seconds are
    those of the whole.
    """
    ceilings, kept, rows = {}, {}, {}
    with config_context(enable_metadata_routing=True), warnings.catch_warnings():
        # NearestCentroid, of pixels that are never inked.
        warnings.filterwarnings("ignore", "self.within_class_std_dev_")
        for method in sorted(methods, key=lambda method: method.part_of is not None):
            rows[method.name] = _row(
                method, tasks, preparation, classifiers, ceilings, kept
            )
    rows = {method.name: rows[method.name] for method in methods}
    for row in rows.values():
        without = rows[row["classifier"]]
        row["floor"], row["floors"] = without["skadapt"], without["tasks"]
        if not row["ceilings"]:
            row["ceilings"], row["ceiling"] = without["ceilings"], without["ceiling"]
    return list(rows.values())


def _row(method, tasks, preparation, classifiers, ceilings, kept):
    accuracies, ceiling, seconds = {}, {}, 0.0
    classifier = classifiers[method.classifier]
    for task, rows in tasks.items():
        target = rows.sample_domain < 0
        Xt, yt = rows.X[target], rows.y[target]
        if method.part_of:
            classes, probabilities = kept[method.part_of, task]
            chosen = probabilities[list(method.members)].mean(axis=0).argmax(axis=1)
            accuracies[task] = 100 * float(np.mean(classes[chosen] == yt))
            continue
        y = np.where(target, np.nan, rows.y)
        model = _model(method, task, preparation, classifier)
        start = time.perf_counter()
        model.fit(rows.X, y, sample_domain=rows.sample_domain)
        predicted = model.predict(Xt)
        seconds += time.perf_counter() - start
        accuracies[task] = 100 * float(np.mean(predicted == yt))
        if isinstance(model, AdapterEnsembleClassifier):
            views = [view.predict_proba(Xt) for view in model.estimators_]
            kept[method.name, task] = model.classes_, np.array(views)
        if method.model is None:
            ceiling[task] = _ceiling(
                method.classifier, classifier, model.adapter_, Xt, yt, ceilings
            )
    return {
        "row": method.name,
        "published": method.published,
        "source": method.source,
        "expected": method.expected,
        "least": method.least,
        "tolerance": method.tolerance,
        "skadapt": float(np.mean(list(accuracies.values()))),
        "ceiling": float(np.mean(list(ceiling.values()))) if ceiling else None,
        "seconds": seconds or None,
        "classifier": method.classifier,
        "choice": method.choice,
        "tasks": accuracies,
        "ceilings": ceiling,
    }


def _model(method, task, preparation, classifier):
    if method.model is not None:
        model = method.model()
        return model if method.prepares else make_pipeline(clone(preparation), model)
    steps = method.steps(task)
    return TransferClassifier(classifier, make_pipeline(clone(preparation), *steps))


def _ceiling(name, classifier, mapper, Xt, yt, ceilings):
    """Cross-validation on the mapped target; most methods leave the target alone."""
    if not hasattr(mapper, "transform"):  # it ends in a weighter
        mapper = mapper[:-1]
    Zt = mapper.transform(Xt)
    key = name, joblib.hash(Zt)
    if key not in ceilings:
        scores = cross_val_score(clone(classifier), Zt, yt, cv=FOLDS)
        ceilings[key] = 100 * float(scores.mean())
    return ceilings[key]


def per_task(title, rows, tasks):
    """A table of the figures of each task."""
    columns = {"row": "{row}"}
    columns |= {task: f"{{tasks[{task}]:.1f}}" for task in tasks}
    return Table(title, columns | {"mean": "{skadapt:.2f}"}, rows)


def choices(rows, names):
    """How what is to be chosen in these rows was chosen, a line for each."""
    by_name = {row["row"]: row["choice"] for row in rows}
    return [f"{name}: {by_name[name]}." for name in names if name in by_name]


def verdicts(rows):
    """A line for each row that is not where its exact reading says."""
    missed, n_figures = [], 0
    for row in rows:
        for place, found in (("", row["skadapt"]), *row["tasks"].items()):
            expected, least = (
                _figure_of(row[name], place) for name in ("expected", "least")
            )
            n_figures += (expected is not None) + (least is not None)
            at = f"{row['row']} {place}".strip()
            if expected is not None and abs(found - expected) > row["tolerance"]:
                missed.append(
                    f"Not met: {at}: {found:.2f}, not {expected:.2f} "
                    f"+- {row['tolerance']}."
                )
            if least is not None and found < least:
                missed.append(f"Not met: {at}: {found:.2f}, not {least:.2f} or more.")
    if not n_figures:
        return []
    return missed or [f"All of {n_figures} exact readings are met within tolerance."]


def _figure_of(figures, place):
    """The figure of a task, or that of the mean at no place."""
    if isinstance(figures, dict):
        return figures.get(place)
    return None if place else figures
