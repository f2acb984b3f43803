"""What every public estimator of skadapt is held to, by existing.

The estimators are discovered, and no test names one. What a test has to know of
an estimator it asks of its bases, its tags or its signature. Two kinds of method
differ by nature and say so with a class attribute, which is tested as well:

``_uses_target_labels = True``
    Labels of target rows take part in `fit` (TrAdaBoost). Default: they must
    not, and scrambling them must not move a bit.
``_needs_source_labels = True``
    Unlabelled source rows are refused, with a sentence. Default: they are
    accepted and left out of training.
"""

import ast
import doctest
import importlib
import inspect
import os
import pickle
import pkgutil
import random
import re
import warnings
from numbers import Real
from typing import NamedTuple

import numpy as np
import pytest
from scipy import sparse
from sklearn import config_context, get_config
from sklearn.base import BaseEstimator, clone, is_classifier, is_regressor
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler, StandardScaler
from sklearn.utils import estimator_html_repr, get_tags
from sklearn.utils._param_validation import Interval
from sklearn.utils.estimator_checks import (
    check_param_validation,
    parametrize_with_checks,
)
from threadpoolctl import threadpool_info

import skadapt
from skadapt import (
    KMM,
    TCA,
    BaseMapper,
    BaseWeighter,
    NegativeTransferWarning,
    NoAdaptationWarning,
    PerDomain,
    TransferClassifier,
)
from skadapt.datasets import make_covariate_shift

# ---------------------------------------------------------------------------
# Discovery
# ---------------------------------------------------------------------------


def _is_concrete(cls):
    return not inspect.isabstract(cls) and cls.__module__ != BaseMapper.__module__


def _public_estimators():
    """Concrete estimator classes in `skadapt.__all__`."""
    found = (getattr(skadapt, name) for name in skadapt.__all__)
    return [
        cls
        for cls in found
        if inspect.isclass(cls) and issubclass(cls, BaseEstimator) and _is_concrete(cls)
    ]


def _public_functions():
    found = (getattr(skadapt, name) for name in skadapt.__all__)
    return [value for value in found if inspect.isfunction(value)]


def _init_parameters(cls):
    return list(inspect.signature(cls).parameters)


def _cases():
    """An instance of every class, by id; one for each kind of adapter if it has any."""
    cases = {}
    adapters = {
        "weighter": KMM(),
        "mapper": next(
            cls()
            for cls in ESTIMATORS
            if issubclass(cls, BaseMapper) and not get_tags(cls()).input_tags.sparse
        ),
        "mappers": make_pipeline(PerDomain(), TCA(n_components=1)),
        "mapper-weighter": make_pipeline(PerDomain(), KMM()),
    }
    cheap = {
        "random_state": 0,
        # By default dozens of models.
        "candidates": [
            ("plain", LogisticRegression()),
            ("adapted", TransferClassifier(adapter=PerDomain(MaxAbsScaler()))),
        ],
    }
    for cls in ESTIMATORS:
        names = _init_parameters(cls)
        parameters = {name: value for name, value in cheap.items() if name in names}
        if "baseline" in names:
            parameters["estimator"] = cheap["candidates"][1][1]
        cases[cls.__name__] = cls(**parameters)
        if "adapter" in names:
            for kind, adapter in adapters.items():
                cases[f"{cls.__name__}-{kind}"] = cls(adapter=adapter)
    return cases


ESTIMATORS = _public_estimators()
CASES = _cases()


def _over(cases):
    return pytest.mark.parametrize("estimator", cases.values(), ids=cases.keys())


def _select(condition):
    return {name: case for name, case in CASES.items() if condition(case)}


def _is_mapper(estimator):
    return isinstance(estimator, BaseMapper)


def _is_weighter(estimator):
    return isinstance(estimator, BaseWeighter)


def _is_predictor(estimator):
    return is_classifier(estimator) or is_regressor(estimator)


def _uses_target_labels(estimator):
    return getattr(estimator, "_uses_target_labels", False)


def _needs_source_labels(estimator):
    return getattr(estimator, "_needs_source_labels", False)


def _adapts(estimator):
    """Whether target rows are looked at: not where an adapter may be and is none."""
    return getattr(estimator, "adapter", estimator) is not None


every_case = _over(CASES)
every_class = pytest.mark.parametrize("cls", ESTIMATORS, ids=lambda cls: cls.__name__)
every_function = pytest.mark.parametrize(
    "function", _public_functions(), ids=lambda function: function.__name__
)
every_mapper = _over(_select(_is_mapper))
every_weighter = _over(_select(_is_weighter))
every_predictor = _over(_select(_is_predictor))
every_classifier = _over(_select(is_classifier))
both_shapes = pytest.mark.parametrize("shape", ["tall", "wide"])
both_routings = pytest.mark.parametrize("routing", [False, True])

# ---------------------------------------------------------------------------
# Problems, and what comes out of a fitted model
# ---------------------------------------------------------------------------

_SHAPES = {"tall": (44, 36, 4), "wide": (16, 14, 30)}


class Problem(NamedTuple):
    """Rows of a source and a target that lie in any order."""

    X: np.ndarray
    y: np.ndarray  # as a user would give it: most target rows are unlabelled
    truth: np.ndarray
    sample_domain: np.ndarray

    def take(self, rows):
        return Problem(*(part[rows] for part in self))

    @property
    def source(self):
        return self.sample_domain > 0


def _problem(estimator, shape="tall", seed=0):
    """Data of the kind that the estimator's tags ask for."""
    n_source, n_target, n_features = _SHAPES[shape]
    rng = np.random.default_rng(seed)
    tags = get_tags(estimator)
    n = n_source + n_target
    sample_domain = rng.permutation(np.repeat([1, -1], [n_source, n_target]))
    X = rng.normal(size=(n, n_features)) * np.geomspace(2.0, 0.5, n_features)
    X[sample_domain < 0] = X[sample_domain < 0] * 1.3 + 0.5
    if is_regressor(estimator):
        truth = X[:, 0] - 0.5 * X[:, 1] ** 2 + 0.1 * rng.normal(size=n)
    else:
        multi = tags.classifier_tags is None or tags.classifier_tags.multi_class
        truth = np.digitize(X[:, 0] + X[:, 1], [-0.7, 0.9] if multi else [0.1])
    if tags.input_tags.positive_only:
        X = np.abs(X)
    y = truth.astype(float)
    hidden = sample_domain < 0
    if _uses_target_labels(estimator):
        hidden &= rng.random(n) < 0.6
    y[hidden] = np.nan
    return Problem(X, y, truth, sample_domain)


