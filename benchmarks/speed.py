"""Times beside those of other libraries, on the same arrays, with what they reached.

The calls of a comparison take turns in one run, with the same number of threads, and
their medians are compared; what takes a peer seconds runs once. The peers' own
processes time the peers' calls, without the transfer of arrays.
"""

import subprocess
import sys
import time
import tracemalloc
from contextlib import ExitStack
from statistics import median

import numpy as np
from scipy.linalg import eigh
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.preprocessing import StandardScaler

from benchmarks import _ratio_speed
from benchmarks._harness import Table
from benchmarks._peers import PeerError, absence, open_peer
from skadapt import (
    CORAL,
    SubspaceAlignment,
    kernel_mean_matching,
    mmd,
    transfer_components,
)
from skadapt.solvers._mean_matching import (
    solve_mean_matching,
    solve_mean_matching_cvxpy,
)

PEERS = ("skada", "adapt")


def run(quick=False):
    """Compare on the sizes that the targets name (``quick``: on small ones)."""
    with ExitStack() as stack:
        peers = {name: stack.enter_context(open_peer(name)) for name in PEERS}
        repeats = 1 if quick else 3
        yield _kmm_against_peers(peers, 300 if quick else 2000, repeats)
        yield _kmm_against_kernel(300 if quick else 5000, repeats)
        yield _tca_times(peers, 300 if quick else 2000, repeats)
        yield _tca_optima(peers, 100 if quick else 500)
        yield _moments(peers, 300 if quick else 2000, 1 if quick else 5)
        turns = (_in_turns, _own, _peers_call, peers)
        if quick:
            yield _ratio_speed.against_peers(*turns, 300, 3, 30, 1)
        else:
            yield _ratio_speed.against_peers(*turns, 10_000, 10, 500, 3)
            yield _ratio_speed.against_peers(*turns, 100_000, 10, 100, 3)
    size = (1000, 10, 30, 1) if quick else (100_000, 20, 100, 5)
    yield _ratio_speed.kernel_pass(_in_turns, _own, *size)
    yield _ratio_speed.sizes([500, 1000] if quick else [10_000, 100_000, 1_000_000])
    yield _mmd(300 if quick else 5000, repeats)
    yield _imports(1 if quick else 5)


# -- taking turns ----------------------------------------------------------------


def _own(function):
    """A call that returns its result and its seconds."""

    def call():
        start = time.perf_counter()
        result = function()
        return result, time.perf_counter() - start

    return call


def _peers_call(peers, name, task, arrays, **params):
    """The same for a task of a peer; its result is a dictionary of arrays."""

    def call():
        if peers[name] is None:
            raise PeerError(absence(name))
        return peers[name].run(task, arrays, **params)[:2]

    return call


def _versions(peers):
    """A line for each peer: what it and the libraries under it are."""
    lines = []
    for name, peer in peers.items():
        if peer is None:
            lines.append(absence(name))
            continue
        versions = peer.run("echo", {})[2]["versions"]
        listed = ", ".join(f"{key} {value}" for key, value in versions.items())
        lines.append(f"{name}: {listed}")
    return lines


def _in_turns(calls, repeats, once=()):
    """Result and median seconds of each call, or a sentence why there is none.

    The calls named in ``once`` run once, the others ``repeats`` times after a turn
    that does not count.
    """
    results, seconds, failed = {}, {name: [] for name in calls}, {}
    for turn in range(repeats + 1):
        for name, call in calls.items():
            if name in failed or (name in once and turn != 1):
                continue
            try:
                results[name], taken = call()
            except PeerError as error:
                failed[name] = str(error)
            else:
                if turn:
                    seconds[name].append(taken)
    return {
        name: (None, None, failed[name])
        if name in failed
        else (results[name], median(seconds[name]), None)
        for name in calls
    }


# -- kernel mean matching --------------------------------------------------------

