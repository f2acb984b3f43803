"""Which adapter, or none: what advice without target labels gains and loses.

Three sets of tasks (see `benchmarks._shift_tasks`): two on which the rules were made,
and a third that no rule was tuned on, whose figures the library quotes. Each task is
given to `compare_adapters` with its defaults; target labels only score. The gain of a
rule is the accuracy on the target of what it chooses, less that of the model without
adaptation with the best accuracy on held-out source rows. The oracle chooses the best
of the same models with target labels: kept is the share of its gains, harm a loss of
more than 2 points.
"""

import json
import time
import warnings

import numpy as np
from sklearn.base import clone
from sklearn.preprocessing import StandardScaler

from benchmarks import _peer_scorers
from benchmarks._harness import Table
from benchmarks._peers import open_peer
from benchmarks._shift_tasks import tasks
from skadapt import compare_adapters
from skadapt._members import call_of, fit_model
from skadapt.metrics import corr_c, soft_neighborhood_density
from skadapt.model_selection._compare import AVERAGE, CORRECTED
from skadapt.model_selection._evidence import PATH
from skadapt.model_selection._scores import (
    dev_score,
    doc_score,
    domain_ratio,
    entropy_score,
    information_maximization_score,
    iwcv_score,
    mano_score,
    mixed_rows,
    mixing_partners,
    mixval_score,
)

VERDICT, ORACLE = "verdict", "oracle"
OF_AVERAGE = "the average itself, by the plain mean"
PLAIN, GUARDED = "average, no hedge", "average, no hedge, if mixval is larger"
# Kinds of tasks for which adapters are compared.
SHIFTED = ("feature", "selection", "both")
POINTS = 100
HARM = 2.0
# What a task of each kind should be called.
TRUTH = {"none": "none", "label": "label"} | dict.fromkeys(SHIFTED, "feature")


def run(quick=False):
    """Run all tasks (``quick``: three of each set, without peers)."""
    found = {which: _run_set(which, quick) for which in (1, 2, 3)}
    yield _diagnoses(found)
    for which, results in found.items():
        yield _rules(which, results)
    yield _by_kind(found)
    yield _accuracies(found)
    yield _each(found)
    if not quick:
        PATH.write_text(json.dumps(summary(found[3]), indent=1) + "\n")


def _run_set(which, quick):
    """One dict for each task."""
    if quick:
        return [run_task(task) for task in _spread(tasks(which), 3)]
    with open_peer("skada") as peer:
        return [run_task(task, peer) for task in tasks(which)]


def _spread(some, count):
    """The first task of each of so many kinds."""
    kinds = set()
    for task in some:
        if task.kind not in kinds:
            kinds.add(task.kind)
            yield task
        if len(kinds) == count:
            return


def run_task(task, peer=None):
    """All figures of one task."""
    X, truth, ids = task.X, task.y, task.sample_domain
    target = ids < 0
    y = np.where(target, np.nan, truth)
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        comparison = compare_adapters(X, y, ids, random_state=0)
    seconds = time.perf_counter() - start
    Xt, yt = X[target], truth[target]
    average = comparison.average_
    models = average._members
    proba = np.array(list(average._each_probability(Xt, ids[target])))
    mean = proba.mean(axis=0)
    accuracy = (average.classes_[proba.argmax(axis=2)] == yt).mean(axis=1)
    scores = _scores(average, X, y, ids, proba)
    scores |= {
        name: [row[name] for row in comparison.rows if not row["failure"]][:-1]
        for name in ("mixval", "atc", "predicted_accuracy", "source_accuracy")
    }
    if peer is not None:
        scores |= _scores_of_skada(peer, average, X, y, ids, proba)
    names = [member.name for member in models]
    baseline = float(np.mean(comparison.baseline_.predict(Xt) == yt))
    unadapted = _first_best(
        [
            value if name.startswith("none") else -np.inf
            for name, value in zip(names, scores["source_accuracy"])
        ]
    )
    chosen = {
        VERDICT: float(np.mean(comparison.estimator_.predict(Xt) == yt)),
        AVERAGE: float(np.mean(average.transduction_ == yt)),
        PLAIN: float(
            np.mean(average.classes_[proba.mean(axis=0).argmax(axis=1)] == yt)
        ),
        "always MEDA": float(accuracy[names.index("MEDA, its own")])
        if "MEDA, its own" in names
        else baseline,
        ORACLE: float(max(accuracy)),
    }
    for name, values in scores.items():
        best = _first_best(values)
        chosen[name] = baseline if best is None else float(accuracy[best])
    own = models[unadapted]
    mixval = _mixval_of_mean(average, Xt, ids[target], mean)
    adopted = mixval > scores["mixval"][unadapted]
    chosen[GUARDED] = chosen[PLAIN] if adopted else baseline
    of_average = comparison.rows[-1]
    return {
        "task": task.name,
        "group": task.group,
        "kind": task.kind,
        "total_variation": task.total_variation,
        "called": comparison.shift.kind,
        "z": float(comparison.shift.z),
        "z_label": float(comparison.shift.z_label),
        "best": comparison.best_,
        "baseline": baseline,
        "chosen": chosen,
        "predicted": {
            "average": scores["predicted_accuracy"][unadapted],
            "atc": scores["atc"][unadapted],
            "doc": doc_score(own.held_out, own.correct, proba[unadapted]),
            "source accuracy": scores["source_accuracy"][unadapted],
            "mean confidence": float(proba[unadapted].max(axis=1).mean()),
        },
        "predicted_average": of_average["predicted_accuracy"],
        "mixval": [mixval, scores["mixval"][unadapted]],
        "failed": len(average.failures_),
        "seconds": seconds,
    }


