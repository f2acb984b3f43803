"""Reviews of four kinds of products: texts, counts of terms, weights of 400 terms."""

# Authors: The skadapt developers
# SPDX-License-Identifier: BSD-3-Clause

import json
import lzma
import os

import numpy as np
from scipy import sparse
from scipy.io import loadmat
from sklearn.utils import Bunch
from sklearn.utils._param_validation import StrOptions, validate_params

from skadapt.datasets._fetch import Original, packed_file
from skadapt.datasets._select import check_parts, select_rows

_DOMAIN_NAMES = ("books", "dvd", "electronics", "kitchen")
_TARGET_NAMES = ("negative", "positive")
_N_TERMS = 400
_N_COUNTED_TERMS = 5000

# One file per domain, in the order of _DOMAIN_NAMES.
_ORIGINALS = [
    Original(
        "luffy-yu/transfer_learning_baseline_toolbox_oop",
        "9420fd2dc5b74c665883adebc73d4162eb21e6eb",
        f"dataset/amazon_review/amazon_review/{name}_400.mat",
        sha256,
    )
    for name, sha256 in (
        ("books", "7a53b54f0c0e81e7ee4774d762a927399cede9a802a2409732ba00cc1c23a17a"),
        ("dvd", "13a71d399f9c7ae57064952979c830455057ffd0a8da73f2c9075338d64d98ce"),
        ("elec", "f1dd6e01c1eed956d3abe6493a6bb5efc95e6585b8b9b2d856c0c07e12893a35"),
        ("kitchen", "b1f4e5ddfbd7b37ad2638fccbf83bd8558abf63b3e8d69a9d5bca77b1a49fed5"),
    )
]

_DESCR = """\
Amazon reviews
--------------

Reviews of books, dvds, electronics and kitchen appliances from the shop Amazon, half of
them positive (four or five stars) and half negative (one or two).

"raw": title and text of the 2,000 reviews of each domain that the collection calls
labelled. In 29 of them a character that was not UTF-8 is replaced.

"5000": how often each of 5,000 terms (words and pairs of words) occurs in a review.
Which terms they are is not in the release. To the 2,000 "train" rows of each domain
come the "test" rows, with labels that are not quite balanced: 4,465 of books, 3,586 of
dvds, 5,681 of electronics and 5,945 of kitchen appliances. Papers use them as
unlabelled rows, as test rows, or as both: say which.

"400": the weights of 400 terms in the labelled reviews, not negative and with the sum
1. Which terms they are is not in the release. A review of dvd and of kitchen and two of
electronics are missing. The nearest class mean of the source, after each column of each
domain is brought to mean 0 and variance 1, is right on 77.84 % of the target rows on
average over the twelve ordered pairs, from 73.0 % (electronics to books) to 84.6 %
(electronics to kitchen).

Percentage of target rows on which a linear SVM is right that has learnt from the 2,000
train rows of the source, mean of the twelve ordered pairs: 77.9 for tf-idf weights of
the words and pairs of words of the raw text (C = 1, the target's 2,000 rows), 76.8 for
the counts (C = 0.01, the target's test rows), from 71.1 (kitchen to books) to 85.7
(electronics to kitchen).

The releases state no licence for the texts, which belong to their authors. Cite

- J. Blitzer, M. Dredze, F. Pereira, "Biographies, Bollywood, boom-boxes and blenders:
  domain adaptation for sentiment classification", ACL 2007, for the reviews.
- M. Chen, Z. Xu, K. Weinberger, F. Sha, "Marginalized denoising autoencoders for domain
  adaptation", ICML 2012, for the 5,000 and the 400 terms.
"""


