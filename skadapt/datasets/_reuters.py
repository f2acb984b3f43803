"""Newswire articles on organisations, people and places as weights of terms."""

# Authors: The skadapt developers
# SPDX-License-Identifier: BSD-3-Clause

import os

import numpy as np
from scipy import sparse
from scipy.io import loadmat
from sklearn.utils import Bunch
from sklearn.utils._param_validation import StrOptions, validate_params

from skadapt.datasets._fetch import Original, packed_file

# What the release calls each task, and how it writes the class that comes first in the
# name of ours. That follows from the class sizes: each kind of article has the same
# number on each side in both of its tasks.
_TASKS = {
    "orgs-people": ("org_vs_people", 1),
    "orgs-places": ("org_vs_place", -1),
    "people-places": ("people_vs_place", -1),
}

# One file per task, in the order of _TASKS. The release has a second one for each, in
# which the sides are exchanged.
_ORIGINALS = [
    Original(
        "ChristophRaab/nso",
        "686490ad64ddd8f1d020f6178f95764b0b8e92ca",
        f"data/Reuters/{pair}_1.mat",
        sha256,
    )
    for pair, sha256 in (
        (
            "org_vs_people",
            "b1b15606db6587bfc29865823a56f0488f74d6cbf38c661afab963a9a81a9f6b",
        ),
        (
            "org_vs_place",
            "6be2c7ef1823bda2c1d6b19b0f5ff8248b2a704542e943085626ec104e85420a",
        ),
        (
            "people_vs_place",
            "a518f905101a170e22f1550fa52d5f182c3dd533281ac515b59d04a25c9f181a",
        ),
    )
]

_DESCR = """\
Reuters-21578, three tasks across domains
-----------------------------------------

Newswire articles of 1987 about organisations, people or places, told apart in pairs.
The source has some of the subjects of each kind and the target has others. A row holds
the weights of the terms of one article, not negative; which terms they are is not in
the release, and the articles are not either.

Number of articles on each side, and the percentage of target rows on which two models
are right that have learnt from the source: logistic regression (LR, C = 1) on rows
brought to length 1 and multinomial naive Bayes (NB, alpha = 1) on rows as they are.

============= ====== ====== ======= ======= ======= =======
task          side 1 side 2 LR      LR      NB      NB
..                          1 to 2  2 to 1  1 to 2  2 to 1
============= ====== ====== ======= ======= ======= =======
orgs-people   1,237  1,208  79.06   81.73   77.48   80.03
orgs-places   1,016  1,043  66.92   64.76   69.70   68.70
people-places 1,077  1,077  59.42   58.50   62.12   56.92
============= ====== ====== ======= ======= ======= =======

The release states no licence; Reuters-21578 is for research. Cite

- D. Lewis, "Reuters-21578 text categorization test collection, distribution 1.0", 1997,
  for the articles.
- W. Dai, G. Xue, Q. Yang, Y. Yu, "Co-clustering based classification for out-of-domain
  documents", KDD 2007, for the tasks.
"""


@validate_params(
    {
        "task": [StrOptions(set(_TASKS))],
        "swap": ["boolean"],
        "data_home": [str, os.PathLike, None],
        "download_if_missing": ["boolean"],
    },
    prefer_skip_nested_validation=True,
)
def fetch_reuters_domains(
    task="orgs-people", *, swap=False, data_home=None, download_if_missing=True
):
    """Load weights of terms in newswire articles (classification).

    Two of three kinds of articles, about organisations, people or places; the two
    domains have other subjects of the same kinds [1]_. The packed file,
    ``reuters-cross.npz`` (3.5 MB), is made from three pinned files when it is not in
    `data_home`.

    Parameters
    ----------
    task : {"orgs-people", "orgs-places", "people-places"}, default="orgs-people"
        The two kinds of articles. Sizes of the sides 1 and 2: 1,237 and 1,208; 1,016
        and 1,043; 1,077 and 1,077.

    swap : bool, default=False
        Whether side 2 of the release is the source and side 1 the target, instead of 1
        the source and 2 the target.

    data_home : str or path-like, default=None
        The data folder, see :func:`~skadapt.datasets.get_data_home`.

    download_if_missing : bool, default=True
        Whether to download when the packed file is absent.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        Source rows first, then target rows, in the order of the packed file inside
        each part:

        X : csr_array of shape (n, n_terms)
            The weight of each term in each article, float64, not negative. 4,771,
            4,415 and 4,562 terms for the three tasks; one to two percent of the weights
            are not zero.
        y : ndarray of shape (n,)
            0 for the first kind of the task's name, 1 for the second, int64. **Labels
            of the target rows are given too**: mask them (NaN in a float `y`) where a
            method must not see them.
        sample_domain : ndarray of shape (n,)
            1 for the source, -1 for the target, int64.
        feature_names : list of str
            ``"term0"`` and so on: the release does not say which terms they are.
        target_names : list of str
            ``target_names[k]`` is the name of class k.
        DESCR : str
            What the data are, where they come from and whom to cite.

    Raises
    ------
    FileNotFoundError
        If the packed file is absent and may not or cannot be downloaded.

    Notes
    -----
    Papers do not always say which side they train on: report both directions. The
    weights are no word counts; methods for counts take them as they are.

    References
    ----------
    .. [1] W. Dai, G. Xue, Q. Yang, Y. Yu, "Co-clustering based classification for
       out-of-domain documents", KDD 2007.

    Examples
    --------
    >>> from skadapt.datasets import fetch_reuters_domains
    >>> data = fetch_reuters_domains("orgs-places")  # doctest: +SKIP
    >>> data.X.shape, data.target_names  # doctest: +SKIP
    ((2059, 4415), ['orgs', 'places'])
    """
    path = packed_file(
        "reuters-cross.npz",
        originals=_ORIGINALS,
        convert=_pack,
        data_home=data_home,
        download_if_missing=download_if_missing,
    )
    pair, first_class = _TASKS[task]
    with np.load(path) as packed:
        sides = [_side(packed, f"{pair}_{side}_") for side in ("ts" if swap else "st")]
    (Xs, ys), (Xt, yt) = sides
    return Bunch(
        X=sparse.vstack([Xs, Xt], format="csr"),
        y=(np.r_[ys, yt] != first_class).astype(np.int64),
        sample_domain=np.repeat(np.array([1, -1], np.int64), [len(ys), len(yt)]),
        feature_names=[f"term{k}" for k in range(Xs.shape[1])],
        target_names=task.split("-"),
        DESCR=_DESCR,
    )


def _side(packed, prefix):
    data, indices, indptr, y, shape = (
        packed[prefix + part] for part in ("data", "indices", "indptr", "y", "shape")
    )
    return sparse.csr_array((data, indices, indptr), shape=tuple(shape)), y


def _pack(paths, packed):
    """Keep what is not zero, row by row; the files hold a document in a column."""
    arrays = {}
    for (pair, _), path in zip(_TASKS.values(), paths):
        task = loadmat(path)
        for side in "st":
            prefix = f"{pair}_{side}_"
            terms = sparse.csr_array(task[f"X{side}"].T)
            labels = sparse.csr_array(task[f"Y{side}"]).toarray()
            arrays[f"{prefix}data"] = terms.data
            arrays[f"{prefix}indices"] = terms.indices.astype(np.int16)
            arrays[f"{prefix}indptr"] = terms.indptr.astype(np.int32)
            arrays[f"{prefix}y"] = labels.ravel().astype(np.int8)
            arrays[f"{prefix}shape"] = np.array(terms.shape)
    np.savez_compressed(packed, **arrays)
