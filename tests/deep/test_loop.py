"""The training loop: its batches, its steps, and how it ends."""

import copy
import warnings

import numpy as np
import pytest
import torch
from sklearn.exceptions import ConvergenceWarning
from torch import nn

from skadapt.deep import Network, learning_rate_factor
from skadapt.deep._loop import (
    LabeledSet,
    PairedSet,
    Recipe,
    SupervisedObjective,
    train,
)
from skadapt.deep._network import freeze_parameters
from skadapt.deep._rows import Placement, TensorRows

N = 23
ROWS = torch.arange(N, dtype=torch.float32)[:, None] + torch.tensor([0.0, 100.0])


def _set(index=None, *, batch_size=5, seed=0, rows=ROWS, **settings):
    placement = Placement(torch.device("cpu"), rows.dtype)
    return LabeledSet(
        TensorRows.of_tensor(rows, placement),
        torch.arange(len(rows)),
        2.0 * torch.arange(len(rows)),
        torch.arange(len(rows)) if index is None else torch.as_tensor(index),
        batch_size,
        None if seed is None else torch.Generator().manual_seed(seed),
        **settings,
    )


def test_each_row_comes_once_an_epoch_with_what_belongs_to_it():
    labeled = _set(index=[3, 5, 7, 11, 13, 17, 19])
    orders = []
    for _ in range(3):
        batches = list(labeled)
        assert [len(batch.rows) for batch in batches] == [5, 2]
        for batch in batches:
            torch.testing.assert_close(batch.rows, ROWS[batch.index])
            assert torch.equal(batch.labels, batch.index)
            torch.testing.assert_close(batch.weights, 2.0 * batch.index)
        orders.append(torch.cat([batch.index for batch in batches]).tolist())
        assert sorted(orders[-1]) == [3, 5, 7, 11, 13, 17, 19]
    assert orders[0] != orders[1] != orders[2]


@pytest.mark.parametrize(
    ("batch_size", "sizes"), [(5, [5, 5, 5, 5, 3]), (11, [11, 12]), (50, [23])]
)
def test_no_batch_of_one_row_in_training(batch_size, sizes):
    batches = list(_set(batch_size=batch_size))
    assert [len(batch.rows) for batch in batches] == sizes


def test_order_of_validation():
    batches = list(_set(index=[4, 2, 9], batch_size=2, seed=None))
    assert [batch.index.tolist() for batch in batches] == [[4, 2], [9]]


def test_rows_are_drawn_with_their_chances():
    chances = torch.arange(N, dtype=torch.float64)
    labeled = _set(chances=chances)
    drawn = torch.cat([labeled.order() for _ in range(2000)])
    assert len(labeled.order()) == N
    found = torch.bincount(drawn, minlength=N) / len(drawn)
    expected = (chances / chances.sum()).float()
    deviation = (expected * (1 - expected) / len(drawn)).sqrt()
    assert ((found - expected).abs() <= 5 * deviation).all()


@pytest.mark.parametrize(("n_source", "n_target"), [(15, 8), (8, 15), (10, 10)])
def test_pairs_cycle_through_the_shorter_domain(n_source, n_target):
    source = _set(index=range(n_source))
    target = _set(index=range(N - n_target, N), seed=1)
    paired = PairedSet(source, target)
    batches = list(paired)
    assert len(batches) == len(paired) == 3 - (n_source == n_target)
    seen = {"source": [], "target": []}
    for batch in batches:
        n = len(batch.labels)
        assert len(batch.rows) == 2 * n
        torch.testing.assert_close(batch.rows[:n], ROWS[batch.index])
        seen["source"] += batch.rows[:n, 0].int().tolist()
        seen["target"] += batch.rows[n:, 0].int().tolist()
    longer = max(n_source, n_target)
    for name, domain in {"source": source, "target": target}.items():
        counts = np.bincount(seen[name], minlength=N)[domain.index]
        assert counts.sum() == longer
        assert np.ptp(counts) <= 1


# ------------------------------------------------------------------------ steps

_PLAIN = {
    "max_epochs": 3,
    "lr": 0.1,
    "optimizer": "sgd",
    "momentum": 0.0,
    "layer_decay": 1.0,
    "weight_decay": 0.0,
    "l1": 0.0,
    "l2_sp": 0.0,
    "schedule": "constant",
    "warmup": 0.0,
    "gradual_unfreeze": False,
    "patience": None,
    "autocast": None,
    "compile": False,
    "verbose": False,
    "batch_size": 5,
}


def _network():
    torch.manual_seed(0)
    trunk = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 3), nn.Tanh())
    network = Network(trunk, nn.Linear(3, N)).double()
    network.batch_norm_rests = False
    return network


def _loss(outputs, labels):
    return nn.functional.cross_entropy(outputs, labels, reduction="none")


def _train(network, train_set, valid_set=None, objective=None, **settings):
    def forward(rows):
        features = network.features(rows)
        return features, network.outputs(features)

    objective = objective or SupervisedObjective(_loss)
    recipe = Recipe(**{**_PLAIN, **settings})
    return train(network, forward, objective, train_set, valid_set, recipe)[0]


