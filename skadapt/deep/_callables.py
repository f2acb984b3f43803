"""What a callable does, as a key under which its results may be kept."""

import sys
from functools import partial
from types import CodeType, FunctionType, MethodType, ModuleType

import joblib


def key_of_callable(function, name):
    """Key that callables share only if they do the same.

    A function of a module is told by its name and its own code; any other function
    (lambda, nested, of a script) by its code, its defaults and the variables it refers
    to; any other object by its pickle.

    Parameters
    ----------
    function : callable
    name : str
        What the user calls it.

    Returns
    -------
    key : str
    """
    try:
        return joblib.hash(_contents(function, ()))
    except Exception as error:  # PicklingError, TypeError, what __reduce__ raises
        raise ValueError(
            f"memory cannot tell what {name}={function!r} does ({error}): give a "
            "function of a module, or an object that can be pickled, or memory=None."
        ) from error


def _contents(value, above):
    """A form of a callable that joblib can hash; `above` are those it is part of."""
    if isinstance(value, partial):
        parts = [_contents(part, above) for part in (value.func, *value.args)]
        named = {key: _contents(part, above) for key, part in value.keywords.items()}
        return "partial", parts, named
    if isinstance(value, MethodType):
        own = _contents(value.__func__, above)
        return "method", own, _contents(value.__self__, above)
    if isinstance(value, CodeType):
        constants = [_contents(part, above) for part in value.co_consts]
        return value.co_code, constants, value.co_names, value.co_varnames
    if isinstance(value, frozenset):  # joblib puts sets in order, but not these
        return "frozenset", set(value)
    if isinstance(value, ModuleType):
        return "module", value.__name__
    if not isinstance(value, FunctionType):
        return value
    if value in above:
        return "itself", above.index(value)
    above = (*above, value)
    parts = [value.__code__, *(value.__defaults__ or ())]
    parts += (value.__kwdefaults__ or {}).values()
    if not _is_of_module(value):
        parts += [cell.cell_contents for cell in value.__closure__ or ()]
        names = _names(value.__code__)
        parts += [value.__globals__[n] for n in names if n in value.__globals__]
    place = (value.__module__, value.__qualname__) if _is_of_module(value) else ()
    return "function", place, [_contents(part, above) for part in parts]


def _is_of_module(function):
    """Whether a function is what a module other than the script has by its name."""
    found = sys.modules.get(function.__module__)
    for name in function.__qualname__.split("."):
        found = getattr(found, name, None)
    return found is function and function.__module__ != "__main__"


def _names(code):
    """Names that code refers to, that of nested functions included."""
    names = dict.fromkeys(code.co_names)
    for part in code.co_consts:
        if isinstance(part, CodeType):
            names.update(dict.fromkeys(_names(part)))
    return list(names)
