"""Run methods of another transfer library, one JSON line per request.

The python of a peer's environment runs this file, so it imports nothing but the
standard library, numpy and, inside a task, the peer. A request is one line

    {"task": NAME, "arrays": PATH.npz, "params": {...}, "out": PATH.npz}

and its answer is one line on the standard output: ``{"error": "sentence"}`` or,
after the results were written to ``out``,

    {"seconds", "cpu_seconds", "rss_mb", "peak_rss_mb", "versions", ...}

with what the task adds. The times cover the calls that yield the results and
nothing else: the import, the estimator's construction, a warm-up on small arrays
(once for each task), reading and writing are outside. ``rss_mb`` is the resident
size before the timed call and ``peak_rss_mb`` the largest during it; both are left
out where the system does not tell them.
"""

import importlib.metadata
import json
import os
import platform
import re
import sys
import time
from pathlib import Path

import numpy as np

DISTRIBUTIONS = (
    "skada",
    "densratio",
    "POT",
    "torch",
    "adapt",
    "tensorflow-cpu",
    "keras",
    "cvxopt",
    "numpy",
    "scipy",
    "scikit-learn",
)
TASKS = {}


def task(function):
    """Register a task under its function's name.

    A task takes the request's arrays and parameters as keywords and returns
    ``call`` and ``read``: ``call()`` is timed, and ``read(call())`` gives the
    arrays to write and a dictionary to add to the answer.
    """
    TASKS[function.__name__] = function
    return function


@task
def echo(pause=0.0, text="", **arrays):
    """Return the arrays as they came, after a pause and some printed text."""

    def call():
        print(text)
        os.write(1, text.encode())  # as a compiled library prints
        time.sleep(pause)
        return arrays

    return call, lambda result: (result, {})


def _one_sample(Xs, Xt):
    # skada takes one array and reads the domain off the sign of its mark.
    return np.concatenate([Xs, Xt]), np.repeat([1, -2], [len(Xs), len(Xt)])


def _kmm_skada(Xs, Xt, solver, gamma, B, eps):
    from skada import KMMReweightAdapter

    X, mark = _one_sample(Xs, Xt)
    adapter = KMMReweightAdapter(kernel="rbf", gamma=gamma, B=B, eps=eps, solver=solver)
    return (
        lambda: adapter.fit(X, sample_domain=mark),
        lambda fitted: ({"weights": fitted.source_weights_}, {}),
    )


@task
def kmm_skada(Xs, Xt, gamma, B=1000.0, eps=None):
    """Kernel mean matching by skada's default solver, which does not read B."""
    return _kmm_skada(Xs, Xt, "frank-wolfe", gamma, B, eps)


@task
def kmm_skada_scipy(Xs, Xt, gamma, B=1000.0, eps=None):
    """Kernel mean matching by skada's other solver, SLSQP."""
    return _kmm_skada(Xs, Xt, "scipy", gamma, B, eps)


@task
def kmm_adapt(Xs, Xt, gamma, B=1000.0, eps=None, max_size=1000):
    """Kernel mean matching by adapt, in random parts above ``max_size`` rows."""
    from adapt.instance_based import KMM

    model = KMM(
        kernel="rbf",
        gamma=gamma,
        B=B,
        eps=eps,
        max_size=max_size,
        verbose=0,
        random_state=0,
    )
    return (
        lambda: model.fit_weights(Xs, Xt),
        lambda weights: ({"weights": weights}, {}),
    )


@task
def kmm_adapt_whole(Xs, Xt, gamma, B=1000.0, eps=None):
    """Kernel mean matching by adapt as one problem, whatever its size."""
    return kmm_adapt(Xs, Xt, gamma, B, eps, max_size=len(Xs))


@task
def tca_skada(Xs, Xt, n_components, mu=0.1, gamma=None):
    """Transfer components by skada, whose kernel is rbf with gamma = 1 / n_features.

    Another gamma g is had by scaling the rows with sqrt(g n_features): the
    kernel matrix is then that of g, to rounding. The answer says which gamma held.
    """
    from skada import TransferComponentAnalysisAdapter

    X, mark = _one_sample(Xs, Xt)
    d = X.shape[1]
    if gamma is None:
        gamma = 1 / d
    else:
        X = X * np.sqrt(gamma * d)
    adapter = TransferComponentAnalysisAdapter(
        kernel="rbf", n_components=n_components, mu=mu
    )
    return (
        lambda: adapter.fit_transform(X, sample_domain=mark),
        lambda Z: ({"Z": Z, "vectors": adapter.eigvects_}, {"gamma": gamma}),
    )


