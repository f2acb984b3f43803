"""CoCC on 20 Newsgroups and Reuters: both directions, starts, clusters, no headers.

Errors in % on the target rows of fit. Every parameter is the default, but for the
number of word clusters in its own table; five seeds. Naive Bayes is the start; the
linear SVM learns sublinear tf-idf, C by cross-validation on the source. No target label
is used.
"""

import time
import warnings

import numpy as np
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.svm import LinearSVC

from benchmarks._harness import Table
from skadapt import CoCC
from skadapt.datasets import fetch_20newsgroups_domains, fetch_reuters_domains

# Errors recalled from Dai et al. 2007; which side was the source is not certain.
PUBLISHED = {
    "rec-talk": 3.5,
    "sci-talk": 5.4,
    "comp-sci": 13.0,
    "rec-sci": 5.5,
    "comp-rec": 4.2,
    "comp-talk": 2.0,
    "orgs-people": 23.6,
    "orgs-places": 32.0,
    "people-places": 17.4,
}
NEWSGROUPS, REUTERS = list(PUBLISHED)[:6], list(PUBLISHED)[6:]
CLUSTERS = (16, 32, 64, 128)
COLUMNS = {
    "task": "{task}",
    "source": "{side}",
    "naive Bayes": "{bayes:.1f}",
    "linear SVM": "{svm:.1f}",
    "CoCC (range)": "{error:.1f} ({least:.1f}, {most:.1f})",
    "published": "{published:.1f}",
    "consistency / start's": "{consistency:.2f}",
    "order": "{orders}",
    "seconds": "{seconds:.1f}",
}


def run(quick=False):
    """All tables (``quick``: the first, small, and one row of the last two)."""
    warnings.simplefilter("ignore", UserWarning)  # counted in the rows
    tasks = NEWSGROUPS[:1] if quick else NEWSGROUPS
    pairs = REUTERS[:1] if quick else REUTERS
    sides = (False,) if quick else (False, True)
    forms = {
        "20 Newsgroups, From and Subject kept, min_df = 3": {"min_df": 3},
        "20 Newsgroups, From and Subject kept, min_df = 10": {"min_df": 10},
        "20 Newsgroups, bodies alone, min_df = 3": {"min_df": 3, "text": "body"},
    }
    for title, options in list(forms.items())[: 1 if quick else None]:
        options = {"vectorizer": "counts"} | options
        rows = [
            _row(
                task,
                swap,
                fetch_20newsgroups_domains(task, swap=swap, **options),
                quick,
            )
            for swap in sides
            for task in tasks
        ]
        yield Table(f"{title}: error in %", COLUMNS, rows, _verdicts(rows))
    rows = [
        _row(task, swap, fetch_reuters_domains(task, swap=swap), quick)
        for swap in sides
        for task in pairs
    ]
    yield Table("Reuters: error in %", COLUMNS, rows, _verdicts(rows))
    yield _clusters(tasks, quick)


def _part(data, quick):
    rows = np.arange(0, len(data.y), 5 if quick else 1)
    X, y, domain = data.X[rows], data.y[rows], data.sample_domain[rows]
    return X, y, np.where(domain > 0, y, np.nan), domain


def _fit(X, visible, domain, seed, k=None):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        start = time.perf_counter()
        model = CoCC(k, random_state=seed).fit(X, visible, sample_domain=domain)
        seconds = time.perf_counter() - start
    if np.diff(model.objective_path_).max() > 1e-12:
        raise RuntimeError("the objective of CoCC rose")
    return model, seconds, len(caught)


def _row(task, swap, data, quick):
    X, y, visible, domain = _part(data, quick)
    target = domain < 0
    W = TfidfTransformer(sublinear_tf=True).fit_transform(X)
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    svm = GridSearchCV(LinearSVC(dual=False), {"C": 10.0 ** np.arange(-2, 3)}, cv=folds)
    svm.fit(W[~target], y[~target])
    runs = [_fit(X, visible, domain, seed) for seed in range(2 if quick else 5)]
    models = [model for model, _, _ in runs]
    errors = [100 * float(np.mean(m.transduction_ != y[target])) for m in models]
    ratios = [
        m.consistency_errors_[m.order_] / m.consistency_errors_["start"] for m in models
    ]
    return {
        "task": task,
        "side": "B" if swap else "A",
        "bayes": 100
        * float(np.mean(models[0].estimator_.predict(X[target]) != y[target])),
        "svm": 100 * (1 - float(svm.score(W[target], y[target]))),
        "svm_C": svm.best_params_["C"],
        "error": float(np.mean(errors)),
        "least": min(errors),
        "most": max(errors),
        "errors": errors,
        "published": PUBLISHED[task],
        "consistency": float(np.mean(ratios)),
        "orders": "".join(m.order_[0] for m in models),
        "warned": int(np.count_nonzero([warned for _, _, warned in runs])),
        "seconds": float(np.median([seconds for _, seconds, _ in runs])),
    }


def _verdicts(rows):
    def name(row):
        return f"{row['task']} ({row['side']}; warned in {row['warned']} fits)"

    lines = []
    for reference, words in (
        ("published", "above the published figure"),
        ("bayes", "above naive Bayes, the start"),
        ("svm", "above the linear SVM"),
    ):
        above = [name(row) for row in rows if row["error"] > row[reference]]
        lines.append(f"Mean {words}: {', '.join(above) or 'none'}.")
    return lines


def _clusters(tasks, quick):
    clusters = CLUSTERS[:2] if quick else CLUSTERS
    rows = []
    for task in tasks:
        data = fetch_20newsgroups_domains(task, vectorizer="counts", min_df=3)
        X, y, visible, domain = _part(data, quick)
        errors = {}
        for k in clusters:
            runs = [_fit(X, visible, domain, seed, k)[0] for seed in range(2)]
            wrong = [np.mean(m.transduction_ != y[domain < 0]) for m in runs]
            errors[k] = 100 * float(np.mean(wrong))
        rows.append({"task": task, "errors": errors, "published": PUBLISHED[task]})
    return Table(
        "Number of word clusters: error in %, two seeds, side A, min_df = 3",
        {
            "task": "{task}",
            **{f"{k}": f"{{errors[{k}]:.1f}}" for k in clusters},
            "published": "{published:.1f}",
        },
        rows,
    )
