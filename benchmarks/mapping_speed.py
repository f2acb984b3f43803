"""Time and memory of the mapping methods beside their reference formulas.

A reference is the published formula in NumPy and SciPy, dense matrices and all; its
output is compared beside the times. Large fits run in processes of their own, in which
the peak of the memory is that of the fit.
"""

import subprocess
import sys
import time
from pathlib import Path
from statistics import median

import numpy as np
from scipy.linalg import eig, eigh, null_space, svd
from scipy.spatial.distance import cdist
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.utils import gen_batches

from benchmarks._harness import Table
from skadapt import GFK, JDA, MEDA, TCA
from skadapt.solvers._class_gaps import class_gaps
from skadapt.solvers._geodesic_flow import geodesic_factor, principal_axes


def run(quick=False):
    """One table a method (``quick``: small sizes, one turn)."""
    for table in TABLES:
        yield table(quick)


def in_turns(calls, turns):
    """Results and median seconds of calls that take turns."""
    results, seconds = {}, {name: [] for name in calls}
    for _ in range(turns):
        for name, call in calls.items():
            start = time.perf_counter()
            results[name] = call()
            seconds[name].append(time.perf_counter() - start)
    return results, {name: median(taken) for name, taken in seconds.items()}


# -- TCA on features of Nystroem's method ------------------------------------------

N_COLUMNS, N_LANDMARKS = 100, 100