SHIFTS = ("one", "half", "all")
# Solver seconds over those of rbf_kernel(Xs), at n = 5000 and a gap of 1e-6.
KERNEL_TARGETS = {"one": 8.0, "half": 12.0, "all": 8.0}


def _kmm_problem(n, shift):
    """Gaussian rows, d = 20; "all" moves every column by .5, the others the first."""
    rng = np.random.default_rng(0)
    Xs, Xt = rng.normal(size=(n, 20)), rng.normal(size=(n, 20))
    if shift == "all":
        Xt += 0.5
    else:
        Xt[:, 0] += {"one": 1.0, "half": 0.5}[shift]
    return Xs, Xt


def _kmm_quality(w, K, kappa, B):
    """Objective, Frank-Wolfe gap over its size, largest weight, broken bounds.

    The gap bounds the distance to the optimum from the weights alone; it means
    nothing, and is None, where they break a bound.
    """
    n = len(w)
    eps = (np.sqrt(n) - 1) / np.sqrt(n)
    low, high = n * (1 - eps), n * (1 + eps)
    Kw = K @ w
    objective = 0.5 * w @ Kw - kappa @ w
    gradient = Kw - kappa
    # The minimum of gradient'z over the feasible z fills the smallest entries first.
    order = np.argsort(gradient)
    room = np.clip(high - B * np.arange(n), 0, B)
    need = np.clip(low - B * np.arange(n), 0, B)
    z = np.where(gradient[order] < 0, room, need)
    gap = gradient @ w - gradient[order] @ z
    broken = max(0.0, -w.min(), w.max() - B, (w.sum() - high) / n, (low - w.sum()) / n)
    return {
        "objective": float(objective),
        "gap": float(gap / abs(objective)) if broken < 1e-6 else None,
        "largest": float(w.max()),
        "broken": float(broken),
    }


def _kmm_against_peers(peers, n, repeats):
    rows = []
    for shift in SHIFTS:
        Xs, Xt = _kmm_problem(n, shift)
        arrays, gamma = {"Xs": Xs, "Xt": Xt}, 1 / 20
        K, kappa = rbf_kernel(Xs, gamma=gamma), rbf_kernel(Xs, Xt, gamma=gamma).sum(1)
        band = (np.sqrt(n), 2 * n - np.sqrt(n))
        for B in (1000.0, 10.0):
            options = {"gamma": gamma, "B": B}
            calls = {
                "skadapt": _own(lambda: kernel_mean_matching(Xs, Xt, **options)),
                "skadapt, kernels given": _own(
                    lambda: solve_mean_matching(K, kappa, B, band)
                ),
                "cvxpy, kernels given": _own(
                    lambda: solve_mean_matching_cvxpy(K, kappa, B, band)
                ),
                "skada": _peers_call(peers, "skada", "kmm_skada", arrays, **options),
                "adapt": _peers_call(peers, "adapt", "kmm_adapt", arrays, **options),
                "adapt, one part": _peers_call(
                    peers, "adapt", "kmm_adapt_whole", arrays, **options
                ),
            }
            done = _in_turns(
                calls, repeats, once=("cvxpy, kernels given", "adapt, one part")
            )
            for name, (result, seconds, failure) in done.items():
                row = {"row": f"{shift}, B={B:g}: {failure or name}"}
                if failure is None:
                    theirs = isinstance(result, dict)
                    w = result["weights"] if theirs else result.weights
                    row |= _kmm_quality(w, K, kappa, B)
                    given = name.endswith(", kernels given")
                    ours = done["skadapt, kernels given" if given else "skadapt"][1]
                    row |= {"seconds": seconds, "ratio": seconds / ours}
                rows.append(row)
    return Table(
        f"Kernel mean matching, {n} + {n} rows, d = 20, gamma = 1/20",
        {
            "shift, bound: library": "{row}",
            "seconds": "{seconds:.3f}",
            "/ skadapt": "{ratio:.1f}",
            "objective": "{objective:.4f}",
            "gap": "{gap:.1e}",
            "max w": "{largest:.2f}",
            "infeasible by": "{broken:.1e}",
        },
        rows,
        [
            "Whole calls, relative to skadapt's; kernels given: the solver alone, "
            "relative to skadapt's. Target: cvxpy (Clarabel) at least 50 at n = 2000.",
            "adapt solves parts of at most 1000 rows; skada does not read the bound B.",
            *_versions(peers),
        ],
    )