def _fit(estimator, problem):
    model = clone(estimator)
    return model.fit(problem.X, problem.y, sample_domain=problem.sample_domain)


def _takes_domains(model, method):
    bound = getattr(model, method, None)
    return bound is not None and "sample_domain" in inspect.signature(bound).parameters


def _call(model, method, X, sample_domain):
    if _takes_domains(model, method):
        return getattr(model, method)(X, sample_domain=sample_domain)
    return getattr(model, method)(X)


_ROW_METHODS = (
    "transform",
    "predict",
    "predict_proba",
    "decision_function",
    "predict_weights",
)


def _outcome(model, X, sample_domain):
    """All that a fitted model says about rows, one entry a row of X."""
    return {
        method: _call(model, method, X, sample_domain)
        for method in _ROW_METHODS
        if hasattr(model, method)
    }


def _fitted_outcome(model, problem):
    """The same, with what `fit` said about its own rows."""
    outcome = _outcome(model, problem.X, problem.sample_domain)
    for name, rows in (
        ("weights_", problem.source),
        ("transduction_", ~problem.source),
    ):
        if hasattr(model, name):
            values = np.asarray(getattr(model, name))
            whole = np.full((len(rows), *values.shape[1:]), np.nan)
            whole[rows] = values
            outcome[name] = whole
    assert outcome, "a fitted model must say something"
    return outcome


def _assert_close(actual, expected, tolerance):
    """Equal labels, and numbers equal relative to the largest."""
    assert actual.keys() == expected.keys()
    for name, value in expected.items():
        first, second = _dense(actual[name]), _dense(value)
        assert first.shape == second.shape, name
        if second.dtype.kind != "f":
            np.testing.assert_array_equal(first, second, err_msg=name)
            continue
        scale = np.nanmax(np.abs(second), initial=0.0)
        np.testing.assert_allclose(
            first, second, rtol=0, atol=tolerance * scale, err_msg=name
        )


def _dense(values):
    return values.toarray() if sparse.issparse(values) else np.asarray(values)


def _assert_identical(first, second, path="model"):
    """The same to the last bit, attribute by attribute; times are not compared."""
    assert type(first) is type(second), path
    if isinstance(first, np.ndarray) and first.dtype != object:
        assert first.dtype == second.dtype, path
        assert first.shape == second.shape, path
        assert first.tobytes() == second.tobytes(), path
    elif isinstance(first, np.ndarray):
        _assert_identical(first.tolist(), second.tolist(), path)
    elif isinstance(first, dict):
        assert list(first) == list(second), path
        for key in first:
            if key == "fit_times_":
                continue
            _assert_identical(first[key], second[key], f"{path}[{key!r}]")
    elif isinstance(first, (list, tuple)):
        assert len(first) == len(second), path
        for i, pair in enumerate(zip(first, second)):
            _assert_identical(*pair, f"{path}[{i}]")
    elif isinstance(first, BaseEstimator):
        _assert_identical(vars(first), vars(second), path)
    else:
        assert pickle.dumps(first) == pickle.dumps(second), path


def _interesting(problem):
    """A permutation that mixes domains, and is not its own inverse."""
    return np.random.default_rng(7).permutation(len(problem.X))


# ---------------------------------------------------------------------------
# scikit-learn's own contract
# ---------------------------------------------------------------------------


def _not_held(estimator):
    """Checks that a class cannot pass, with the reason."""
    allowed = estimator._parameter_constraints.get("cv", [None])
    if not all(isinstance(kind, Interval) for kind in allowed):
        return {}
    reason = "the check sets cv to pairs of indices, where cv is a number"
    check = "check_sample_weight_equivalence_on_{}_data"
    return {check.format(kind): reason for kind in ("dense", "sparse")}


@pytest.mark.filterwarnings("ignore::skadapt.NoAdaptationWarning")
@parametrize_with_checks(list(CASES.values()), expected_failed_checks=_not_held)
def test_scikit_learn(estimator, check):
    check(estimator)


@pytest.mark.filterwarnings("ignore::skadapt.NoAdaptationWarning")
@every_class
def test_parameters_are_validated(cls):
    assert set(cls._parameter_constraints) == set(_init_parameters(cls))
    check_param_validation(cls.__name__, cls())


def test_discovery_finds_every_estimator_of_the_package():
    """An estimator that is public in its module is public in the package."""
    lost = []
    for module in pkgutil.walk_packages(skadapt.__path__, "skadapt."):
        if ".deep" in module.name:  # an extra, and the only place that needs torch
            continue
        contents = vars(importlib.import_module(module.name))
        lost += [
            f"{module.name}.{name}"
            for name, value in contents.items()
            if inspect.isclass(value)
            and issubclass(value, BaseEstimator)
            and value.__module__ == module.name
            and not name.startswith("_")
            and _is_concrete(value)
            and value not in ESTIMATORS
        ]
    assert not lost
    assert len(ESTIMATORS) >= 7


@pytest.mark.parametrize("base", [BaseMapper, BaseWeighter])
def test_bases_are_abstract(base):
    """Nobody can fit a class that is there to be inherited from."""
    assert inspect.isabstract(base)


@every_class
def test_one_kind_and_one_signature(cls):
    estimator = cls()
    kinds = [_is_mapper, _is_weighter, _is_predictor]
    assert sum(kind(estimator) for kind in kinds) == 1
    parameters = inspect.signature(cls.fit).parameters
    shown = {
        name: parameter.default
        for name, parameter in parameters.items()
        if name != "self"
    }
    empty = inspect.Parameter.empty
    if _is_predictor(estimator):
        expected = {"X": empty, "y": empty, "sample_weight": None}
    else:
        expected = {"X": empty, "y": None}
    assert shown == {**expected, "sample_domain": None}
    assert list(shown) == [*expected, "sample_domain"]
    assert parameters["sample_domain"].kind is inspect.Parameter.KEYWORD_ONLY
    for method in ("transform", "predict", "predict_proba", "score"):
        if hasattr(cls, method):
            last = list(inspect.signature(getattr(cls, method)).parameters)[-1]
            assert last == "sample_domain", method


# ---------------------------------------------------------------------------
# Estimators as objects
# ---------------------------------------------------------------------------


@every_case
def test_clone_and_parameters(estimator):
    copy = clone(estimator)
    assert copy is not estimator
    shallow = estimator.get_params(deep=False)
    assert list(shallow) == sorted(_init_parameters(type(estimator)))
    again = type(estimator)(**shallow)
    _assert_identical(again.get_params(deep=False), shallow)
    assert copy.set_params(**copy.get_params(deep=False)) is copy
    assert repr(copy) == repr(estimator)
    with pytest.raises(ValueError, match="Invalid parameter 'no_such_parameter'"):
        copy.set_params(no_such_parameter=1)


