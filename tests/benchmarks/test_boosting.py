"""The quick forms of the benchmarks with a few labelled target rows."""

import numpy as np
import pytest

from skadapt.datasets import get_data_home


@pytest.fixture(scope="module")
def package():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SKADAPT_DATA", get_data_home())
        import benchmarks.boosting
        import benchmarks.newsgroups

        yield benchmarks


@pytest.fixture(scope="module")
def boosting(package):
    return list(package.boosting.run(quick=True))


def _by_method(table):
    return {row["method"]: row for row in table.rows}


def test_hyperplanes(boosting):
    rows = _by_method(boosting[0])
    best = min(row["error"] for name, row in rows.items() if "TrAdaBoost" not in name)
    assert rows["TrAdaBoost"]["error"] < best
    assert rows["TrAdaBoost"]["auc"] > 0.75
    difference = rows["source only"]["error"] - rows["TrAdaBoost"]["error"]
    assert rows["source only"]["difference"] == pytest.approx(difference)


def test_contradicting_sources_are_warned_of(boosting):
    for row in boosting[1].rows:
        assert row["warned"] == 1
        assert row["target"] < min(row["hard"], row["row"])


def test_cost_is_that_of_all_rounds(boosting):
    sparse, dense = boosting[-1].rows
    assert sparse["rounds"] == 10
    assert dense["rounds"] == 20
    assert min(sparse["overhead"], dense["overhead"]) > 1


def test_newsgroups(package):
    try:
        tables = list(package.newsgroups.run(quick=True))
    except FileNotFoundError as error:
        pytest.skip(str(error))
    table, curves = tables
    rows = _by_method(table)
    assert list(rows) == list(package.newsgroups.NAMES)
    strengths = package.newsgroups.STRENGTHS
    assert all(row["C"] in strengths for row in rows.values())
    assert all(0 < row["error"] < 0.6 for row in rows.values())
    assert {len(row["errors"]) for row in curves.rows} == {2}


def test_drawn_labels(package):
    draw_labels = package.boosting.draw_labels
    y = np.repeat([0, 1, 0, 1], [50, 50, 95, 5])
    ids = np.repeat([1, -1], 100)
    for seed in range(20):
        draw = draw_labels(y, ids, 10, seed)
        labeled = np.flatnonzero(~np.isnan(draw.y))
        assert not set(labeled) & set(draw.test)
        np.testing.assert_array_equal(np.union1d(labeled, draw.test), np.arange(200))
        np.testing.assert_array_equal(draw.y[labeled], y[labeled])
        assert np.count_nonzero(labeled >= 100) == 10
        assert set(y[labeled[labeled >= 100]]) == {0, 1}


def test_rehearsal_sees_the_source_alone(package):
    """Labels and rows of the target do not move the choice of C."""
    newsgroups = package.newsgroups
    rng = np.random.default_rng(0)
    n = 240
    y = rng.integers(0, 2, n)
    X = rng.normal(size=(n, 5)) + y[:, np.newaxis]
    ids = np.repeat([1, -1], n // 2)
    group = np.array(
        [f"{label}{part}" for label, part in zip(y, rng.integers(0, 2, n))]
    )
    choose = newsgroups._rehearse
    expected = choose((X, y, ids, group), (1e-3, 1.0), 3, 1)
    X[ids < 0] = rng.normal(size=(n // 2, 5))
    y[ids < 0] = rng.permutation(y[ids < 0])
    assert choose((X, y, ids, group), (1e-3, 1.0), 3, 1) == expected
