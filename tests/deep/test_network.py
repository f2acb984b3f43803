"""Trunk and head: how networks are put together, cut and frozen."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from skadapt.deep import Network, parameter_blocks, transfer_layers
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
