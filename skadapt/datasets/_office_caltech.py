"""The Office-Caltech images of ten classes in four domains, as SURF word counts."""

# Authors: The skadapt developers
# SPDX-License-Identifier: BSD-3-Clause

import os

import numpy as np
from scipy.io import loadmat
from sklearn.utils import Bunch
from sklearn.utils._param_validation import StrOptions, validate_params

from skadapt.datasets._fetch import Original, packed_file
from skadapt.datasets._select import check_parts, select_rows

_DOMAIN_NAMES = ("amazon", "caltech", "dslr", "webcam")
_N_ROWS = (958, 1123, 157, 295)
_CLASS_NAMES = (
    "backpack",
    "bike",
    "calculator",
    "headphones",
    "keyboard",
    "laptop",
    "monitor",
    "mouse",
    "mug",
    "projector",
)

# One file per domain, in the order of _DOMAIN_NAMES.
_ORIGINALS = [
    Original(
        "viggin/domain-adaptation-toolbox",
        "2a991816a0ac39043b526c2b0cbe01bc844d8890",
        f"ToRelease_GFK/data/{name}_SURF_L10.mat",
        sha256,
    )
    for name, sha256 in (
        (
            "amazon",
            "df32548b994e18d364c99e1f317e1fae100597259f0423a41b90f4f68187bb1f",
        ),
        (
            "Caltech10",
            "4f9334c8ced489d5054de97a5fd51a61f017f3bcd1f38c9a85c6d78cb9d7bda5",
        ),
        (
            "dslr",
            "44d673c68e1d07b837893aa74dba3b986e4a6cc3fd66f0dd357683bdef059216",
        ),
        (
            "webcam",
            "a6a9c78b4b7181dfbb58bcfd351d4ebd737f171c31247b8884948aa156d3f700",
        ),
    )
]

_DESCR = """\
Office-Caltech, SURF features
-----------------------------

Images of ten kinds of objects from four places: pictures of the shop amazon (958),
of Caltech-256 (1123), of a reflex camera, dslr (157), and of a webcam (295). SURF
descriptors of each image are assigned to a codebook of 800 visual words; a row counts
the words of one image. The counts are those of the release by Gong et al., unchanged
and in its order.

Counts grow with the size of the image, so that rows are usually brought to sum 1 and
each column of each domain to mean 0 and variance 1. Figures depend on that choice, and
a comparison has to fix it. Without adaptation, the nearest source neighbour is then
right on 31.37 % of the target rows on average over the twelve ordered pairs.

The release states no licence; the images are research data. Cite

- B. Gong, Y. Shi, F. Sha, K. Grauman, "Geodesic flow kernel for unsupervised domain
  adaptation", CVPR 2012.
- K. Saenko, B. Kulis, M. Fritz, T. Darrell, "Adapting visual category models to new
  domains", ECCV 2010.
- G. Griffin, A. Holub, P. Perona, "Caltech-256 object category dataset", Caltech
  Technical Report 7694, 2007.
"""


@validate_params(
    {
        "source": [str, list, tuple, None],
        "target": [str, list, tuple, None],
        "data_home": [str, os.PathLike, None],
        "download_if_missing": ["boolean"],
    },
    prefer_skip_nested_validation=True,
)
def fetch_office_caltech(
    *, source=None, target=None, data_home=None, download_if_missing=True
):
    """Load the Office-Caltech images as SURF word counts (classification).

    Ten classes in four domains: amazon (958 rows), caltech (1123), dslr (157) and
    webcam (295), 800 visual words each. The packed file, ``office-caltech-surf.npz``
    (0.3 MB), is made from four pinned files of the release by Gong et al. [1]_ when it
    is not in `data_home`.

    Parameters
    ----------
    source : str or list of str, default=None
        Domain or domains that take the part of the source, among ``"amazon"``,
        ``"caltech"``, ``"dslr"`` and ``"webcam"``.

    target : str or list of str, default=None
        Domain or domains that take the part of the target. Give both or neither:
        without them all rows come with positive ids, a plain table of which no part is
        a target yet.

    data_home : str or path-like, default=None
        The data folder, see :func:`~skadapt.datasets.get_data_home`.

    download_if_missing : bool, default=True
        Whether to download when the packed file is absent.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        Source rows first, then target rows, in the order of the packed file (amazon,
        caltech, dslr, webcam) inside each part:

        X : ndarray of shape (n, 800)
            How often each visual word occurs in each image, float64. Raw counts:
            divide each row by its sum and standardise each domain for the preparation
            that is usual in the literature.
        y : ndarray of shape (n,)
            The class, 1 to 10, int64. **Labels of the target rows are given too**:
            mask them (NaN in a float `y`) where a method must not see them.
        sample_domain : ndarray of shape (n,)
            The domain's id, int64: 1 amazon, 2 caltech, 3 dslr, 4 webcam, with a minus
            sign for target rows. All positive when `source` and `target` are None.
        domain_names : list of str
            ``domain_names[i - 1]`` is the domain whose id is i or -i.
        target_names : list of str
            ``target_names[k - 1]`` is the name of class k.
        DESCR : str
            What the data are, where they come from and whom to cite.

    Raises
    ------
    ValueError
        If only one of `source` and `target` is given, a name is unknown, or a domain
        is in both.
    FileNotFoundError
        If the packed file is absent and may not or cannot be downloaded.

    See Also
    --------
    fetch_office_caltech_splits : Random trials with fewer labelled source rows.

    References
    ----------
    .. [1] B. Gong, Y. Shi, F. Sha, K. Grauman, "Geodesic flow kernel for unsupervised
       domain adaptation", CVPR 2012.

    Examples
    --------
    >>> from skadapt.datasets import fetch_office_caltech
    >>> data = fetch_office_caltech(
    ...     source="caltech", target="amazon"
    ... )  # doctest: +SKIP
    >>> data.X.shape, set(data.sample_domain.tolist())  # doctest: +SKIP
    ((2081, 800), {2, -1})
    """
    parts = check_parts(source, target, _DOMAIN_NAMES)
    path = packed_file(
        "office-caltech-surf.npz",
        originals=_ORIGINALS,
        convert=_pack,
        data_home=data_home,
        download_if_missing=download_if_missing,
    )
    with np.load(path) as packed:
        X, y, domain = packed["X"], packed["y"], packed["domain"]
        domain_names = packed["domain_names"].tolist()
        target_names = packed["class_names"].tolist()
    rows, sample_domain = select_rows(domain, parts)
    return Bunch(
        X=X[rows].astype(np.float64),
        y=y[rows].astype(np.int64),
        sample_domain=sample_domain,
        domain_names=domain_names,
        target_names=target_names,
        DESCR=_DESCR,
    )


