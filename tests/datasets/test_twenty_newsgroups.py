"""Newsgroup tasks: sizes, texts restated, a small made-up collection, the floors."""

import json
import lzma
import re
from collections import Counter

import numpy as np
import pytest
from scipy import sparse
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import MultinomialNB

from skadapt.datasets import fetch_20newsgroups_domains

FILE = "20newsgroups.json.xz"
SIZES = {
    "rec-talk": (3669, 3561),
    "rec-sci": (3961, 3965),
    "sci-talk": (3374, 3828),
    "comp-sci": (3930, 4900),
    "comp-rec": (4909, 3949),
    "comp-talk": (4482, 3652),
}


@pytest.fixture(scope="module")
def packed(recorded):
    with lzma.open(recorded(FILE)) as file:
        return json.loads(file.read())


# The recorded collection


@pytest.mark.parametrize("task", SIZES)
def test_sizes_and_texts_of_the_tasks(task, packed):
    data = fetch_20newsgroups_domains(task, download_if_missing=False)
    n_source, n_target = SIZES[task]
    np.testing.assert_array_equal(
        data.sample_domain, np.repeat([1, -1], [n_source, n_target])
    )
    assert data.y.dtype == data.sample_domain.dtype == np.int64
    assert data.X.shape == (n_source + n_target,) and data.X.dtype == object
    assert data.feature_names is None
    assert data.target_names == task.split("-")
    assert "Lang" in data.DESCR

    # No group is on both sides, and each side has both families.
    families = [group.split(".")[0] for group in data.group]
    assert [data.target_names[k] for k in data.y] == families
    sides = [set(data.group[data.sample_domain == side]) for side in (1, -1)]
    assert not sides[0] & sides[1]
    for side in sides:
        assert {group.split(".")[0] for group in side} == set(data.target_names)
    everything = {name for name in packed["names"] if name.split(".")[0] in families}
    assert sides[0] | sides[1] == everything
    # The whole groups of the version with 18,828 messages, in their order.
    expected, groups = [], []
    for side in sides:
        for row, group in enumerate(packed["group"]):
            if packed["in18828"][row] and packed["names"][group] in side:
                text = packed["patch_18828"].get(str(row))
                if text is None:
                    top, gap, body = packed["text"][row].partition("\n\n")
                    keep = re.findall(r"^(?:From|Subject):.*$", top, re.MULTILINE)
                    text = "\n".join(keep) + gap + body
                expected.append(text)
                groups.append(packed["names"][group])
    assert data.X.tolist() == expected
    assert data.group.tolist() == groups


def test_sides_of_rec_talk_and_their_exchange(recorded):
    recorded(FILE)
    data = fetch_20newsgroups_domains()
    source = data.sample_domain > 0
    assert sorted(set(data.group[source])) == [
        "rec.autos",
        "rec.motorcycles",
        "talk.politics.guns",
        "talk.politics.misc",
    ]
    swapped = fetch_20newsgroups_domains("rec-talk", swap=True, text="body")
    np.testing.assert_array_equal(
        swapped.sample_domain, np.repeat([1, -1], SIZES["rec-talk"][::-1])
    )
    order = np.r_[np.flatnonzero(~source), np.flatnonzero(source)]
    np.testing.assert_array_equal(swapped.y, data.y[order])
    np.testing.assert_array_equal(swapped.group, data.group[order])
    for whole, body in zip(data.X[order], swapped.X):
        assert whole.endswith("\n\n" + body)
        header = whole[: -len("\n\n" + body)]
        fields = re.findall(r"^\S+?:", header, re.MULTILINE)
        assert sorted(fields) == ["From:", "Subject:"]


def test_floors_without_adaptation(recorded):
    recorded(FILE)
    for vectorizer, model, floors in (
        ("tfidf", LogisticRegression(), (17.1, 17.7)),
        ("counts", MultinomialNB(), (22.5, 24.2)),
    ):
        data = fetch_20newsgroups_domains("rec-talk", vectorizer=vectorizer)
        assert isinstance(data.X, sparse.csr_array)
        assert data.X.dtype == np.float64
        assert data.X.shape == (7230, len(data.feature_names))
        side_a = data.sample_domain > 0
        for source, floor in zip((side_a, ~side_a), floors):
            model.fit(data.X[source], data.y[source])
            error = 100 - 100 * model.score(data.X[~source], data.y[~source])
            assert error == pytest.approx(floor, abs=0.2)


# A collection of this test's own

LEAK = "Newsgroups: rec.autos\nXref: rec.autos:1 talk.politics.guns:2\n"
MESSAGES = [
    # group, in the version, text
    ("rec.autos", 1, f"Path: x\nFrom: Ann\n{LEAK}Subject: Cars\n\nThe car\n\nran, CAR"),
    ("rec.autos", 0, f"From: Ann\n{LEAK}Subject: Again\n\nA repeat of the car"),
    ("rec.sport.hockey", 1, f"{LEAK}Subject: Ice\nFrom: Bob\n\nThe puck ran"),
    ("sci.med", 1, f"From: Eve\n{LEAK}Subject: Other\n\nNot of this task"),
    ("talk.politics.guns", 1, "Subject: Re:\nFrom: Cy\nSubjects: no\n\ngun law\n"),
    ("talk.religion.misc", 1, f"From: Di\n{LEAK}Subject: Folded\n line\n\nlaw"),
]


