"""Low-rank updates of a frozen trunk."""

import copy
import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from torch import nn

from skadapt.deep import FineTuneClassifier, FineTuneRegressor, Network
from skadapt.deep._lora import add_updates, merge_updates

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 4)).astype(np.float32)
Y = (X[:, 0] * X[:, 1] > 0).astype(int)


def _trunk():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(4, 9), nn.BatchNorm1d(9), nn.Tanh(), nn.Linear(9, 6), nn.Tanh()
    )


def _transformer():
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    return nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)


CASES = {
    "perceptron": (_trunk, torch.from_numpy(X), 6, 2 * (4 + 9) + 2 * (9 + 6)),
    "transformer": (
        _transformer,
        torch.from_numpy(RNG.normal(size=(5, 3, 8)).astype(np.float32)),
        8,
        2 * (2 * (8 + 8) + 2 * (8 + 16) + 2 * (16 + 8)),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_at_the_start_nothing_changes_and_merged_weights_give_the_same(case):
    make, rows, width, n_updates = CASES[case]
    network = Network(make(), nn.Linear(width, 2)).eval()
    state = copy.deepcopy(network.state_dict())
    with torch.no_grad():
        before = network(rows)
        add_updates(network, 2)
        assert torch.equal(network(rows), before)
    trained = [n for n, p in network.named_parameters() if p.requires_grad]
    assert all(n.startswith("head.") or n.endswith((".up", ".down")) for n in trained)
    of_trunk = [p for p in network.backbone.parameters() if p.requires_grad]
    assert sum(p.numel() for p in of_trunk) == n_updates
    optimizer = torch.optim.SGD([p for p in network.parameters() if p.requires_grad], 1)
    for _ in range(3):
        optimizer.zero_grad()
        network(rows)[:, 0].sum().backward()
        optimizer.step()
    with torch.no_grad():
        after = network(rows)
        assert (after - before).abs().max() > 1e-2
        merge_updates(network)
        torch.testing.assert_close(network(rows), after, rtol=1e-6, atol=1e-6)
    assert network.state_dict().keys() == state.keys()
    for name, tensor in network.state_dict().items():
        gap = (tensor - state[name]).double()
        if tensor.ndim == 2 and not name.startswith("head."):
            assert torch.linalg.matrix_rank(gap, rtol=1e-4) <= 2
        elif not name.startswith("head."):
            assert not gap.any(), name
    pickle.loads(pickle.dumps(network))


@pytest.mark.parametrize(
    ("patterns", "layers"),
    [
        ("0", {"0"}),
        (["3"], {"3"}),
        (["0", "3"], {"0", "3"}),
        ("*", {"0", "3"}),
        (None, {"0", "3"}),
    ],
)
def test_layers_that_are_chosen(patterns, layers):
    network = Network(_trunk(), nn.Linear(6, 2))
    add_updates(network, 1, patterns)
    found = {
        name.removeprefix("backbone.").split(".")[0]
        for name, parameter in network.named_parameters()
        if parameter.requires_grad and name.startswith("backbone.")
    }
    assert found == layers


def test_rank_is_at_most_that_of_the_layer():
    network = Network(_trunk(), nn.Linear(6, 2))
    add_updates(network, 100)
    update = network.backbone[0].parametrizations.weight[0]
    assert update.down.shape == (4, 4)


def test_no_layer_to_update():
    with pytest.raises(ValueError, match=r"linear layers.* none that match.*'0', '3'"):
        add_updates(Network(_trunk(), nn.Linear(6, 2)), 2, ["layer1"])
    with pytest.raises(ValueError, match="the backbone has none: its linear layers"):
        add_updates(Network(nn.Flatten(), nn.Linear(6, 2)), 2)


SETTINGS = {"max_epochs": 4, "lr": 0.05, "random_state": 0}


def test_without_a_rank_nothing_differs():
    plain = FineTuneClassifier(_trunk(), **SETTINGS).fit(X, Y)
    none = FineTuneClassifier(_trunk(), lora_rank=None, lora_layers="0", **SETTINGS)
    np.testing.assert_array_equal(
        none.fit(X, Y).predict_proba(X), plain.predict_proba(X)
    )


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_fit_trains_updates_and_the_head_alone(optimizer):
    trunk = _trunk()
    model = FineTuneClassifier(
        trunk, lora_rank=1, lora_layers=["3"], optimizer=optimizer, **SETTINGS
    ).fit(X, Y)
    gap = model.module_.backbone[3].weight - trunk[3].weight
    assert torch.linalg.matrix_rank(gap.detach().double(), rtol=1e-4) == 1
    for name, tensor in model.module_.backbone.state_dict().items():
        same = torch.equal(tensor, trunk.state_dict()[name])
        assert same == (name != "3.weight"), name
    again = pickle.loads(pickle.dumps(clone(model).fit(X, Y)))
    np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))


