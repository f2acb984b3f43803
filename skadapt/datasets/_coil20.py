"""Twenty objects on a turntable, seen from two ranges of angles."""

# Authors: The skadapt developers
# SPDX-License-Identifier: BSD-3-Clause

import os

import numpy as np
from sklearn.utils import Bunch
from sklearn.utils._param_validation import StrOptions, validate_params

from skadapt.datasets._fetch import packed_file
from skadapt.datasets._select import check_two_parts, select_rows

_DOMAIN_NAMES = ("coil1", "coil2")

_DESCR = """\
COIL-20 in two ranges of angles
-------------------------------

Grey images of 32 x 32 pixels of twenty objects, each of which turned on a plate before
a dark background. The domains are two ranges of the angle (coil1 and coil2), with 36
images of each object in each: the same things, seen from other sides.

Percentage of target rows on which the nearest source neighbour is right, with rows of
unit length: 83.61 from coil1 to coil2 and 82.78 back.

The images are for research. Cite

- S. Nene, S. Nayar, H. Murase, "Columbia object image library (COIL-20)", Technical
  report CUCS-005-96, Columbia University, 1996.
- M. Long, J. Wang, G. Ding, J. Sun, P. Yu, "Transfer feature learning with joint
  distribution adaptation", ICCV 2013, for the two domains.
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
def fetch_coil20(*, source=None, target=None, data_home=None, download_if_missing=True):
    """Load twenty objects seen from two ranges of angles (classification).

    Twenty classes in two domains, coil1 and coil2, of 720 rows each [1]_ [2]_. Nothing
    is downloaded: put the packed file, ``coil20.npz`` (1.6 MB), into `data_home` (see
    the notes).

    Parameters
    ----------
    source : {"coil1", "coil2"}, default=None
        The domain that takes the part of the source; the other one is the target.

    target : {"coil1", "coil2"}, default=None
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

        X : ndarray of shape (n, 1024)
            Grey values, 0 to 1, float64; ``X[i].reshape(32, 32).T`` is the upright
            image. Divide each row by its length for the preparation that is usual in
            the literature.
        y : ndarray of shape (n,)
            The object, 1 to 20, int64. **Labels of the target rows are given too**:
            mask them (NaN in a float `y`) where a method must not see them.
        sample_domain : ndarray of shape (n,)
            The domain's id, int64: 1 coil1, 2 coil2, with a minus sign for target
            rows. All positive when `source` and `target` are None.
        domain_names : list of str
            ``domain_names[i - 1]`` is the domain whose id is i or -i.
        target_names : list of str
            ``"object 1"`` to ``"object 20"``: the release has no names.
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
    ``coil20.npz`` holds ``X`` (float16), ``y``, ``domain`` (1 or 2) and
    ``domain_names``; all rows of coil1 come first, object after object.

    References
    ----------
    .. [1] S. Nene, S. Nayar, H. Murase, "Columbia object image library (COIL-20)",
       Technical report CUCS-005-96, Columbia University, 1996.
    .. [2] M. Long, J. Wang, G. Ding, J. Sun, P. Yu, "Transfer feature learning with
       joint distribution adaptation", ICCV 2013.

    Examples
    --------
    >>> from skadapt.datasets import fetch_coil20
    >>> data = fetch_coil20(source="coil2")  # doctest: +SKIP
    >>> data.X.shape, sorted(set(data.sample_domain.tolist()))  # doctest: +SKIP
    ((1440, 1024), [-1, 2])
    """
    parts = check_two_parts(source, target, _DOMAIN_NAMES)
    path = packed_file(
        "coil20.npz", data_home=data_home, download_if_missing=download_if_missing
    )
    with np.load(path) as packed:
        X, y, domain = packed["X"], packed["y"], packed["domain"]
    rows, sample_domain = select_rows(domain, parts)
    return Bunch(
        X=X[rows].astype(np.float64),
        y=y[rows].astype(np.int64),
        sample_domain=sample_domain,
        domain_names=list(_DOMAIN_NAMES),
        target_names=[f"object {k}" for k in range(1, 21)],
        DESCR=_DESCR,
    )
