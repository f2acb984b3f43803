"""Devices by name, their generators, and tensors on their way off them."""

import numpy as np
import pytest
import torch
from torch import nn

from skadapt.deep import FineTuneClassifier
from skadapt.deep._devices import (
    as_array,
    find_device,
    on_cpu,
    parameter_dtype,
    seeded,
)


def _problem():
    X = np.random.default_rng(0).normal(size=(40, 3))
    return X, (X[:, 0] > 0).astype(int)


def _trunk():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.ReLU())


def test_devices_that_are_not_there():
    X, y = _problem()
    with pytest.raises(ValueError, match="is no device of torch"):
        FineTuneClassifier(_trunk(), device="gpu").fit(X, y)
    for device in ("cuda:77", "mps:77", "meta"):
        with pytest.raises(ValueError, match="finds none of that name: use device='a"):
            FineTuneClassifier(_trunk(), device=device).fit(X, y)


def test_names_of_devices():
    assert find_device("cpu") == find_device(torch.device("cpu")) == torch.device("cpu")
    assert find_device("auto").type in ("cpu", "cuda", "mps")


def test_generators_of_other_devices_stay(monkeypatch):
    X, y = _problem()

    def seeded(*args):
        raise AssertionError("a GPU was seeded")

    settings = {"max_epochs": 1, "random_state": 0, "device": "cpu"}
    models = [FineTuneClassifier(_trunk(), dropout=0.5, **settings) for _ in range(2)]
    for name in ("manual_seed", "manual_seed_all"):
        monkeypatch.setattr(torch.cuda, name, seeded)
    first, second = (model.fit(X, y) for model in models)
    for pair in zip(first.module_.parameters(), second.module_.parameters()):
        assert torch.equal(*pair)


def test_torch_goes_on_as_if_nothing_had_been_drawn():
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    drawn = []
    for _ in range(2):
        with seeded(5, torch.device("cpu")):
            drawn.append(torch.rand(3))
    assert torch.equal(*drawn)
    assert torch.equal(torch.rand(3), expected)


def test_precision_of_a_network():
    half = nn.Sequential(nn.Flatten(), nn.Linear(2, 2)).half()
    fitted = type("Fitted", (), {"module_": half})()
    assert parameter_dtype(half) == parameter_dtype(fitted) == torch.float16
    for none in (None, "name", nn.Flatten(), lambda: half):
        assert parameter_dtype(none) == torch.float32
        assert parameter_dtype(none, torch.float64) == torch.float64


def test_arrays_of_tensors():
    given = torch.tensor([1.5], dtype=torch.bfloat16, requires_grad=True)
    assert as_array(given).dtype == np.float32
    assert as_array(torch.zeros(2, dtype=torch.float64)).dtype == np.float64


def test_what_lies_on_the_cpu_stays_as_it_is():
    """What does not is copied there; tensors on "meta" stand for those of a GPU."""
    module, tensor = nn.Linear(2, 2), torch.ones(2)
    state = {"module": module, "list": [tensor, 1], "other": "text"}
    found = on_cpu(state)
    assert found["module"] is module
    assert found["list"][0] is tensor
    assert found == state
    with pytest.raises(NotImplementedError, match="meta"):
        on_cpu({"deep": [torch.ones(2, device="meta")]})
    with pytest.raises(NotImplementedError, match="meta"):
        on_cpu(nn.Linear(2, 2, device="meta"))
