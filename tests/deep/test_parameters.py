"""Parameters that are written once: signatures, docstrings, unknown names."""

import inspect

import pytest
from sklearn.base import clone

import skadapt.deep
from skadapt.deep import DANNClassifier, FineTuneRegressor, MCCClassifier
from skadapt.deep._base import BaseNetworkPredictor

PREDICTORS = [
    value
    for value in vars(skadapt.deep).values()
    if inspect.isclass(value)
    and issubclass(value, BaseNetworkPredictor)
    and not inspect.isabstract(value)
]
every_predictor = pytest.mark.parametrize("cls", PREDICTORS)


@every_predictor
def test_unknown_parameters_name_the_class(cls):
    with pytest.raises(TypeError, match=rf"{cls.__name__} got an .* 'foo'"):
        cls(foo=1)


@every_predictor
def test_defaults_in_the_docstring_are_those_of_the_signature(cls):
    for parameter in inspect.signature(cls).parameters.values():
        default = parameter.default
        shown = f'"{default}"' if isinstance(default, str) else repr(default)
        (line,) = (
            line
            for line in cls.__doc__.splitlines()
            if line.startswith(f"    {parameter.name} : ")
        )
        assert line.endswith(f"default={shown}")


@every_predictor
def test_a_parameter_of_the_base_is_set(cls):
    model = clone(cls(lr=0.5, l2_sp=3.0))
    assert (model.lr, model.l2_sp) == (0.5, 3.0)


def test_parameters_with_other_defaults_keep_their_place():
    names = list(inspect.signature(DANNClassifier).parameters)
    assert names.index("lr") < names.index("max_epochs") < names.index("reversal")
    assert "lr : float, default=0.01\n" in DANNClassifier.__doc__
    assert "lr : float, default=0.001\n" in MCCClassifier.__doc__
    assert 'schedule : str or callable, default="dann"\n' in DANNClassifier.__doc__


def test_classes_that_users_derive():
    class Own(DANNClassifier):
        """Mine.

        Parameters
        ----------
        {training}
        """

        def __init__(self, backbone=None, head="auto", *, lr=7.0, mine=1, **training):
            super().__init__(backbone, head, lr=lr, **training)
            self.mine = mine

    names = list(inspect.signature(Own).parameters)
    assert names[-1] == "mine"
    assert names[:-1] == list(inspect.signature(DANNClassifier).parameters)
    assert Own(mine=3, reversal=0.5).get_params()["reversal"] == 0.5
    assert "lr : float, default=7.0\n" in Own.__doc__
    assert "sampler :" in Own.__doc__
    assert "sampler :" not in FineTuneRegressor.__doc__