def _mixval_of_mean(average, Xt, ids, P):
    """`mixval_score` of the mean of all models."""
    codes, scores = P.argmax(axis=1), []
    for partner in mixing_partners(Xt):
        mixed = average._each_probability(mixed_rows(Xt, partner), ids)
        of_mean = np.mean(list(mixed), axis=0)
        scores.append(mixval_score(of_mean, codes, codes[partner]))
    return float(np.mean(scores))


def _first_best(values):
    """Position of the first of the largest; None if none is a number."""
    values = np.asarray(values, dtype=float)
    values = np.where(np.isnan(values), -np.inf, values)
    return int(values.argmax()) if values.max() > -np.inf else None


def _scores(average, X, y, ids, proba):
    """Scores of each model, larger is better, on all rows."""
    source = np.flatnonzero(ids > 0)
    codes = np.searchsorted(average.classes_, y[source])
    w = domain_ratio(X, ids < 0)
    scores = {}
    for member, P in zip(average._members, proba):
        losses = -np.log(
            np.maximum(member.held_out[np.arange(len(codes)), codes], 1e-12)
        )
        for name, value in (
            ("iwcv", iwcv_score(member.correct, w)),
            ("dev", dev_score(losses, w)),
            ("entropy", entropy_score(P)),
            ("information_maximization", information_maximization_score(P)),
            ("mano", mano_score(P)),
            ("snd", soft_neighborhood_density(P)),
            ("corr_c", corr_c(P)),
            ("reverse", _reverse(member.model, average.classes_, P, X, y, ids)),
        ):
            scores.setdefault(name, []).append(float(value))
    return scores


def _reverse(model, classes, P, X, y, ids):
    """Accuracy on the source of the same model, fitted from target to source."""
    labels = classes[P.argmax(axis=1)]
    source = ids > 0
    if len(np.unique(labels)) < 2:
        return np.mean(y[source] == labels[0])
    exchanged = np.full(len(ids), np.nan)
    exchanged[~source] = labels
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            back = fit_model("model", clone(model), X, exchanged, -ids)
            predicted = call_of(back, "predict", X[source], -ids[source])
    except ValueError:  # no weight for any row, or a class of one row
        return np.nan
    return np.mean(predicted == y[source])


def _scores_of_skada(peer, average, X, y, ids, proba):
    """What skada's scorers say of the same models."""
    source, target = ids > 0, ids < 0
    partner = mixing_partners(X[target])[0]
    mixed = average._each_probability(mixed_rows(X[target], partner), ids[target])
    codes = np.full(len(ids), -1)
    codes[source] = np.searchsorted(average.classes_, y[source])
    scores, _ = _peer_scorers.skada_scores(
        peer,
        StandardScaler().fit_transform(X),
        codes,
        ids,
        np.array([member.held_out for member in average._members]),
        proba,
        mixed=np.array(list(mixed)),
        partner=partner,
    )
    return {f"skada {name}": values.tolist() for name, values in scores.items()}


# Tables


def _gains(results, rule):
    """Points gained over no adaptation, one a task."""
    return np.array(
        [POINTS * (one["chosen"][rule] - one["baseline"]) for one in results]
    )


def _figures(results, rule):
    gains, best = _gains(results, rule), _gains(results, ORACLE)
    return {
        "rule": rule,
        "tasks": len(results),
        "gain": float(gains.mean()),
        "kept": float(POINTS * gains.sum() / best.sum()) if best.sum() > 0 else None,
        "gained": int(np.sum(gains > HARM)),
        "harm": int(np.sum(gains < -HARM)),
        "worst": float(gains.min()),
    }


_COLUMNS = {
    "rule": "{rule}",
    "tasks": "{tasks}",
    "mean gain": "{gain:+.2f}",
    "kept, %": "{kept:.0f}",
    "gains > 2": "{gained}",
    "harm": "{harm}",
    "worst": "{worst:+.1f}",
}


