"""Models and weights in files: tensors and JSON, and never code."""

import pickle

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from skadapt.deep import FineTuneClassifier, FineTuneRegressor

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
    weight = {LABELS[kind].tolist()[1]: 2.0}
    model = FineTuneClassifier(
        hidden_layer_sizes=(7, 3), class_weight=weight, dropout=0.2, max_epochs=2
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


def test_pickle_is_refused_with_what_to_do_instead(tmp_path):
    model = FineTuneClassifier(max_epochs=1).fit(X, LABELS["int"])
    (tmp_path / "m.pkl").write_bytes(pickle.dumps(model))
    torch.save(model.module_.state_dict(), tmp_path / "m.pt")
    for name in ("m.pkl", "m.pt"):
        with pytest.raises(ValueError, match="pickles.* are not read.*call save"):
            FineTuneClassifier.load(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        FineTuneClassifier.load(tmp_path / "none")