def large_domains(n, d=N_COLUMNS):
    """Gaussian rows; the target's mean is .2 further along every axis."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(2 * n, d))
    X[n:] += 0.2
    return X, np.repeat([1, -1], n)


def tca_nystroem(quick):
    """Fit and transform in units of one computation of the kernel blocks."""
    rows = []
    for n in (500, 1000) if quick else (10_000, 30_000, 100_000):
        X, domain = large_domains(n)
        mapper = TCA(
            30,
            "rbf",
            1 / N_COLUMNS,
            approximation="nystroem",
            n_landmarks=N_LANDMARKS,
            random_state=0,
        )
        calls = {
            "pass": lambda: kernel_pass(X),
            "fit": lambda: mapper.fit(X, sample_domain=domain),
            "transform": lambda: mapper.transform(X),
        }
        _, seconds = in_turns(calls, 1 if quick else 3)
        rows.append(
            {"n": n, "gib": X.nbytes / 2**30, "peak": memory("tca", n)}
            | {f"{name}_seconds": taken for name, taken in seconds.items()}
            | {name: seconds[name] / seconds["pass"] for name in ("fit", "transform")}
        )
    return Table(
        f"TCA, rbf, Nystroem with {N_LANDMARKS} landmarks, d = {N_COLUMNS}, "
        "30 components",
        {
            "rows per domain": "{n}",
            "one pass, s": "{pass_seconds:.2f}",
            "fit, passes": "{fit:.1f}",
            "transform, passes": "{transform:.1f}",
            "rows, GiB": "{gib:.2f}",
            "peak, GiB": "{peak:.2f}",
        },
        rows,
        [
            "A pass: the kernel between all rows and the landmarks, a block of rows at "
            "a time. Peak: of a process that makes the rows and fits."
        ],
    )


def kernel_pass(X):
    """The kernel blocks, each forgotten."""
    for rows in gen_batches(len(X), 1024):
        rbf_kernel(X[rows], X[:N_LANDMARKS], gamma=1 / N_COLUMNS)


# -- JDA ---------------------------------------------------------------------------


# So close that labels still change in the tenth round.
SEPARATION = 0.08


def three_classes(n, d):
    """Two domains with class means that overlap, unit rows."""
    rng = np.random.default_rng(0)
    spread = np.geomspace(1.0, 0.1, d)
    y = rng.integers(0, 3, 2 * n)
    X = rng.normal(size=(2 * n, d)) * spread
    X += (SEPARATION * rng.normal(size=(3, d)) * spread)[y]
    X[n:] += 0.5 * rng.normal(size=d) * spread
    return X / np.linalg.norm(X, axis=1, keepdims=True), y, np.repeat([1, -1], n)


def jda_reference(X, y, domain, k, kernel, n_iter, solve):
    """The published loop: M of all rows, then an eigenproblem of the size of F."""
    source = domain > 0
    classes = np.unique(y[source])
    gap = np.where(source, 1 / source.sum(), -1 / (~source).sum())
    F = X if kernel == "primal" else X @ X.T
    centred = F - F.mean(axis=0)
    scatter = centred.T @ centred
    guess = np.full(len(y), -1)
    for turn in range(n_iter):
        M = len(classes) * np.outer(gap, gap)
        for c in classes if turn else []:
            rows, others = source & (y == c), ~source & (guess == c)
            if others.any():
                e = rows / rows.sum() - others / others.sum()
                M += np.outer(e, e)
        M /= np.linalg.norm(M)
        A = solve(F.T @ M @ F + np.eye(F.shape[1]), scatter, k)
        Z = F @ (A / np.linalg.norm(A, axis=0))
        Z /= np.linalg.norm(Z, axis=1, keepdims=True)
        before = guess.copy()
        guess[~source] = y[source][cdist(Z[~source], Z[source]).argmin(axis=1)]
        if (guess == before).all():
            break
    return guess[~source]


def symmetric(left, scatter, k):
    """Largest phi of ``scatter a = phi left a``."""
    last = (len(left) - k, len(left) - 1)
    return eigh(scatter, left, subset_by_index=last)[1]


def general(left, scatter, k):
    """The same by the solver for general pencils, as ports of the code call it."""
    values, vectors = eig(scatter, left)
    return vectors[:, np.argsort(values.real)[::-1][:k]].real


def jda_against_the_reference(quick):
    """The same rounds, and the labels they end with."""
    rows = []
    sizes = [("primal", 60, 20), ("linear", 60, 20)]
    if not quick:
        sizes = [("primal", 1000, 800), ("linear", 1000, 800)]
    k, n_iter = (5, 3) if quick else (100, 10)
    for kernel, n, d in sizes:
        X, y, domain = three_classes(n, d)
        mapper = JDA(k, kernel=kernel, n_iter=n_iter)
        calls = {
            "skadapt": lambda: mapper.fit(X, y, sample_domain=domain).pseudo_labels_,
            "symmetric pencil": lambda: jda_reference(
                X, y, domain, k, kernel, n_iter, symmetric
            ),
        }
        results, seconds = in_turns(calls, 1 if quick else 3)
        if kernel == "primal":
            start = time.perf_counter()
            results["general pencil"] = jda_reference(
                X, y, domain, k, kernel, n_iter, general
            )
            seconds["general pencil"] = time.perf_counter() - start
        for name, labels in results.items():
            agree = float(np.mean(labels == results["skadapt"]))
            rows.append(
                {
                    "row": f"{kernel}, {n} + {n} rows, d = {d}: {name}",
                    "rounds": len(mapper.n_changes_),
                    "seconds": seconds[name],
                    "ratio": seconds[name] / seconds["skadapt"],
                    "agree": 100 * agree,
                }
            )
    return Table(
        f"JDA, {k} components, against the published formula",
        {
            "kernel: by": "{row}",
            "rounds": "{rounds}",
            "seconds": "{seconds:.2f}",
            "/ skadapt": "{ratio:.1f}",
            "same labels, %": "{agree:.2f}",
        },
        rows,
        [
            f"{n_iter} rounds, or fewer where no label changed. General pencil: "
            "scipy.linalg.eig, as ports of the published code call it; of the size of "
            "the rows it takes minutes a round."
        ],
    )


def jda_memory(quick):
    """Primal JDA on many rows."""
    n, d = (400, 30) if quick else (10_000, 800)
    X, y, domain = three_classes(n, d)
    mapper = JDA(30 if quick else 100, kernel="primal")
    start = time.perf_counter()
    mapper.fit(X, y, sample_domain=domain)
    seconds = time.perf_counter() - start
    return Table(
        "JDA, primal, at size",
        {
            "rows": "{n}",
            "columns": "{d}",
            "rounds": "{rounds}",
            "seconds": "{seconds:.1f}",
            "rows, GiB": "{gib:.2f}",
            "peak, GiB": "{peak:.2f}",
        },
        [
            {
                "n": 2 * n,
                "d": d,
                "rounds": len(mapper.n_changes_),
                "seconds": seconds,
                "gib": X.nbytes / 2**30,
                "peak": memory("jda", n, d),
            }
        ],
        ["Target: a peak of less than 2 GiB, rows and interpreter included."],
    )


# -- GFK ---------------------------------------------------------------------------


def gfk_reference(Ps, Pt):
    """The kernel matrix G (d, d), by a whole basis of what P_s leaves."""
    p = Ps.shape[1]
    rest = null_space(Ps.T)
    U, cosines, Vt = svd(Ps.T @ Pt)
    theta = np.arccos(np.minimum(cosines, 1))
    across = rest @ (rest.T @ Pt @ Vt.T / np.sin(theta))
    sinc, chord = np.sin(2 * theta) / (2 * theta), (1 - np.cos(2 * theta)) / (4 * theta)
    middle = np.diag(np.append(1 + sinc, 1 - sinc) / 2)
    middle[np.arange(p), p + np.arange(p)] = chord
    middle[p + np.arange(p), np.arange(p)] = chord
    path = np.hstack([Ps @ U, across])
    return path @ middle @ path.T


def root(G):
    """The symmetric root of G, which maps rows as the reference does."""
    values, vectors = eigh(G)
    return vectors * np.sqrt(np.maximum(values, 0)) @ vectors.T


def gfk_against_the_reference(quick):
    """The matrix that maps rows, from the same axes."""
    rows = []
    p = 5 if quick else 20
    for d in (60,) if quick else (800, 2000):
        n = 50 if quick else 1000
        X, domain = large_domains(n, d)
        X *= np.linspace(3, 0.3, d)
        mapper = GFK(p)
        axes = [principal_axes(part, p) for part in (X[:n], X[n:])]
        calls = {
            "fit, axes and all": lambda: mapper.fit(X, sample_domain=domain),
            "skadapt": lambda: geodesic_factor(*axes),
            "kernel matrix": lambda: gfk_reference(*axes),
            "its root": lambda: root(gfk_reference(*axes)),
        }
        results, seconds = in_turns(calls, 1 if quick else 3)
        kernels = {name: L @ L.T for name, L in results.items() if "fit" not in name}
        kernels["kernel matrix"] = results["kernel matrix"]
        kernels["fit, axes and all"] = mapper.components_ @ mapper.components_.T
        rows += [
            {
                "row": f"d = {d}: {name}",
                "seconds": seconds[name],
                "ratio": seconds[name] / seconds["skadapt"],
                "apart": float(np.abs(kernels[name] - kernels["skadapt"]).max()),
            }
            for name in calls
        ]
    return Table(
        f"GFK, {p} axes of either domain, against the published formula",
        {
            "what is computed": "{row}",
            "seconds": "{seconds:.4f}",
            "/ skadapt": "{ratio:.0f}",
            "largest difference of G": "{apart:.0e}",
        },
        rows,
        [
            "skadapt: the matrix L (d, 2 p) with G = L L', from the axes on. The "
            "published formula needs G and its root for the same."
        ],
    )


# -- MEDA --------------------------------------------------------------------------


def ten_classes(n, d=200):
    """Ten classes that overlap, whose means are moved in the target."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 10, 2 * n)
    X = rng.normal(size=(2 * n, d)) + (0.2 * rng.normal(size=(10, d)))[y]
    X[n:] += (0.1 * rng.normal(size=(10, d)))[y[n:]]
    return X, y, np.repeat([1, -1], n)


