"""The extra is reached from the package, and missed with a sentence."""

import inspect
import subprocess
import sys

import pytest
from sklearn.base import BaseEstimator

import skadapt

try:
    import skadapt.deep
except ImportError as error:
    pytest.skip(str(error), allow_module_level=True)

_WITHOUT = """
import importlib.util as util
find = util.find_spec
util.find_spec = lambda name, *rest: None if name == {name!r} else find(name, *rest)
import skadapt
try:
    {code}
except ImportError as error:
    print(error)
"""


@pytest.mark.parametrize("name", ["torch", "skorch", "safetensors"])
@pytest.mark.parametrize(
    "code", ["import skadapt.deep", "from skadapt import FineTuneClassifier"]
)
def test_missing_library_is_named_with_the_cure(name, code):
    done = subprocess.run(
        [sys.executable, "-c", _WITHOUT.format(name=name, code=code)],
        capture_output=True,
        text=True,
        check=True,
    )
    expected = f"skadapt.deep needs {name}: pip install skadapt[deep]"
    assert done.stdout.strip() == expected


def test_estimators_are_reached_from_the_package():
    for name in skadapt.deep.__all__:
        value = getattr(skadapt.deep, name)
        assert inspect.getdoc(value)
        if (
            inspect.isclass(value)
            and issubclass(value, BaseEstimator)
            and not inspect.isabstract(value)
        ):
            assert getattr(skadapt, name) is value
            assert name not in skadapt.__all__, "import * has to work without torch"