@validate_params(
    {
        "source": [StrOptions(set(_DOMAIN_NAMES))],
        "target": [StrOptions(set(_DOMAIN_NAMES))],
        "data_home": [str, os.PathLike, None],
        "download_if_missing": ["boolean"],
    },
    prefer_skip_nested_validation=True,
)
def fetch_office_caltech_splits(
    source, target, *, data_home=None, download_if_missing=True
):
    """Load the 20 random trials that the literature draws from a pair of domains.

    In each trial 20 source rows of each class are labelled (8 where the source is not
    amazon) and, in the semi-supervised form, 3 target rows of each class; the draws
    are those of Hoffman et al. [1]_. Nothing is downloaded: put the packed file,
    ``office-caltech-splits.npz`` (0.1 MB), into `data_home` (see the notes).

    Parameters
    ----------
    source : {"amazon", "caltech", "dslr", "webcam"}
        The domain that takes the part of the source.

    target : {"amazon", "caltech", "dslr", "webcam"}
        The domain that takes the part of the target.

    data_home : str or path-like, default=None
        The data folder, see :func:`~skadapt.datasets.get_data_home`.

    download_if_missing : bool, default=True
        Without effect, and here because every loader has it: no public file is pinned
        from which the packed one could be made.

    Returns
    -------
    splits : :class:`~sklearn.utils.Bunch`
        Rows of what ``fetch_office_caltech(source=source, target=target)`` gives, one
        trial after the other:

        source_rows : ndarray of shape (20, n_drawn)
            The source rows that are labelled: 200 with amazon, otherwise 80, int64.
        target_rows : ndarray of shape (20, 30)
            The target rows that are labelled in the semi-supervised form, int64.
        test_rows : ndarray of shape (20, n_target - 30)
            All other target rows, int64: what the semi-supervised form scores. Without
            target labels all target rows are scored.

    Raises
    ------
    ValueError
        If `source` and `target` are the same or unknown.
    FileNotFoundError
        If the packed file is absent.

    See Also
    --------
    fetch_office_caltech : The rows themselves.

    Notes
    -----
    Columns are usually standardised over the whole domains, before the rows of a trial
    are drawn. Another protocol draws 20 rows of each class from amazon, caltech and
    webcam and 8 from dslr; figures of the two, and of whole domains, differ by several
    points.

    ``office-caltech-splits.npz`` holds for each ordered pair, such as
    ``amazon-dslr``, the arrays ``amazon-dslr/train_source`` and
    ``amazon-dslr/train_target``: numbers of rows inside the domain, from 0.

    References
    ----------
    .. [1] J. Hoffman, E. Rodner, J. Donahue, T. Darrell, K. Saenko, "Efficient
       learning of domain-invariant image representations", ICLR 2013.

    Examples
    --------
    >>> from skadapt.datasets import fetch_office_caltech, fetch_office_caltech_splits
    >>> data = fetch_office_caltech(
    ...     source="amazon", target="dslr"
    ... )  # doctest: +SKIP
    >>> splits = fetch_office_caltech_splits("amazon", "dslr")  # doctest: +SKIP
    >>> data.X[splits.source_rows[0]].shape  # doctest: +SKIP
    (200, 800)
    """
    check_parts(source, target, _DOMAIN_NAMES)
    path = packed_file(
        "office-caltech-splits.npz",
        data_home=data_home,
        download_if_missing=download_if_missing,
    )
    with np.load(path) as packed:
        source_rows, target_rows = (
            packed[f"{source}-{target}/train_{part}"].astype(np.int64)
            for part in ("source", "target")
        )
    n_source, n_target = (
        _N_ROWS[_DOMAIN_NAMES.index(name)] for name in (source, target)
    )
    test_rows = [np.setdiff1d(np.arange(n_target), drawn) for drawn in target_rows]
    return Bunch(
        source_rows=source_rows,
        target_rows=n_source + target_rows,
        test_rows=n_source + np.array(test_rows),
    )


def _pack(paths, packed):
    """Stack the four files of the release, whose arrays are uint8 already."""
    domains = [loadmat(path) for path in paths]
    n_rows = [len(domain["fts"]) for domain in domains]
    np.savez_compressed(
        packed,
        X=np.vstack([domain["fts"] for domain in domains]),
        y=np.concatenate([domain["labels"].ravel() for domain in domains]),
        domain=np.repeat(np.arange(1, len(domains) + 1, dtype=np.int8), n_rows),
        domain_names=np.array(_DOMAIN_NAMES),
        class_names=np.array(_CLASS_NAMES),
    )