@validate_params(
    {
        "source": [str, list, tuple, None],
        "target": [str, list, tuple, None],
        "version": [StrOptions({"raw", "5000", "400"})],
        "subset": [StrOptions({"train", "test", "all"})],
        "data_home": [str, os.PathLike, None],
        "download_if_missing": ["boolean"],
    },
    prefer_skip_nested_validation=True,
)
def fetch_amazon_reviews(
    source=None,
    target=None,
    *,
    version="raw",
    subset="train",
    data_home=None,
    download_if_missing=True,
):
    """Load the Amazon reviews: texts, counts or weights of terms (classification).

    Two classes of the same size in four domains: books, dvd, electronics and kitchen,
    2,000 labelled reviews each [1]_. The packed file of the weights of 400 terms,
    ``amazon400.npz`` (0.3 MB), is made from four pinned files when it is not in
    `data_home`. The others are not downloaded: put ``amazon-reviews.json.xz``
    (1.9 MB) for the texts or ``amazon5000.npz`` (3.4 MB) for the counts there (see
    the notes).

    Parameters
    ----------
    source : str or list of str, default=None
        Domain or domains that take the part of the source, among ``"books"``,
        ``"dvd"``, ``"electronics"`` and ``"kitchen"``.

    target : str or list of str, default=None
        Domain or domains that take the part of the target. Give both or neither:
        without them all rows come with positive ids, a plain table of which no part is
        a target yet.

    version : {"raw", "5000", "400"}, default="raw"
        Whether X holds the reviews as strings, how often each of 5,000 terms [2]_
        occurs in them, or the weights of 400 terms. The last lacks a review of dvd and
        of kitchen and two of electronics.

    subset : {"train", "test", "all"}, default="train"
        Which rows of each domain: the 2,000 that the collection calls labelled, the
        others, or both. Only version ``"5000"`` has others: 4,465 of books, 3,586 of
        dvd, 5,681 of electronics and 5,945 of kitchen, whose labels are known, too.

    data_home : str or path-like, default=None
        The data folder, see :func:`~skadapt.datasets.get_data_home`.

    download_if_missing : bool, default=True
        Whether to download when the packed file of version ``"400"`` is absent. No
        public file is pinned from which those of the others could be made.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        Source rows first, then target rows; inside each part domain after domain
        (books, dvd, electronics, kitchen), and in each domain train before test rows:

        X : ndarray of shape (n,), csr_array (n, 5000) or ndarray (n, 400)
            The reviews as strings, dtype object, each its title, a line break and its
            text; or counts, float64; or weights, float64, with row sums 1, some 6 %
            of which are not zero.
        y : ndarray of shape (n,)
            1 for a positive review, 0 for a negative one, int64. **Labels of the
            target rows are given too**: mask them (NaN in a float `y`) where a method
            must not see them.
        sample_domain : ndarray of shape (n,)
            The domain's id, int64: 1 books, 2 dvd, 3 electronics, 4 kitchen, with a
            minus sign for target rows. All positive when `source` and `target` are
            None.
        split : ndarray of shape (n,)
            ``"train"`` or ``"test"`` for each row.
        rating : ndarray of shape (n,) or None
            Number of stars, 1, 2, 4 or 5, int64, with version ``"raw"``.
        feature_names : list of str or None
            ``"term0"`` and so on, since the releases do not say which terms they are;
            None for texts.
        domain_names : list of str
            ``domain_names[i - 1]`` is the domain whose id is i or -i.
        target_names : list of str
            ``target_names[k]`` is the name of class k.
        DESCR : str
            What the data are, where they come from and whom to cite.

    Raises
    ------
    ValueError
        If only one of `source` and `target` is given, a name is unknown, a domain is
        in both, or test rows are asked for of a version that has none.
    FileNotFoundError
        If the packed file is absent and may not or cannot be downloaded.

    See Also
    --------
    fetch_amazon_reviews400 : The same reviews as weights of 400 terms, downloaded.

    Notes
    -----
    ``amazon-reviews.json.xz`` is one JSON object, compressed by xz, of lists with an
    entry for each review: ``domain``, ``label`` (1 is positive), ``rating``, ``title``
    and ``text``. ``amazon5000.npz`` holds the parts of a CSR matrix and its labels for
    each domain and subset: ``books_train_data``, ``books_train_indices``,
    ``books_train_indptr``, ``books_train_y`` and so on.

    References
    ----------
    .. [1] J. Blitzer, M. Dredze, F. Pereira, "Biographies, Bollywood, boom-boxes and
       blenders: domain adaptation for sentiment classification", ACL 2007.
    .. [2] M. Chen, Z. Xu, K. Weinberger, F. Sha, "Marginalized denoising autoencoders
       for domain adaptation", ICML 2012.

    Examples
    --------
    >>> from skadapt.datasets import fetch_amazon_reviews
    >>> data = fetch_amazon_reviews("books", "dvd")  # doctest: +SKIP
    >>> data.X.shape, data.X[0].splitlines()[0]  # doctest: +SKIP
    ((4000,), 'Horrible book, horrible.')
    >>> data = fetch_amazon_reviews(
    ...     "books", "dvd", version="5000", subset="all"
    ... )  # doctest: +SKIP
    >>> data.X.shape, (data.split == "train").sum()  # doctest: +SKIP
    ((12051, 5000), np.int64(4000))
    >>> data = fetch_amazon_reviews(
    ...     "books", ["dvd", "kitchen"], version="400"
    ... )  # doctest: +SKIP
    >>> data.X.shape, sorted(set(data.sample_domain.tolist()))  # doctest: +SKIP
    ((5998, 400), [-4, -2, 1])
    """
    parts = check_parts(source, target, _DOMAIN_NAMES)
    if version != "5000" and subset == "test":
        raise ValueError(
            "subset='test' asks for rows that only version='5000' has: version="
            f"{version!r} has the train rows and no others."
        )
    options = {"data_home": data_home, "download_if_missing": download_if_missing}
    rating = feature_names = None
    if version == "raw":
        path = packed_file("amazon-reviews.json.xz", **options)
        X, y, domain, split, rating = _texts(path)
    elif version == "5000":
        X, y, domain, split = _counts(packed_file("amazon5000.npz", **options), subset)
    else:
        path = packed_file(
            "amazon400.npz", originals=_ORIGINALS, convert=_pack, **options
        )
        X, y, domain, split = _weights(path)
    if version != "raw":
        feature_names = [f"term{k}" for k in range(X.shape[1])]
    rows, sample_domain = select_rows(domain, parts)
    return Bunch(
        X=X[rows],
        y=y[rows],
        sample_domain=sample_domain,
        split=split[rows],
        rating=None if rating is None else rating[rows],
        feature_names=feature_names,
        domain_names=list(_DOMAIN_NAMES),
        target_names=list(_TARGET_NAMES),
        DESCR=_DESCR,
    )


