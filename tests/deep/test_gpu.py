"""The same on a GPU, where there is one."""

import pickle

import numpy as np
import pytest
import torch
from torch import nn

from skadapt.deep import FineTuneClassifier, TorchFeatures

pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="torch finds no CUDA device"
)


def _images(n=200):
    rng = np.random.default_rng(0)
    X = rng.integers(0, 256, size=(n, 3, 8, 8), dtype=np.uint8)
    return X, (X[:, 0].mean((1, 2)) > X[:, 1].mean((1, 2))).astype(int)


def _network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 6, 3)
    )


def _fit(device, **settings):
    X, y = _images()
    # New heads are drawn on the device: here they are given.
    torch.manual_seed(1)
    head = nn.Linear(6, 2)
    model = FineTuneClassifier(
        _network(), head, device=device, max_epochs=3, random_state=0, **settings
    )
    return model.fit(X, y)


def test_parity():
    X, _ = _images()
    expected = _fit("cpu").predict_proba(X)
    np.testing.assert_allclose(_fit("cuda").predict_proba(X), expected, atol=1e-3)
    features = [
        TorchFeatures(_network(), device=device).fit_transform(X)
        for device in ("cpu", "cuda")
    ]
    np.testing.assert_allclose(*features, atol=1e-3)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision(precision):
    X, _ = _images()
    expected = _fit("cpu").predict_proba(X)
    model = _fit("cuda", autocast=precision, channels_last=True)
    np.testing.assert_allclose(model.predict_proba(X), expected, atol=0.05)


def test_pickle_and_file_hold_tensors_of_the_cpu(tmp_path):
    X, _ = _images()
    model = _fit("cuda")
    expected = model.predict_proba(X)
    again = pickle.loads(pickle.dumps(model))
    assert {p.device.type for p in again.module_.parameters()} == {"cpu"}
    again.set_params(device="cpu")
    np.testing.assert_allclose(again.predict_proba(X), expected, atol=1e-3)
    model.save(tmp_path / "m")
    loaded = FineTuneClassifier.load(
        tmp_path / "m", backbone=_network(), head=nn.Linear(6, 2), device="cpu"
    )
    np.testing.assert_allclose(loaded.predict_proba(X), expected, atol=1e-3)
