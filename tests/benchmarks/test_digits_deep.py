"""The quick form of the benchmark of deep adaptation, and what it says."""

import importlib
import json
from pathlib import Path

import numpy as np
import pytest

from skadapt.datasets import get_data_home

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def benchmark():
    pytest.importorskip("skadapt.deep", exc_type=ImportError)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SKADAPT_DATA", get_data_home())
        patch.syspath_prepend(ROOT)
        yield importlib.import_module("benchmarks.digits_deep")


def test_quick_form(benchmark):
    if not Path(get_data_home(), "usps-mnist.npz").exists():
        pytest.skip(f"usps-mnist.npz is not in {get_data_home()}")
    (table,) = benchmark.run(quick=True)
    assert all(cell not in str(table) for cell in ("nan", "{", "}"))
    rows = {r["row"]: r for r in json.loads(json.dumps(table.as_dict()))["rows"]}
    names = [benchmark.FLOOR, *benchmark.METHODS, benchmark.CEILING]
    assert list(rows) == names
    for row in rows.values():
        ((task, seeds),) = row["seeds"].items()
        assert task == "USPS to MNIST" and len(seeds) == 2
        assert row["tasks"][task] == row["mean"] == pytest.approx(np.mean(seeds))
        assert row["error"] == pytest.approx(abs(seeds[0] - seeds[1]) / 2)
    assert rows[benchmark.FLOOR]["gain"] == rows[benchmark.FLOOR]["gain_error"] == 0
    assert rows[benchmark.CEILING]["mean"] > rows[benchmark.FLOOR]["mean"] + 5
    assert table.notes[-1].startswith("source only < DAN, Deep CORAL < ")


@pytest.mark.parametrize(
    "means, says",
    [
        ([50, 60, 62, 65, 70], "< MCC: holds."),
        ([50, 60, 62, 70, 61], "< DANN: holds."),
        ([50, 49, 62, 65, 70], "does not hold: source only 50.0 is not below DAN 49."),
        ([50, 60, 71, 65, 70], "does not hold: Deep CORAL 71.0 is not below MCC 70."),
    ],
)
def test_verdict(benchmark, means, says):
    names = ("source only", "DAN", "Deep CORAL", "DANN", "MCC")
    (note,) = benchmark.verdicts(dict(zip(names, means)))
    assert says in note
