"""Quick forms of the benchmarks on text, and what their tables say."""

import json
from pathlib import Path

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from skadapt.datasets import get_data_home

ROOT = Path(__file__).resolve().parents[2]
PACKS = ("amazon-reviews.json.xz", "20newsgroups.json.xz", "reuters-cross.npz")


@pytest.fixture(scope="module")
def benchmark():
    """Imports a benchmark by name; skips without the data that it needs."""
    with pytest.MonkeyPatch.context() as patch, threadpool_limits(1):
        patch.setenv("SKADAPT_DATA", get_data_home())
        patch.syspath_prepend(ROOT)

        def load(name, *packs):
            for pack in packs:
                if not Path(get_data_home(), pack).exists():
                    pytest.skip(f"{pack} is not in {get_data_home()}")
            import importlib

            return importlib.import_module(f"benchmarks.{name}")

        yield load


def kept(table):
    """Rows as the JSON file has them, after a look at the printed form."""
    assert all(cell not in str(table) for cell in ("nan", "{", "}"))
    return json.loads(json.dumps(table.as_dict()))["rows"]


def test_text(benchmark):
    text = benchmark("text", *PACKS)
    (table,) = text.run(quick=True)
    rows = {row["row"]: row for row in kept(table)}
    assert list(rows) == [method.name for method in text.METHODS]
    floor = rows[text.FLOOR]
    assert floor["gain"] == 0 and floor["mean"] > 60
    for row in rows.values():
        values = np.array(list(row["tasks"].values()))
        gains = values - np.array(list(floor["tasks"].values()))
        assert len(values) == 3
        assert row["mean"] == pytest.approx(values.mean())
        assert row["gain"] == pytest.approx(gains.mean())
        assert row["least_gain"] == gains.min()
        assert row["better"] + row["worse"] <= 3
    # Hardly a word is in both domains often enough for a kernel density to see.
    assert rows["KDE + linear SVM"]["gain"] < rows["KLIEP + linear SVM"]["gain"]


def test_text_verdicts(benchmark):
    """Sentences follow the numbers: the best of a family, and who loses."""
    text = benchmark("text")
    tasks = [("Amazon", "first"), ("Reuters", "second")]
    cells = {method.name: [(70.0, 1.0), (60.0, 1.0)] for method in text.METHODS}
    cells["CoCC"] = [(65.0, 1.0), (90.0, 1.0)]
    cells["naive Bayes"] = [(60.0, 1.0), (61.0, 1.0)]
    table = text.table(tasks, cells)
    row = next(row for row in table.rows if row["row"] == "CoCC")
    assert (row["gain"], row["least_gain"], row["worst"]) == (12.5, -5.0, "first")
    assert "Reuters: best is CoCC, 90.0, where the floor has 60.0." in table.notes
    assert table.notes[-1] == "Below the floor on average: naive Bayes."


def test_gram_svc_is_the_linear_svm(benchmark):
    from sklearn.model_selection import GridSearchCV
    from sklearn.svm import SVC

    text = benchmark("text")
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(60, 90)), np.repeat([0, 1], 30)
    X[y == 1, :3] += 1
    grid = [1e-3, 1e-2, 0.1]
    model = text.GramSVC(grid).fit(X, y)
    plain = GridSearchCV(SVC(kernel="linear"), {"C": grid}, cv=text.FOLDS).fit(X, y)
    assert model.model_.best_params_ == plain.best_params_
    new = rng.normal(size=(40, 90))
    np.testing.assert_array_equal(model.predict(new), plain.predict(new))


def test_coclustering(benchmark):
    coclustering = benchmark("coclustering", *PACKS[1:])
    *tables, clusters = coclustering.run(quick=True)
    assert len(tables) == 2
    for table in tables:
        (row,) = kept(table)
        assert row["error"] == pytest.approx(np.mean(row["errors"]))
        assert row["error"] < min(row["bayes"], row["svm"])
        assert row["consistency"] < 1
        above = row["error"] > row["published"]
        assert (row["task"] in table.notes[0]) == above
        assert all(note.endswith("none.") for note in table.notes[1:])
    (row,) = kept(clusters)
    assert list(row["errors"]) == ["16", "32"]
    assert f"{row['errors']['16']:.1f}" in str(clusters)


def test_sentiment(benchmark):
    sentiment = benchmark("sentiment", "amazon5000.npz")
    structural, denoised, indexed = sentiment.run(quick=True)
    pair, mean = kept(structural)
    assert mean["gain"] == pair["gain"] == pair["accuracy"] - pair["floor"]
    (row,) = kept(denoised)
    assert len(row["pairs"]) == 12
    assert row["gain"] == pytest.approx(
        np.mean(row["pairs"]) - np.mean(row["raw_pairs"])
    )
    assert row["gain"] > 0
    assert [row["gain"] > 0 for row in kept(indexed)] == [True, True]


def test_two_stage(benchmark):
    two_stage = benchmark("two_stage", "amazon5000.npz")
    generated, reviews = two_stage.run(quick=True)
    rows = {row["row"]: row for row in kept(generated)}
    assert rows["pooled logistic regression"]["mean"] < 0.75
    for heuristic in two_stage.HEURISTICS:
        assert rows[f"{heuristic}, stage 1"]["mean"] > 0.8
        assert rows[f"{heuristic}, stage 2"]["mean"] > 0.95
    rows = kept(reviews)
    best = max(row["mean"] for row in rows[1:])
    assert ("no gain" in reviews.notes[0]) == (best <= rows[0]["mean"])


def test_text_speed(benchmark):
    text_speed = benchmark("text_speed")
    pivots, turns, layers = text_speed.run(quick=True)
    for row in kept(pivots):
        assert row["objective"] <= row["sgd_objective"] + 1e-3
    assert [row["classes"] for row in kept(turns)] == [2, 20, 2, 20]
    solve, *others = kept(layers)
    assert solve["ratio"] == 1 and all(row["ratio"] > 0 for row in others)
