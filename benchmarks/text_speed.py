"""Seconds and memory of SCL, CoCC and MSDA at corpus size.

Documents are generated: words drawn by Zipf's law with exponent .8, 100 a document for
CoCC. Seconds are the process's, over all threads, and alternate with those of what they
are compared with; only "wall" is the clock's.
"""

import multiprocessing
import resource
import time

import numba
import numpy as np
from scipy import sparse
from scipy.linalg import cho_factor, cho_solve
from sklearn.linear_model import SGDClassifier

from benchmarks._harness import Table
from skadapt import MSDA, SCL
from skadapt.solvers._coclustering import cocluster
from skadapt.solvers._pivot_predictors import fit_pivot_predictors


def corpus(n_rows, n_words, per_row=100, seed=0):
    """Word counts 1 to 3; words in random order of frequency."""
    rng = np.random.default_rng(seed)
    law = np.cumsum(1.0 / np.arange(1, n_words + 1) ** 0.8)
    drawn = np.searchsorted(law / law[-1], rng.random(n_rows * per_row))
    columns = rng.permutation(n_words)[drawn.clip(max=n_words - 1)].astype(np.int32)
    X = sparse.csr_array(
        (
            rng.integers(1, 4, n_rows * per_row).astype(float),
            columns,
            np.arange(0, n_rows * per_row + 1, per_row, dtype=np.int32),
        ),
        shape=(n_rows, n_words),
    )
    X.sum_duplicates()
    return X


def run(quick=False):
    """Three tables (``quick``: small sizes)."""
    yield pivots(*(1000, 2000, 64) if quick else (20_000, 50_000, 1000))
    yield turns((10**4, 10**5) if quick else (10**5, 10**6, 10**7))
    yield layers(*(300, 500) if quick else (5000, 8000))


def _clock(function):
    wall, process = time.perf_counter(), time.process_time()
    result = function()
    return result, time.perf_counter() - wall, time.process_time() - process


def _presence(n_rows, n_words):
    """Some 220 words a document of 250 drawn, as messages with pairs of words have."""
    return (corpus(n_rows, n_words, 250) > 0).astype(np.float32)


def _peak(n_rows, n_words, n_pivots, reg, queue):
    """A fit in a process of its own: wall, processor seconds, GiB, figures of merit."""
    X = _presence(n_rows, n_words)
    ids = np.where(np.arange(n_rows) % 2, 1, -1)
    options = {"pivot_selection": "frequency", "random_state": 0}
    small = SCL(16, n_components=4, tol=9, max_iter=2, **options)
    small.fit(X[: min(400, n_rows)], sample_domain=ids[: min(400, n_rows)])  # compiles
    scl = SCL(n_pivots, reg=reg, **options)
    scl, wall, process = _clock(lambda: scl.fit(X, sample_domain=ids))
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    queue.put((wall, process, memory, scl.pivots_, float(scl.duality_gap_)))


