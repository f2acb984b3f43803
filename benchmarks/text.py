"""Every method that takes sparse rows, on 24 tasks of text.

Twelve pairs of Amazon reviews (raw texts, all words, 2,000 labelled source rows and
2,000 target rows), six tasks of 20 Newsgroups (lines From and Subject kept) and
Reuters' three pairs in both directions. The floor is what people forget to try: a
linear SVM on sublinear tf-idf of all words, both learnt on the source, C by
cross-validation there.

Every other row has the parameters of its paper or the package's defaults. A method that
only weights rows has the floor's C; one that changes the columns has its own, chosen by
cross-validation on the source rows that it gives. No target label is used but to score.
"""

import time
import warnings
from collections.abc import Callable
from itertools import permutations
from typing import NamedTuple

import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.naive_bayes import MultinomialNB
from sklearn.pipeline import make_pipeline
from sklearn.svm import SVC, LinearSVC

from benchmarks._harness import Table
from skadapt import (
    BBSE,
    DCI,
    KLIEP,
    KMM,
    MSDA,
    RLLS,
    SCL,
    TCA,
    ULSIF,
    CoCC,
    DomainClassifierWeights,
    KDEWeights,
    LabelShiftEM,
    NearestNeighborWeights,
    RuLSIF,
    TransferClassifier,
    TwoStageFeatureClassifier,
    TwoStageFeatureSelector,
)
from skadapt.datasets import (
    fetch_20newsgroups_domains,
    fetch_amazon_reviews,
    fetch_reuters_domains,
)

FOLDS = StratifiedKFold(5, shuffle=True, random_state=0)
TFIDF_GRID = 10.0 ** np.arange(-2, 1.1, 0.5)
PRESENCE_GRID = 10.0 ** np.arange(-4, 0.1, 0.5)
DCI_GRID = 10.0 ** np.arange(-5, -1.9, 0.5)
REVIEWS = ("books", "dvd", "electronics", "kitchen")
NEWSGROUPS = ("rec-talk", "sci-talk", "comp-sci", "rec-sci", "comp-rec", "comp-talk")
REUTERS = ("orgs-people", "orgs-places", "people-places")
FLOOR = "linear SVM, source only"


class Task(NamedTuple):
    """Counts of both domains, and what is made of them once for all methods."""

    family: str
    name: str
    counts: sparse.csr_array
    y: np.ndarray  # all labels
    sample_domain: np.ndarray
    tfidf: sparse.csr_array  # idf of both domains
    C: float  # of a linear SVM on the source's rows of it
    logistic_C: float

    @property
    def presence(self):
        return (self.counts > 0).astype(np.float64)

    @property
    def visible(self):
        return np.where(self.sample_domain > 0, self.y, np.nan)


class GramSVC(ClassifierMixin, BaseEstimator):
    """A linear SVM for many dense columns: one Gram matrix serves all folds and C."""

    def __init__(self, grid):
        self.grid = grid

    def fit(self, X, y):
        self.X_fit_ = X
        gram = np.asarray(X @ X.T, dtype=np.float64)
        search = GridSearchCV(SVC(kernel="precomputed"), {"C": self.grid}, cv=FOLDS)
        self.model_ = search.fit(gram, y)
        self.classes_ = search.classes_
        return self

    def predict(self, X):
        return self.model_.predict(np.asarray(X @ self.X_fit_.T, dtype=np.float64))


class Method(NamedTuple):
    """A row: what it predicts for the target rows of a task, in their order."""

    name: str
    predict: Callable
    columns: str
    choice: str


def search(estimator, grid):
    """The estimator with C by cross-validation."""
    return GridSearchCV(estimator, {"C": grid}, cv=FOLDS)


def fitted(model, X, task):
    """Predictions of a model that is told the domains."""
    model.fit(X, task.visible, sample_domain=task.sample_domain)
    return model.predict(X[task.sample_domain < 0])


def weighted(weighter):
    """A linear SVM with the floor's C and weights of the source rows."""
    return lambda task: fitted(
        TransferClassifier(LinearSVC(C=task.C), weighter), task.tfidf, task
    )


def reweighted(correction):
    """Logistic regression, corrected for the class shares of the target."""
    return lambda task: fitted(
        correction.set_params(estimator=LogisticRegression(C=task.logistic_C)),
        task.tfidf,
        task,
    )


def mapped(mapper, columns, classifier):
    """A classifier with its own C on columns that a mapper makes."""
    return lambda task: fitted(
        TransferClassifier(classifier, mapper), getattr(task, columns), task
    )


