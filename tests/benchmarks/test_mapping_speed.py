"""The quick form of the benchmark of mapping methods."""

from pathlib import Path

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def tables():
    with pytest.MonkeyPatch.context() as patch, threadpool_limits(1):
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.syspath_prepend(ROOT)
        from benchmarks import mapping_speed

        made = list(mapping_speed.run(quick=True))
        names = [make.__name__ for make in mapping_speed.TABLES]
    return dict(zip(names, made, strict=True))


def test_every_table_has_rows_and_prints(tables):
    for table in tables.values():
        assert table.rows
        assert table.title in str(table)


def test_tca_nystroem(tables):
    for row in tables["tca_nystroem"].rows:
        assert row["fit"] == row["fit_seconds"] / row["pass_seconds"] > 0
        assert np.isnan(row["peak"]) or row["peak"] > row["gib"]


def test_jda_is_the_reference(tables):
    rows = tables["jda_against_the_reference"].rows
    assert {row["row"].split(": ")[1] for row in rows} == {
        "skadapt",
        "symmetric pencil",
        "general pencil",
    }
    assert all(row["agree"] == 100 for row in rows)
    assert all(row["ratio"] > 0 for row in rows)


def test_jda_memory(tables):
    (row,) = tables["jda_memory"].rows
    assert row["n"] == 800 and row["seconds"] > 0


def test_gfk_is_the_reference(tables):
    rows = tables["gfk_against_the_reference"].rows
    assert {row["row"].split(": ")[1] for row in rows} == {
        "fit, axes and all",
        "skadapt",
        "kernel matrix",
        "its root",
    }
    assert all(row["apart"] < 1e-12 for row in rows)