def test_best_epoch_is_that_of_the_updates():
    model = FineTuneClassifier(
        _trunk(),
        lora_rank=2,
        early_stopping=True,
        validation_fraction=0.3,
        max_epochs=60,
        lr=0.1,
        random_state=0,
    ).fit(X, Y)
    best = 1 + int(np.argmin([epoch["valid_loss"] for epoch in model.history_]))
    assert best < len(model.history_)


def test_updates_do_better_than_the_head_alone():
    rng = np.random.default_rng(0)
    Xs = rng.normal(size=(400, 4))
    ys = (Xs[:, 0] * Xs[:, 1] > 0).astype(int)
    source = FineTuneClassifier(_trunk(), lr=0.02, max_epochs=60, random_state=0)
    source.fit(Xs, ys)
    turned = Xs[:, [2, 1, 0, 3]]  # the same function of another column
    kept, updated = (
        FineTuneClassifier(source, lr=0.02, max_epochs=60, random_state=0, **choice)
        .fit(turned[:300], ys[:300])
        .score(turned[300:], ys[300:])
        for choice in ({"freeze": "backbone"}, {"lora_rank": 2})
    )
    assert updated > kept + 0.1


def test_round_trip_of_a_regressor(tmp_path):
    model = FineTuneRegressor(_trunk(), lora_rank=2, **SETTINGS).fit(X, X[:, 0])
    model.save(tmp_path / "m")
    again = FineTuneRegressor.load(tmp_path / "m", backbone=_trunk())
    np.testing.assert_array_equal(again.predict(X), model.predict(X))


def test_domains_learn_in_full_and_then_by_updates():
    ids = np.repeat([1, -1], 30)
    model = FineTuneClassifier(_trunk(), lora_rank=1, lora_layers="0", **SETTINGS)
    model.fit(X, Y, sample_domain=ids)
    source = clone(model).set_params(lora_rank=None).fit(X[:30], Y[:30])
    gap = model.module_.backbone[0].weight - source.module_.backbone[0].weight
    assert torch.linalg.matrix_rank(gap.detach().double(), rtol=1e-3) == 1
    for part in ("0.bias", "3.weight", "3.bias"):
        torch.testing.assert_close(
            model.module_.backbone.get_parameter(part),
            source.module_.backbone.get_parameter(part),
        )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"freeze": 1}, "leave freeze=None, and choose layers with lora_layers"),
        ({"l2_sp": 0.1}, "use weight_decay"),
        ({"lora_layers": "9"}, "none that match"),
    ],
)
def test_what_does_not_go_together(settings, message):
    with pytest.raises(ValueError, match=message):
        FineTuneClassifier(_trunk(), lora_rank=2, **settings).fit(X, Y)


def test_partial_fit_has_no_rank():
    with pytest.raises(ValueError, match="use fit, or lora_rank=None"):
        FineTuneClassifier(_trunk(), lora_rank=2).partial_fit(X, Y, classes=[0, 1])
