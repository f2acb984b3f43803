"""What methods share that compare row clouds layer by layer."""

import numpy as np
import pytest
import torch
from torch import nn

from skadapt.deep._layers import (
    BaseLayerAlignmentClassifier,
    at_least_single,
    check_pair,
    refuse_frozen_trunk,
    without_autocast,
)


class MeansClassifier(BaseLayerAlignmentClassifier):
    """Squared distance of the means; notes what it is asked about."""

    def _discrepancy(self, source, target):
        self.__dict__.setdefault("seen", []).append((source.shape, target.shape))
        return (source.mean(0) - target.mean(0)).square().sum()


RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 4)) + np.repeat([[0.0], [1.5]], 30, axis=0)
Y = np.r_[np.arange(30) % 3, np.full(30, np.nan)]
IDS = np.repeat([1, -1], 30)


def _fit(**settings):
    settings = {"max_epochs": 2, "batch_size": 15, "random_state": 0, **settings}
    trunk = nn.Sequential(nn.Linear(4, 7), nn.ReLU())
    torch.manual_seed(0)
    trunk[0].reset_parameters()
    return MeansClassifier(trunk, **settings).fit(X, Y, sample_domain=IDS)


@pytest.mark.parametrize(
    ("layers", "widths"), [("features", [7]), ("outputs", [3]), ("both", [7, 3])]
)
def test_layers_that_are_compared(layers, widths):
    seen = _fit(layers=layers).seen
    assert seen == [((15, width), (15, width)) for width in widths] * 4


@pytest.mark.parametrize("layers", ["features", "outputs"])
def test_the_layer_comes_closer(layers):
    gaps = []
    for trade_off in (0.0, 10.0):
        model = _fit(layers=layers, trade_off=trade_off, lr=0.01, max_epochs=40)
        rows = torch.from_numpy(X).float()
        with torch.no_grad():
            network = model.module_
            layer = network.features(rows) if layers == "features" else network(rows)
        gaps.append((layer[:30].mean(0) - layer[30:].mean(0)).square().sum().item())
    assert gaps[1] < 0.2 * gaps[0]


def test_both_layers_add_up():
    class Constant(MeansClassifier):
        def _discrepancy(self, source, target):
            return source.sum() + 2 * target.sum()

    side = type("Side", (), {})
    source, target = side(), side()
    source.features, source.outputs = torch.ones(3, 4), torch.ones(3, 2)
    target.features, target.outputs = torch.ones(3, 4), torch.ones(3, 2)
    losses = {
        layers: Constant(layers=layers)._adaptation_loss(source, target, 0.0, None)
        for layers in ("features", "outputs", "both")
    }
    assert losses == {"features": 36, "outputs": 18, "both": 54}


def test_one_row_is_not_compared():
    model = _fit(batch_size=29)  # two batches an epoch: 29 rows and 1
    assert {shapes[0][0] for shapes in model.seen} <= {29, 30}
    with pytest.raises(ValueError, match="batch_size=1 leaves MeansClassifier no two"):
        _fit(batch_size=1)


def test_frozen_trunks():
    with pytest.raises(ValueError, match=r"freeze='backbone'.*, or layers='outputs'\."):
        _fit(freeze="backbone", layers="features")
    assert len(_fit(freeze="backbone", layers="outputs").history_) == 2
    with pytest.raises(ValueError, match="number of leading blocks\\."):
        refuse_frozen_trunk(MeansClassifier(freeze="backbone"))
    refuse_frozen_trunk(MeansClassifier(freeze=1))


def test_precision_of_sums():
    kinds = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
    found = at_least_single(*(torch.ones(2, dtype=kind) for kind in kinds))
    assert [tensor.dtype for tensor in found] == [torch.float32] * 3 + [torch.float64]
    rows = torch.ones(2, 2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert (rows @ rows).dtype == torch.bfloat16
        with without_autocast(rows):
            assert (rows @ rows).dtype == torch.float32


@pytest.mark.parametrize(
    "shapes",
    [((3, 2), (3, 4)), ((1, 2), (3, 2)), ((3, 2), (1, 2)), ((3,), (3, 2))],
)
def test_pairs_that_do_not_fit(shapes):
    check_pair(torch.zeros(3, 2), torch.zeros(5, 2))
    with pytest.raises(ValueError, match=f"got .*{shapes[0][0]}.* and "):
        check_pair(*map(torch.zeros, shapes))