def _floor(task):
    """Words weighted and the SVM learnt on the source alone."""
    source = task.sample_domain > 0
    model = make_pipeline(
        TfidfTransformer(sublinear_tf=True), search(LinearSVC(), TFIDF_GRID)
    )
    return model.fit(task.counts[source], task.y[source]).predict(task.counts[~source])


def _plain(model, columns):
    def predict(task):
        X, source = getattr(task, columns), task.sample_domain > 0
        return model(task).fit(X[source], task.y[source]).predict(X[~source])

    return predict


def _cocc(task):
    model = CoCC(random_state=0)
    model.fit(task.counts, task.visible, sample_domain=task.sample_domain)
    return model.transduction_


CV = "C by 5-fold CV on source rows"
AS_FLOOR = "the package's defaults; C as without weights"
OWN = f"the package's defaults; {CV}, mapped"
METHODS = [
    Method(FLOOR, _floor, "tf-idf", CV),
    Method(
        "linear SVM, idf of both domains",
        _plain(lambda task: LinearSVC(C=task.C), "tfidf"),
        "tf-idf",
        CV,
    ),
    Method(
        "linear SVM, presence",
        _plain(lambda task: search(LinearSVC(), PRESENCE_GRID), "presence"),
        "presence",
        CV,
    ),
    Method(
        "logistic regression",
        _plain(lambda task: LogisticRegression(C=task.logistic_C), "tfidf"),
        "tf-idf",
        CV,
    ),
    Method(
        "naive Bayes", _plain(lambda task: MultinomialNB(), "counts"), "counts", "none"
    ),
    *(
        Method(f"{name} + linear SVM", weighted(weighter), "tf-idf", AS_FLOOR)
        for name, weighter in {
            "KMM": KMM(),
            "KLIEP": KLIEP(random_state=0),
            "ULSIF": ULSIF(random_state=0),
            "RuLSIF": RuLSIF(random_state=0),
            "domain classifier": DomainClassifierWeights(random_state=0),
            "nearest neighbour": NearestNeighborWeights(random_state=0),
            "KDE": KDEWeights(random_state=0),
        }.items()
    ),
    *(
        Method(
            f"{name} + logistic regression",
            reweighted(correction),
            "tf-idf",
            "the package's defaults; C as without",
        )
        for name, correction in {
            "BBSE": BBSE(random_state=0),
            "RLLS": RLLS(random_state=0),
            "LabelShiftEM": LabelShiftEM(random_state=0),
        }.items()
    ),
    Method(
        "TCA + linear SVM",
        mapped(TCA(), "tfidf", search(LinearSVC(), TFIDF_GRID)),
        "tf-idf",
        OWN,
    ),
    Method(
        "SCL + linear SVM",
        mapped(SCL(random_state=0), "presence", search(LinearSVC(), PRESENCE_GRID)),
        "presence",
        OWN,
    ),
    Method(
        "MSDA + linear SVM",
        mapped(
            MSDA(3, 0.7, 2500, dtype=np.float32, random_state=0),
            "presence",
            GramSVC(10.0 ** np.arange(-5, 0.1, 0.5)),
        ),
        "presence",
        f"3 layers, p = .7, 2,500 most frequent columns; {CV}, mapped",
    ),
    Method(
        "DCI + linear SVM",
        mapped(DCI(), "counts", search(LinearSVC(), DCI_GRID)),
        "own tf-idf",
        OWN,
    ),
    Method("CoCC", _cocc, "counts", "the package's defaults"),
    Method(
        "TwoStageFeatureSelector + linear SVM",
        mapped(
            TwoStageFeatureSelector(), "presence", search(LinearSVC(), PRESENCE_GRID)
        ),
        "presence",
        OWN,
    ),
    Method(
        "TwoStageFeatureClassifier",
        lambda task: fitted(TwoStageFeatureClassifier(), task.presence, task),
        "presence",
        "the package's defaults",
    ),
]


def run(quick=False):
    """All methods on all tasks.

    ``quick``: one of each family, every tenth row, the 500 most frequent words.
    """
    warnings.simplefilter("ignore")  # what they warn of is what the table shows
    cells = {method.name: [] for method in METHODS}
    tasks = []
    for task in _tasks(quick):
        tasks.append((task.family, task.name))
        truth = task.y[task.sample_domain < 0]
        for method in METHODS:
            start = time.perf_counter()
            predicted = method.predict(task)
            seconds = time.perf_counter() - start
            accuracy = 100 * float(np.mean(predicted == truth))
            cells[method.name].append((accuracy, seconds))
    yield table(tasks, cells)