@every_case
def test_fit_keeps_its_parameters(estimator):
    model = clone(estimator)
    before = clone(model)
    problem = _problem(estimator)
    assert model.fit(problem.X, problem.y, sample_domain=problem.sample_domain) is model
    _assert_identical(before.get_params(deep=True), model.get_params(deep=True))


@every_case
def test_pickle(estimator):
    problem = _problem(estimator)
    model = _fit(estimator, problem)
    again = pickle.loads(pickle.dumps(model))
    _assert_identical(again, model)
    _assert_identical(_fitted_outcome(again, problem), _fitted_outcome(model, problem))


@every_case
def test_repr(estimator):
    name = type(estimator).__name__
    assert repr(estimator).startswith(f"{name}(")
    assert repr(type(estimator)()) == f"{name}()"
    for model in (estimator, _fit(estimator, _problem(estimator))):
        assert name in estimator_html_repr(model)
        assert name in model._repr_html_()


@every_case
def test_same_input_same_bits(estimator):
    problem = _problem(estimator)
    _assert_identical(_fit(estimator, problem), _fit(estimator, problem))
    if "random_state" in estimator.get_params(deep=False):
        seeded = clone(estimator).set_params(random_state=5)
        _assert_identical(_fit(seeded, problem), _fit(seeded, problem))


@every_case
def test_refit_forgets(estimator):
    """Fitting again is fitting anew: on other data, other domains, other columns."""
    pd = pytest.importorskip("pandas")
    problem, other = _problem(estimator), _problem(estimator, "wide", seed=1)
    frame = pd.DataFrame(other.X).add_prefix("c")
    sample_domain = np.where(other.sample_domain > 0, 4, other.sample_domain)
    model = clone(estimator).fit(frame, other.y, sample_domain=sample_domain)
    model.fit(problem.X, problem.y, sample_domain=problem.sample_domain)
    fresh = _fit(estimator, problem)
    assert vars(model).keys() == vars(fresh).keys()
    _assert_identical(
        {name: getattr(model, name) for name in vars(fresh)}, vars(fresh), "fresh"
    )


@every_case
def test_inputs_stay_untouched(estimator):
    problem = _problem(estimator)
    copies = Problem(*(part.copy() for part in problem))
    model = _fit(estimator, problem)
    _fitted_outcome(model, problem)
    _assert_identical(list(problem), list(copies))


@every_case
def test_results_are_not_views_of_the_input(estimator):
    """What is written into a result changes neither the input nor the model."""
    problem = _problem(estimator)
    model = _fit(estimator, problem)
    before = problem.X.copy()
    expected = _fitted_outcome(model, problem)
    for values in _outcome(model, problem.X, problem.sample_domain).values():
        values[...] = 0
    np.testing.assert_array_equal(problem.X, before)
    _assert_identical(_fitted_outcome(model, problem), expected)


@every_case
def test_model_outlives_its_data(estimator):
    """A model keeps no reference to arrays that the caller may overwrite."""
    problem = _problem(estimator)
    kept = Problem(*(part.copy() for part in problem))
    model = _fit(estimator, problem)
    expected = _fitted_outcome(model, kept)
    problem.X[...] = 1.0
    problem.sample_domain[...] = 1
    _assert_identical(_fitted_outcome(model, kept), expected)


def _global_state():
    state = {
        "numpy": np.random.get_state(),
        "random": random.getstate(),
        "filters": list(warnings.filters),
        "config": get_config(),
        "errors": np.geterr(),
        "print": np.get_printoptions(),
        "environment": dict(os.environ),
    }
    threads = {pool["filepath"]: pool["num_threads"] for pool in threadpool_info()}
    return state, threads


@every_case
def test_global_state_stays(estimator):
    problem = _problem(estimator)
    _fitted_outcome(_fit(estimator, problem), problem)  # imports are done here
    np.random.random(), random.random()
    state, threads = _global_state()
    _fitted_outcome(_fit(estimator, problem), problem)
    state_after, threads_after = _global_state()
    for name, value in state.items():
        _assert_identical(state_after[name], value, name)
    assert threads_after == threads


# ---------------------------------------------------------------------------
# Kinds of arrays
# ---------------------------------------------------------------------------


@every_case
def test_data_frame(estimator):
    pd = pytest.importorskip("pandas")
    problem = _problem(estimator)
    index = _interesting(problem)
    frame = pd.DataFrame(problem.X, index=index).add_prefix("column ")
    sample_domain = pd.Series(problem.sample_domain, index=index)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # such as names that come and go
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", NegativeTransferWarning)
        model = clone(estimator)
        model.fit(frame, pd.Series(problem.y, index=index), sample_domain=sample_domain)
        outcome = _outcome(model, frame, sample_domain)
    assert list(model.feature_names_in_) == list(frame.columns)
    assert model.n_features_in_ == frame.shape[1]
    reference = _fit(estimator, problem)
    expected = _outcome(reference, problem.X, problem.sample_domain)
    _assert_close(outcome, expected, 1e-6)
    if outcome:
        with pytest.raises(ValueError, match="feature names"):
            _outcome(model, frame[frame.columns[::-1]], sample_domain)


@every_case
def test_global_pandas_output(estimator):
    pd = pytest.importorskip("pandas")
    problem = _problem(estimator)
    expected = _outcome(_fit(estimator, problem), problem.X, problem.sample_domain)
    frame = problem._replace(X=pd.DataFrame(problem.X).add_prefix("c"))
    with config_context(transform_output="pandas"), warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        warnings.simplefilter("ignore", NegativeTransferWarning)
        model = _fit(estimator, frame)
        outcome = _outcome(model, frame.X, problem.sample_domain)
    _assert_close(outcome, expected, 1e-6)


@every_mapper
def test_set_output(estimator):
    pd = pytest.importorskip("pandas")
    problem = _problem(estimator)
    expected = _fit(estimator, problem).transform(problem.X, problem.sample_domain)
    index = _interesting(problem)
    frame = pd.DataFrame(problem.X, index=index).add_prefix("c")
    model = clone(estimator).set_output(transform="pandas")
    for mapped in (
        model.fit_transform(frame, problem.y, sample_domain=problem.sample_domain),
        model.transform(frame, sample_domain=problem.sample_domain),
    ):
        assert isinstance(mapped, pd.DataFrame)
        assert list(mapped.columns) == list(model.get_feature_names_out())
        assert list(mapped.index) == list(index)
        _assert_close({"X": mapped}, {"X": expected}, 1e-6)