def _kmm_against_kernel(n, repeats):
    rows = []
    for shift in SHIFTS:
        Xs, Xt = _kmm_problem(n, shift)
        gamma = 1 / 20
        K, kappa = rbf_kernel(Xs, gamma=gamma), rbf_kernel(Xs, Xt, gamma=gamma).sum(1)
        band = (np.sqrt(n), 2 * n - np.sqrt(n))
        for B in (1000.0, 10.0):
            calls = {
                "kernel": _own(lambda: rbf_kernel(Xs, gamma=gamma)),
                "solver": _own(lambda: solve_mean_matching(K, kappa, B, band)),
                "whole": _own(lambda: kernel_mean_matching(Xs, Xt, gamma=gamma, B=B)),
            }
            done = _in_turns(calls, repeats)
            result, solver, _ = done["solver"]
            kernel, whole = done["kernel"][1], done["whole"][1]
            quality = _kmm_quality(result.weights, K, kappa, B)
            row = {
                "row": f"{shift}, B={B:g}",
                "target": KERNEL_TARGETS[shift],
                "kernel_seconds": kernel,
                "seconds": solver,
                "ratio": solver / kernel,
                "whole_seconds": whole,
                "whole_ratio": whole / kernel,
                "residual": result.residual,
                "n_iter": result.n_iter,
            }
            rows.append(row | quality)
    return Table(
        f"Kernel mean matching against rbf_kernel(Xs), {n} + {n} rows, d = 20",
        {
            "shift, bound": "{row}",
            "target": "{target:.0f} x",
            "solver": "{ratio:.1f} x",
            "whole call": "{whole_ratio:.1f} x",
            "rbf_kernel, s": "{kernel_seconds:.3f}",
            "solver, s": "{seconds:.3f}",
            "whole, s": "{whole_seconds:.3f}",
            "gap": "{gap:.1e}",
            "residual": "{residual:.1e}",
            "turns": "{n_iter}",
        },
        rows,
        [
            "solver: both kernel matrices given; whole call: with both computed. The "
            "target is for the solver at a gap of 1e-6 and n = 5000."
        ],
    )


# -- transfer component analysis -------------------------------------------------


def _tca_problem(n):
    rng = np.random.default_rng(0)
    Xs, Xt = rng.normal(size=(n, 20)), rng.normal(size=(n, 20)) + 0.2
    K = rbf_kernel(np.concatenate([Xs, Xt]), gamma=1 / 20)
    contrast = np.repeat([1 / n, -1 / n], n)
    return Xs, Xt, K, contrast


def _tca_objective(W, K, contrast, reg):
    """``tr((W'(KLK + reg I)W)^-1 W'KHKW)``, the same for every basis of a subspace."""
    KW = K @ W
    gap = contrast @ KW
    centred = KW - KW.mean(axis=0)
    return float(
        np.trace(
            np.linalg.solve(np.outer(gap, gap) + reg * W.T @ W, centred.T @ centred)
        )
    )


def _tca_calls(peers, Xs, Xt, reg):
    arrays = {"Xs": Xs, "Xt": Xt}
    options = {"n_components": 10, "gamma": 1 / 20}
    return {
        "skadapt": _own(
            lambda: transfer_components(Xs, Xt, kernel="rbf", reg=reg, **options)
        ),
        "skada": _peers_call(peers, "skada", "tca_skada", arrays, mu=reg, **options),
        "adapt": _peers_call(peers, "adapt", "tca_adapt", arrays, mu=reg, **options),
    }