def _texts(path):
    """Return the reviews in the order of the domains, with what is known of them."""
    with lzma.open(path, "rt", encoding="utf-8") as file:
        packed = json.load(file)
    domain = np.array([_DOMAIN_NAMES.index(name) + 1 for name in packed["domain"]])
    order = np.argsort(domain, kind="stable")
    pairs = zip(packed["title"], packed["text"])
    X = np.array([f"{title}\n{text}" for title, text in pairs], dtype=object)
    y, rating = (
        np.array(packed[name]).astype(np.int64) for name in ("label", "rating")
    )
    split = np.full(len(X), "train")
    return X[order], y[order], domain[order], split, rating[order]


def _counts(path, subset):
    """Return the counts of all domains, train before test rows in each."""
    subsets = ("train", "test") if subset == "all" else (subset,)
    X, y, domain, split = [], [], [], []
    with np.load(path) as packed:
        for number, name in enumerate(_DOMAIN_NAMES, start=1):
            for part in subsets:
                data, indices, indptr, labels = (
                    packed[f"{name}_{part}_{array}"]
                    for array in ("data", "indices", "indptr", "y")
                )
                matrix = data.astype(np.float64), indices.astype(np.int32), indptr
                shape = len(labels), _N_COUNTED_TERMS
                X.append(sparse.csr_array(matrix, shape=shape))
                y.append(labels.astype(np.int64))
                domain.append(np.full(len(labels), number))
                split.append(np.full(len(labels), part))
    X = sparse.vstack(X, format="csr")
    return X, *(np.concatenate(part) for part in (y, domain, split))


def _weights(path):
    """Return the weights of 400 terms, domain after domain."""
    with np.load(path) as packed:
        X = [_dense(packed, name) for name in _DOMAIN_NAMES]
        y = [packed[f"{name}_y"].astype(np.int64) for name in _DOMAIN_NAMES]
    domain = np.repeat(np.arange(1, len(y) + 1), [len(part) for part in y])
    return np.vstack(X), np.concatenate(y), domain, np.full(len(domain), "train")


def _dense(packed, name):
    matrix = tuple(packed[f"{name}_{part}"] for part in ("data", "indices", "indptr"))
    shape = len(matrix[2]) - 1, _N_TERMS
    return sparse.csr_array(matrix, shape=shape).toarray()


def _pack(paths, packed):
    """Keep what is not zero, row by row."""
    arrays = {}
    for name, path in zip(_DOMAIN_NAMES, paths):
        domain = loadmat(path)
        terms = sparse.csr_array(domain["fts"])
        arrays[f"{name}_data"] = terms.data
        arrays[f"{name}_indices"] = terms.indices.astype(np.int16)
        arrays[f"{name}_indptr"] = terms.indptr.astype(np.int32)
        arrays[f"{name}_y"] = domain["labels"].ravel().astype(np.int8)
    np.savez_compressed(packed, **arrays)
