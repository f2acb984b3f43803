"""The contract of all public estimators, held by those with networks.

The tests are those of ``tests/contract.py``, which discovers what is public in
`skadapt`; here it is shown what is public in `skadapt.deep`.
"""

import importlib.util
import inspect
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.base import clone

import skadapt.deep
from skadapt._predictor import BasePredictor

_PREDICTORS = [
    name
    for name in skadapt.deep.__all__
    if inspect.isclass(value := getattr(skadapt.deep, name))
    and issubclass(value, BasePredictor)
    and not inspect.isabstract(value)
]


def _contract():
    """The tests as a module of its own, which finds our predictors."""
    path = Path(__file__).resolve().parents[1] / "contract.py"
    spec = importlib.util.spec_from_file_location("contract_of_networks", path)
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(skadapt, "__all__", [*_PREDICTORS, "TCA", "PerDomain"])
        for name in _PREDICTORS:
            patch.setitem(vars(skadapt), name, getattr(skadapt.deep, name))
        spec.loader.exec_module(module)
    return module


contract = _contract()
_PLAIN = contract._assert_identical


def _assert_identical(first, second, path="model"):
    """Networks by their tensors: pickles of the same tensors differ."""
    if not isinstance(first, torch.nn.Module):
        return _PLAIN(first, second, path)
    assert str(first) == str(second), path
    states = [
        {name: tensor.cpu().numpy() for name, tensor in module.state_dict().items()}
        for module in (first, second)
    ]
    _PLAIN(*states, path)


contract._assert_identical = _assert_identical
contract.CASES = {
    name: case
    for name, case in contract.CASES.items()
    if type(case).__name__ in _PREDICTORS
}
test_declared_traits_hold = contract.test_declared_traits_hold


def _is_ours(case):
    cls = case if inspect.isclass(case) else type(case)
    return cls.__name__ in _PREDICTORS


def _short(case):
    """With fewer epochs, where nothing is asked of the accuracy."""
    return case if inspect.isclass(case) else clone(case).set_params(max_epochs=3)


def _ours(mark):
    """The mark with our predictors alone; None if it has none."""
    names, values = mark.args
    ids = mark.kwargs.get("ids")
    if names == "estimator, check":
        kept = [value for value in values if _is_ours(value[0])]
    elif names in ("estimator", "cls"):
        values = list(values)
        if ids is not None and not callable(ids):
            ids = [i for i, value in zip(ids, values) if _is_ours(value)]
        kept = [_short(value) for value in values if _is_ours(value)]
    elif mark.args[0] == "case" and "three dimensions" in values:
        # Rows with channels are rows here.
        kept = [value for value in values if value != "three dimensions"]
    else:
        return mark
    if not kept:
        return None
    return pytest.mark.parametrize(names, kept, ids=ids).mark


for _name, _test in vars(contract).items():
    if not _name.startswith("test_"):
        continue
    _marks = [
        _ours(mark) if mark.name == "parametrize" else mark
        for mark in getattr(_test, "pytestmark", [])
    ]
    if None not in _marks and {"estimator", "cls"} & set(
        inspect.signature(_test).parameters
    ):
        _test.pytestmark = _marks
        globals()[_name] = _test


def test_every_predictor_is_held_to_the_contract():
    assert {"FineTuneClassifier", "FineTuneRegressor"} <= set(_PREDICTORS)
    assert "test_scikit_learn" in globals()
    assert np.isin(_PREDICTORS, [cls.__name__ for cls in contract.ESTIMATORS]).all()