def meda_reference(X, y, domain, n_iter):
    """Scores by the published formula: a dense system of all rows in each round."""
    source, n_classes = domain > 0, 10
    Z = X @ geodesic_factor(*(principal_axes(X[s], 20) for s in (source, ~source)))
    Z /= np.linalg.norm(Z, axis=1, keepdims=True)
    cosines = Z @ Z.T
    K = np.exp(cosines - 1)
    near = cosines >= np.sort(cosines, axis=1)[:, [-11]]  # itself, and ten more
    W = np.where(near | near.T, np.maximum(cosines, 0), 0)
    root = 1 / np.sqrt(W.sum(axis=1))
    laplacian = np.eye(len(X)) - root[:, None] * W * root
    E = np.diag(source.astype(float))
    codes = np.where(source, y, -1)
    codes[~source] = y[source][cosines[~source][:, source].argmax(axis=1)]
    labels = np.eye(n_classes)[codes] * source[:, None]
    rounds = 0
    while rounds < n_iter:
        rounds += 1
        V = class_gaps(codes, source, n_classes)
        V[:, 0] *= np.sqrt(n_classes)
        M = V @ V.T
        M /= np.linalg.norm(M)
        system = (E + 10 * M + laplacian) @ K + 0.1 * np.eye(len(X))
        scores = K @ np.linalg.solve(system, labels)
        guess = scores[~source].argmax(axis=1)
        same = np.array_equal(guess, codes[~source])
        codes[~source] = guess
        if same:
            break
    return scores, rounds