@task
def tca_adapt(Xs, Xt, n_components, mu=0.1, gamma=None):
    """Transfer components by adapt; the time has the target rows' transform in it."""
    from adapt.feature_based import TCA

    gamma = 1 / Xs.shape[1] if gamma is None else gamma
    model = TCA(
        n_components=n_components,
        mu=mu,
        kernel="rbf",
        gamma=gamma,
        verbose=0,
        random_state=0,
    )

    def call():
        Zs = model.fit_transform(Xs, Xt)
        return np.concatenate([Zs, model.transform(Xt, domain="tgt")])

    return call, lambda Z: ({"Z": Z, "vectors": model.vectors_}, {"gamma": gamma})


@task
def coral_skada(Xs, Xt, reg="auto", ridge=None):
    """Correlation alignment by skada; both domains come back with mean zero.

    With S the covariance (divisor n) and m the mean of its diagonal, a number
    ``reg`` = r stands for (1 - r) S + r m I, None for S, and "auto" for the
    Ledoit-Wolf estimate on standardised features. Up to a factor, that cancels
    in the map, the number means S + r m / (1 - r) I. ``ridge`` sets r so that the
    source has S + ridge I; the target then has ridge times the ratio of the two
    m, and the answer gives both amounts as ``ridge_source`` and ``ridge_target``.
    """
    from skada import CORALAdapter

    X, mark = _one_sample(Xs, Xt)
    m_source, m_target = Xs.var(axis=0).mean(), Xt.var(axis=0).mean()
    if ridge is not None:
        reg = float(ridge / (ridge + m_source))
    info = {"reg": reg}
    if reg is None or reg != "auto":
        ratio = 0.0 if reg is None else reg / (1 - reg)
        info["ridge_source"] = float(ratio * m_source)
        info["ridge_target"] = float(ratio * m_target)
    adapter = CORALAdapter(reg=reg)
    n = len(Xs)
    return (
        lambda: adapter.fit_transform(X, sample_domain=mark),
        lambda Z: ({"Zs": Z[:n], "Zt": Z[n:]}, info),
    )


@task
def coral_adapt(Xs, Xt, ridge=1e-5):
    """Correlation alignment by adapt: rows uncentred, S (divisor n - 1) + ridge I."""
    from adapt.feature_based import CORAL

    model = CORAL(lambda_=ridge, verbose=0, random_state=0)
    return lambda: model.fit_transform(Xs, Xt), lambda Zs: ({"Zs": Zs}, {})


@task
def sa_skada(Xs, Xt, n_components):
    """Subspace alignment by skada."""
    from skada import SubspaceAlignmentAdapter

    X, mark = _one_sample(Xs, Xt)
    adapter = SubspaceAlignmentAdapter(n_components=n_components, random_state=0)
    n = len(Xs)
    return (
        lambda: adapter.fit_transform(X, sample_domain=mark),
        lambda Z: ({"Zs": Z[:n], "Zt": Z[n:]}, {}),
    )


@task
def sa_adapt(Xs, Xt, n_components):
    """Subspace alignment by adapt; the time has the target rows' transform in it."""
    from adapt.feature_based import SA

    model = SA(n_components=n_components, verbose=0, random_state=0)

    def call():
        return model.fit_transform(Xs, Xt), model.transform(Xt, domain="tgt")

    return call, lambda pair: ({"Zs": pair[0], "Zt": pair[1]}, {})


@task
def tradaboost_adapt(Xs, ys, Xt, yt, X, n_estimators):
    """TrAdaBoost by adapt; the labels of X are outside the time."""
    from adapt.instance_based import TrAdaBoost
    from sklearn.linear_model import LogisticRegression

    model = TrAdaBoost(
        LogisticRegression(),
        Xt=Xt,
        yt=yt > 0.5,  # any numbers are labels, those of the warm-up too
        n_estimators=n_estimators,
        verbose=0,
        random_state=0,
    )

    def call():
        return model.fit(Xs, ys > 0.5)

    return call, lambda fitted: ({"y": fitted.predict(X)}, {})