@every_case
@both_shapes
def test_single_precision(estimator, shape):
    """float32 stays float32 in mappers; weights and labels are those of float64."""
    problem = _problem(estimator, shape)
    single = problem._replace(X=problem.X.astype(np.float32))
    # The same numbers in both precisions: rounding the data is not the question.
    double = problem._replace(X=single.X.astype(np.float64))
    model = _fit(estimator, single)
    outcome = _fitted_outcome(model, single)
    if "transform" in outcome:
        assert outcome["transform"].dtype == np.float32
        mapped = clone(estimator).fit_transform(
            single.X, single.y, sample_domain=single.sample_domain
        )
        assert mapped.dtype == np.float32
    expected = _fitted_outcome(_fit(estimator, double), double)
    _assert_close(outcome, expected, 1e-3)


@every_case
@pytest.mark.parametrize("dtype", [np.int64, np.int8, bool])
def test_whole_numbers(estimator, dtype):
    """Integer rows are rows: the same as those numbers in float64."""
    problem = _problem(estimator)
    whole = (np.rint(problem.X * 3) if dtype is not bool else problem.X > 0).astype(
        dtype
    )
    problem = problem._replace(X=whole)
    double = problem._replace(X=whole.astype(np.float64))
    _assert_close(
        _fitted_outcome(_fit(estimator, problem), problem),
        _fitted_outcome(_fit(estimator, double), double),
        1e-6,
    )


@every_case
def test_read_only_arrays(estimator):
    problem = _problem(estimator)
    expected = _fitted_outcome(_fit(estimator, problem), problem)
    for part in problem:
        part.setflags(write=False)
    _assert_identical(_fitted_outcome(_fit(estimator, problem), problem), expected)


@every_case
@pytest.mark.parametrize("container", [sparse.csr_matrix, sparse.csr_array])
def test_sparse(estimator, container):
    """CSR gives what the same rows give dense, or is refused with a sentence."""
    problem = _problem(estimator)
    problem.X[np.abs(problem.X) < 0.4] = 0.0
    rows = container(problem.X)
    for part in (rows.data, rows.indices, rows.indptr):
        part.setflags(write=False)
    if not get_tags(estimator).input_tags.sparse:
        with pytest.raises((TypeError, ValueError), match=r"(?i)sparse"):
            _fit(estimator, problem._replace(X=rows))
        return
    expected = _outcome(_fit(estimator, problem), problem.X, problem.sample_domain)
    model = _fit(estimator, problem._replace(X=rows))
    _assert_close(_outcome(model, rows, problem.sample_domain), expected, 1e-6)
    in_rows = _fit(estimator, problem._replace(X=rows.tocoo()))
    _assert_identical(
        _outcome(in_rows, rows, problem.sample_domain),
        _outcome(model, rows, problem.sample_domain),
    )


@every_case
def test_ids_in_any_array(estimator):
    pd = pytest.importorskip("pandas")
    problem = _problem(estimator)
    expected = _fitted_outcome(_fit(estimator, problem), problem)
    ids = problem.sample_domain
    for given in (
        ids.tolist(),
        tuple(ids.tolist()),
        ids.astype(np.int8),
        ids.astype(object),
        pd.Series(ids, index=_interesting(problem)),
    ):
        model = clone(estimator).fit(problem.X, problem.y, sample_domain=given)
        _assert_identical(_fitted_outcome(model, problem), expected)
        _assert_identical(
            _outcome(model, problem.X, given),
            _outcome(model, problem.X, problem.sample_domain),
        )


# ---------------------------------------------------------------------------
# Rows and domains
# ---------------------------------------------------------------------------


@every_case
@both_shapes
def test_row_order_permutes_the_result(estimator, shape):
    problem = _problem(estimator, shape)
    order = _interesting(problem)
    model = _fit(estimator, problem)
    expected = {
        name: value[order] for name, value in _fitted_outcome(model, problem).items()
    }
    # The order of the rows of one call, and the order of those of fit.
    permuted = problem.take(order)
    _assert_close(
        _outcome(model, permuted.X, permuted.sample_domain),
        {name: expected[name] for name in _ROW_METHODS if name in expected},
        1e-6,
    )
    _assert_close(_fitted_outcome(_fit(estimator, permuted), permuted), expected, 1e-6)
    # Sources first, then targets: what many methods do inside.
    order = np.argsort(-problem.sample_domain, kind="stable")
    stacked = problem.take(order)
    _assert_close(
        _fitted_outcome(_fit(estimator, stacked), stacked),
        {name: v[order] for name, v in _fitted_outcome(model, problem).items()},
        1e-6,
    )


@every_mapper
@both_shapes
def test_fit_transform_is_fit_then_transform(estimator, shape):
    problem = _problem(estimator, shape)
    mapped = clone(estimator).fit_transform(
        problem.X, problem.y, sample_domain=problem.sample_domain
    )
    expected = _fit(estimator, problem).transform(problem.X, problem.sample_domain)
    _assert_close({"X": mapped}, {"X": expected}, 1e-10)


@every_case
def test_rows_of_a_call_do_not_depend_on_one_another(estimator):
    problem = _problem(estimator)
    model = _fit(estimator, problem)
    whole = _outcome(model, problem.X, problem.sample_domain)
    for rows in (problem.source, ~problem.source, np.arange(3)):
        part = _outcome(model, problem.X[rows], problem.sample_domain[rows])
        _assert_close(part, {name: value[rows] for name, value in whole.items()}, 1e-6)


@every_case
def test_rows_near_the_fitted_ones_are_treated_alike(estimator):
    """The fitted rows have no law of their own: there is no jump beside them."""
    problem = _problem(estimator)
    model = _fit(estimator, problem)
    nearby = problem.X + 1e-9
    numbers = [
        name for name in _ROW_METHODS if name != "predict" or not is_classifier(model)
    ]
    at, beside = (
        {
            n: v
            for n, v in _outcome(model, X, problem.sample_domain).items()
            if n in numbers
        }
        for X in (problem.X, nearby)
    )
    _assert_close(beside, at, 1e-6)


