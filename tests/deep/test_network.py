"""Trunk and head: how networks are put together, cut and frozen."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from skadapt.deep import (
    FineTuneClassifier,
    MultiTaskClassifier,
    Network,
    parameter_blocks,
    transfer_layers,
)
from skadapt.deep._network import build_network, freeze_parameters, pooled


class Residual(nn.Module):
    def __init__(self, n):
        super().__init__()
        self.conv = nn.Conv2d(n, n, 3, padding=1)
        self.norm = nn.BatchNorm2d(n)

    def forward(self, x):
        return x + self.norm(self.conv(x)).relu()


class SmallResNet(nn.Module):
    """Defined like the networks of torchvision: stem, layers, pool, fc."""

    def __init__(self, n_classes=4):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3)
        self.bn1 = nn.BatchNorm2d(8)
        self.layer1 = nn.Sequential(Residual(8), Residual(8))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(8, n_classes)

    def forward(self, x):
        x = self.layer1(self.bn1(self.conv1(x)).relu())
        return self.fc(self.pool(x).flatten(1))


IMAGES = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def test_blocks_from_input_to_output():
    blocks = parameter_blocks(SmallResNet())
    assert [name for name, _ in blocks] == ["conv1", "layer1.0", "layer1.1", "fc"]
    assert "bn1.weight" in blocks[0][1]
    network, _ = build_network(SmallResNet(), "auto", 4, IMAGES)
    names = [name for name, _ in parameter_blocks(network)]
    assert names == ["backbone.conv1", "backbone.layer1.0", "backbone.layer1.1", "head"]
    listed = [name for _, part in parameter_blocks(network) for name in part]
    assert sorted(listed) == sorted(name for name, _ in network.named_parameters())


def test_head_that_fits_is_kept_and_gives_the_same_outputs():
    given = SmallResNet().eval()
    network, pretrained = build_network(given, "auto", 4, IMAGES)
    torch.testing.assert_close(network.eval()(IMAGES), given(IMAGES), rtol=0, atol=0)
    assert "head.weight" in pretrained


def test_head_is_replaced_when_the_number_of_classes_differs():
    given = SmallResNet()
    state = copy.deepcopy(given.state_dict())
    network, pretrained = build_network(given, "auto", 7, IMAGES)
    assert network(IMAGES).shape == (2, 7)
    assert network.head.in_features == 8
    assert "head.weight" not in pretrained
    assert "backbone.conv1.weight" in pretrained
    for name, tensor in given.state_dict().items():
        assert torch.equal(tensor, state[name])
    assert isinstance(given.fc, nn.Linear)


def test_other_heads():
    replaced, pretrained = build_network(SmallResNet(), "replace", 4, IMAGES)
    assert "head.weight" not in pretrained
    assert replaced.head.in_features == 8
    on_outputs, _ = build_network(SmallResNet(), "linear", 3, IMAGES)
    assert on_outputs.head.in_features == 4
    deep_head, _ = build_network(
        SmallResNet(4),
        lambda n_in, n_out: nn.Sequential(nn.Linear(n_in, 5), nn.Linear(5, n_out)),
        3,
        IMAGES,
    )
    assert deep_head(IMAGES).shape == (2, 3)
    with pytest.raises(ValueError, match="gives 2 outputs, but 3"):
        build_network(SmallResNet(), nn.Linear(4, 2), 3, IMAGES)


def test_trunk_without_a_linear_end_gets_a_head_on_its_pooled_maps():
    trunk = nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU())
    network, _ = build_network(trunk, "auto", 2, IMAGES)
    expected = trunk(IMAGES).mean((2, 3))
    torch.testing.assert_close(network.features(IMAGES), expected)


def test_linear_layer_that_is_not_the_output_is_no_head():
    trunk = nn.Sequential(nn.Flatten(), nn.Linear(192, 4), nn.ReLU())
    network, _ = build_network(trunk, "auto", 4, IMAGES)
    assert network.head.in_features == 4
    assert len(list(network.backbone.parameters())) == 2


def test_wrong_number_of_channels_is_said_with_the_right_one():
    with pytest.raises(ValueError, match="rows with 1 channels .* takes 3"):
        build_network(SmallResNet(), "auto", 4, IMAGES[:, :1])
    with pytest.raises(ValueError, match=r"does not take rows of shape \(5,\)"):
        build_network(nn.Linear(4, 2), "auto", 2, torch.zeros(2, 5))


@pytest.mark.parametrize(
    ("freeze", "frozen"),
    [
        (None, []),
        (1, ["conv1", "bn1"]),
        (3, ["conv1", "bn1", "layer1"]),
        ("backbone", ["conv1", "bn1", "layer1"]),
        ("layer1.0", ["layer1.0"]),
        (["conv*", "backbone.layer1.?"], ["conv1", "layer1"]),
    ],
)
def test_freeze(freeze, frozen):
    network, _ = build_network(SmallResNet(), "auto", 4, IMAGES)
    freeze_parameters(network, freeze)
    network.rest()
    network.train()
    for name, parameter in network.named_parameters():
        path = name.removeprefix("backbone.")
        expected = any(path.startswith(f"{part}.") for part in frozen)
        assert parameter.requires_grad != expected, name
    for name, module in network.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            path = f"{name.removeprefix('backbone.')}."
            expected = any(path.startswith(f"{part}.") for part in frozen)
            assert module.training != expected, name


def test_freeze_that_matches_nothing():
    network, _ = build_network(SmallResNet(), "auto", 4, IMAGES)
    with pytest.raises(ValueError, match="matches no layer.*backbone.conv1"):
        freeze_parameters(network, "layer9*")
    with pytest.raises(ValueError, match="neither a number of blocks nor a name"):
        freeze_parameters(network, True)
    with pytest.raises(ValueError, match="backbone has 3 blocks"):
        freeze_parameters(network, 4)


def test_lazy_layers_get_their_shapes_in_the_copy():
    given = nn.Sequential(nn.Flatten(), nn.LazyLinear(6), nn.ReLU())
    network, _ = build_network(given, "auto", 2, IMAGES)
    assert network.backbone[1].weight.shape == (6, 192)
    assert network(IMAGES).shape == (2, 2)
    assert isinstance(given[1], nn.LazyLinear)


def test_frozen_batch_norm_alone():
    network, _ = build_network(SmallResNet(), "auto", 4, IMAGES)
    network.rest(batch_norm=True)
    network.train()
    before = network.backbone.bn1.running_mean.clone()
    network(IMAGES)
    assert torch.equal(network.backbone.bn1.running_mean, before)
    assert network.backbone.layer1[0].training


@pytest.mark.parametrize(
    ("pooling", "expected"),
    [
        ("mean", lambda maps: maps.mean((2, 3))),
        ("max", lambda maps: maps.max((2, 3))),
        ("first", lambda maps: maps[:, :, 0, 0]),
        ("flatten", lambda maps: maps.reshape(len(maps), -1)),
    ],
)
def test_pooling_of_maps(pooling, expected):
    maps = np.random.default_rng(0).normal(size=(3, 4, 2, 5))
    ours = pooled(torch.from_numpy(maps), pooling).numpy()
    np.testing.assert_allclose(ours, expected(maps), rtol=1e-12)


def test_pooling_of_tokens_is_over_the_tokens():
    tokens = torch.randn(3, 7, 4)
    torch.testing.assert_close(pooled(tokens), tokens.mean(1))
    torch.testing.assert_close(pooled(tokens, "first"), tokens[:, 0])
    torch.testing.assert_close(pooled((tokens, None)), tokens.mean(1))


def test_layers_from_front_and_back():
    source, target = SmallResNet(), SmallResNet()
    before = copy.deepcopy(target.state_dict())
    front = transfer_layers(source, target, first=2).state_dict()
    back = transfer_layers(source, target, last=1).state_dict()
    named = transfer_layers(source, target, names=["layer1"]).state_dict()
    copied = {
        "front": (front, ("conv1", "bn1", "layer1.0")),
        "back": (back, ("fc",)),
        "named": (named, ("layer1",)),
    }
    for state, prefixes in copied.values():
        for name, tensor in state.items():
            own = name.startswith(tuple(f"{prefix}." for prefix in prefixes))
            origin = source.state_dict() if own else before
            assert torch.equal(tensor, origin[name]), name
    for name, tensor in target.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_layers_that_do_not_fit():
    with pytest.raises(ValueError, match="exactly one"):
        transfer_layers(SmallResNet(), SmallResNet())
    with pytest.raises(ValueError, match=r"differ in the layers \['fc.weight'"):
        transfer_layers(SmallResNet(4), SmallResNet(5), last=1)


def test_network_is_a_backbone_itself():
    first, _ = build_network(SmallResNet(), "auto", 4, IMAGES)
    again, pretrained = build_network(first, "auto", 4, IMAGES)
    assert isinstance(again, Network)
    assert "head.weight" in pretrained
    torch.testing.assert_close(again.eval()(IMAGES), first.eval()(IMAGES))


class Ended(nn.Module):
    """A linear layer, and what a function makes of its output."""

    def __init__(self, end):
        super().__init__()
        self.first = nn.Linear(4, 3)
        self.last = nn.Linear(3, 3)
        self.end = end

    def forward(self, x):
        return self.end(self.last(self.first(x).relu()))


@pytest.mark.parametrize(
    ("end", "is_head"),
    [
        (lambda z: z, True),
        (lambda z: z.clone(), True),
        (lambda z: nn.functional.dropout(z, 0.5, training=False), True),
        (lambda z: z.flatten(1), True),
        (torch.relu, False),
        (torch.relu_, False),
        (lambda z: nn.functional.leaky_relu(z), False),
        (lambda z: z.clamp(-30, 30), False),
        (nn.functional.hardtanh, False),
        (lambda z: z.flip(1), False),
        (lambda z: z - z.amin().clamp(max=0), False),
    ],
)
def test_head_is_the_layer_that_makes_the_output_of_any_rows(end, is_head):
    network = Ended(end)
    with torch.no_grad():
        network.last.weight.zero_()
        network.last.bias.copy_(torch.tensor([0.5, 0.25, 0.5]))  # nothing to cut off
    joined, pretrained = build_network(network, "auto", 3, torch.ones(1, 4))
    assert ("head.weight" in pretrained) == is_head
    rows = torch.randn(6, 4)
    if is_head:
        torch.testing.assert_close(joined.eval()(rows), network(rows))
    else:
        torch.testing.assert_close(joined.eval().features(rows), network(rows))


class Late(nn.Module):
    """The head is defined first, and a branch for training last."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(5, 3)
        self.trunk = nn.Linear(4, 5)
        self.branch = nn.Linear(5, 3)

    def forward(self, x):
        features = self.trunk(x).relu()
        self.seen = self.branch(features)
        return self.head(features)