def _gaussian_ratio(Xs, Xt, centers):
    """Reader of a fitted ratio: its values at all rows, and its centres."""
    return lambda ratio: (
        {"at_source": ratio(Xs), "at_target": ratio(Xt), "centers": centers()},
        {},
    )


@task
def kliep_skada(Xs, Xt, gamma, n_centers):
    """KLIEP by skada; the time has the weights of the source rows in it."""
    from skada import KLIEPReweightAdapter

    X, mark = _one_sample(Xs, Xt)
    adapter = KLIEPReweightAdapter(gamma=gamma, n_centers=n_centers, random_state=0)

    def call():
        adapter.fit(X, sample_domain=mark)
        adapter.compute_weights(X, sample_domain=mark)
        return lambda rows: _rbf(rows, adapter.centers_, gamma) @ adapter.alpha_

    return call, _gaussian_ratio(Xs, Xt, lambda: adapter.centers_)


@task
def kliep_adapt(Xs, Xt, gamma, n_centers):
    """KLIEP by adapt, Frank-Wolfe."""
    from adapt.instance_based import KLIEP

    model = KLIEP(
        kernel="rbf", gamma=gamma, max_centers=n_centers, verbose=0, random_state=0
    )

    def call():
        model.fit_weights(Xs, Xt)
        return lambda rows: (_rbf(rows, model.centers_, gamma) @ model.alphas_).ravel()

    return call, _gaussian_ratio(Xs, Xt, lambda: model.centers_)


def _densratio(Xs, Xt, **options):
    from densratio import densratio

    # It takes the numerator first, and lists of what it would search.
    return densratio(Xt, Xs, verbose=False, **options)


@task
def kliep_densratio(Xs, Xt, gamma, n_centers):
    """KLIEP by densratio; the time has the weights of the source rows in it."""
    fitted = {}

    def call():
        fitted["model"] = _densratio(
            Xs,
            Xt,
            method="KLIEP",
            sigma=[(2 * gamma) ** -0.5],
            kernel_num=n_centers,
        )
        fitted["model"].compute_density_ratio(Xs)
        return fitted["model"].compute_density_ratio

    return call, _gaussian_ratio(Xs, Xt, lambda: fitted["model"].kernel_info.centers)


@task
def ulsif_densratio(Xs, Xt, gamma, reg, n_centers):
    """uLSIF by densratio; the time has the weights of the source rows in it."""
    fitted = {}

    def call():
        fitted["model"] = _densratio(
            Xs,
            Xt,
            method="uLSIF",
            sigma_range=[(2 * gamma) ** -0.5],
            lambda_range=[reg],
            kernel_num=n_centers,
        )
        fitted["model"].compute_density_ratio(Xs)
        return fitted["model"].compute_density_ratio

    return call, _gaussian_ratio(Xs, Xt, lambda: fitted["model"].kernel_info.centers)


@task
def ulsif_adapt(Xs, Xt, gamma, reg, n_centers):
    """uLSIF by adapt."""
    from adapt.instance_based import ULSIF

    model = ULSIF(
        kernel="rbf",
        gamma=gamma,
        lambdas=reg,
        max_centers=n_centers,
        verbose=0,
        random_state=0,
    )

    def call():
        model.fit_weights(Xs, Xt)
        return lambda rows: (_rbf(rows, model.centers_, gamma) @ model.thetas_).ravel()

    return call, _gaussian_ratio(Xs, Xt, lambda: model.centers_)


def _rbf(X, centers, gamma):
    from sklearn.metrics.pairwise import rbf_kernel

    return rbf_kernel(X, centers, gamma=gamma)


def _regressor(learner):
    from sklearn.linear_model import Ridge
    from sklearn.tree import DecisionTreeRegressor

    return Ridge() if learner == "ridge" else DecisionTreeRegressor(max_depth=6)


def _boosted_regressor(model, Xs, ys, Xt, yt, X):
    def call():
        model.fit(Xs, ys, Xt=Xt, yt=yt)
        return model.predict(X)

    return call, lambda y: ({"y": np.ravel(y)}, {})


@task
def tradaboost_r2_adapt(Xs, ys, Xt, yt, X, learner, n_estimators, n_steps, cv):
    """TrAdaBoost.R2 by adapt, which has neither steps nor folds."""
    from adapt.instance_based import TrAdaBoostR2

    model = TrAdaBoostR2(
        _regressor(learner), n_estimators=n_estimators, verbose=0, random_state=0
    )
    return _boosted_regressor(model, Xs, ys, Xt, yt, X)