@every_case
def test_rows_are_target_rows_unless_said_otherwise(estimator):
    problem = _problem(estimator)
    model = _fit(estimator, problem)
    X, n = problem.X, len(problem.X)
    asks = [method for method in _ROW_METHODS if _takes_domains(model, method)]
    assert _is_weighter(model) or asks
    for method in asks:
        bound = getattr(model, method)
        _assert_identical(bound(X), bound(X, sample_domain=-1))
        _assert_identical(bound(X), bound(X, sample_domain=np.full(n, -1)))
        _assert_identical(
            bound(X, sample_domain=1), bound(X, sample_domain=np.full(n, 1))
        )
        _assert_identical(
            bound(X, sample_domain=np.int64(1)), bound(X, sample_domain=1)
        )


def _several_domains(problem):
    rng = np.random.default_rng(3)
    ids = np.where(
        problem.source,
        rng.integers(1, 4, len(problem.X)),
        -rng.integers(1, 3, len(problem.X)),
    )
    return problem._replace(sample_domain=ids)


@every_case
def test_several_sources_and_targets(estimator):
    """They are accepted, and their ids are names: what they are does not matter."""
    problem = _several_domains(_problem(estimator))
    assert len(np.unique(problem.sample_domain)) == 5
    model = _fit(estimator, problem)
    outcome = _fitted_outcome(model, problem)
    for name, value in outcome.items():
        if name not in ("weights_", "transduction_") and value.dtype.kind == "f":
            assert np.isfinite(value).all(), name
    other_names = {1: 9, 2: 5, 3: 70, -1: -8, -2: -3}
    renamed = problem._replace(
        sample_domain=np.array([other_names[i] for i in problem.sample_domain])
    )
    _assert_close(_fitted_outcome(_fit(estimator, renamed), renamed), outcome, 1e-6)


@every_weighter
def test_weights(estimator):
    """One finite weight a source row, and its sample size."""
    problem = _problem(estimator)
    model = _fit(estimator, problem)
    weights = model.weights_
    assert weights.shape == (np.count_nonzero(problem.source),)
    assert np.isfinite(weights).all()
    assert weights.sum() > 0
    size = weights.sum() ** 2 / (weights**2).sum()
    assert isinstance(model.effective_sample_size_, Real)
    assert model.effective_sample_size_ == pytest.approx(size, rel=1e-6)
    assert 1 <= model.effective_sample_size_ <= len(weights) * (1 + 1e-12)


@every_weighter
def test_weights_point_to_the_target(estimator):
    """They move the mean of the source to that of the target, and not away."""
    data = make_covariate_shift(250, 250, shift=1.0, random_state=0)
    source = data.sample_domain > 0
    model = clone(estimator).fit(data.X, data.y, sample_domain=data.sample_domain)
    gap = data.X[~source, 0].mean() - data.X[source, 0].mean()
    moved = np.average(data.X[source, 0], weights=model.weights_)
    assert moved - data.X[source, 0].mean() > 0.5 * gap


# ---------------------------------------------------------------------------
# Labels
# ---------------------------------------------------------------------------

_NAMES = np.array(["blue", "green", "red", "an unseen one"])


def _spellings(problem, estimator):
    """The same labels of the source in several forms, unlabelled mark and all.

    Each form is a function of the target labels, which may be None: unlabelled.
    """

    def joined(source, target, dtype):
        y = np.empty(len(problem.X), dtype=dtype)
        y[problem.source] = source[problem.source]
        y[~problem.source] = target
        return y

    truth = problem.truth
    forms = {"float with NaN": [joined(truth, np.nan, float)]}
    forms["float with NaN"] += [
        joined(truth, labels, float) for labels in _scrambles(problem, truth)
    ]
    forms["object with None"] = [
        joined(truth.astype(object), None, object),
        joined(truth.astype(object), truth[~problem.source].astype(object), object),
    ]
    if is_regressor(estimator):
        return forms
    forms["int"] = [forms["float with NaN"][0]] + [
        joined(truth, labels, int) for labels in _scrambles(problem, truth)
    ]
    names = _NAMES[truth]
    forms["strings"] = [joined(names.astype(object), None, object)] + [
        joined(names, _NAMES[labels], _NAMES.dtype)
        for labels in _scrambles(problem, truth)
    ]
    forms["strings as objects"] = [joined(names.astype(object), None, object)] + [
        joined(names.astype(object), _NAMES[labels].astype(object), object)
        for labels in _scrambles(problem, truth)
    ]
    return forms


def _scrambles(problem, truth):
    target = truth[~problem.source]
    yield target
    yield np.random.default_rng(1).permutation(target)
    yield np.full_like(target, 3)  # a class that no source row has


@_over(_select(lambda case: not _uses_target_labels(case)))
def test_target_labels_cannot_leak(estimator):
    problem = _problem(estimator)
    for form, spellings in _spellings(problem, estimator).items():
        reference = None
        for y in spellings:
            model = _fit(estimator, problem._replace(y=y))
            reference = reference or model
            _assert_identical(model, reference, form)


@_over(_select(lambda case: not get_tags(case).target_tags.required))
def test_adapters_without_labels(estimator):
    """An adapter that needs no y gives the same with and without one."""
    problem = _problem(estimator)
    without = clone(estimator).fit(problem.X, sample_domain=problem.sample_domain)
    _assert_identical(without, _fit(estimator, problem))


def test_declared_traits_hold():
    """Who declares to use target labels uses them, and lacks them aloud."""
    for estimator in CASES.values():
        problem = _problem(estimator)
        if _uses_target_labels(estimator):
            other = problem._replace(
                y=np.where(problem.source, problem.y, problem.y[::-1])
            )
            with pytest.raises(AssertionError):
                _assert_identical(_fit(estimator, problem), _fit(estimator, other))
            masked = np.where(problem.source, problem.y, np.nan)
            with pytest.raises(ValueError, match="target row"):
                _fit(estimator, problem._replace(y=masked))


@every_case
def test_unlabelled_source_rows(estimator):
    problem = _problem(estimator)
    some = np.flatnonzero(problem.source)[::5]
    y = problem.y.copy()
    y[some] = np.nan
    if _needs_source_labels(estimator):
        with pytest.raises(ValueError, match="unlabelled"):
            _fit(estimator, problem._replace(y=y))
        return
    model = _fit(estimator, problem._replace(y=y))
    as_objects = y.astype(object)
    as_objects[np.isnan(y)] = None
    objects = _fit(estimator, problem._replace(y=as_objects))
    outcome = _fitted_outcome(model, problem)
    _assert_identical(_fitted_outcome(objects, problem), outcome)
    if not _is_predictor(estimator):
        return
    # Left out of training: whoever wrote the label away has no say in the model.
    drowned = _fit(estimator, problem)
    assert (
        outcome["predict"].dtype == _fitted_outcome(drowned, problem)["predict"].dtype
    )