def pivots(n_rows, n_words, n_pivots):
    """SCL, and its pivot predictors beside one SGDClassifier a pivot."""
    X = _presence(n_rows, n_words)
    rows = []
    for reg in (0.01, 0.001):
        context = multiprocessing.get_context("spawn")
        queue = context.Queue()
        worker = context.Process(
            target=_peak, args=(n_rows, n_words, n_pivots, reg, queue)
        )
        worker.start()
        wall, process, memory, chosen, gap = queue.get()
        worker.join()
        result, _, ours = _clock(lambda: fit_pivot_predictors(X, chosen, reg=reg))
        inputs = X[:, result.columns].astype(np.float64)
        peers, objectives = [], []
        frequency = np.bincount(X.indices, minlength=n_words)[chosen]
        lanes = np.flatnonzero(frequency < n_rows)  # a word in all rows has no classes
        lanes = lanes[:: -(-len(lanes) // 10)]
        for lane in lanes:
            has = np.asarray(X[:, [chosen[lane]]].todense())[:, 0] > 0
            t = np.where(has, 1.0, -1.0)
            peer = SGDClassifier(loss="modified_huber", alpha=2 * reg, random_state=0)
            peers.append(_clock(lambda: peer.fit(inputs, t))[2])
            objectives.append(
                [
                    _objective(inputs, t, w, b, reg)
                    for w, b in (
                        (result.weights[:, lane], result.intercepts[lane]),
                        (peer.coef_[0], peer.intercept_[0]),
                    )
                ]
            )
        own, theirs = np.mean(objectives, axis=0)
        rows.append(
            {
                "reg": reg,
                "wall": wall,
                "process": process,
                "memory": memory,
                "gap": gap,
                "ours": 1000 * ours / n_pivots,
                "sgd": 1000 * float(np.mean(peers)),
                "ratio": float(np.mean(peers)) * n_pivots / ours,
                "objective": float(own),
                "sgd_objective": float(theirs),
            }
        )
    return Table(
        f"SCL: {n_rows:,} documents, {n_words:,} columns, {n_pivots:,} pivots",
        {
            "reg": "{reg:g}",
            "fit, wall s": "{wall:.1f}",
            "of processor": "{process:.1f}",
            "peak GiB": "{memory:.2f}",
            "ms a pivot": "{ours:.1f}",
            "SGDClassifier": "{sgd:.0f} ({ratio:.1f} x)",
            "objective, ours / SGD": "{objective:.4f} / {sgd_objective:.4f}",
            "largest gap": "{gap:.0e}",
        },
        rows,
        [
            f"On {numba.get_num_threads()} threads. SGDClassifier: mean of "
            f"{len(lanes)} pivots; processor seconds.",
            "Bars: 60 s, 3 GiB, 10 times.",
        ],
    )


def _objective(X, t, w, b, reg):
    """Modified Huber loss with the weights' penalty."""
    margin = t * (X @ w + b)
    loss = np.where(margin >= -1, np.maximum(0, 1 - margin) ** 2, -4 * margin)
    return float(loss.mean() + reg * np.sum(np.square(w, dtype=np.float64)))


def turns(sizes):
    """One turn of CoCC against SciPy's product with one dense column a class."""
    rows = []
    for nnz in sizes:
        X = corpus(nnz // 100, int(30 * nnz**0.5))
        n, m = X.shape
        for n_classes in (2, 20):
            rng = np.random.default_rng(0)
            start = rng.integers(n_classes, size=n), rng.integers(64, size=m)
            table, thin = rng.random((m, n_classes)), rng.random((m, n_classes))

            def turn(count):
                return cocluster(
                    X,
                    np.ones(n),
                    table,
                    start[0],
                    start[1],
                    64,
                    lam=0.25,
                    max_iter=count,
                    words_first=False,
                )

            turn(6)  # compiles
            few, many, product = [], [], []
            for _ in range(3):
                few.append(_clock(lambda: turn(1))[2])
                many.append(_clock(lambda: turn(6))[2])
                product.append(_clock(lambda: X @ thin)[2])
            seconds = (min(many) - min(few)) / 5
            rows.append(
                {
                    "nnz": int(X.nnz),
                    "classes": n_classes,
                    "milliseconds": 1e3 * seconds,
                    "per_entry": 1e9 * seconds / X.nnz,
                    "ratio": seconds / min(product),
                }
            )
    return Table(
        "CoCC: a turn (documents and words once), 64 word clusters",
        {
            "entries": "{nnz:,}",
            "classes": "{classes}",
            "ms": "{milliseconds:.2f}",
            "ns an entry": "{per_entry:.1f}",
            "turn / product": "{ratio:.1f}",
        },
        rows,
        ["Bars: linear in the entries; at most 5 products of the same shape."],
    )


def layers(n_columns, n_rows):
    """A layer of MSDA, learnt and applied, against a Cholesky solve of its size."""
    X = np.tanh(np.random.default_rng(0).normal(size=(n_rows, n_columns)))
    A = X.T @ X + n_rows * np.eye(n_columns)
    B = np.random.default_rng(1).normal(size=(n_columns, n_columns))
    seconds = {"Cholesky solve": [], "float32": [], "float64": []}
    domain = np.where(np.arange(n_rows) % 2, 1, -1)
    for _ in range(3):

        def solve():
            factor = cho_factor(A, check_finite=False)
            return cho_solve(factor, B, check_finite=False)

        seconds["Cholesky solve"].append(_clock(solve)[2])
        for name in ("float32", "float64"):
            rows, layer = X.astype(name), MSDA(1, 0.5, include_input=False)
            learn = lambda: layer.fit_transform(rows, sample_domain=domain)  # noqa: E731
            seconds[name].append(_clock(learn)[2])
    medians = {name: float(np.median(values)) for name, values in seconds.items()}
    solve = medians["Cholesky solve"]
    return Table(
        f"MSDA: a layer of {n_columns:,} columns on {n_rows:,} dense rows",
        {"row": "{row}", "seconds": "{seconds:.2f}", "in solves": "{ratio:.2f}"},
        [
            {"row": name, "seconds": value, "ratio": value / solve}
            for name, value in medians.items()
        ],
        ["Learnt and applied; the solve has as many right sides as columns. Bar: 2."],
    )
