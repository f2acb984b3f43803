"""Amazon reviews: what the rows of each version are, and the measured floors."""

import json
import lzma
from itertools import permutations

import numpy as np
import pytest
from scipy import sparse
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.svm import LinearSVC

from skadapt.datasets import fetch_amazon_reviews

FILE = "amazon400.npz"
N_ROWS = {"books": 2000, "dvd": 1999, "electronics": 1998, "kitchen": 1999}
N_POSITIVE = {"books": 1000, "dvd": 999, "electronics": 998, "kitchen": 999}
IDS = {name: i for i, name in enumerate(N_ROWS, start=1)}


@pytest.fixture(scope="module")
def everything(recorded):
    recorded(FILE)
    return fetch_amazon_reviews(version="400", download_if_missing=False)


def test_all_rows(everything, recorded):
    data = everything
    assert data.X.shape == (7996, 400)
    assert data.X.dtype == np.float64
    assert data.y.dtype == data.sample_domain.dtype == np.int64
    assert data.X.min() == 0
    np.testing.assert_allclose(data.X.sum(axis=1), 1.0)
    np.testing.assert_array_equal(
        data.sample_domain, np.repeat(list(IDS.values()), list(N_ROWS.values()))
    )
    assert data.domain_names == list(N_ROWS)
    assert data.target_names == ["negative", "positive"]
    assert data.feature_names[::399] == ["term0", "term399"]
    assert data.rating is None and set(data.split) == {"train"}
    for name, domain in IDS.items():
        rows = data.sample_domain == domain
        assert data.y[rows].sum() == N_POSITIVE[name]
        # Each stored number where its row and its column say.
        with np.load(recorded(FILE)) as packed:
            lengths = np.diff(packed[f"{name}_indptr"])
            row_of = np.repeat(np.arange(len(lengths)), lengths)
            X = np.zeros((len(lengths), 400))
            X[row_of, packed[f"{name}_indices"]] = packed[f"{name}_data"]
        np.testing.assert_array_equal(data.X[rows], X)
    assert "Blitzer" in data.DESCR


@pytest.mark.parametrize(
    "source, target",
    [("books", "kitchen"), (["kitchen", "dvd"], ("electronics", "books"))],
)
def test_chosen_rows(everything, source, target):
    data = fetch_amazon_reviews(source, target, version="400")
    rows, ids = [], []
    for names, sign in ((source, 1), (target, -1)):
        for name in sorted([names] if isinstance(names, str) else names):
            rows.extend(np.flatnonzero(everything.sample_domain == IDS[name]))
            ids.extend([sign * IDS[name]] * N_ROWS[name])
    np.testing.assert_array_equal(data.sample_domain, ids)
    np.testing.assert_array_equal(data.X, everything.X[rows])
    np.testing.assert_array_equal(data.y, everything.y[rows])


def test_nearest_class_mean_floors(everything):
    """Columns of each domain to mean 0 and variance 1, nearest class mean."""
    floors = iter(
        [78.4, 77.5, 79.2, 79.5, 77.4, 80.4, 73.0, 73.1, 84.6, 75.1, 73.8, 82.0]
    )
    prepared, labels = {}, {}
    for name, domain in IDS.items():
        rows = everything.X[everything.sample_domain == domain]
        scale = rows.std(axis=0)
        prepared[name] = (rows - rows.mean(axis=0)) / np.where(scale > 0, scale, 1)
        labels[name] = everything.y[everything.sample_domain == domain]
    for source, target in permutations(N_ROWS, 2):
        Xs, ys = prepared[source], labels[source]
        means = np.array([Xs[ys == k].mean(axis=0) for k in (0, 1)])
        distances = (means**2).sum(axis=1) - 2 * prepared[target] @ means.T
        right = 100 * (distances.argmin(axis=1) == labels[target]).mean()
        assert right == pytest.approx(next(floors), abs=0.06)


@pytest.mark.parametrize(
    "parameters, message",
    [
        ({"source": "books"}, "source is given and target is not"),
        ({"target": "books"}, "target is given and source is not"),
        ({"source": "books", "target": ["dvd", "books"]}, "'books' is in both"),
        (
            {"source": "book", "target": "dvd"},
            "source names 'book', which is not among books, dvd, electronics, kitchen",
        ),
        ({"source": [], "target": "dvd"}, "source is empty"),
    ],
)
def test_bad_input_is_refused_in_one_sentence(parameters, message):
    with pytest.raises(ValueError, match=message) as refusal:
        fetch_amazon_reviews(version="400", **parameters)
    assert "\n" not in str(refusal.value)


def test_absent_file_is_one_sentence(tmp_path):
    with pytest.raises(OSError, match=f"{FILE} is not in") as refusal:
        fetch_amazon_reviews(
            version="400", data_home=tmp_path, download_if_missing=False
        )
    assert "\n" not in str(refusal.value)


# Texts, and counts of 5,000 terms

TEXTS, COUNTS = "amazon-reviews.json.xz", "amazon5000.npz"
N_TEST = {"books": 4465, "dvd": 3586, "electronics": 5681, "kitchen": 5945}


def test_all_texts(recorded):
    with lzma.open(recorded(TEXTS)) as file:
        packed = json.loads(file.read())
    data = fetch_amazon_reviews(download_if_missing=False)
    assert data.X.shape == (8000,) and data.X.dtype == object
    assert data.y.dtype == data.sample_domain.dtype == data.rating.dtype == np.int64
    np.testing.assert_array_equal(data.sample_domain, np.repeat([1, 2, 3, 4], 2000))
    names = [data.domain_names[i - 1] for i in data.sample_domain]
    assert names == packed["domain"]
    texts = [
        title + "\n" + text for title, text in zip(packed["title"], packed["text"])
    ]
    assert data.X.tolist() == texts
    assert data.y.tolist() == packed["label"]
    assert data.rating.tolist() == packed["rating"]
    np.testing.assert_array_equal(data.rating > 3, data.y == 1)
    assert set(data.split) == {"train"}
    assert data.feature_names is None
    assert data.target_names == ["negative", "positive"]
    assert "Blitzer" in data.DESCR
    assert fetch_amazon_reviews(subset="all").X.tolist() == data.X.tolist()