def meda_against_the_reference(quick):
    """The same rounds, and the scores they end with."""
    rows = []
    for n in (60,) if quick else (500, 1000, 1500):
        X, y, domain = ten_classes(n)
        for n_iter in (1, 10):
            model = MEDA(n_iter=n_iter, n_landmarks="all")
            calls = {
                "skadapt": lambda: model.fit(X, y, sample_domain=domain),
                "formula": lambda: meda_reference(X, y, domain, n_iter),
            }
            results, seconds = in_turns(calls, 1 if quick else 3)
            scores, rounds = results["formula"]
            rows.append(
                {
                    "n": n,
                    "rounds": f"{len(model.n_changes_)} / {rounds}",
                    "seconds": seconds["skadapt"],
                    "ratio": seconds["formula"] / seconds["skadapt"],
                    "apart": float(np.abs(model.decision_function(X) - scores).max()),
                }
            )
    return Table(
        "MEDA, 20 axes of either domain, against the published formula",
        {
            "rows per domain": "{n}",
            "rounds, skadapt / formula": "{rounds}",
            "skadapt, s": "{seconds:.2f}",
            "formula / skadapt": "{ratio:.1f}",
            "largest difference of scores": "{apart:.0e}",
        },
        rows,
        ["Both end where no label changes. A round of the formula solves N x N."],
    )


# -- memory ------------------------------------------------------------------------

_SCRIPT = r"""
import re
from pathlib import Path
from benchmarks.mapping_speed import large_domains, three_classes
from skadapt import JDA, TCA

def tca(n):
    X, domain = large_domains(n, {d})
    model = TCA(30, "rbf", approximation="nystroem", random_state=0)
    model.fit(X, sample_domain=domain)

def jda(n):
    X, y, domain = three_classes(n, {d})
    JDA(min(100, {d} - 1), kernel="primal").fit(X, y, sample_domain=domain)

{method}({n})
# Not resource.getrusage, whose peak begins with that of the parent.
status = Path("/proc/self/status")
peak = float("nan")
if status.exists():
    peak = int(re.search(r"VmHWM:\s+(\d+)", status.read_text())[1]) / 2**20
print(peak)
"""


def memory(method, n, d=N_COLUMNS):
    """Peak in GiB of a process that makes the rows and fits."""
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT.format(method=method, n=n, d=d)],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).resolve().parents[1],
    )
    return float(done.stdout)


TABLES = [
    tca_nystroem,
    jda_against_the_reference,
    jda_memory,
    gfk_against_the_reference,
    meda_against_the_reference,
]