def _tca_coefficients(result):
    if isinstance(result, dict):
        return np.real(result["vectors"])[:, :10]
    return result.coefficients


def _tca_times(peers, n, repeats):
    Xs, Xt, K, contrast = _tca_problem(n)
    done = _in_turns(_tca_calls(peers, Xs, Xt, 0.1), repeats, once=PEERS)
    optimum = done["skadapt"][0].objective
    rows = []
    for name, (result, seconds, failure) in done.items():
        row = {"row": failure or name}
        if failure is None:
            W = _tca_coefficients(result)
            objective = _tca_objective(W, K, contrast, 0.1)
            row |= {
                "seconds": seconds,
                "ratio": seconds / done["skadapt"][1],
                "objective": objective,
                "share": objective / optimum,
            }
        rows.append(row)
    return Table(
        f"Transfer components, rbf, {n} + {n} rows, d = 20, 10 components, reg = .1",
        {
            "library": "{row}",
            "seconds": "{seconds:.2f}",
            "/ skadapt": "{ratio:.1f}",
            "objective": "{objective:.6g}",
            "share of optimum": "{share:.6f}",
        },
        rows,
        [
            "Optimum: the sum of skadapt's eigenvalues, residual "
            f"{done['skadapt'][0].residual:.1e}."
        ],
    )


def _tca_optima(peers, n):
    Xs, Xt, K, contrast = _tca_problem(n)
    KH, gap = K - K.mean(axis=1, keepdims=True), K @ contrast
    rows = []
    for reg in (0.1, 1.0, 10.0):
        A = np.outer(gap, gap) + reg * np.eye(2 * n)
        last = (2 * n - 10, 2 * n - 1)
        optimum = eigh(KH @ KH.T, A, eigvals_only=True, subset_by_index=last).sum()
        for name, call in _tca_calls(peers, Xs, Xt, reg).items():
            result, _, failure = _in_turns({name: call}, 1, once=[name])[name]
            row = {"row": f"reg={reg:g}: {failure or name}"}
            if failure is None:
                W = _tca_coefficients(result)
                row["objective"] = _tca_objective(W, K, contrast, reg)
                row["share"] = row["objective"] / float(optimum)
            rows.append(row)
    return Table(
        f"Transfer components, rbf, {n} + {n} rows, against a dense eigensolver",
        {
            "reg: library": "{row}",
            "objective": "{objective:.6g}",
            "share of optimum": "{share:.6f}",
        },
        rows,
    )


# -- CORAL and subspace alignment ------------------------------------------------


def _moments(peers, n, repeats):
    """Both on rows standardised in each domain, where all libraries agree.

    There the means are 0 and both covariances have the same trace, which skada's
    ridge refers to. The scales of the factors fall by a tenth from one to the next,
    so that skada's and adapt's random PCA finds the axes to many digits.
    """
    rng = np.random.default_rng(0)
    d, k = (800, 50) if n > 800 else (60, 10)
    factors = 0.9 ** np.arange(d) + 1e-6
    Xs, Xt = (
        StandardScaler().fit_transform(
            (rng.normal(size=(n, d)) * factors) @ rng.normal(size=(d, d))
        )
        for _ in range(2)
    )
    X, domain = np.concatenate([Xs, Xt]), np.repeat([1, -1], n)
    arrays, ridge = {"Xs": Xs, "Xt": Xt}, 1 - 1 / n  # skada's divisor is n
    comparisons = {
        "CORAL": {
            "skadapt": _own(lambda: CORAL().fit_transform(X, sample_domain=domain)),
            "skada": _peers_call(peers, "skada", "coral_skada", arrays, ridge=ridge),
            "adapt": _peers_call(peers, "adapt", "coral_adapt", arrays, ridge=1.0),
        },
        f"SA, {k} components": {
            "skadapt": _own(
                lambda: SubspaceAlignment(k).fit_transform(X, sample_domain=domain)
            ),
            "skada": _peers_call(peers, "skada", "sa_skada", arrays, n_components=k),
            "adapt": _peers_call(peers, "adapt", "sa_adapt", arrays, n_components=k),
        },
    }
    rows = []
    for method, calls in comparisons.items():
        done = _in_turns(calls, repeats)
        ours, our_seconds, _ = done["skadapt"]
        for name, (result, seconds, failure) in done.items():
            row = {"row": f"{method}: {failure or name}"}
            if failure is None:
                row |= {"seconds": seconds, "ratio": seconds / our_seconds}
            if isinstance(result, dict):
                # The sign of an axis is free; CORAL has none to choose.
                theirs = np.concatenate([result["Zs"], result.get("Zt", Xt)])
                sign = 1.0
                if method != "CORAL":
                    sign = np.sign(np.sum(ours[n:] * theirs[n:], axis=0))
                row["difference"] = float(np.abs(ours - sign * theirs).max())
                row["largest"] = float(np.abs(ours).max())
            rows.append(row)
    return Table(
        f"CORAL (reg = 1) and subspace alignment, {n} + {n} rows, d = {d}",
        {
            "method: library": "{row}",
            "seconds": "{seconds:.3f}",
            "/ skadapt": "{ratio:.2f}",
            "largest difference": "{difference:.1e}",
            "of values up to": "{largest:.1f}",
        },
        rows,
        ["Target: neither is faster. Differences between mapped rows, signs aside."],
    )