@every_classifier
def test_class_of_unlabelled_rows_only_is_no_class(estimator):
    if _needs_source_labels(estimator):
        pytest.skip("unlabelled source rows are refused")
    problem = _problem(estimator)
    y = problem.y.copy()
    y[problem.truth == 2] = np.nan
    assert list(_fit(estimator, problem._replace(y=y)).classes_) == [0, 1]


_LABELS = {
    "int": (np.array([3, 7]), "i"),
    "signs": (np.array([-1, 1]), "i"),
    "float": (np.array([0.0, 1.0]), "i"),
    "str": (np.array(["no", "yes"]), "U"),
    "bool": (np.array([False, True]), "b"),
}


@every_classifier
@pytest.mark.parametrize("kind", _LABELS)
@pytest.mark.parametrize("unlabelled", [False, True])
def test_classes_have_their_natural_dtype(estimator, kind, unlabelled):
    """-1 is a class like any other, and ints come back as ints."""
    values, dtype = _LABELS[kind]
    problem = _problem(estimator)
    y = values[(problem.truth > 0).astype(int)]
    if unlabelled:
        hidden = np.isnan(problem.y)
        number = kind in ("int", "signs", "float")
        y = y.astype(float if number else object)
        y[hidden] = np.nan if number else None
    model = _fit(estimator, problem._replace(y=y))
    assert model.classes_.dtype.kind == dtype
    assert model.classes_.tolist() == values.tolist()
    predicted = model.predict(problem.X)
    assert predicted.dtype.kind == dtype
    assert set(predicted.tolist()) <= set(values.tolist())


@every_predictor
def test_score_is_that_of_the_target_rows(estimator):
    problem = _problem(estimator)
    model = _fit(estimator, problem)
    X, truth, ids = problem.X, problem.truth, problem.sample_domain
    target = ~problem.source
    expected = model.score(X[target], truth[target])
    assert model.score(X, truth, sample_domain=ids) == expected
    assert model.score(X[target], truth[target], sample_domain=-1) == expected
    half = np.arange(len(X)) % 2
    assert model.score(X, truth, half, sample_domain=ids) == model.score(
        X[target], truth[target], half[target]
    )
    with pytest.raises(ValueError, match="score needs labels"):
        model.score(X, problem.y, sample_domain=ids)


@every_predictor
def test_sample_weight_of_ones_is_none(estimator):
    problem = _problem(estimator)
    model = clone(estimator).fit(
        problem.X,
        problem.y,
        np.ones(len(problem.X)),
        sample_domain=problem.sample_domain,
    )
    _assert_close(
        _fitted_outcome(model, problem),
        _fitted_outcome(_fit(estimator, problem), problem),
        1e-6,
    )


# ---------------------------------------------------------------------------
# Sentences on bad input
# ---------------------------------------------------------------------------

_CURE = "positive for the rows of a source"

# Both in fit and afterwards: what to make of good ids, and what is said about them.
_BAD_IDS = {
    "too short": (lambda ids: ids[:-1], "entries for"),
    "too long": (lambda ids: np.append(ids, 1), "entries for"),
    "zeros and ones": (lambda ids: (ids > 0).astype(int), "must not hold 0"),
    "zeros": (np.zeros_like, "must not hold 0"),
    "booleans": (lambda ids: ids > 0, "must hold ints"),
    "boolean objects": (lambda ids: (ids > 0).astype(object), "must hold ints"),
    "floats": (lambda ids: ids.astype(float), "must hold ints"),
    "NaN": (lambda ids: np.where(ids > 0, 1.0, np.nan), "must hold ints"),
    "strings": (lambda ids: np.where(ids > 0, "s", "t"), "must hold ints"),
    "strings as objects": (
        lambda ids: np.where(ids > 0, "s", "t").astype(object),
        "must hold ints",
    ),
    "a column": (lambda ids: ids[:, None], "one-dimensional"),
    "two columns": (lambda ids: np.column_stack([ids, ids]), "one-dimensional"),
    "empty": (lambda ids: ids[:0], "entries for"),
}
_BAD_IDS_IN_FIT = {
    **_BAD_IDS,
    "only sources": (np.abs, "no target row"),
    "only targets": (lambda ids: -np.abs(ids), "no source row"),
    "one int": (lambda ids: 1, "one-dimensional"),
}
_BAD_IDS_AFTERWARDS = {
    **_BAD_IDS,
    "the int 0": (lambda ids: 0, "must not hold 0"),
    "a boolean": (lambda ids: True, "must hold ints"),
    "a float": (lambda ids: 1.0, "must hold ints"),
    "a string": (lambda ids: "target", "must hold ints"),
}


def _assert_one_sentence(error, *words):
    message = str(error.value)
    for word in words:
        assert re.search(word, message), message
    assert "\n" not in message
    assert len(message) < 400


@every_case
@pytest.mark.parametrize("case", _BAD_IDS_IN_FIT)
def test_bad_ids_in_fit(estimator, case):
    spoil, words = _BAD_IDS_IN_FIT[case]
    problem = _problem(estimator)
    problem = problem._replace(sample_domain=spoil(problem.sample_domain))
    with pytest.raises(ValueError) as error:
        _fit(estimator, problem)
    _assert_one_sentence(error, "sample_domain", words, _CURE)


@every_case
@pytest.mark.parametrize("case", _BAD_IDS_AFTERWARDS)
def test_bad_ids_afterwards(estimator, case):
    spoil, words = _BAD_IDS_AFTERWARDS[case]
    problem = _problem(estimator)
    model = _fit(estimator, problem)
    given = spoil(problem.sample_domain)
    for method in (*_ROW_METHODS, "score"):
        if not _takes_domains(model, method):
            continue
        bound = getattr(model, method)
        arguments = (problem.truth,) if method == "score" else ()
        with pytest.raises(ValueError) as error:
            bound(problem.X, *arguments, sample_domain=given)
        _assert_one_sentence(error, "sample_domain", words, _CURE)


def _with_entry(value, in_source):
    def spoil(problem):
        X = problem.X.copy()
        X[np.flatnonzero(problem.source == in_source)[2], 1] = value
        return problem._replace(X=X)

    return spoil