def test_head_is_found_wherever_it_is_defined():
    network = Late()
    joined, pretrained = build_network(network, "auto", 3, torch.ones(1, 4))
    assert "head.weight" in pretrained
    assert torch.equal(joined.head.weight, network.head.weight)
    rows = torch.randn(6, 4)
    torch.testing.assert_close(joined.eval()(rows), network(rows))


SIGNALS = torch.randn(3, 2, 9, generator=torch.Generator().manual_seed(0))


class Turned(nn.Module):
    """Gives (rows, positions, features), though a convolution is its last layer."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv1d(2, 4, 3)

    def forward(self, x):
        return self.conv(x).transpose(1, 2)


@pytest.mark.parametrize(
    ("trunk", "axis"),
    [
        (nn.Sequential(nn.Conv1d(2, 4, 3), nn.BatchNorm1d(4), nn.MaxPool1d(2)), 2),
        (nn.Sequential(nn.Linear(9, 4), nn.ConvTranspose1d(2, 4, 3)), 2),
        (nn.Sequential(nn.Conv1d(2, 4, 3), nn.Linear(7, 4)), 1),
        (nn.Sequential(nn.Conv1d(2, 4, 3), nn.LayerNorm(7)), 1),
        (nn.Linear(9, 4), 1),
        (Turned(), 1),
    ],
)
def test_outputs_of_three_axes_are_averaged_over_positions(trunk, axis):
    network, _ = build_network(trunk, "auto", 2, SIGNALS)
    network.eval()
    expected = trunk.eval()(SIGNALS).mean(axis)
    torch.testing.assert_close(network.features(SIGNALS), expected)
    assert network.head.in_features == expected.shape[1]


def _plain_norms():
    plain = {"affine": False, "track_running_stats": True}
    return nn.Sequential(
        nn.BatchNorm1d(4, **plain),
        nn.Linear(4, 4),
        nn.Sequential(nn.BatchNorm1d(4, **plain), nn.ReLU()),
        nn.Linear(4, 4),
        nn.BatchNorm1d(4, **plain),
    )


@pytest.mark.parametrize(
    ("freeze", "resting"),
    [(None, []), (1, ["0", "2.0"]), ("backbone", ["0", "2.0", "4"]), ("3", ["4"])],
)
def test_frozen_norms_without_parameters_keep_their_statistics(freeze, resting):
    network, _ = build_network(_plain_norms(), "linear", 2, torch.randn(6, 4))
    freeze_parameters(network, freeze)
    network.rest()
    network.train()
    network(torch.randn(6, 4) + 3)
    for name, module in network.backbone.named_modules():
        if isinstance(module, nn.BatchNorm1d):
            rests = torch.equal(module.running_mean, torch.zeros(4))
            assert rests == (name in resting), name


def test_backbone_of_several_tasks_lends_its_trunk_and_not_its_heads():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(80, 4)).astype(np.float32)
    ids = np.repeat([1, -1], 40)
    # The heads stand for classes in another order than that of the classes.
    for shift in (0, 2):
        y = np.r_[np.arange(40) % 2 + shift, np.arange(40) % 2 + 2 - shift]
        several = MultiTaskClassifier(max_epochs=1, random_state=0)
        several.fit(X, y, sample_domain=ids)
        model = FineTuneClassifier(several, max_epochs=1, lr=1e-9, random_state=0)
        model.fit(X, y)
        torch.testing.assert_close(
            model.module_.backbone[1].weight, several.module_.backbone[1].weight
        )
        assert isinstance(model.module_.head, nn.Linear)
    one = MultiTaskClassifier(max_epochs=1, random_state=0, backbone=nn.Linear(4, 3))
    one.fit(X, y)
    again = FineTuneClassifier(one, max_epochs=1, lr=1e-9, random_state=0).fit(X, y)
    np.testing.assert_allclose(again.predict_proba(X), one.predict_proba(X), atol=1e-5)
