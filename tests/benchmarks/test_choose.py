"""The quick form of the benchmark of advice, and what the library quotes of it."""

import json
from pathlib import Path

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from skadapt import compare_adapters
from skadapt.datasets import make_label_shift, make_scaling
from skadapt.model_selection import _evidence

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "results" / "choose.json"
KINDS = {1: ["feature"], 2: ["feature", "none"], 3: ["label", "feature"]}
GUARDED = "average, no hedge, if mixval is larger"
AVERAGES = ("verdict", "average of all", "average, no hedge", GUARDED)


@pytest.fixture(scope="module")
def choose():
    with pytest.MonkeyPatch.context() as patch, threadpool_limits(1):
        patch.syspath_prepend(ROOT)
        import benchmarks.choose

        yield benchmarks.choose


@pytest.fixture(scope="module")
def small_tasks(choose):
    """Generators in the place of a set; the last task is not to be run."""
    from benchmarks._shift_tasks import Task

    def make(kind, seed):
        if kind == "label":
            data = make_label_shift(90, 90, random_state=seed)
        else:
            data = make_scaling(40, 40, random_state=seed)
        X, y, ids = data.X, data.y.astype(np.int64), data.sample_domain.astype(np.int64)
        if kind == "none":
            X, y, ids = X[ids > 0], y[ids > 0], np.tile([1, -1], 20)
        shares = [np.bincount(y[ids == k], minlength=2) for k in (1, -1)]
        distance = np.abs(np.subtract(*(s / s.sum() for s in shares))).sum() / 2
        name = f"{kind} {seed}"
        return Task(name, "generators", kind, X, y, ids, "columns", float(distance))

    def tasks(which):
        for kind in KINDS[which]:
            yield make(kind, which)
        yield make(KINDS[which][0], 99)

    return tasks


def refuse(*args, **parameters):
    raise AssertionError("the quick form opens no peer")


@pytest.fixture(scope="module")
def tables(choose, small_tasks):
    before = _evidence.PATH.read_bytes()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(choose, "tasks", small_tasks)
        patch.setattr(choose, "open_peer", refuse)
        found = list(choose.run(quick=True))
    assert _evidence.PATH.read_bytes() == before, "the quick form writes nothing"
    # As the results file would be read again.
    return [json.loads(json.dumps(table.as_dict())) for table in found], found


def test_first_task_of_each_kind(choose, small_tasks):
    names = [task.name for task in choose._spread(small_tasks(3), 3)]
    assert names == ["label 3", "feature 3"]
    assert [t.name for t in choose._spread(small_tasks(3), 1)] == ["label 3"]


def test_titles(tables):
    kept, printed = tables
    assert [table["title"] for table in kept] == [
        "Diagnosis of the shift",
        *(f"Set {which}: tasks whose features differ" for which in (1, 2, 3)),
        "By kind of task",
        "Predicted accuracy on the target without adaptation, points",
        "Each task",
    ]
    text = "\n".join(map(str, printed))
    assert "label 3" in text and "usual" not in text


def test_each_task(tables):
    rows = tables[0][-1]["rows"]
    assert [row["task"] for row in rows] == [
        f"{kind} {which}" for which in KINDS for kind in KINDS[which]
    ]
    for row in rows:
        chosen, baseline = row["chosen"], row["baseline"]
        for name, rule in (
            ("gain", "verdict"),
            ("average", "average of all"),
            ("oracle", "oracle"),
        ):
            assert row[name] == pytest.approx(100 * (chosen[rule] - baseline))
        if row["best"].startswith("none"):
            assert chosen["verdict"] == baseline
        elif row["best"] == "average of all":
            assert chosen["verdict"] == chosen["average of all"]
            assert row["called"] == "feature"
        else:
            assert (row["best"], row["called"]) == ("corrected class shares", "label")
        assert chosen["oracle"] >= baseline
        for rule, accuracy in chosen.items():
            assert 0 <= accuracy <= 1
            # Other rules take one of the models that the oracle has.
            assert accuracy <= chosen["oracle"] or rule in AVERAGES
        ours, theirs = row["mixval"]
        expected = chosen["average, no hedge"] if ours > theirs else baseline
        assert chosen[GUARDED] == expected
        # A fall of confidence is subtracted from an accuracy, and may be one below 0.
        within = {name: p for name, p in row["predicted"].items() if name != "doc"}
        assert all(0 <= value <= 1 for value in within.values())
        assert row["seconds"] > 0 and row["failed"] >= 0


def test_a_task_by_hand(tables, small_tasks):
    row = next(r for r in tables[0][-1]["rows"] if r["task"] == "feature 1")
    (task,) = (t for t in small_tasks(1) if t.name == "feature 1")
    target = task.sample_domain < 0
    y = np.where(target, np.nan, task.y)
    found = compare_adapters(task.X, y, task.sample_domain, random_state=0)
    Xt, truth = task.X[target], task.y[target]

    def accuracy(model):
        return np.mean(model.predict(Xt) == truth)

    chosen, models = row["chosen"], found.average_.named_estimators_
    assert row["best"] == found.best_
    assert row["baseline"] == accuracy(found.baseline_)
    assert chosen["verdict"] == accuracy(found.estimator_)
    assert chosen["average of all"] == accuracy(found.average_)
    right = {name: accuracy(model) for name, model in models.items()}
    assert chosen["oracle"] == max(right.values())
    assert chosen["always MEDA"] == right["MEDA, its own"]
    figures = {r["name"]: r for r in found.rows[:-1]}
    for score in ("mixval", "atc", "predicted_accuracy", "source_accuracy"):
        best = max(models, key=lambda name: figures[name][score])
        assert chosen[score] == right[best]
    unadapted = figures[found.average_.unadapted_]
    assert row["predicted"]["average"] == unadapted["predicted_accuracy"]
    assert row["predicted"]["source accuracy"] == unadapted["source_accuracy"]
    assert row["predicted_average"] == found.rows[-1]["predicted_accuracy"]
    mean = AverageWithoutHedge(found.average_)
    assert chosen["average, no hedge"] == accuracy(mean)