_BAD_ROWS = {
    "NaN in a source row": (_with_entry(np.nan, True), "NaN"),
    "NaN in a target row": (_with_entry(np.nan, False), "NaN"),
    "inf in a source row": (_with_entry(np.inf, True), "infinity"),
    "inf in a target row": (_with_entry(-np.inf, False), "infinity"),
    "no rows": (lambda p: p.take(slice(0, 0)), r"0 sample"),
    "no columns": (lambda p: p._replace(X=p.X[:, :0]), r"0 feature"),
    "one dimension": (lambda p: p._replace(X=p.X[:, 0]), "Reshape your data"),
    "three dimensions": (lambda p: p._replace(X=p.X[:, :, None]), "dim|2D"),
    "strings": (lambda p: p._replace(X=np.full(p.X.shape, "a")), "(?i)string|convert"),
    "complex": (lambda p: p._replace(X=p.X * 1j), "Complex"),
}


@every_case
@pytest.mark.parametrize("case", _BAD_ROWS)
def test_bad_rows(estimator, case):
    spoil, words = _BAD_ROWS[case]
    if "target" in case and not _adapts(estimator):
        pytest.skip("without an adapter target rows are not looked at")
    problem = _problem(estimator)
    if "NaN" in case and get_tags(estimator).input_tags.allow_nan:
        _fit(estimator, spoil(problem))
        return
    with pytest.raises(ValueError, match=words):
        _fit(estimator, spoil(problem))


@every_case
@pytest.mark.parametrize("sizes", [(1, 1), (1, 5), (5, 1), (2, 2)])
def test_few_rows(estimator, sizes):
    """A finite answer, or a sentence that says what there is too little of."""
    problem = _problem(estimator)
    rows = np.concatenate(
        [
            np.flatnonzero(problem.source)[: sizes[0]],
            np.flatnonzero(~problem.source)[: sizes[1]],
        ]
    )
    problem = problem.take(rows)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)
            model = _fit(estimator, problem)
    except ValueError as error:
        assert re.search("row|sample|class|rank", str(error)), str(error)
        assert "at most 0" not in str(error), "a cure that nobody can take"
        return
    for name, value in _outcome(model, problem.X, problem.sample_domain).items():
        assert value.dtype.kind != "f" or np.isfinite(value).all(), name


@every_case
def test_rows_that_are_all_alike(estimator):
    """Nothing to learn from: a finite answer with columns, or a sentence."""
    problem = _problem(estimator)
    problem = problem._replace(X=np.ones_like(problem.X))
    try:
        model = _fit(estimator, problem)
    except ValueError as error:
        assert re.search("variance|rank|same", str(error)), str(error)
        assert "at most 0" not in str(error), "a cure that nobody can take"
        return
    for name, value in _fitted_outcome(model, problem).items():
        assert value.size, name
        rows = {"weights_": problem.source, "transduction_": ~problem.source}
        rows = rows.get(name, slice(None))
        assert value.dtype.kind != "f" or np.isfinite(value[rows]).all(), name


@every_classifier
def test_one_class(estimator):
    """The only class for every row, or a sentence about classes."""
    problem = _problem(estimator)
    problem = problem._replace(y=np.where(np.isnan(problem.y), np.nan, 1.0))
    try:
        model = _fit(estimator, problem)
    except ValueError as error:
        assert re.search("class", str(error)), str(error)
        return
    assert set(model.predict(problem.X)) == {1}


@every_predictor
@pytest.mark.parametrize(
    ("y", "words"),
    [
        (None, "requires y to be passed"),
        (np.nan, "no labelled source row"),
        (np.array(None), "no labelled source row"),
        ("too short", "inconsistent numbers of samples"),
        ("three dimensions", r"(?i)1d|dim"),
    ],
    ids=["None", "all NaN", "all None", "too short", "three dimensions"],
)
def test_bad_labels(estimator, y, words):
    problem = _problem(estimator)
    n = len(problem.X)
    if isinstance(y, str) and y == "too short":
        y = problem.y[:-1]
    elif isinstance(y, str):
        y = np.zeros((n, 2, 2))
    elif y is not None:
        y = np.full(n, y, dtype=object if isinstance(y, np.ndarray) else float)
    with pytest.raises(ValueError, match=words):
        _fit(estimator, problem._replace(y=y))


@every_predictor
@pytest.mark.parametrize("values", ["too short", "NaN"])
def test_bad_sample_weight(estimator, values):
    problem = _problem(estimator)
    weights = np.ones(len(problem.X))
    if values == "NaN":
        weights[np.flatnonzero(problem.source)[0]] = np.nan
    else:
        weights = weights[:-1]
    with pytest.raises(ValueError, match="(?i)sample_weight"):
        clone(estimator).fit(
            problem.X, problem.y, weights, sample_domain=problem.sample_domain
        )


@every_case
def test_fit_without_domains_says_so(estimator):
    problem = _problem(estimator)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        clone(estimator).fit(problem.X, problem.truth)
    caught = [w for w in caught if issubclass(w.category, NoAdaptationWarning)]
    assert len(caught) == 1
    message = str(caught[0].message)
    assert type(estimator).__name__ in message
    assert "sample_domain" in message
    assert caught[0].filename == __file__, "the warning points to the caller"


# ---------------------------------------------------------------------------
# Pipeline, search, cross-validation
# ---------------------------------------------------------------------------


def _arguments(routing, step, sample_domain):
    """How `fit` of a Pipeline is told the domains."""
    name = "sample_domain" if routing else f"{step}__sample_domain"
    return {name: sample_domain}


def _scaler(estimator):
    """A step that an estimator of counts can follow, too."""
    positive = get_tags(estimator).input_tags.positive_only
    return MaxAbsScaler() if positive else StandardScaler()


@every_case
@both_routings
def test_last_step_of_a_pipeline(estimator, routing):
    problem = _problem(estimator)
    scaled = problem._replace(X=_scaler(estimator).fit_transform(problem.X))
    expected = _fit(estimator, scaled)
    step = type(estimator).__name__.lower()
    pipeline = make_pipeline(_scaler(estimator), clone(estimator))
    with config_context(enable_metadata_routing=routing):
        pipeline.fit(
            problem.X,
            problem.y,
            **_arguments(routing, step, problem.sample_domain),
        )
        for method in _ROW_METHODS:
            if not _takes_domains(expected, method):
                continue
            bound = getattr(expected, method)
            ids = {"sample_domain": problem.sample_domain} if routing else {}
            _assert_identical(
                getattr(pipeline, method)(problem.X, **ids), bound(scaled.X, **ids)
            )
    if _is_weighter(estimator):
        _assert_identical(pipeline[-1].weights_, expected.weights_)


