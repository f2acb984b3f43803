"""Models and weights in files: tensors and JSON, and never code."""

import pickle

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from skadapt.deep import FineTuneClassifier, FineTuneRegressor, load_backbone

pytestmark = pytest.mark.filterwarnings("ignore::skadapt.NoAdaptationWarning")

rng = np.random.default_rng(0)
X = rng.normal(size=(40, 4)).astype(np.float32)
LABELS = {
    "int": np.arange(40) % 3,
    "str": np.array(["a", "b", "c"])[np.arange(40) % 3],
    "bool": np.arange(40) % 2 == 0,
}


@pytest.mark.parametrize("kind", LABELS)
def test_round_trip_of_the_default_network(kind, tmp_path):
    model = FineTuneClassifier(
        hidden_layer_sizes=(7, 3), class_weight={1: 2.0}, dropout=0.2, max_epochs=2
    ).fit(X, LABELS[kind])
    state = torch.random.get_rng_state()
    again = FineTuneClassifier.load(model.save(tmp_path / "m") and tmp_path / "m")
    assert torch.equal(torch.random.get_rng_state(), state)
    np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))
    assert again.get_params() == model.get_params()
    assert again.classes_.dtype == model.classes_.dtype
    assert again.history_ == model.history_
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    assert b"pickle" not in (tmp_path / "m").read_bytes()
    assert "head.weight" in load_file(tmp_path / "m")


def test_round_trip_of_a_regressor(tmp_path):
    model = FineTuneRegressor(max_epochs=2).fit(X, 5 + 3 * X[:, 0])
    model.save(tmp_path / "m")
    again = FineTuneRegressor.load(tmp_path / "m")
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    with pytest.raises(ValueError, match="holds a FineTuneRegressor, not"):
        FineTuneClassifier.load(tmp_path / "m")


def test_module_is_asked_for_again(tmp_path):
    backbone = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Linear(5, 9))
    model = FineTuneClassifier(backbone, max_epochs=2).fit(X, LABELS["str"])
    model.save(tmp_path / "m")
    with pytest.raises(ValueError, match="made with backbone.*pass backbone="):
        FineTuneClassifier.load(tmp_path / "m")
    again = FineTuneClassifier.load(tmp_path / "m", backbone=backbone)
    np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))


def test_file_of_something_else(tmp_path):
    save_file({"a": torch.zeros(1)}, tmp_path / "m")
    with pytest.raises(ValueError, match="holds no model of skadapt"):
        FineTuneClassifier.load(tmp_path / "m")


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
    (tmp_path / "b.pt").write_bytes(pickle.dumps(_Harmful()))
    for name in ("a.pth", "b.pt"):
        with pytest.raises(ValueError, match="code is never run"):
            load_backbone(tmp_path / name, _network())
    assert not _Harmful.called


def test_weights_of_another_network(tmp_path):
    path = tmp_path / "w.safetensors"
    save_file(_network(6).state_dict(), path)
    with pytest.raises(ValueError, match="holds 1 of the 4 tensors"):
        load_backbone(path, _network())
    head = {k: v for k, v in _network().state_dict().items() if k != "2.bias"}
    save_file(head, path)
    load_backbone(path, _network())
    with pytest.raises(ValueError, match="'2.bias'"):
        load_backbone(path, _network(), strict=True)


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