SCALED = (ROWS / 100).double()


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("schedule", ["constant", "inv_sqrt", "slanted"])
def test_steps_are_those_of_a_plain_loop(momentum, schedule):
    decay, rate, shrink, epochs = 0.3, 0.05, 0.2, 4
    network = _network()
    ours = copy.deepcopy(network)
    _train(
        ours,
        _set(rows=SCALED),
        max_epochs=epochs,
        lr=rate,
        momentum=momentum,
        layer_decay=decay,
        weight_decay=shrink,
        schedule=schedule,
        warmup=0.3,
    )
    depth = {"head": 0, "backbone.2": 1, "backbone.0": 2}
    speed = {name: torch.zeros_like(p) for name, p in network.named_parameters()}
    batches, step = _set(rows=SCALED), 0
    n_steps = epochs * len(batches)
    for epoch in range(epochs):
        for batch in batches:
            factor = learning_rate_factor(
                schedule, step, n_steps, epoch=epoch, warmup=0.3
            )
            losses = _loss(network(batch.rows), batch.labels)
            loss = (losses * batch.weights).mean()
            names, parameters = zip(*network.named_parameters())
            gradients = torch.autograd.grad(loss, parameters)
            with torch.no_grad():
                for name, p, gradient in zip(names, parameters, gradients):
                    own = shrink * p if p.ndim > 1 else 0.0
                    speed[name] = momentum * speed[name] + gradient + own
                    power = depth[name.rpartition(".")[0]]
                    p -= factor * rate * decay**power * speed[name]
            step += 1
    for name, expected in network.named_parameters():
        torch.testing.assert_close(
            dict(ours.named_parameters())[name], expected, rtol=1e-9, atol=1e-11
        )


def test_everything_frozen():
    network = _network().requires_grad_(False)
    with pytest.raises(ValueError, match="Every parameter is frozen"):
        _train(network, _set(rows=SCALED))


class _Timed(SupervisedObjective):
    """Losses as they are told; the biases of the head are drawn upwards."""

    def __init__(self, losses=(), at=None, error=None):
        super().__init__(_loss)
        self.losses, self.at, self.error = iter(losses), at, error
        self.steps = 0

    def forward(self, batch, features, outputs, progress):
        if not self.training:
            return torch.tensor(next(self.losses))
        if self.steps == self.at:
            raise self.error
        self.steps += 1
        return -outputs.sum() / outputs.numel()


def _bias_after(n_steps, lr=0.1):
    return _network().head.bias + lr * n_steps / N


@pytest.mark.parametrize("patience", [1, 2, None])
def test_best_epoch_is_kept_and_waiting_ends(patience):
    losses = [5.0, 3.0, 4.0, 2.0, 6.0, 6.0, 6.0]
    network = _network()
    freeze_parameters(network, "backbone")
    valid = _set(index=range(5), rows=SCALED, seed=None)
    history = _train(
        network,
        _set(rows=SCALED),
        valid,
        _Timed(losses),
        max_epochs=7,
        patience=patience,
    )
    epochs, best = {1: (3, 2), 2: (6, 4), None: (7, 4)}[patience]
    assert [epoch["valid_loss"] for epoch in history] == losses[:epochs]
    assert [epoch["epoch"] for epoch in history] == list(range(1, epochs + 1))
    torch.testing.assert_close(network.head.bias, _bias_after(5 * best))


@pytest.mark.parametrize(("at", "epoch"), [(0, 1), (3, 1), (5, 2), (12, 3)])
def test_interruption_gives_the_weights_of_the_last_whole_epoch(at, epoch):
    network = _network()
    freeze_parameters(network, "backbone")
    objective = _Timed(at=at, error=KeyboardInterrupt())
    moment = "before training" if epoch == 1 else f"after epoch {epoch - 1}"
    with pytest.warns(ConvergenceWarning, match=f"in epoch {epoch}: .* {moment}"):
        _train(network, _set(rows=SCALED), objective=objective)
    torch.testing.assert_close(network.head.bias, _bias_after(5 * (epoch - 1)))
    assert not network.training


def test_loss_that_is_not_finite():
    network = _network()
    rows = SCALED.clone()
    rows[7] = torch.nan
    with pytest.warns(ConvergenceWarning, match="not finite in epoch 1.*before train"):
        history = _train(network, _set(rows=rows))
    assert history == []
    for name, tensor in _network().state_dict().items():
        assert torch.equal(network.state_dict()[name], tensor)


def test_errors_of_the_network_are_its_own():
    error = RuntimeError("shapes cannot be multiplied")
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        _train(_network(), _set(rows=SCALED), objective=_Timed(at=2, error=error))
    error = RuntimeError("CUDA out of memory")
    with pytest.raises(MemoryError, match="batch_size=5 rows: give a smaller"):
        _train(_network(), _set(rows=SCALED), objective=_Timed(at=2, error=error))


# -------------------------------------------------------------------- penalties


@pytest.mark.parametrize("strength", [0.5, 1e9])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_proximal_steps_of_the_penalties(strength, momentum):
    """Under a constant pull, against their closed forms."""
    lr, start = 0.1, _network()

    class Pull(SupervisedObjective):
        def forward(self, batch, features, outputs, progress):
            return sum(p.sum() for p in network.parameters())

    step = lr * strength / (1 - momentum)
    for penalty in ("l2_sp", "l1"):
        network = copy.deepcopy(start)
        names = {name for name, _ in start.named_parameters()}
        _train(
            network,
            _set(rows=SCALED),
            objective=Pull(_loss, names),
            max_epochs=1,
            lr=lr,
            momentum=momentum,
            **{penalty: strength},
        )
        for name, before in start.named_parameters():
            expected, speed = before.clone(), 0.0
            for _ in range(5):
                speed = momentum * speed + 1
                expected = expected - lr * speed
                if penalty == "l2_sp":
                    expected = (expected + step * before) / (1 + step)
                elif before.ndim > 1:
                    expected = (expected.abs() - step).clamp(min=0) * expected.sign()
            found = dict(network.named_parameters())[name]
            torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


def test_training_says_nothing_where_all_is_well():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        history = _train(_network(), _set(rows=SCALED))
    assert [entry["lr"] for entry in history] == [0.1] * 3
    assert all(np.isfinite(entry["train_loss"]) for entry in history)
