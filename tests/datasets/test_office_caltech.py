"""Office-Caltech: what the rows are, and the floors that the literature prints."""

from itertools import permutations
from pathlib import Path

import numpy as np
import pytest

from skadapt.datasets import (
    fetch_office_caltech,
    fetch_office_caltech_splits,
    get_data_home,
)

N_ROWS = {"amazon": 958, "caltech": 1123, "dslr": 157, "webcam": 295}
IDS = {"amazon": 1, "caltech": 2, "dslr": 3, "webcam": 4}


@pytest.fixture(scope="module")
def everything():
    folder = Path(get_data_home())
    if not (folder / "office-caltech-surf.npz").exists():
        pytest.skip(f"office-caltech-surf.npz is not in {folder}")
    return fetch_office_caltech(download_if_missing=False)


def test_all_rows(everything):
    data = everything
    assert data.X.shape == (2533, 800)
    assert data.X.dtype == np.float64
    assert data.y.dtype == data.sample_domain.dtype == np.int64
    assert data.X.min() == 0 and data.X.max() == 115
    np.testing.assert_array_equal(data.X, np.rint(data.X))
    assert data.domain_names == list(N_ROWS)
    assert all(type(name) is str for name in data.domain_names + data.target_names)
    assert len(data.target_names) == 10
    assert data.target_names[0] == "backpack" and data.target_names[9] == "projector"
    for name, count in N_ROWS.items():
        rows = data.sample_domain == IDS[name]
        assert rows.sum() == count
        assert set(data.y[rows]) == set(range(1, 11))
    assert "Gong" in data.DESCR


@pytest.mark.parametrize(
    "source, target",
    [
        ("caltech", "amazon"),
        (["caltech"], ("webcam",)),
        (["webcam", "amazon"], ["dslr", "caltech"]),
    ],
)
def test_chosen_rows(everything, source, target):
    data = fetch_office_caltech(source=source, target=target)
    source = [source] if isinstance(source, str) else source
    target = [target] if isinstance(target, str) else target
    rows, ids = [], []
    for names, sign in ((source, 1), (target, -1)):
        for name in sorted(names):  # alphabetic order is the packed order
            rows.extend(np.flatnonzero(everything.sample_domain == IDS[name]))
            ids.extend([sign * IDS[name]] * N_ROWS[name])
    np.testing.assert_array_equal(data.sample_domain, ids)
    np.testing.assert_array_equal(data.X, everything.X[rows])
    np.testing.assert_array_equal(data.y, everything.y[rows])
    assert data.sample_domain.dtype == data.y.dtype == np.int64
    assert data.domain_names == everything.domain_names


def test_one_nearest_neighbour_floors(everything):
    """README-vision: rows to sum 1, z-score per domain, 1-NN, whole domains."""
    floors = {
        "caltech": {"amazon": 23.70, "webcam": 25.76, "dslr": 25.48},
        "amazon": {"caltech": 26.00, "webcam": 29.83, "dslr": 25.48},
        "webcam": {"caltech": 19.86, "amazon": 22.96, "dslr": 59.24},
        "dslr": {"caltech": 26.27, "amazon": 28.50, "webcam": 63.39},
    }
    prepared, labels = {}, {}
    for name, domain in IDS.items():
        rows = everything.X[everything.sample_domain == domain]
        rows = rows / rows.sum(axis=1, keepdims=True)
        prepared[name] = (rows - rows.mean(axis=0)) / rows.std(axis=0)
        labels[name] = everything.y[everything.sample_domain == domain]
    for source, target in permutations(N_ROWS, 2):
        Xs, Xt = prepared[source], prepared[target]
        nearest = ((Xs**2).sum(axis=1) - 2 * Xt @ Xs.T).argmin(axis=1)
        right = 100 * (labels[source][nearest] == labels[target]).mean()
        assert right == pytest.approx(floors[source][target], abs=0.01)


