"""Office-Caltech: what the rows are, and the floors that the literature prints."""

from itertools import permutations
from pathlib import Path

import numpy as np
import pytest

from skadapt.datasets import fetch_office_caltech, get_data_home

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