# -- maximum mean discrepancy ----------------------------------------------------


def _mmd(n, repeats):
    Xs, Xt = _kmm_problem(n, "half")

    def whole_matrices():
        return (
            rbf_kernel(Xs, gamma=1 / 20).mean()
            + rbf_kernel(Xt, gamma=1 / 20).mean()
            - 2 * rbf_kernel(Xs, Xt, gamma=1 / 20).mean()
        )

    functions = {
        "skadapt": lambda: mmd(Xs, Xt, gamma=1 / 20),
        "whole kernel matrices": whole_matrices,
    }
    done = _in_turns({name: _own(f) for name, f in functions.items()}, repeats)
    ours = done["skadapt"][1]
    rows = [
        {
            "row": name,
            "seconds": seconds,
            "ratio": seconds / ours,
            "peak_mb": _peak_mb(functions[name]),
            "mmd": float(value),
        }
        for name, (value, seconds, _) in done.items()
    ]
    return Table(
        f"Squared MMD, rbf, {n} + {n} rows, d = 20",
        {
            "form": "{row}",
            "seconds": "{seconds:.3f}",
            "/ skadapt": "{ratio:.2f}",
            "peak, MB": "{peak_mb:.0f}",
            "value": "{mmd:.12g}",
        },
        rows,
    )


def _peak_mb(function):
    tracemalloc.start()
    function()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / 2**20


# -- import ----------------------------------------------------------------------

IMPORTS = {
    "sklearn.linear_model, numba": "import sklearn.linear_model, numba",
    "skadapt": "import skadapt",
    "skadapt, every public name": "from skadapt import *",
}


def _imports(repeats):
    def seconds_of(statement):
        code = f"import time; t = time.perf_counter(); {statement}"
        done = subprocess.run(
            [sys.executable, "-c", f"{code}; print(time.perf_counter() - t)"],
            capture_output=True,
            text=True,
            check=True,
        )
        return None, float(done.stdout)

    calls = {name: lambda s=s: seconds_of(s) for name, s in IMPORTS.items()}
    done = _in_turns(calls, repeats)
    floor = done["sklearn.linear_model, numba"][1]
    return Table(
        "Import in a fresh process",
        {
            "what": "{row}",
            "seconds": "{seconds:.2f}",
            "/ first line": "{ratio:.2f}",
            "target": "{target:.1f}",
        },
        [
            {
                "row": name,
                "seconds": seconds,
                "ratio": seconds / floor,
                "target": 1.3 if "skadapt" in name else None,
            }
            for name, (_, seconds, _) in done.items()
        ],
    )
