"""The default list, and its own small estimators against scikit-learn's."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid
from sklearn.preprocessing import StandardScaler

from skadapt import CORAL, KMM, PerDomain
from skadapt._candidates import (
    NONE,
    _MeanNorm,
    _NearestMean,
    _NearestRow,
    _rank,
    _scaler,
    check_columns,
    default_candidates,
)
from skadapt._predictor import steps_of


def make_rows(n=300, d=120, rank=None, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, rank or d))
    if rank:
        X = X @ rng.normal(size=(rank, d))
    return X, rng.permutation(np.repeat([1, -1], n // 2))


def names_of(candidates):
    return [one.name for one in candidates]


# ---------------------------------------------------------------------------
# The list
# ---------------------------------------------------------------------------


def test_wide_rows_have_37():
    found = default_candidates(*make_rows())
    assert len(found) == 37
    assert len(set(names_of(found))) == 37
    adapters = list(dict.fromkeys(one.adapter for one in found))
    assert adapters == [
        "none",
        "PerDomain",
        "CORAL",
        "SubspaceAlignment(20)",
        "SubspaceAlignment(40)",
        "SubspaceAlignment(80)",
        "PCA(50)",
        "TCA(20)",
        "TCA(50)",
        "TCA(100)",
        "GFK(20)",
        "KMM",
        "MEDA",
    ]
    of_kmm = [one.estimator for one in found if one.adapter == "KMM"]
    assert of_kmm == ["logistic", "SVM"], "1-NN takes no weights"


@pytest.mark.parametrize(("n", "d"), [(300, 8), (300, 30), (40, 120), (12, 2)])
def test_sizes_are_none_twice_and_within_the_rank(n, d):
    X, ids = make_rows(n, d)
    found = default_candidates(X, ids)
    assert len(set(names_of(found))) == len(found)
    rank = min(n // 2 - 1, d)
    sizes = [
        step.n_components
        for one in found
        for step in steps_of(one.model if one.adapter == "MEDA" else one.model.adapter)
        if hasattr(step, "n_components") and not isinstance(step, KMM)
    ]
    assert max(sizes) == min(rank, 100)


def test_rank_is_that_of_rows_centred_by_domain():
    X, _ = make_rows(30, 20)
    ids = np.repeat([1, 2, 3, -1], [4, 4, 4, 18])
    mapped = PerDomain().fit_transform(X, sample_domain=ids)
    assert _rank(mapped, ids) == 9, "three sources of four rows, each without its mean"
    found = default_candidates(X, ids)
    assert "SubspaceAlignment(9), SVM" in names_of(found)


def test_rows_that_are_all_alike_leave_maps_without_components():
    found = default_candidates(np.ones((20, 3)), np.repeat([1, -1], 10))
    assert {one.adapter for one in found} == {"none", "PerDomain", "CORAL", "KMM"}


def test_without_domains_there_are_no_adapters():
    found = default_candidates(make_rows()[0], None)
    assert {one.adapter for one in found} == {NONE}
    assert len(found) == 3


def test_candidates_of_one_adapter_share_it():
    found = default_candidates(*make_rows(60, 6))
    for adapter in {one.adapter for one in found} - {NONE, "MEDA"}:
        objects = {id(one.model.adapter) for one in found if one.adapter == adapter}
        assert len(objects) == 1


def test_an_estimator_and_adapters_of_the_user():
    X, ids = make_rows(60, 6)
    own = KNeighborsClassifier(3)
    found = default_candidates(X, ids, own, {"a": CORAL(), "KMM": KMM()})
    assert names_of(found) == [
        "none, KNeighborsClassifier",
        "a, KNeighborsClassifier",
        "KMM, KNeighborsClassifier",  # will fail, and say so in the table
    ]
    assert found[0].model.estimator is own, "not scaled: it may have its own ideas"
    by_default = default_candidates(X, ids, own)
    assert not [one for one in by_default if one.adapter == "KMM"]
    by_default = default_candidates(X, ids, LogisticRegression())
    assert len([one for one in by_default if one.adapter == "KMM"]) == 1


def test_sparse_rows_are_reduced_before_maps():
    X, ids = make_rows(60, 200)
    X = sparse.csr_array(np.where(np.abs(X) > 1, X, 0))
    found = default_candidates(X, ids)
    assert len(set(names_of(found))) == len(found)
    for one in found:
        steps = steps_of(one.model.adapter if one.adapter != "MEDA" else one.model)
        if one.adapter == NONE:
            first = steps_of(one.model.estimator)[0]
            assert isinstance(first, _MeanNorm), "centred rows are not sparse"
        else:
            assert type(steps[0]).__name__ == "TruncatedSVD"
            assert steps[0].n_components == 59
    with pytest.raises(ValueError, match=r"one column.*X\.toarray\(\)"):
        default_candidates(X[:, :1], ids)


def test_kmm_of_many_rows_is_approximated():
    for n, kind in ((2000, None), (3002, "nystroem")):
        X, ids = make_rows(n, 3)
        found = default_candidates(X, ids)
        kmm = next(one for one in found if one.adapter == "KMM")
        assert kmm.model.adapter[-1].approximation == kind


# ---------------------------------------------------------------------------
# Columns
# ---------------------------------------------------------------------------


def test_pixels_are_centred_and_measurements_scaled():
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 17, (200, 64)).astype(float)
    pixels[:, :8] = 0.0  # a rim that is never on
    pixels[:, 8:16] *= rng.random((200, 8)) < 0.02
    assert not _scaler(pixels).with_std
    assert not _scaler(pixels / 16).with_std
    lengths = rng.normal(size=(200, 10)) * np.geomspace(0.1, 100, 10)
    assert _scaler(lengths).with_std
    assert _scaler(np.ones((5, 2))).with_std


def spans(*lengths):
    """Columns that reach from 0 to these numbers."""
    return np.outer([0.0, 0.5, 1.0], lengths)


def test_columns_of_one_unit_are_16_of_which_half_span_most_of_the_range():
    assert not _scaler(spans(*[1.0] * 16)).with_std
    assert _scaler(spans(*[1.0] * 15)).with_std
    assert _scaler(spans(*[1.0] * 15, *[0.0] * 9)).with_std, (
        "constant ones do not count"
    )
    assert not _scaler(spans(*[1.0] * 10, *[0.1] * 9)).with_std
    assert _scaler(spans(*[1.0] * 9, *[0.1] * 10)).with_std
    assert not _scaler(spans(*[1.0] * 5, *[0.81] * 5, *[0.1] * 9)).with_std
    assert _scaler(spans(*[1.0] * 5, *[0.79] * 5, *[0.1] * 9)).with_std
    # The same unit at other places is a larger range.
    assert _scaler(spans(*[1.0] * 20) + np.linspace(0, 1, 20)).with_std
    assert not _scaler(1e-9 * spans(*[1.0] * 20) - 1e-9).with_std


@pytest.mark.parametrize("pixels", [True, False])
def test_the_scaler_is_the_same_in_all_candidates(pixels):
    rng = np.random.default_rng(0)
    X, ids = make_rows(60, 30)
    if pixels:
        X = rng.integers(0, 3, X.shape).astype(float)
    for one in default_candidates(X, ids):
        if one.adapter == NONE:
            scalers = [one.model.estimator[0]]
        else:
            model = one.model if one.adapter == "MEDA" else one.model.adapter
            scalers = [
                step.transformer if isinstance(step, PerDomain) else step
                for step in steps_of(model)[:1]
            ]
        assert [type(scaler) for scaler in scalers] == [StandardScaler]
        assert scalers[0].with_std is not pixels


def test_columns_of_numbers():
    pd = pytest.importorskip("pandas")
    numbers = np.arange(6).reshape(3, 2)
    for X in (
        numbers,
        numbers.astype(object),
        numbers > 2,
        numbers.astype(np.float32),
        pd.DataFrame(numbers),
        pd.DataFrame({"a": [0, 2, 4], "b": pd.array([1, 3, 5], dtype="Int64")}),
    ):
        found = check_columns(X)
        assert type(found) is np.ndarray
        assert found.dtype == np.float64
        np.testing.assert_array_equal(found, np.asarray(X, dtype=float))
    for kind in (sparse.csr_array, sparse.coo_array, sparse.csc_matrix):
        found = check_columns(kind(numbers))
        assert found.format == "csr"
        assert found.dtype == np.float64


def test_words_are_refused_with_a_cure():
    pd = pytest.importorskip("pandas")
    for X in (
        np.array([["a", "b"]]),
        np.array([["1", "2"]]),
        np.array([[1, "b"]], dtype=object),
        pd.DataFrame({"a": [1, 2], "b": ["u", "v"]}),
        pd.DataFrame({"a": pd.Series([1, 2]).astype("category")}),
        pd.DataFrame({"a": pd.to_datetime(["2020-01-01", "2020-01-02"])}),
    ):
        with pytest.raises(ValueError, match="no numbers: give compare_adapters a Pip"):
            check_columns(X)
    for X in (np.array([[1.0, np.nan]]), np.array([[1.0, np.nan]], dtype=object)):
        with pytest.raises(ValueError, match="X contains NaN"):
            check_columns(X)


# ---------------------------------------------------------------------------
# Its own estimators
# ---------------------------------------------------------------------------


def test_mean_norm():
    X = np.random.default_rng(0).normal(size=(20, 3))
    Z = _MeanNorm().fit_transform(X)
    assert np.mean((Z**2).sum(axis=1)) == pytest.approx(1.0)
    np.testing.assert_allclose(
        _MeanNorm().fit_transform(sparse.csr_array(X)).toarray(), Z, rtol=1e-14
    )
    np.testing.assert_array_equal(_MeanNorm().fit_transform(np.zeros((2, 2))), 0.0)


@pytest.mark.parametrize("labels", [[3, 5], ["a", "b", "c"]])
@pytest.mark.parametrize(
    ("own", "reference"),
    [
        (_NearestRow(), KNeighborsClassifier(1)),
        (_NearestMean(), NearestCentroid()),
    ],
    ids=["row", "mean"],
)
def test_nearest(own, reference, labels):
    rng = np.random.default_rng(0)
    y = np.array(labels)[np.arange(60) % len(labels)]
    X = rng.normal(size=(60, 3)) + np.arange(60)[:, np.newaxis] % len(labels)
    new = rng.normal(size=(200, 3))
    expected = reference.fit(X, y).predict(new)
    model = clone(own).fit(X, y)
    np.testing.assert_array_equal(model.predict(new), expected)
    scores = model.decision_function(new)
    assert scores.shape == ((200,) if len(labels) == 2 else (200, len(labels)))


def test_score_of_the_nearest_is_minus_the_distance():
    X, y = np.array([[0.0], [1.0], [4.0], [6.0], [9.0]]), np.array([0, 0, 1, 1, 2])
    found = _NearestRow().fit(X, y).decision_function([[3.0]])
    np.testing.assert_allclose(found, [[-2.0, -1.0, -6.0]])
    found = _NearestMean().fit(X, y).decision_function([[3.0]])
    np.testing.assert_allclose(found, [[-2.5, -2.0, -6.0]])
    found = _NearestMean().fit(X[:4], y[:4]).decision_function([[3.0]])
    np.testing.assert_allclose(found, [0.5])


def test_nearest_of_one_class():
    model = _NearestRow().fit(np.eye(3), ["a"] * 3)
    np.testing.assert_array_equal(model.predict(np.eye(3)), "a")


def test_nearest_row_takes_sparse_rows():
    X = np.round(np.random.default_rng(0).normal(size=(40, 5)))
    y = np.arange(40) % 3
    dense = _NearestRow().fit(X, y).decision_function(X)
    rows = sparse.csr_array(X)
    found = _NearestRow().fit(rows, y).decision_function(rows)
    np.testing.assert_allclose(found, dense, atol=1e-6)