@every_mapper
@both_routings
def test_inner_step_of_a_pipeline(estimator, routing):
    """The rows of fit are mapped as what they are, not all as target rows."""
    problem = _problem(estimator)
    mapped = clone(estimator).fit_transform(
        problem.X, problem.y, sample_domain=problem.sample_domain
    )
    model = LogisticRegression().fit(mapped, problem.truth)
    step = type(estimator).__name__.lower()
    pipeline = make_pipeline(clone(estimator), LogisticRegression())
    with config_context(enable_metadata_routing=routing):
        pipeline.fit(
            problem.X,
            problem.truth,
            **_arguments(routing, step, problem.sample_domain),
        )
        _assert_identical(pipeline[-1].coef_, model.coef_)
        if routing:
            _assert_identical(
                pipeline.predict_proba(problem.X, sample_domain=problem.sample_domain),
                model.predict_proba(
                    _fit(estimator, problem).transform(problem.X, problem.sample_domain)
                ),
            )


def _splits(problem):
    """All sources and half of the target rows to train on, the other half to test."""
    source, target = np.flatnonzero(problem.source), np.flatnonzero(~problem.source)
    halves = target[::2], target[1::2]
    return [
        (np.sort(np.concatenate([source, halves[i]])), halves[1 - i]) for i in (0, 1)
    ]


def _count_fitted(estimator, X, y=None):
    return float(estimator.n_features_in_)


def _labelled(estimator):
    """A problem whose target labels are known to the scorer."""
    problem = _problem(estimator)
    return problem._replace(y=problem.truth)


@every_case
@both_routings
@pytest.mark.parametrize("inside", ["alone", "in a pipeline"])
def test_grid_search(estimator, routing, inside):
    problem = _labelled(estimator)
    name, value = next(iter(estimator.get_params(deep=False).items()))
    model, arguments = clone(estimator), {"sample_domain": problem.sample_domain}
    if inside != "alone":
        step = type(estimator).__name__.lower()
        model, name = make_pipeline(_scaler(estimator), model), f"{step}__{name}"
        arguments = _arguments(routing, step, problem.sample_domain)
    search = GridSearchCV(
        model,
        {name: [value]},
        cv=_splits(problem),
        scoring=None if _is_predictor(estimator) else _count_fitted,
        error_score="raise",
    )
    with config_context(enable_metadata_routing=routing):
        search.fit(problem.X, problem.y, **arguments)
        assert np.isfinite(search.best_score_)
        expected = clone(model).fit(problem.X, problem.y, **arguments)
    _assert_identical(search.best_estimator_.get_params(), expected.get_params())
    for method in ("predict", "transform"):
        if hasattr(expected, method):
            _assert_identical(
                getattr(search, method)(problem.X), getattr(expected, method)(problem.X)
            )


@every_predictor
@both_routings
def test_cross_validate(estimator, routing):
    problem = _labelled(estimator)
    splits = _splits(problem)
    with config_context(enable_metadata_routing=routing):
        scores = cross_validate(
            clone(estimator),
            problem.X,
            problem.y,
            cv=splits,
            params={"sample_domain": problem.sample_domain},
            error_score="raise",
        )["test_score"]
    expected = [
        _fit(estimator, problem.take(train)).score(problem.X[test], problem.y[test])
        for train, test in splits
    ]
    np.testing.assert_array_equal(scores, expected)


# ---------------------------------------------------------------------------
# Docstrings
# ---------------------------------------------------------------------------


def _sections(value):
    """Sections of a numpydoc docstring; that before the first is called ""."""
    assert value.__doc__, f"{value} has no docstring"
    lines = inspect.cleandoc(value.__doc__).splitlines()
    sections, name = {"": []}, ""
    for line, following in zip(lines, [*lines[1:], ""]):
        if line and set(following) == {"-"} and len(following) == len(line):
            name = line
            sections[name] = []
        elif not (line and set(line) == {"-"}):
            sections[name].append(line)
    return sections


def _entries(section):
    """Names in a section of definitions, with the text after the colon."""
    entries = {}
    for line in section:
        head = re.match(r"([\w*]+(?:, [\w*]+)*) *(?:: *(.*))?$", line)
        if head:
            for name in head.group(1).split(", "):
                entries[name] = head.group(2) or ""
    return entries


def _wraps_a_transformer_or_adapter(cls):
    """Whether it only applies what others published."""
    return bool({"transformer", "adapter"} & set(_init_parameters(cls)))


@every_class
def test_docstring(cls):
    sections = _sections(cls)
    summary = sections[""][0]
    assert summary.endswith(".")
    assert len(summary) <= 88
    parameters = _entries(sections["Parameters"])
    assert list(parameters) == _init_parameters(cls)
    for name, default in inspect.signature(cls).parameters.items():
        given = re.search("default=(.*)", parameters[name])
        assert given and ast.literal_eval(given.group(1)) == default.default, name
    assert "Examples" in sections
    assert "Raises" in sections
    assert "See Also" in sections
    if not _wraps_a_transformer_or_adapter(cls):
        assert "References" in sections


@every_class
def test_docstring_has_the_fitted_attributes(cls):
    pd = pytest.importorskip("pandas")
    estimator = cls()
    problem = _problem(estimator)
    model = _fit(estimator, problem._replace(X=pd.DataFrame(problem.X).add_prefix("c")))
    fitted = {
        name for name in vars(model) if name.endswith("_") and not name.startswith("_")
    }
    fitted |= {
        name
        for name, value in inspect.getmembers(cls)
        if isinstance(value, property)
        and name.endswith("_")
        and not name.startswith("_")
        and hasattr(model, name)
    }
    documented = _entries(_sections(cls)["Attributes"])
    assert fitted <= set(documented)
    for name in fitted:
        if isinstance(getattr(model, name), np.ndarray):
            assert "of shape (" in documented[name], name


@every_class
def test_docstrings_of_methods(cls):
    for name, method in inspect.getmembers(cls, inspect.isroutine):
        if name.startswith("_") or not method.__module__.startswith("skadapt"):
            continue
        sections = _sections(method)
        names = [n for n in inspect.signature(method).parameters if n != "self"]
        assert list(_entries(sections.get("Parameters", []))) == names, name
        assert {"Returns", "Yields"} & set(sections), name
        if "X" in names:
            assert "of shape (n_samples" in _entries(sections["Parameters"])["X"], name


@every_function
def test_docstrings_of_functions(function):
    sections = _sections(function)
    assert list(_entries(sections.get("Parameters", []))) == list(
        inspect.signature(function).parameters
    )
    assert {"Returns", "Examples"} <= set(sections)


@every_class
def test_example_runs(cls):
    tests = doctest.DocTestFinder(recurse=False).find(cls, cls.__name__)
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    for test in tests:
        assert any(cls.__name__ in example.source for example in test.examples)
        assert runner.run(test).failed == 0
    assert tests
