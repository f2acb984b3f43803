"""The quick form of the benchmark on images, where network and images are at hand."""

import importlib
import json
from pathlib import Path

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from skadapt.datasets import fetch_office_caltech, get_data_home

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def benchmark(monkeypatch, tmp_path):
    monkeypatch.setenv("SKADAPT_DATA", get_data_home())
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.syspath_prepend(ROOT)
    with threadpool_limits(1):
        yield importlib.import_module("benchmarks.office_caltech_images")


def _or_skip(call):
    """What a call gives; a skip with its sentence, where something is absent."""
    try:
        return call()
    except SystemExit as error:
        pytest.skip(str(error))


def test_quick_form(benchmark):
    pytest.importorskip("skadapt.deep", exc_type=ImportError)
    _or_skip(benchmark.network)
    tables = _or_skip(lambda: list(benchmark.run(quick=True)))
    assert len(tables) == 2 * len(benchmark.PREPARATIONS) + 1
    assert all(cell not in str(t) for t in tables for cell in ("nan", "{", "}", " - "))
    *plain, few = json.loads(json.dumps([table.as_dict() for table in tables]))
    for table in plain[::2]:
        rows = {row["row"]: row for row in table["rows"]}
        assert list(rows) == [method.name for method in benchmark.METHODS]
        for row in rows.values():
            floor = rows[row["classifier"]]["skadapt"]
            assert row["gain"] == pytest.approx(row["skadapt"] - floor)
            assert row["skadapt"] == pytest.approx(np.mean(list(row["tasks"].values())))
            assert row["skadapt"] > 90
    for row in few["rows"]:
        ((task, found),) = row["seeds"]["3 a class"].items()
        assert (task, len(found)) == ("WD", 1)
        assert row["means"]["3 a class"] == row["tasks"]["3 a class"][task] == found[0]
        assert found[0] > 40
    assert [note for note in few["notes"] if note.startswith("L2-SP less L2")]


def test_rows_stand_as_in_the_features_of_surf(benchmark):
    if not Path(get_data_home(), "office-caltech-surf.npz").exists():
        pytest.skip(f"office-caltech-surf.npz is not in {get_data_home()}")
    surf = fetch_office_caltech(source="webcam", target="dslr")
    found = {d: rest for d, *rest in _or_skip(lambda: _images(benchmark))}
    labels = np.array(found["webcam"][1] + found["dslr"][1])
    names = [name.lower() for name in surf.target_names]
    assert sorted(set(labels)) == sorted(names)
    assert [names[label - 1] for label in surf.y] == labels.tolist()
    for pixels, _ in found.values():
        assert pixels.shape[1:] == (3, benchmark.SIDE, benchmark.SIDE)
        assert pixels.dtype == np.uint8


def _images(benchmark):
    return list(benchmark.images(["webcam", "dslr"]))


def test_frozen_blocks_and_tail_are_the_network(benchmark):
    torch = pytest.importorskip("torch")
    module = _or_skip(benchmark.network).eval()
    X = torch.rand(2, 3, benchmark.SIDE, benchmark.SIDE) * 2 - 1
    caught = []
    module._blocks[benchmark.LAST_FROZEN].register_forward_hook(
        lambda *call: caught.append(call[-1])
    )
    with torch.no_grad():
        outputs = module(X)
        features = benchmark.tail(module)(caught[0])
        assert features.shape == (2, 1280)
        torch.testing.assert_close(module._fc(features), outputs)


def test_draw(benchmark):
    y = np.tile([1, 2, 3], 10)
    target = np.arange(30) >= 12
    three, five = (benchmark.draw(y, target, n, seed=0) for n in (3, 5))
    assert target[five].all() and set(three) < set(five)
    assert np.bincount(y[three]).tolist() == [0, 3, 3, 3]
    assert np.bincount(y[five]).tolist() == [0, 5, 5, 5]
    assert three.tolist() != benchmark.draw(y, target, 3, seed=1).tolist()


def test_verdicts(benchmark):
    seeds = {}
    for kind, values in (("L2", (70, 60)), ("L2-SP", (69, 71))):
        for strength, value in zip(benchmark.STRENGTHS, values):
            found = {"AW": [value, value + 1], "DA": [value - 1]}
            seeds[f"{benchmark.TAIL}, {kind} {strength:g}"] = {"3 a class": found}
    seeds[f"{benchmark.TAIL}, L2 0.01"]["3 a class"]["DA"] = [72]
    (line,) = benchmark.verdicts(seeds)
    assert "-2.00 at 0.01 (-4.0 to -1.0), +11.00 at 0.1 (+11.0 to +11.0);" in line
    assert line.endswith("+0.00 between the best. L2-SP >= L2 holds.")
    seeds[f"{benchmark.TAIL}, L2 0.01"]["3 a class"]["DA"] = [75]
    (line,) = benchmark.verdicts(seeds)
    assert line.endswith("-1.00 between the best. L2-SP >= L2 does not hold.")


def test_what_is_absent_ends_it_with_a_sentence(benchmark, monkeypatch, tmp_path):
    monkeypatch.setenv("SKADAPT_DATA", str(tmp_path))
    with pytest.raises(SystemExit, match=f"{benchmark.ARCHIVE} is not in "):
        list(benchmark.images(["dslr"]))
    monkeypatch.setattr(benchmark, "find_spec", lambda name: None)
    with pytest.raises(SystemExit, match="efficientnet-lite-pytorch is absent"):
        benchmark.network()