@task
def two_stage_tradaboost_r2_adapt(
    Xs, ys, Xt, yt, X, learner, n_estimators, n_steps, cv
):
    """Two-stage TrAdaBoost.R2 by adapt, whose n_estimators are the steps."""
    from adapt.instance_based import TwoStageTrAdaBoostR2

    model = TwoStageTrAdaBoostR2(
        _regressor(learner),
        n_estimators=n_steps,
        n_estimators_fs=n_estimators,
        cv=cv,
        verbose=0,
        random_state=0,
    )
    return _boosted_regressor(model, Xs, ys, Xt, yt, X)


@task
def mmd_adapt(Xs, Xt, gamma):
    """Biased squared MMD, as adapt computes it in tensorflow for its own loss."""
    import tensorflow as tf
    from adapt.instance_based._iwn import weighted_mmd

    Xs, Xt = tf.constant(Xs), tf.constant(Xt)
    weights = tf.ones(len(Xs), Xs.dtype)
    return (
        lambda: weighted_mmd(Xs, Xt, weights, gamma).numpy(),
        lambda value: ({"mmd2": value}, {}),
    )


@task
def scores_skada(X, y, probabilities, mixed=None, partner=None, reverse=None, **maps):
    """Scores that skada gives fitted candidates, whose predictions are known.

    Rows are of the source or, where y is negative, of the target. Along the second
    axis of `probabilities`, `mixed` and `reverse` lie the candidates, and
    ``maps["map3"]`` are mapped columns of those j with ``maps["map_of"][j] == 3``.
    Scorers that failed have NaN, and a sentence in ``failures``.
    """
    from skada_scorers import Scores  # beside this file

    scores = Scores(X, y, probabilities, mixed, partner, reverse, maps)
    return scores.all, lambda made: (made, {"failures": scores.failures})


def _versions():
    versions = {"python": platform.python_version()}
    for name in DISTRIBUTIONS:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def _reset_peak_rss():
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def _status_mb(field):
    status = Path("/proc/self/status").read_text()
    return int(re.search(rf"{field}:\s*(\d+)", status)[1]) / 1024


def _small(arrays, rng):
    # Twelve rows of at most four columns bring in each lazy import of a call.
    return {
        name: rng.normal(size=(12, *(min(k, 4) for k in array.shape[1:])))
        for name, array in arrays.items()
        if array.ndim
    }


def _warm_up(name, arrays, params):
    if "n_components" in params:
        params = params | {"n_components": 1}
    call, read = TASKS[name](**_small(arrays, np.random.default_rng(0)), **params)
    read(call())


def answer(request, warm):
    """Run one request; ``warm`` is the set of tasks that were warmed up."""
    name = request["task"]
    if name not in TASKS:
        known = ", ".join(sorted(TASKS))
        raise ValueError(f"There is no task {name!r}; there are {known}.")
    with np.load(request["arrays"], allow_pickle=False) as file:
        arrays = dict(file)
    params = request.get("params", {})
    if name not in warm:
        _warm_up(name, arrays, params)
        warm.add(name)
    call, read = TASKS[name](**arrays, **params)
    memory = {"rss_mb": _status_mb("VmRSS")} if _reset_peak_rss() else {}
    cpu, wall = time.process_time(), time.perf_counter()
    result = call()
    seconds, cpu_seconds = time.perf_counter() - wall, time.process_time() - cpu
    if memory:
        memory["peak_rss_mb"] = _status_mb("VmHWM")
    outputs, info = read(result)
    np.savez(request["out"], **outputs)
    times = {"seconds": seconds, "cpu_seconds": cpu_seconds}
    return times | memory | {"versions": _versions()} | info


def _sentence(error):
    text = " ".join(str(error).split()) or "no message"
    if isinstance(error, ImportError):
        return f"The environment lacks a library: {text}"
    return f"{type(error).__name__}: {text}"


def main():
    """Answer requests until the standard input ends."""
    # The answers get the real standard output for themselves; whatever a library
    # prints, from python or from C, goes to the standard error.
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    warm = set()
    for line in sys.stdin:
        try:
            reply = answer(json.loads(line), warm)
        except Exception as error:
            reply = {"error": _sentence(error)}
        replies.write(json.dumps(reply) + "\n")
        replies.flush()


if __name__ == "__main__":
    main()