@pytest.mark.parametrize("subset", ["train", "test", "all"])
def test_all_counts(subset, recorded):
    path = recorded(COUNTS)
    data = fetch_amazon_reviews(version="5000", subset=subset)
    assert isinstance(data.X, sparse.csr_array) and data.X.dtype == np.float64
    assert data.y.dtype == data.sample_domain.dtype == np.int64
    assert data.rating is None
    assert data.feature_names[::4999] == ["term0", "term4999"]
    start = 0
    with np.load(path) as packed:
        for name, domain in IDS.items():
            for part in ("train", "test") if subset == "all" else (subset,):
                n_rows = 2000 if part == "train" else N_TEST[name]
                rows = slice(start, start + n_rows)
                start += n_rows
                assert set(data.sample_domain[rows]) == {domain}
                assert set(data.split[rows]) == {part}
                labels = packed[f"{name}_{part}_y"]
                np.testing.assert_array_equal(data.y[rows], labels)
                # Each stored number where its row and its column say.
                found = data.X[rows].tocoo()
                lengths = np.diff(packed[f"{name}_{part}_indptr"])
                row_of = np.repeat(np.arange(n_rows), lengths)
                np.testing.assert_array_equal(found.row, row_of)
                for values, array in ((found.col, "indices"), (found.data, "data")):
                    stored = packed[f"{name}_{part}_{array}"]
                    np.testing.assert_array_equal(values, stored)
    assert data.X.shape == (start, 5000)


@pytest.mark.parametrize(
    "source, target",
    [("books", "kitchen"), (["kitchen", "dvd"], ("electronics", "books"))],
)
@pytest.mark.parametrize("version, subset", [("raw", "train"), ("5000", "all")])
def test_chosen_reviews(version, subset, source, target, recorded):
    recorded(TEXTS if version == "raw" else COUNTS)
    options = {"version": version, "subset": subset}
    everything = fetch_amazon_reviews(**options)
    data = fetch_amazon_reviews(source, target, **options)
    rows, ids = [], []
    for names, sign in ((source, 1), (target, -1)):
        for name in sorted([names] if isinstance(names, str) else names):
            found = np.flatnonzero(everything.sample_domain == IDS[name])
            rows.extend(found)
            ids.extend([sign * IDS[name]] * len(found))
    np.testing.assert_array_equal(data.sample_domain, ids)
    np.testing.assert_array_equal(data.y, everything.y[rows])
    np.testing.assert_array_equal(data.split, everything.split[rows])
    if version == "raw":
        assert data.X.tolist() == everything.X[rows].tolist()
        np.testing.assert_array_equal(data.rating, everything.rating[rows])
    else:
        assert abs(data.X - everything.X[rows]).max() == 0


def test_linear_floors(recorded):
    """A linear SVM of the source on the target, as published with the files."""
    recorded(TEXTS), recorded(COUNTS)
    for source, target, floor in (("books", "dvd", 80.4), ("kitchen", "books", 71.1)):
        options = {"version": "5000"}
        train = fetch_amazon_reviews(source, target, **options)
        rows = train.sample_domain > 0
        test = fetch_amazon_reviews(source, target, subset="test", **options)
        model = LinearSVC(C=0.01).fit(train.X[rows], train.y[rows])
        scored = test.sample_domain < 0
        accuracy = 100 * model.score(test.X[scored], test.y[scored])
        assert accuracy == pytest.approx(floor, abs=0.06)
    data = fetch_amazon_reviews("electronics", "kitchen")
    rows = data.sample_domain > 0
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True)
    model = LinearSVC().fit(vectorizer.fit_transform(data.X[rows]), data.y[rows])
    right = model.predict(vectorizer.transform(data.X[~rows])) == data.y[~rows]
    assert 100 * right.mean() == pytest.approx(87.8, abs=0.1)


def test_each_call_returns_reviews_of_its_own(recorded):
    recorded(TEXTS)
    data = fetch_amazon_reviews("books", "dvd")
    data.X[:], data.y[:], data.domain_names[:] = "", 7, []
    again = fetch_amazon_reviews("books", "dvd")
    assert all(again.X) and again.y.max() == 1 and again.domain_names == list(IDS)


@pytest.mark.parametrize(
    "parameters, message",
    [
        ({"source": "books"}, "source is given and target is not"),
        ({"source": "books", "target": ["dvd", "books"]}, "'books' is in both"),
        ({"source": "book", "target": "dvd"}, "source names 'book'"),
        ({"version": "401"}, "'version' parameter"),
        ({"version": "400", "subset": "test"}, "only version='5000' has"),
        ({"version": "5000", "subset": "unlabeled"}, "'subset' parameter"),
        ({"subset": "test"}, "only version='5000' has"),
    ],
)
def test_bad_requests_are_refused_in_one_sentence(parameters, message):
    with pytest.raises(ValueError, match=message) as refusal:
        fetch_amazon_reviews(**parameters)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("version, name", [("raw", TEXTS), ("5000", COUNTS)])
def test_absent_texts_and_counts_are_one_sentence(version, name, tmp_path):
    with pytest.raises(FileNotFoundError, match=f"{name} is not in .* put it there"):
        fetch_amazon_reviews(version=version, data_home=tmp_path / "h")
    assert not (tmp_path / "h").exists()