@pytest.mark.parametrize(
    "parameters, message",
    [
        ({"source": "amazon"}, "source is given and target is not"),
        ({"target": "amazon"}, "target is given and source is not"),
        ({"source": "amazon", "target": ["dslr", "amazon"]}, "'amazon' is in both"),
        ({"source": "amazn", "target": "dslr"}, "source names 'amazn', which is not"),
        ({"source": "amazon", "target": ["dslr", 3]}, "target names 3, which is not"),
        ({"source": [], "target": "dslr"}, "source is empty"),
        ({"source": 1, "target": "dslr"}, "'source' parameter"),
        ({"download_if_missing": "no"}, "download_if_missing"),
        ({"data_home": 3}, "data_home"),
    ],
)
def test_bad_input_is_refused_in_one_sentence(parameters, message):
    with pytest.raises(ValueError, match=message) as refusal:
        fetch_office_caltech(**parameters)
    assert "\n" not in str(refusal.value)


def test_absent_file_is_one_sentence(tmp_path):
    with pytest.raises(OSError, match="office-caltech-surf.npz is not in") as refusal:
        fetch_office_caltech(data_home=tmp_path, download_if_missing=False)
    assert str(tmp_path) in str(refusal.value)
    assert "\n" not in str(refusal.value)


# The 20 trials

SPLITS = "office-caltech-splits.npz"


def prepared(data):
    """Rows to sum 1, columns of each whole domain to mean 0 and variance 1."""
    X = data.X / data.X.sum(axis=1, keepdims=True)
    for domain in set(data.sample_domain.tolist()):
        rows = data.sample_domain == domain
        X[rows] = (X[rows] - X[rows].mean(axis=0)) / X[rows].std(axis=0)
    return X


@pytest.mark.parametrize("source, target", list(permutations(N_ROWS, 2)))
def test_trials_draw_rows_of_each_class(everything, recorded, source, target):
    recorded(SPLITS)
    data = fetch_office_caltech(source=source, target=target)
    splits = fetch_office_caltech_splits(source, target)
    n_source, n_target = N_ROWS[source], N_ROWS[target]
    per_class = 20 if source == "amazon" else 8
    assert splits.source_rows.shape == (20, 10 * per_class)
    assert splits.target_rows.shape == (20, 30)
    assert splits.test_rows.shape == (20, n_target - 30)
    for rows in splits.values():
        assert rows.dtype == np.int64
    for drawn, labeled, test in zip(*splits.values()):
        assert len(set(drawn)) == len(drawn)
        assert (data.sample_domain[drawn] > 0).all()
        assert (np.bincount(data.y[drawn])[1:] == per_class).all()
        assert (np.bincount(data.y[labeled])[1:] == 3).all()
        rest = sorted([*labeled, *test])
        assert rest == list(range(n_source, n_source + n_target))


@pytest.mark.parametrize(
    "source, target, from_source, from_target",
    [
        ("amazon", "dslr", 22.1, 33.6),
        ("dslr", "webcam", 52.2, 33.4),
        ("webcam", "dslr", 40.3, 35.9),
        ("caltech", "webcam", 16.9, 33.5),
    ],
)
def test_floors_of_the_trials(
    everything, recorded, source, target, from_source, from_target
):
    """1-NN on the source rows or on the labelled target rows, rest of the target."""
    recorded(SPLITS)
    data = fetch_office_caltech(source=source, target=target)
    X, y = prepared(data), data.y
    splits = fetch_office_caltech_splits(source, target)
    for part, floor in (("source", from_source), ("target", from_target)):
        right = []
        for train, test in zip(splits[f"{part}_rows"], splits.test_rows):
            nearest = ((X[train] ** 2).sum(axis=1) - 2 * X[test] @ X[train].T).argmin(1)
            right.append(np.mean(y[train][nearest] == y[test]))
        assert 100 * np.mean(right) == pytest.approx(floor, abs=0.06)


@pytest.mark.parametrize(
    "parameters, message",
    [
        (("amazon", "amazon"), "'amazon' is in both"),
        (("amazn", "dslr"), "'source' parameter"),
        (("amazon", None), "'target' parameter"),
        ((["amazon"], "dslr"), "'source' parameter"),
    ],
)
def test_bad_trials_are_refused_in_one_sentence(parameters, message):
    with pytest.raises(ValueError, match=message) as refusal:
        fetch_office_caltech_splits(*parameters)
    assert "\n" not in str(refusal.value)


def test_absent_trials_are_one_sentence(tmp_path):
    with pytest.raises(FileNotFoundError, match=f"{SPLITS} is not in .* put it there"):
        fetch_office_caltech_splits("amazon", "dslr", data_home=tmp_path)