@pytest.fixture
def home(tmp_path):
    names = sorted({group for group, _, _ in MESSAGES})
    packed = {
        "names": names,
        "group": [names.index(group) for group, _, _ in MESSAGES],
        "in18828": [kept for _, kept, _ in MESSAGES],
        "text": [text for _, _, text in MESSAGES],
        "patch_18828": {"5": "From: Di\nSubject: Folded\n line\n\nlaw"},
    }
    with lzma.open(tmp_path / FILE, "wt", encoding="utf-8") as file:
        json.dump(packed, file)
    return tmp_path


def test_only_from_and_subject_are_given(home):
    data = fetch_20newsgroups_domains(data_home=home)
    assert data.X.tolist() == [
        "From: Ann\nSubject: Cars\n\nThe car\n\nran, CAR",
        "Subject: Re:\nFrom: Cy\n\ngun law\n",
        "Subject: Ice\nFrom: Bob\n\nThe puck ran",
        "From: Di\nSubject: Folded\n line\n\nlaw",
    ]
    assert data.y.tolist() == [0, 1, 0, 1]
    assert data.sample_domain.tolist() == [1, 1, -1, -1]
    assert data.group.tolist() == [
        "rec.autos",
        "talk.politics.guns",
        "rec.sport.hockey",
        "talk.religion.misc",
    ]


def test_bodies_have_no_header(home):
    data = fetch_20newsgroups_domains(data_home=home, text="body", swap=True)
    assert data.X.tolist() == [
        "The puck ran",
        "law",
        "The car\n\nran, CAR",
        "gun law\n",
    ]
    assert data.sample_domain.tolist() == [1, 1, -1, -1]


@pytest.mark.parametrize("min_df, n_documents", [(1, 1), (2, 2), (0.5, 2), (1.0, 4)])
def test_words_are_those_of_all_documents(home, min_df, n_documents):
    options = {"data_home": home, "min_df": min_df}
    documents = fetch_20newsgroups_domains(**options).X
    bags = [Counter(re.findall(r"\w\w+", text.lower())) for text in documents]
    words = sorted(
        word
        for word in set().union(*bags) - ENGLISH_STOP_WORDS
        if sum(word in bag for bag in bags) >= n_documents
    )
    counts = np.array([[bag[word] for word in words] for bag in bags], dtype=float)
    data = fetch_20newsgroups_domains(vectorizer="counts", **options)
    assert data.feature_names == words
    np.testing.assert_array_equal(data.X.toarray(), counts)

    # Smoothed idf over the documents of both domains, logarithmic counts, unit rows.
    with np.errstate(divide="ignore"):
        weights = np.where(counts > 0, 1 + np.log(counts), 0)
    weights *= 1 + np.log((1 + len(counts)) / (1 + (counts > 0).sum(axis=0)))
    weights /= np.linalg.norm(weights, axis=1, keepdims=True)
    data = fetch_20newsgroups_domains(vectorizer="tfidf", **options)
    assert data.feature_names == words
    np.testing.assert_allclose(data.X.toarray(), weights, rtol=1e-12)


def test_the_side_of_a_document_does_not_change_its_weights(home):
    options = {"data_home": home, "vectorizer": "tfidf", "min_df": 1}
    data, swapped = (
        fetch_20newsgroups_domains(swap=swap, **options) for swap in (False, True)
    )
    assert swapped.feature_names == data.feature_names
    np.testing.assert_allclose(
        swapped.X.toarray(), data.X.toarray()[[2, 3, 0, 1]], rtol=1e-12
    )


def test_no_word_is_frequent_enough(home):
    with pytest.raises(ValueError, match="min_df"):
        fetch_20newsgroups_domains(data_home=home, vectorizer="counts", min_df=9)


def test_each_call_returns_data_of_its_own(home):
    data = fetch_20newsgroups_domains(data_home=home)
    data.X[:], data.y[:], data.target_names[:] = "", 7, []
    again = fetch_20newsgroups_domains(data_home=home)
    assert all(again.X) and again.y.max() == 1
    assert again.target_names == ["rec", "talk"]


@pytest.mark.parametrize(
    "parameters, message",
    [
        ({"task": "talk-rec"}, "task"),
        ({"text": "headers"}, "text"),
        ({"vectorizer": "words"}, "vectorizer"),
        ({"min_df": 0}, "min_df"),
        ({"min_df": 1.5}, "min_df"),
        ({"swap": "yes"}, "swap"),
    ],
)
def test_bad_input_is_refused_in_one_sentence(parameters, message):
    with pytest.raises(ValueError, match=f"'{message}' parameter") as refusal:
        fetch_20newsgroups_domains(**parameters)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("download_if_missing", [True, False])
def test_absent_file_is_one_sentence(tmp_path, download_if_missing):
    with pytest.raises(FileNotFoundError, match="cannot be downloaded: put it there"):
        fetch_20newsgroups_domains(
            data_home=tmp_path / "h", download_if_missing=download_if_missing
        )
    assert not (tmp_path / "h").exists()
