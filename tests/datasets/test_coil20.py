"""COIL-20: what the rows are, and the floors that the literature prints."""

import numpy as np
import pytest

from skadapt.datasets import fetch_coil20

FILE = "coil20.npz"


@pytest.fixture(scope="module")
def everything(recorded):
    recorded(FILE)
    return fetch_coil20(download_if_missing=False)


def test_all_rows(everything, recorded):
    data = everything
    assert data.X.shape == (1440, 1024) and data.X.dtype == np.float64
    assert data.y.dtype == data.sample_domain.dtype == np.int64
    assert data.X.min() == 0 and data.X.max() <= 1
    np.testing.assert_array_equal(data.sample_domain, np.repeat([1, 2], 720))
    for rows in (slice(720), slice(720, None)):
        np.testing.assert_array_equal(data.y[rows], np.repeat(np.arange(1, 21), 36))
    assert data.domain_names == ["coil1", "coil2"]
    assert data.target_names[0] == "object 1" and len(data.target_names) == 20
    with np.load(recorded(FILE)) as packed:
        np.testing.assert_array_equal(data.X, packed["X"])
    assert "Nene" in data.DESCR


def test_images_are_upright(everything):
    """The duck, object 1 from its side, has its head on the left half at the top."""
    image = everything.X[0].reshape(32, 32).T
    assert image[2:12, :16].sum() > 2 * image[2:12, 16:].sum()


@pytest.mark.parametrize("names", [{"source": "coil2"}, {"target": "coil1"}])
def test_one_name_is_enough(everything, names):
    data = fetch_coil20(**names)
    rows = np.r_[720:1440, 0:720]
    np.testing.assert_array_equal(data.X, everything.X[rows])
    np.testing.assert_array_equal(data.y, everything.y[rows])
    np.testing.assert_array_equal(data.sample_domain, np.repeat([2, -1], 720))


@pytest.mark.parametrize("source, floor", [("coil1", 83.61), ("coil2", 82.78)])
def test_one_nearest_neighbour_floors(everything, source, floor):
    data = fetch_coil20(source=source)
    X = data.X / np.linalg.norm(data.X, axis=1, keepdims=True)
    rows = data.sample_domain > 0
    nearest = (X[~rows] @ X[rows].T).argmax(axis=1)
    right = 100 * (data.y[rows][nearest] == data.y[~rows]).mean()
    assert right == pytest.approx(floor, abs=0.006)


@pytest.mark.parametrize(
    "parameters, message",
    [
        ({"source": "coil3"}, "'source' parameter"),
        ({"source": "coil1", "target": "coil1"}, "'coil1' is in both"),
        ({"download_if_missing": "no"}, "download_if_missing"),
    ],
)
def test_bad_requests_are_refused_in_one_sentence(parameters, message):
    with pytest.raises(ValueError, match=message) as refusal:
        fetch_coil20(**parameters)
    assert "\n" not in str(refusal.value)


def test_absent_file_is_one_sentence(tmp_path):
    with pytest.raises(FileNotFoundError, match=f"{FILE} is not in .* put it there"):
        fetch_coil20(data_home=tmp_path / "h")
    assert not (tmp_path / "h").exists()
