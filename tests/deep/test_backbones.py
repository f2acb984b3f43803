"""Pretrained networks from files: tensors, never code, and all of them."""

import pickle
import warnings

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from skadapt.deep import Network, load_backbone


def _network(width=5):
    return nn.Sequential(nn.Linear(4, width), nn.ReLU(), nn.Linear(width, 3))


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_weights_from_a_file(suffix, tmp_path):
    source, target = _network(), _network()
    path = tmp_path / f"weights{suffix}"
    if suffix == ".pth":
        torch.save({"state_dict": source.state_dict()}, path)
    else:
        save_file(source.state_dict(), path)
    before = target[0].weight.clone()
    loaded = load_backbone(path, target)
    for name, tensor in source.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor)
    assert torch.equal(target[0].weight, before)


class _Harmful:
    called = False

    def __reduce__(self):
        return _harm, ()


def _harm():
    _Harmful.called = True


def test_file_that_holds_code_is_refused(tmp_path):
    torch.save({"0.weight": torch.zeros(5, 4), "harm": _Harmful()}, tmp_path / "a.pth")
    (tmp_path / "b.pt").write_bytes(pickle.dumps(_Harmful(), protocol=2))
    for name in ("a.pth", "b.pt"):
        with pytest.raises(ValueError, match="code is never run"):
            load_backbone(tmp_path / name, _network())
    assert not _Harmful.called


def test_weights_of_another_network(tmp_path):
    path = tmp_path / "w.safetensors"
    save_file(_network(6).state_dict(), path)
    with pytest.raises(ValueError, match="holds 1 of the 4 tensors"):
        load_backbone(path, _network())


def test_files_that_are_not_there(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match="put it there"):
        load_backbone(tmp_path / "none.pth", _network())
    with pytest.raises(ValueError, match="unknown name: give the network"):
        load_backbone("resnet18")
    monkeypatch.setenv("SKADAPT_DATA", str(tmp_path))
    try:
        import torchvision  # noqa: F401
    except ImportError:
        with pytest.raises(ImportError, match=r"pip install skadapt\[vision\]"):
            load_backbone("torchvision/resnet18")
    else:
        with pytest.raises(FileNotFoundError, match="backbones.*resnet18.safetensors"):
            load_backbone("torchvision/resnet18")


class _Named(nn.Module):
    """A trunk and a head whose names are given."""

    def __init__(self, n_outputs=3, head="fc", width=5, **layers):
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(4, width), nn.BatchNorm1d(width))
        for name, layer in layers.items():
            setattr(self, name, layer)
        if n_outputs:
            setattr(self, head, nn.Linear(width, n_outputs))


def _saved(network, folder):
    save_file(network.state_dict(), folder / "w.safetensors")
    return folder / "w.safetensors"


@pytest.mark.parametrize(
    ("source", "target", "message"),
    [
        (_Named(7), _Named(3), "of another shape: 'fc.bias', 'fc.weight'"),
        (_Named(0), _Named(3), "missing: 'fc.weight', 'fc.bias'"),
        (_Named(7), _Named(0), "left over: 'fc.bias', 'fc.weight'"),
        (
            _Named(7, "classifier"),
            _Named(3),
            "missing: 'fc.weight', 'fc.bias'; left over: 'classifier.bias', 'class",
        ),
        (
            Network(nn.Linear(4, 5), nn.Linear(5, 7)),
            Network(nn.Linear(4, 5), nn.Sequential(nn.Linear(5, 2), nn.Linear(2, 2))),
            "missing: 'head.0.weight', .*; left over: 'head.bias', 'head.weight'",
        ),
    ],
    ids=["more classes", "no head in the file", "no head", "another name", "Network"],
)
def test_head_alone_may_differ_and_it_is_said(source, target, message, tmp_path):
    path = _saved(source, tmp_path)
    with pytest.warns(UserWarning, match=rf"network; {message}.*\. The head differs"):
        loaded = load_backbone(path, target).state_dict()
    state, before = source.state_dict(), target.state_dict()
    for name, tensor in loaded.items():
        of_head = name.startswith(("fc.", "head."))
        assert torch.equal(tensor, (before if of_head else state)[name]), name
    with pytest.raises(ValueError, match="It belongs to another network"):
        load_backbone(path, target, strict=True)


@pytest.mark.parametrize(
    ("source", "target", "named"),
    [
        (_Named(), _Named(other=nn.Linear(5, 5)), "missing: 'other.weight'"),
        (_Named(other=nn.Linear(5, 5)), _Named(), "left over: 'other.bias', 'other.w"),
        (_Named(0, a=nn.Linear(1, 1), b=nn.Linear(1, 1)), _Named(0), "'a.bias'.*'b.b"),
        (
            _Named(width=6),
            _Named(),
            "of another shape: 'fc.weight', 'trunk.0.bias', .*and 1 more",
        ),
        (nn.Linear(4, 3), nn.Linear(4, 3, bias=False), "left over: 'bias'"),
        (nn.Linear(4, 2), nn.Linear(4, 3), "holds 0 of the 2 tensors"),
        (nn.Linear(4, 2), nn.ReLU(), "holds 0 of the 0 tensors"),
    ],
)
def test_tensors_that_are_missing_or_left_over_are_named(
    source, target, named, tmp_path
):
    with pytest.raises(ValueError, match=f"{named}.*It belongs to another network"):
        load_backbone(_saved(source, tmp_path), target)


def test_many_tensors_are_counted(tmp_path):
    path = _saved(nn.Linear(4, 5), tmp_path)
    with pytest.raises(
        ValueError, match="missing: '0.weight', .* and 4 more; left over"
    ):
        load_backbone(path, nn.Sequential(*[nn.Linear(4, 5) for _ in range(5)]))


def test_old_files_have_no_count_of_batches(tmp_path):
    source = _Named()
    state = source.state_dict()
    del state["trunk.1.num_batches_tracked"]
    save_file(state, tmp_path / "w.safetensors")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loaded = load_backbone(tmp_path / "w.safetensors", _Named())
    assert torch.equal(loaded.fc.weight, source.fc.weight)
    with pytest.raises(ValueError, match="missing: 'trunk.1.num_batches_tracked'"):
        load_backbone(tmp_path / "w.safetensors", _Named(), strict=True)


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (torch.zeros(3), "Tensor"),
        ([torch.zeros(3)], "list"),
        ({"epoch": 3}, "dict"),
        ({0: torch.zeros(3)}, "dict"),
    ],
)
def test_file_without_names_of_tensors(content, kind, tmp_path):
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(ValueError, match=f"holds a {kind} where tensors with names"):
        load_backbone(tmp_path / "w.pt", _network())


def test_numbers_beside_the_tensors_are_left_out(tmp_path):
    source = _network()
    torch.save({**source.state_dict(), "epoch": 3}, tmp_path / "w.pt")
    loaded = load_backbone(tmp_path / "w.pt", _network(), strict=True)
    assert torch.equal(loaded[0].weight, source[0].weight)


def test_whole_network_in_a_file_is_refused_with_what_to_do_instead(tmp_path):
    torch.save(_network(), tmp_path / "w.pt")
    with pytest.raises(ValueError, match=r"save_file\(network.state_dict\(\)"):
        load_backbone(tmp_path / "w.pt", _network())