def _diagnoses(found):
    rows = []
    for which, results in found.items():
        for kind in TRUTH:
            own = [one for one in results if one["kind"] == kind]
            if own:
                called = [one["called"] for one in own]
                rows.append(
                    {
                        "set": which,
                        "kind": kind,
                        "tasks": len(own),
                        "right": called.count(TRUTH[kind]),
                        "unclear": called.count("unclear"),
                        "others": ", ".join(
                            sorted(set(called) - {TRUTH[kind], "unclear"})
                        ),
                    }
                )
    results = found[3]
    fine = sum(one["called"] in (TRUTH[one["kind"]], "unclear") for one in results)
    return Table(
        "Diagnosis of the shift",
        {
            "set": "{set}",
            "truth": "{kind}",
            "tasks": "{tasks}",
            "right": "{right}",
            "unclear": "{unclear}",
            "also called": "{others}",
        },
        rows,
        [f"Set 3: {fine} of {len(results)} right or unclear; 90 % were aimed at."],
    )


def _rules(which, results):
    shifted = [one for one in results if one["kind"] in SHIFTED]
    rules = list(shifted[0]["chosen"])
    rows = [_figures(shifted, rule) for rule in rules]
    rows[5:] = sorted(rows[5:], key=lambda row: -row["gain"])
    adopted = [one for one in results if one["best"] == AVERAGE]
    if adopted:
        rows.append(_figures(adopted, AVERAGE) | {"rule": "where it is advised"})
    rows.append(_figures(results, VERDICT) | {"rule": "verdict, tasks of all kinds"})
    rows.append(
        _figures(results, "source_accuracy")
        | {"rule": "source_accuracy, tasks of all kinds"}
    )
    return Table(f"Set {which}: tasks whose features differ", _COLUMNS, rows)


def _by_kind(found):
    rows = []
    for which, results in found.items():
        for kind in TRUTH:
            own = [one for one in results if one["kind"] == kind]
            rows += [
                _figures(own, rule) | {"set": which, "kind": kind}
                for rule in (VERDICT, AVERAGE, PLAIN, "source_accuracy")
                if own
            ]
        for name, same in (("< .15", True), (">= .15", False)):
            own = [
                one
                for one in results
                if one["kind"] in SHIFTED and (one["total_variation"] < 0.15) == same
            ]
            if own:
                rows.append(
                    _figures(own, AVERAGE)
                    | {"set": which, "kind": f"shifted, class shares {name}"}
                )
    return Table(
        "By kind of task",
        {"set": "{set}", "kind": "{kind}"} | _COLUMNS,
        rows,
        ["Class shares: total variation between the domains; no rule knows it."],
    )


def _errors(results):
    """Mean absolute error and bias of predicted accuracies of unadapted models."""
    shifted = [one for one in results if one["kind"] in SHIFTED]
    found = {}
    for method in shifted[0]["predicted"]:
        off = np.array([one["predicted"][method] - one["baseline"] for one in shifted])
        found[method] = POINTS * np.abs(off).mean(), POINTS * off.mean()
    off = np.array(
        [one["predicted_average"] - one["chosen"][AVERAGE] for one in shifted]
    )
    found[OF_AVERAGE] = (
        POINTS * np.abs(off).mean(),
        POINTS * off.mean(),
    )
    return found


def _accuracies(found):
    rows = [
        {"set": which, "method": method, "error": float(error), "bias": float(bias)}
        for which, results in found.items()
        for method, (error, bias) in _errors(results).items()
    ]
    return Table(
        "Predicted accuracy on the target without adaptation, points",
        {
            "set": "{set}",
            "method": "{method}",
            "mean absolute error": "{error:.1f}",
            "bias": "{bias:+.1f}",
        },
        rows,
        ["Tasks whose features differ; an error of at most 9 on set 3 was aimed at."],
    )


def _each(found):
    rows = [
        one
        | {
            "set": which,
            "gain": POINTS * (one["chosen"][VERDICT] - one["baseline"]),
            "average": POINTS * (one["chosen"][AVERAGE] - one["baseline"]),
            "oracle": POINTS * (one["chosen"][ORACLE] - one["baseline"]),
        }
        for which, results in found.items()
        for one in results
    ]
    return Table(
        "Each task",
        {
            "set": "{set}",
            "task": "{task}",
            "kind": "{kind}",
            "called": "{called}",
            "advice": "{best}",
            "baseline": "{baseline:.3f}",
            "gain": "{gain:+.1f}",
            "average": "{average:+.1f}",
            "oracle": "{oracle:+.1f}",
            "s": "{seconds:.1f}",
        },
        rows,
    )


def summary(results):
    """What the library quotes of the third set."""

    def count(tasks, rule):
        gains = _gains(tasks, rule) if tasks else np.zeros(0)
        return {
            "n_tasks": len(tasks),
            "gained": int(np.sum(gains > HARM)),
            "lost": int(np.sum(gains < -HARM)),
        }

    adopted = [one for one in results if one["best"] == AVERAGE]
    corrected = [one for one in results if one["best"] == CORRECTED]
    errors = _errors(results)
    return {
        "adopted": count(adopted, AVERAGE),
        "label": count(corrected, VERDICT),
        "error": {
            method: round(errors[method][0] / POINTS, 4)
            for method in ("average", "atc", "doc")
        },
        "error_of_average": round(errors[OF_AVERAGE][0] / POINTS, 4),
    }
