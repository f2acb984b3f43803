"""The package as it is imported: light, complete and without side effects."""

import inspect
import json
import subprocess
import sys
from importlib import import_module

import pytest

import skadapt

# What importing skadapt must not cost, unless scikit-learn costs it anyway.
HEAVY = ["torch", "cvxpy", "pooch", "matplotlib", "pandas", "numba", "ot", "rich"]

# sklearn.linear_model comes first: its import draws from Python's generator.
_REPORT = """
import json, random, sys, warnings
import numpy as np
import sklearn.linear_model
filters = list(warnings.filters)
config = sklearn.get_config()
state = np.random.get_state()
errors = np.geterr()
python_state = random.getstate()
{code}
same = lambda a, b: all(np.array_equal(x, y) for x, y in zip(a, b))
print(json.dumps({{
    "modules": sorted(sys.modules),
    "filters": list(warnings.filters) == filters,
    "config": sklearn.get_config() == config,
    "state": same(np.random.get_state(), state),
    "errors": np.geterr() == errors,
    "python": random.getstate() == python_state,
}}))
"""

_USE_ALL = "import skadapt\nfor name in skadapt.__all__: getattr(skadapt, name)"


def _report(code):
    """State and modules of a fresh process that runs `code`."""
    done = subprocess.run(
        [sys.executable, "-c", _REPORT.format(code=code)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert not done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def modules_of_scikit_learn():
    code = "import sklearn.linear_model, sklearn.pipeline, sklearn.preprocessing"
    return set(_report(code)["modules"])


@pytest.mark.parametrize("code", ["import skadapt", _USE_ALL], ids=["import", "all"])
def test_import_is_light_and_leaves_no_trace(code, modules_of_scikit_learn):
    report = _report(code)
    loaded = {name.partition(".")[0] for name in report.pop("modules")}
    allowed = {name.partition(".")[0] for name in modules_of_scikit_learn}
    assert not loaded & set(HEAVY) - allowed
    assert all(report.values()), report


def test_import_alone_loads_no_method():
    modules = _report("import skadapt")["modules"]
    assert [name for name in modules if name.startswith("skadapt.")] == []


def test_methods_without_numba_compile_nothing():
    """numba is loaded by the solvers that need it, and then by their first call."""
    report = _report(
        _USE_ALL
        + "\ncompiled = [d for m in list(sys.modules.values())"
        + "\n    if getattr(m, '__name__', '').startswith('skadapt')"
        + "\n    for d in vars(m).values() if getattr(d, 'signatures', None)]"
        + "\nassert not compiled, compiled"
    )
    assert report["filters"]


def test_star_import():
    namespace = {}
    exec("from skadapt import *", namespace)
    assert set(skadapt.__all__) <= set(namespace)


def test_all_is_sorted_and_unique():
    assert list(skadapt.__all__) == sorted(set(skadapt.__all__))
    assert not [name for name in skadapt.__all__ if name.startswith("_")]


@pytest.mark.parametrize("name", skadapt.__all__)
def test_public_name(name):
    value = getattr(skadapt, name)
    assert name in dir(skadapt)
    assert value.__name__ == name
    assert getattr(skadapt, name) is value
    home = skadapt._HOME[name]
    assert value.__module__ == home or value.__module__.startswith(f"{home}.")
    module = import_module(home)
    assert getattr(module, name) is value
    assert name in module.__all__
    assert inspect.getdoc(value)


@pytest.mark.parametrize("name", skadapt._SUBMODULES)
def test_submodule(name):
    module = getattr(skadapt, name)
    assert module.__name__ == f"skadapt.{name}"
    assert name in dir(skadapt)
    assert module.__doc__
    for public in module.__all__:
        assert getattr(module, public).__module__.startswith(module.__name__)


def test_functions_and_classes_of_a_family_are_public_in_the_package():
    """Result tuples stay in their module; all else is reached from the top."""
    for family in ("instance", "feature", "metrics"):
        for name in getattr(skadapt, family).__all__:
            assert name in skadapt.__all__ or name.endswith("Result"), name


def test_submodules_are_reached_in_a_fresh_process():
    code = "import skadapt\nassert skadapt.datasets.make_scaling\nskadapt.feature.TCA"
    assert "skadapt.datasets" in _report(code)["modules"]


@pytest.mark.parametrize("name", ["no_such_name", "_no_such_name", "KMMs", "torch"])
def test_unknown_attribute(name):
    with pytest.raises(AttributeError, match=f"'skadapt' has no attribute '{name}'"):
        getattr(skadapt, name)
    with pytest.raises(ImportError):
        exec(f"from skadapt import {name}", {})


def test_version():
    assert skadapt.__version__[0].isdigit()
