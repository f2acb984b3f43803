"""USPS and MNIST: what the rows are, and the floors that the literature prints."""

import numpy as np
import pytest

from skadapt.datasets import fetch_digits_usps_mnist

FILE = "usps-mnist.npz"


@pytest.fixture(scope="module")
def everything(recorded):
    recorded(FILE)
    return fetch_digits_usps_mnist(download_if_missing=False)


def test_all_rows(everything, recorded):
    data = everything
    assert data.X.shape == (3800, 256) and data.X.dtype == np.float64
    assert data.y.dtype == data.sample_domain.dtype == np.int64
    assert data.X.min() == 0 and 0.99 < data.X.max() <= 1
    np.testing.assert_array_equal(data.sample_domain, np.repeat([1, 2], [1800, 2000]))
    assert data.domain_names == ["usps", "mnist"]
    assert data.target_names == list("0123456789")
    with np.load(recorded(FILE)) as packed:
        np.testing.assert_array_equal(data.X, packed["X"])
        np.testing.assert_array_equal(data.y, packed["y"])
    # Grey values of MNIST are multiples of 1/256.
    mnist = 256 * data.X[1800:]
    np.testing.assert_array_equal(mnist, np.rint(mnist))
    assert np.bincount(data.y[:1800])[0] == 352
    assert "Long" in data.DESCR


def test_images_are_upright(everything):
    """A digit 1 is higher than wide."""
    ones = everything.X[everything.y == 1].mean(axis=0).reshape(16, 16)
    assert (ones.sum(axis=1) > 1).sum() > (ones.sum(axis=0) > 1).sum() + 3


@pytest.mark.parametrize("names", [{"source": "mnist"}, {"target": "usps"}])
def test_one_name_is_enough(everything, names):
    data = fetch_digits_usps_mnist(**names)
    rows = np.r_[1800:3800, 0:1800]
    np.testing.assert_array_equal(data.X, everything.X[rows])
    np.testing.assert_array_equal(data.y, everything.y[rows])
    np.testing.assert_array_equal(data.sample_domain, np.repeat([2, -1], [2000, 1800]))
    both = fetch_digits_usps_mnist(source="mnist", target="usps")
    np.testing.assert_array_equal(data.X, both.X)


@pytest.mark.parametrize("source, floor", [("usps", 44.70), ("mnist", 65.94)])
def test_one_nearest_neighbour_floors(everything, source, floor):
    data = fetch_digits_usps_mnist(source=source)
    X = data.X / np.linalg.norm(data.X, axis=1, keepdims=True)
    rows = data.sample_domain > 0
    nearest = (X[~rows] @ X[rows].T).argmax(axis=1)
    right = 100 * (data.y[rows][nearest] == data.y[~rows]).mean()
    assert right == pytest.approx(floor, abs=0.006)


@pytest.mark.parametrize(
    "parameters, message",
    [
        ({"source": "uspss"}, "'source' parameter"),
        ({"target": "svhn"}, "'target' parameter"),
        ({"source": "usps", "target": "usps"}, "'usps' is in both"),
        ({"data_home": 3}, "data_home"),
    ],
)
def test_bad_requests_are_refused_in_one_sentence(parameters, message):
    with pytest.raises(ValueError, match=message) as refusal:
        fetch_digits_usps_mnist(**parameters)
    assert "\n" not in str(refusal.value)


def test_absent_file_is_one_sentence(tmp_path):
    with pytest.raises(FileNotFoundError, match=f"{FILE} is not in .* put it there"):
        fetch_digits_usps_mnist(data_home=tmp_path / "h")
    assert not (tmp_path / "h").exists()