class AverageWithoutHedge:
    """Each model with one voice."""

    def __init__(self, average):
        self.average = average

    def predict(self, X):
        P = np.mean(list(self.average._each_probability(X, None)), axis=0)
        return self.average.classes_[P.argmax(axis=1)]


def test_rules(tables):
    each = tables[0][-1]["rows"]
    for which, table in zip((1, 2, 3), tables[0][1:4]):
        own = [row for row in each if row["set"] == which]
        shifted = [row for row in own if row["kind"] == "feature"]
        adopted = [row for row in own if row["best"] == "average of all"]
        rows = {row["rule"]: row for row in table["rows"]}
        assert len(rows) == len(table["rows"])
        assert ("where it is advised" in rows) == bool(adopted)
        for rule, row in rows.items():
            some = shifted
            if rule.endswith(", tasks of all kinds"):
                rule, some = rule.removesuffix(", tasks of all kinds"), own
            elif rule == "where it is advised":
                rule, some = "average of all", adopted
            gains = [100 * (one["chosen"][rule] - one["baseline"]) for one in some]
            assert row["tasks"] == len(some)
            assert row["gain"] == pytest.approx(np.mean(gains))
            assert row["worst"] == pytest.approx(min(gains))
            assert row["gained"] == sum(gain > 2 for gain in gains)
            assert row["harm"] == sum(gain < -2 for gain in gains)
            best = sum(one["oracle"] for one in some)
            if best:
                assert row["kept"] == pytest.approx(100 * sum(gains) / best)
            else:
                assert row["kept"] is None


def test_diagnoses_and_kinds(tables):
    each = tables[0][-1]["rows"]
    for row in tables[0][0]["rows"]:
        own = [r for r in each if (r["set"], r["kind"]) == (row["set"], row["kind"])]
        called = [one["called"] for one in own]
        assert row["tasks"] == len(own) > 0
        assert row["right"] == called.count(row["kind"])
        assert row["unclear"] == called.count("unclear")
    assert len(tables[0][0]["rows"]) == sum(map(len, KINDS.values()))
    right = [r["called"] in (r["kind"], "unclear") for r in each if r["set"] == 3]
    assert f"{sum(right)} of {len(right)} right" in tables[0][0]["notes"][0]
    shares = [row for row in tables[0][4]["rows"] if "class shares" in row["kind"]]
    for row in shares:
        low = row["kind"].endswith("< .15")
        own = [r for r in each if (r["set"], r["kind"]) == (row["set"], "feature")]
        own = [r for r in own if (r["total_variation"] < 0.15) == low]
        assert row["tasks"] == len(own)
        assert row["gain"] == pytest.approx(np.mean([r["average"] for r in own]))


def test_errors_of_predicted_accuracies(tables):
    each, rows = tables[0][-1]["rows"], tables[0][5]["rows"]
    assert {row["set"] for row in rows} == {1, 2, 3}
    for row in rows:
        own = [r for r in each if (r["set"], r["kind"]) == (row["set"], "feature")]
        if row["method"] == "the average itself, by the plain mean":
            off = [r["predicted_average"] - r["chosen"]["average of all"] for r in own]
        else:
            off = [r["predicted"][row["method"]] - r["baseline"] for r in own]
        assert row["error"] == pytest.approx(100 * np.mean(np.abs(off)))
        assert row["bias"] == pytest.approx(100 * np.mean(off))


def test_summary_by_hand(choose):
    """Three tasks: the average gains 10 points, it loses 5, and shares gain 1."""

    def result(kind, best, average, verdict, predicted):
        return {
            "kind": kind,
            "best": best,
            "baseline": 0.5,
            "chosen": {"average of all": average, "verdict": verdict},
            "predicted": dict(zip(("average", "atc", "doc"), predicted)),
            "predicted_average": 0.5,
        }

    results = [
        result("feature", "average of all", 0.6, 0.6, (0.6, 0.7, 0.9)),
        result("both", "average of all", 0.45, 0.45, (0.4, 0.7, 0.5)),
        result("label", "corrected class shares", 0.1, 0.51, (0.0, 0.0, 0.0)),
    ]
    expected = {
        "adopted": {"n_tasks": 2, "gained": 1, "lost": 1},
        "label": {"n_tasks": 1, "gained": 0, "lost": 0},
        # Where the features differ, which the third task is not.
        "error": {"average": 0.1, "atc": 0.2, "doc": 0.2},
        "error_of_average": 0.075,
    }
    assert choose.summary(results) == expected
    results[0]["best"] = results[1]["best"] = "none, 1-NN"
    results[2]["chosen"]["verdict"] = 0.4
    expected["adopted"] = {"n_tasks": 0, "gained": 0, "lost": 0}
    expected["label"] = {"n_tasks": 1, "gained": 0, "lost": 1}
    assert choose.summary(results) == expected


def test_the_library_quotes_the_third_set(choose):
    if not RESULTS.exists():
        pytest.skip(
            "benchmarks/results/choose.json is not there: the benchmark writes it"
        )
    tables = json.loads(RESULTS.read_text())["tables"]
    (each,) = (table for table in tables if table["title"] == "Each task")
    third = [row for row in each["rows"] if row["set"] == 3]
    assert len(third) == 89
    assert json.loads(_evidence.PATH.read_text()) == choose.summary(third)
