"""The quick form of the benchmark of epochs, and the loop it is measured against."""

import importlib
import json
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def benchmark():
    pytest.importorskip("skadapt.deep", exc_type=ImportError)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT)
        yield importlib.import_module("benchmarks.deep_speed")


def _check(table, n_rows):
    assert all(cell not in str(table) for cell in ("nan", "{", "}"))
    rows = json.loads(json.dumps(table.as_dict()))["rows"]
    assert len(rows) == n_rows
    for row in rows:
        own, plain = row["turns"].values()
        assert len(own) == len(plain) == 1
        assert row["ratio"] == pytest.approx(own[0] / plain[0])
        losses = list(row["losses"].values())
        assert losses[0] == pytest.approx(losses[1], rel=0.3)
    return rows


def test_perceptron(benchmark):
    _check(benchmark.perceptron(quick=True), 1)


def test_images(benchmark):
    table = benchmark.images(quick=True)
    if not table.rows:
        pytest.skip(table.notes[0])
    rows = _check(table, 2)
    # The layout changes how it is computed, not what.
    for name in (benchmark.OWN, benchmark.PLAIN):
        first, last = (row["losses"][name] for row in rows)
        assert first == pytest.approx(last, rel=1e-3)


def test_without_the_network_the_table_says_so(benchmark, monkeypatch):
    def absent():
        raise SystemExit("There is no EfficientNet-Lite0.")

    monkeypatch.setattr(benchmark, "network", absent)
    table = benchmark.images(quick=True)
    assert not table.rows and table.notes == ["There is no EfficientNet-Lite0."]
    assert "There is no EfficientNet-Lite0." in str(table)


def test_the_plain_loop_does_what_the_estimator_does(benchmark):
    """One batch of all rows: the order cannot matter, nor the seed of a zero head."""
    from torch import nn

    from skadapt.deep import FineTuneClassifier

    rng = np.random.default_rng(0)
    X = rng.standard_normal((40, 50)).astype(np.float32)
    y = np.arange(40) % 3
    trunk = nn.Sequential(nn.Linear(50, 64), nn.ReLU())

    class ZeroHead(nn.Linear):
        def reset_parameters(self):
            nn.init.zeros_(self.weight)
            nn.init.zeros_(self.bias)

    settings = {"batch_size": 40, "normalize": (0.1, 0.5)}
    model = FineTuneClassifier(
        trunk, ZeroHead, lr=benchmark.LR, max_epochs=4, device="cpu", **settings
    ).fit(255 * X / 255, y)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nn, "Linear", ZeroHead)
        # The loop divides what it normalises by 255: images are bytes.
        loss = benchmark.plain_loop(trunk, 255 * X, y, 4, **settings)
    assert loss == pytest.approx(model.history_[-1]["train_loss"], rel=1e-4)
