"""Thirds of three tables: pandas as the referee, the packs, and measured floors."""

import json
from functools import partial

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.preprocessing import StandardScaler

from skadapt.datasets import _uci_regression, fetch_uci_regression

# File, label, column of the thirds, rows, rows of each third.
TABLES = {
    "concrete": ("concrete.csv.gz", "strength", "superplasticizer", (344, 343, 343)),
    "housing": ("boston.csv.gz", "MEDV", "NOX", (169, 169, 168)),
    "auto-mpg": ("auto-mpg.csv.gz", "mpg", "acceleration", (131, 131, 130)),
}
THIRDS = ["low", "middle", "high"]


@pytest.fixture(scope="module")
def table(recorded):
    pandas = pytest.importorskip("pandas")

    def read(name):
        return pandas.read_csv(recorded(TABLES[name][0]))

    return read


def _check_thirds(data, rows, by, label, target):
    """Compare with the rows of a data frame, sorted and cut by pandas."""
    rows = rows.reset_index(drop=True)
    order = rows.sort_values(by, kind="stable").index
    n_low, n_middle = -(-len(rows) // 3), -(-(len(rows) - 1) // 3)
    cut = n_low + n_middle
    thirds = {
        "low": order[:n_low],
        "middle": order[n_low:cut],
        "high": order[cut:],
    }
    sources = [third for third in THIRDS if third != target]
    assert data.domain_names == [*sources, target]
    ids = {}
    for domain, third in zip((1, 2, -1), data.domain_names):
        ids.update(dict.fromkeys(thirds[third], domain))
    source = sorted(row for row in ids if ids[row] > 0)
    chosen = [*source, *sorted(thirds[target])]
    np.testing.assert_array_equal(data.sample_domain, [ids[row] for row in chosen])
    features = rows.drop(columns=[by, label])
    assert data.feature_names == list(features)
    np.testing.assert_array_equal(data.X, features.iloc[chosen])
    np.testing.assert_array_equal(data.y, rows[label].iloc[chosen])
    np.testing.assert_array_equal(data.by_values, rows[by].iloc[chosen])


@pytest.mark.parametrize("target", THIRDS)
@pytest.mark.parametrize("name", TABLES)
def test_thirds_of_the_default_column(name, target, table):
    _, label, by, sizes = TABLES[name]
    data = fetch_uci_regression(name, target=target, download_if_missing=False)
    assert data.X.dtype == data.y.dtype == data.by_values.dtype == np.float64
    assert data.sample_domain.dtype == np.int64
    assert data.target_names == [label]
    sizes = dict(zip(THIRDS, sizes))
    for domain, third in zip((1, 2, -1), data.domain_names):
        assert np.sum(data.sample_domain == domain) == sizes[third]
    rows = table(name).dropna()
    _check_thirds(data, rows.drop(columns="B", errors="ignore"), by, label, target)
    domain_of = dict(zip(data.domain_names, (1, 2, -1)))
    low, middle, high = (
        data.by_values[data.sample_domain == domain_of[third]] for third in THIRDS
    )
    assert low.max() <= middle.min() and middle.max() <= high.min()
    assert "Pardoe" in data.DESCR


def test_the_high_third_is_the_target_unless_told(recorded):
    recorded(TABLES["concrete"][0])
    data, told = (
        fetch_uci_regression("concrete", **parameters)
        for parameters in ({}, {"by": "superplasticizer", "target": "high"})
    )
    np.testing.assert_array_equal(data.sample_domain, told.sample_domain)
    np.testing.assert_array_equal(data.X, told.X)


@pytest.mark.parametrize(
    "name, by",
    [("concrete", "cement"), ("housing", "AGE"), ("auto-mpg", "horsepower")],
)
def test_another_column(name, by, table):
    label = TABLES[name][1]
    data = fetch_uci_regression(name, by=by, target="middle")
    rows = table(name).dropna().drop(columns="B", errors="ignore")
    _check_thirds(data, rows, by, label, "middle")


def test_column_b_is_left_out_unless_asked_for(table):
    data = fetch_uci_regression("housing")
    assert data.X.shape == (506, 11) and "B" not in data.feature_names
    assert "Black" in data.DESCR and "old figures" in data.DESCR
    with_b = fetch_uci_regression("housing", include_b=True)
    _check_thirds(with_b, table("housing"), "NOX", "MEDV", "high")
    np.testing.assert_array_equal(with_b.sample_domain, data.sample_domain)
    by_b = fetch_uci_regression("housing", include_b=True, by="B")
    _check_thirds(by_b, table("housing"), "B", "MEDV", "high")
    other = fetch_uci_regression("concrete", include_b=True)
    assert other.X.shape == (1030, 7)


def test_cars_without_horsepower_are_left_out(table):
    assert table("auto-mpg")["horsepower"].isna().sum() == 6
    assert fetch_uci_regression("auto-mpg").X.shape == (392, 6)


@pytest.mark.parametrize("name", TABLES)
def test_a_frame_holds_the_same_numbers(name, table):
    frame = fetch_uci_regression(name, as_frame=True)
    data = fetch_uci_regression(name)
    assert list(frame.X) == frame.feature_names == data.feature_names
    np.testing.assert_array_equal(frame.X.to_numpy(), data.X)


@pytest.mark.parametrize(
    "name, correlation, floors, deviations",
    [
        ("concrete", 0.37, (17.7, 10.0, 11.8), (14.4, 14.8, 17.7)),
        ("housing", -0.43, (7.8, 4.6, 9.3), (7.6, 6.7, 10.6)),
        ("auto-mpg", 0.42, (5.5, 3.1, 4.2), (7.1, 7.0, 7.4)),
    ],
)
def test_correlations_and_floors_on_record(
    name, correlation, floors, deviations, recorded
):
    recorded(TABLES[name][0])
    for target, floor, deviation in zip(THIRDS, floors, deviations):
        data = fetch_uci_regression(name, target=target)
        assert np.corrcoef(data.by_values, data.y)[0, 1] == pytest.approx(
            correlation, abs=0.005
        )
        source = data.sample_domain > 0
        X = StandardScaler().fit(data.X[source]).transform(data.X)
        model = Ridge(1.0).fit(X[source], data.y[source])
        errors = model.predict(X[~source]) - data.y[~source]
        assert np.sqrt(np.mean(errors**2)) == pytest.approx(floor, abs=0.051)
        assert data.y[~source].std() == pytest.approx(deviation, abs=0.051)


# The packs


def test_concrete_from_its_original(rebuild, recorded):
    text = recorded("originals/Concrete_Data.csv").read_bytes().decode()
    pins = _uci_regression._TABLES["concrete"].originals
    fetch = partial(fetch_uci_regression, "concrete")
    rebuild(fetch, "concrete.csv.gz", pins, [text])


def test_housing_from_its_original(table, rebuild):
    line = "%.5f,%.2f,%.3f,%d,%.4f,%.4f,%.2f,%.4f,%d,%.1f,%.2f,%.2f,%.2f,%.2f"
    text = "\n".join(line % tuple(row) for row in table("housing").to_numpy())
    pins = _uci_regression._TABLES["housing"].originals
    rebuild(partial(fetch_uci_regression, "housing"), "boston.csv.gz", pins, [text])


@pytest.mark.parametrize("name", ["concrete", "housing"])
def test_pins_are_those_on_record(name, recorded):
    record = json.loads(recorded("originals.json").read_text())
    (pin,) = _uci_regression._TABLES[name].originals
    entry = record[pin.repository]
    assert pin.commit == entry["commit"]
    hashes = {file["path"]: file["sha256"] for file in entry["files"]}
    assert pin.sha256 == hashes[pin.path]


# Refusals


@pytest.mark.parametrize(
    "by, columns",
    [
        ("nox", "CRIM, ZN"),
        ("MEDV", "LSTAT"),
        ("B", "PTRATIO, LSTAT"),
    ],
)
def test_an_unknown_column_is_one_sentence(by, columns, recorded):
    recorded(TABLES["housing"][0])
    with pytest.raises(ValueError, match=f"by is '{by}', which is not") as refusal:
        fetch_uci_regression("housing", by=by)
    assert columns in str(refusal.value) and "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    "parameters, message",
    [
        ({"name": "boston"}, "name"),
        ({"name": "concrete", "target": "last"}, "target"),
        ({"name": "concrete", "by": 3}, "by"),
    ],
)
def test_bad_input_is_refused_in_one_sentence(parameters, message):
    with pytest.raises(ValueError, match=f"'{message}' parameter") as refusal:
        fetch_uci_regression(**parameters)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    "name, cure", [("concrete", "allow the download"), ("auto-mpg", "put it there")]
)
def test_absent_file_is_one_sentence(name, cure, tmp_path):
    with pytest.raises(FileNotFoundError, match=cure) as refusal:
        fetch_uci_regression(name, data_home=tmp_path, download_if_missing=False)
    message = str(refusal.value)
    assert TABLES[name][0] in message and str(tmp_path) in message
    assert "\n" not in message
