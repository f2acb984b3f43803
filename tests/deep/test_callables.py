"""Keys of callables: equal only for callables that do the same."""

import subprocess
import sys
from functools import partial

import numpy as np
import pytest

from skadapt.deep._callables import key_of_callable

SCALE = 2.0


def _key(function):
    return key_of_callable(function, "preprocess")


class Cut:
    def __init__(self, length):
        self.length = length

    def __call__(self, text):
        return text[: self.length]

    def tail(self, text):
        return text[self.length :]


def _with(value):
    return lambda row: row + value


def _defaulting(value):
    def function(row, by=value, *, also=value):
        return row + by + also

    return function


def _deep(value):
    return lambda rows: [(lambda row: row * value)(row) for row in rows]


def _once(row):
    return row + 1


def _twice(row):
    return row + 2


DIFFERENT = {
    "lambdas": (lambda row: row + 1, lambda row: row + 2),
    "operators": (lambda row: row + 1, lambda row: row - 1),
    "methods called": (lambda row: row.max(), lambda row: row.min()),
    "closures": (_with(1), _with(2)),
    "closures with arrays": (_with(np.zeros(3)), _with(np.ones(3))),
    "closures with functions": (_with(lambda x: x), _with(lambda x: -x)),
    "defaults": (_defaulting(1), _defaulting(2)),
    "nested": (_deep(1), _deep(2)),
    "functions": (_once, _twice),
    "functions called": (lambda row: _once(row), lambda row: _twice(row)),
    "partial": (partial(pow, 2), partial(pow, 3)),
    "partial with names": (partial(_once, row=1), partial(_once, row=2)),
    "partial of lambdas": (partial(lambda r: r, 1), partial(lambda r: r + 1, 1)),
    "objects": (Cut(3), Cut(4)),
    "bound methods": (Cut(3).tail, Cut(4).tail),
    "method and object": (Cut(3).tail, Cut(3)),
    "library": (np.load, np.asarray),
}


@pytest.mark.parametrize("name", DIFFERENT)
def test_different_callables_have_different_keys(name):
    first, second = map(_key, DIFFERENT[name])
    assert first != second


ALIKE = [
    lambda: lambda row: row + 1,
    lambda: _with(np.ones(3)),
    lambda: _defaulting(2),
    lambda: _deep("text"),
    lambda: partial(_with(1), row=2),
    lambda: Cut(3),
    lambda: Cut(3).tail,
    lambda: lambda row: row in {"some", "words", "in", "a", "set"},
]


@pytest.mark.parametrize("make", ALIKE)
def test_equal_callables_share_their_key(make):
    assert _key(make()) == _key(make())


def test_variables_of_the_module_count(monkeypatch):
    before = _key(lambda row: row * SCALE)
    assert _key(lambda row: row * SCALE) == before
    monkeypatch.setitem(globals(), "SCALE", 3.0)
    assert _key(lambda row: row * SCALE) != before


def test_own_code_of_a_function_of_a_module_counts(monkeypatch):
    before = _key(_once)
    monkeypatch.setattr(_once, "__code__", _twice.__code__)
    assert _key(_once) != before


def test_functions_that_call_themselves():
    def make(step):
        def count(n):
            return 0 if n == 0 else step + count(n - 1)

        return count

    assert _key(make(1)) == _key(make(1)) != _key(make(2))


_SCRIPT = """
from skadapt.deep._callables import key_of_callable
SIZE = {size}
def cut(text):
    return [word for word in text[:SIZE] if word in {{"some", "of", "these"}}]
print(key_of_callable(cut, "preprocess"))
"""


def test_functions_of_scripts_over_processes():
    keys = [
        subprocess.run(
            [sys.executable, "-c", _SCRIPT.format(size=size)],
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
        ).stdout
        for size, seed in [(3, "1"), (3, "2"), (4, "1")]
    ]
    assert keys[0] == keys[1] != keys[2]


class _Secret:
    def __reduce__(self):
        raise TypeError("cannot be pickled")

    def __call__(self, row):
        return row


def test_what_has_no_key_is_refused():
    class Local:
        def __call__(self, row):
            return row

    for function in (_Secret(), _with(_Secret()), Local()):
        with pytest.raises(ValueError, match="memory cannot tell what preprocess="):
            _key(function)
