"""Handwritten digits of USPS and MNIST as grey images of 16 x 16 pixels."""

# Authors: The skadapt developers
# SPDX-License-Identifier: BSD-3-Clause

import os

import numpy as np
from sklearn.utils import Bunch
from sklearn.utils._param_validation import StrOptions, validate_params

from skadapt.datasets._fetch import packed_file
from skadapt.datasets._select import check_two_parts, select_rows

_DOMAIN_NAMES = ("usps", "mnist")

_DESCR = """\
USPS and MNIST, 16 x 16
-----------------------

Digits from envelopes of the United States Postal Service (usps, 1,800 images) and from
forms of the Census Bureau and of pupils (mnist, 2,000 images), grey images of 16 x 16
pixels. The rows are those that Long et al. drew. The ten digits are nearly equally
frequent in mnist; usps has twice as many zeros (352) as most others (126 to 241).

Percentage of target rows on which the nearest source neighbour is right: 35.85 from
usps to mnist and 64.44 back, pixels as they are; 44.70 and 65.94 with rows of unit
length, which is how the literature does it.

MNIST is under CC BY-SA 3.0; for USPS no licence is known. Cite

- M. Long, J. Wang, G. Ding, J. Sun, P. Yu, "Transfer feature learning with joint
  distribution adaptation", ICCV 2013, for the choice of the rows.
- J. Hull, "A database for handwritten text recognition research", IEEE Transactions on
  Pattern Analysis and Machine Intelligence 16 (1994), 550-554.
- Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-based learning applied to
  document recognition", Proceedings of the IEEE 86 (1998), 2278-2324.
"""


@validate_params(
    {
        "source": [StrOptions(set(_DOMAIN_NAMES)), None],
        "target": [StrOptions(set(_DOMAIN_NAMES)), None],
        "data_home": [str, os.PathLike, None],
        "download_if_missing": ["boolean"],
    },
    prefer_skip_nested_validation=True,
)
def fetch_digits_usps_mnist(
    *, source=None, target=None, data_home=None, download_if_missing=True
):
    """Load digits of USPS and MNIST as images of 16 x 16 pixels (classification).

    Ten classes in two domains: usps (1,800 rows) and mnist (2,000), the rows of Long
    et al. [1]_. Nothing is downloaded: put the packed file, ``usps-mnist.npz``
    (1.7 MB), into `data_home` (see the notes).

    Parameters
    ----------
    source : {"usps", "mnist"}, default=None
        The domain that takes the part of the source; the other one is the target.

    target : {"usps", "mnist"}, default=None
        The domain that takes the part of the target. One of the two names is enough;
        without any, all rows come with positive ids, a plain table of which no part is
        a target yet.

    data_home : str or path-like, default=None
        The data folder, see :func:`~skadapt.datasets.get_data_home`.

    download_if_missing : bool, default=True
        Without effect, and here because every loader has it: no public file is pinned
        from which the packed one could be made.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        Source rows first, then target rows:

        X : ndarray of shape (n, 256)
            Grey values, 0 (paper) to 1 (ink), float64; ``X[i].reshape(16, 16)`` is the
            upright image. Divide each row by its length for the preparation that is
            usual in the literature.
        y : ndarray of shape (n,)
            The digit, int64. **Labels of the target rows are given too**: mask them
            (NaN in a float `y`) where a method must not see them.
        sample_domain : ndarray of shape (n,)
            The domain's id, int64: 1 usps, 2 mnist, with a minus sign for target rows.
            All positive when `source` and `target` are None.
        domain_names : list of str
            ``domain_names[i - 1]`` is the domain whose id is i or -i.
        target_names : list of str
            ``"0"`` to ``"9"``.
        DESCR : str
            What the data are, where they come from and whom to cite.

    Raises
    ------
    ValueError
        If a name is unknown, or `source` and `target` are the same.
    FileNotFoundError
        If the packed file is absent.

    Notes
    -----
    ``usps-mnist.npz`` holds ``X`` (float32), ``y``, ``domain`` (1 or 2) and
    ``domain_names``; all rows of usps come first. float32 is exact for mnist, whose
    pixels are multiples of 1/256, and rounds usps at 1e-7.

    References
    ----------
    .. [1] M. Long, J. Wang, G. Ding, J. Sun, P. Yu, "Transfer feature learning with
       joint distribution adaptation", ICCV 2013.

    Examples
    --------
    >>> from skadapt.datasets import fetch_digits_usps_mnist
    >>> data = fetch_digits_usps_mnist(source="usps")  # doctest: +SKIP
    >>> data.X.shape, sorted(set(data.sample_domain.tolist()))  # doctest: +SKIP
    ((3800, 256), [-2, 1])
    """
    parts = check_two_parts(source, target, _DOMAIN_NAMES)
    path = packed_file(
        "usps-mnist.npz", data_home=data_home, download_if_missing=download_if_missing
    )
    with np.load(path) as packed:
        X, y, domain = packed["X"], packed["y"], packed["domain"]
    rows, sample_domain = select_rows(domain, parts)
    return Bunch(
        X=X[rows].astype(np.float64),
        y=y[rows].astype(np.int64),
        sample_domain=sample_domain,
        domain_names=list(_DOMAIN_NAMES),
        target_names=[str(digit) for digit in range(10)],
        DESCR=_DESCR,
    )