def _tasks(quick):
    """One after the other: rows of one task at a time are in memory."""
    pairs = list(permutations(REVIEWS, 2))
    for source, target in pairs[:1] if quick else pairs:
        data = fetch_amazon_reviews(source, target)
        counts = CountVectorizer().fit_transform(data.X)
        yield _task("Amazon", f"{source} to {target}", counts, data, quick)
    for name in NEWSGROUPS[:1] if quick else NEWSGROUPS:
        data = fetch_20newsgroups_domains(name, vectorizer="counts")
        yield _task("20 Newsgroups", name, data.X, data, quick)
    for name in REUTERS[:1] if quick else REUTERS:
        for swap in (False,) if quick else (False, True):
            data = fetch_reuters_domains(name, swap=swap)
            direction = "t to s" if swap else "s to t"
            yield _task("Reuters", f"{name}, {direction}", data.X, data, quick)


def _task(family, name, counts, data, quick):
    counts = sparse.csr_array(counts).astype(np.float64)
    y, sample_domain = data.y, data.sample_domain
    if quick:
        frequent = np.argsort(-counts.sum(axis=0), kind="stable")[:500]
        counts, y = counts[::10][:, np.sort(frequent)], y[::10]
        sample_domain = sample_domain[::10]
    tfidf = TfidfTransformer(sublinear_tf=True).fit_transform(counts)
    source = sample_domain > 0
    X, labels = tfidf[source], y[source]
    C = search(LinearSVC(), TFIDF_GRID).fit(X, labels).best_params_["C"]
    logistic = search(LogisticRegression(max_iter=1000), 10.0 ** np.arange(4))
    logistic_C = logistic.fit(X, labels).best_params_["C"]
    return Task(family, name, counts, y, sample_domain, tfidf, C, logistic_C)


def table(tasks, cells):
    """Means by family, gains on the floor, the worst task."""
    families = list(dict.fromkeys(family for family, _ in tasks))
    floor = np.array([accuracy for accuracy, _ in cells[FLOOR]])
    rows = []
    for method in METHODS:
        accuracies = np.array([accuracy for accuracy, _ in cells[method.name]])
        gains = accuracies - floor
        worst = int(np.argmin(gains))
        rows.append(
            {
                "row": method.name,
                "columns": method.columns,
                "choice": method.choice,
                "mean": float(accuracies.mean()),
                "families": {
                    name: float(accuracies[[f == name for f, _ in tasks]].mean())
                    for name in families
                },
                "gain": float(gains.mean()),
                "better": int(np.count_nonzero(gains > 0)),
                "worse": int(np.count_nonzero(gains < 0)),
                "least_gain": float(gains[worst]),
                "worst": tasks[worst][1],
                "seconds": float(sum(seconds for _, seconds in cells[method.name])),
                "tasks": {
                    name: float(value) for (_, name), value in zip(tasks, accuracies)
                },
            }
        )
    return Table(
        f"Accuracy in % on the target, mean of {len(tasks)} tasks; gains on '{FLOOR}'",
        {
            "method": "{row}",
            "columns": "{columns}",
            "mean": "{mean:.1f}",
            **{name: f"{{families[{name}]:.1f}}" for name in families},
            "gain": "{gain:+.1f}",
            "better / worse on": "{better} / {worse}",
            "least gain (task)": "{least_gain:+.1f} ({worst})",
            "seconds": "{seconds:.0f}",
        },
        rows,
        [
            "The mean of tasks; seconds are the sum over them, choice of a C of its "
            "own included.",
            "GaussianWeights is left out: it holds the covariance of all columns, "
            "7 GB at 30,000.",
            *_verdicts(rows, families),
        ],
    )


def _verdicts(rows, families):
    """Per family the best row beside the floor, and who loses on average."""
    floor = next(row for row in rows if row["row"] == FLOOR)
    best = {name: max(rows, key=lambda row: row["families"][name]) for name in families}
    lines = [
        f"{name}: best is {row['row']}, {row['families'][name]:.1f}, where the floor "
        f"has {floor['families'][name]:.1f}."
        for name, row in best.items()
    ]
    losers = [row["row"] for row in rows if row["gain"] < 0]
    if losers:
        lines.append(f"Below the floor on average: {', '.join(losers)}.")
    return lines
