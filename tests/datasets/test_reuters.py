"""Reuters tasks: which rows and classes they are, the pack, and measured floors."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse
from scipy.io import savemat
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import normalize

from skadapt.datasets import _reuters, fetch_reuters_domains

FILE = "reuters-cross.npz"
# Name in the packed file, rows of side 1, rows of side 2, columns.
TASKS = {
    "orgs-people": ("org_vs_people", 1237, 1208, 4771),
    "orgs-places": ("org_vs_place", 1016, 1043, 4415),
    "people-places": ("people_vs_place", 1077, 1077, 4562),
}
# Articles of each kind on side 1 and on side 2.
N_ARTICLES = {"orgs": (588, 587), "people": (649, 621), "places": (428, 456)}


@pytest.mark.parametrize("task", TASKS)
def test_rows_and_classes(task, recorded):
    recorded(FILE)
    pair, n_source, n_target, n_terms = TASKS[task]
    data = fetch_reuters_domains(task, download_if_missing=False)
    assert isinstance(data.X, sparse.csr_array)
    assert data.X.shape == (n_source + n_target, n_terms)
    assert data.X.dtype == np.float64
    assert data.X.data.min() > 0
    assert data.y.dtype == data.sample_domain.dtype == np.int64
    np.testing.assert_array_equal(
        data.sample_domain, np.repeat([1, -1], [n_source, n_target])
    )
    assert len(data.feature_names) == n_terms
    assert data.target_names == task.split("-")
    assert "Lewis" in data.DESCR
    # Articles of one kind are as many on each side whatever the other kind is, which
    # is how the classes of the release are known.
    for k, name in enumerate(data.target_names):
        for side, n_articles in zip((1, -1), N_ARTICLES[name]):
            assert np.sum(data.y[data.sample_domain == side] == k) == n_articles
    # Each stored number where its row and its column say.
    with np.load(recorded(FILE)) as packed:
        for side, letter in ((1, "s"), (-1, "t")):
            stored = {
                part: packed[f"{pair}_{letter}_{part}"]
                for part in ("data", "indices", "indptr", "y")
            }
            lengths = np.diff(stored["indptr"])
            X = np.zeros((len(lengths), n_terms))
            X[np.repeat(np.arange(len(lengths)), lengths), stored["indices"]] = stored[
                "data"
            ]
            rows = data.sample_domain == side
            np.testing.assert_array_equal(data.X[rows].toarray(), X)
            # A class is one sign on both sides.
            signs = {(k, sign) for k, sign in zip(data.y[rows], stored["y"])}
            assert signs in ({(0, 1), (1, -1)}, {(0, -1), (1, 1)})


@pytest.mark.parametrize("task", TASKS)
def test_sides_exchanged(task, recorded):
    recorded(FILE)
    data, swapped = (fetch_reuters_domains(task, swap=swap) for swap in (False, True))
    source = data.sample_domain > 0
    order = np.r_[np.flatnonzero(~source), np.flatnonzero(source)]
    np.testing.assert_array_equal(swapped.sample_domain, -data.sample_domain[order])
    np.testing.assert_array_equal(swapped.y, data.y[order])
    assert abs(swapped.X - data.X[order]).max() == 0
    assert swapped.target_names == data.target_names


@pytest.mark.parametrize(
    "task, floors",
    [
        ("orgs-people", (79.06, 81.73)),
        ("orgs-places", (66.92, 64.76)),
        ("people-places", (59.42, 58.50)),
    ],
)
def test_floors_of_logistic_regression(task, floors, recorded):
    recorded(FILE)
    for swap, floor in zip((False, True), floors):
        data = fetch_reuters_domains(task, swap=swap)
        X, source = normalize(data.X), data.sample_domain > 0
        model = LogisticRegression().fit(X[source], data.y[source])
        right = 100 * model.score(X[~source], data.y[~source])
        assert right == pytest.approx(floor, abs=0.15)


@pytest.mark.parametrize("labels_are_sparse", [True, False])
def test_pack_from_matrices_with_documents_in_columns(
    labels_are_sparse, tmp_path, serve, recorded, monkeypatch
):
    """The files of the release are not at hand: others of their layout stand in."""
    served, home = tmp_path / "served", tmp_path / "home"
    served.mkdir()
    pins = []
    with np.load(recorded(FILE)) as old:
        for pin, (pair, *_) in zip(_reuters._ORIGINALS, TASKS.values()):
            assert Path(pin.path).name == f"{pair}_1.mat"
            arrays = {}
            for side in "st":
                data, indices, indptr, y, shape = (
                    old[f"{pair}_{side}_{part}"]
                    for part in ("data", "indices", "indptr", "y", "shape")
                )
                rows = sparse.csr_matrix((data, indices, indptr), shape=tuple(shape))
                labels = y[:, None].astype(float)
                arrays[f"X{side}"] = rows.T.tocsc()
                arrays[f"Y{side}"] = (
                    sparse.csc_matrix(labels) if labels_are_sparse else labels
                )
            path = served / Path(pin.path).name
            savemat(path, arrays)
            sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
            pins.append(pin._replace(sha256=sha256))
        monkeypatch.setattr(_reuters, "_ORIGINALS", pins)
        requested = serve(served, flat=True)
        made = fetch_reuters_domains("people-places", data_home=home)
        assert requested == [
            f"/{repository}/{commit}/{path}" for repository, commit, path, _ in pins
        ]
        assert [path.name for path in home.iterdir()] == [FILE]
        with np.load(home / FILE) as new:
            assert sorted(new.files) == sorted(old.files)
            for key in old.files:
                assert new[key].dtype == old[key].dtype
                np.testing.assert_array_equal(new[key], old[key])
    there = fetch_reuters_domains("people-places")
    np.testing.assert_array_equal(made.X.data, there.X.data)


@pytest.mark.parametrize(
    "parameters, message",
    [({"task": "people-orgs"}, "task"), ({"swap": "yes"}, "swap")],
)
def test_bad_input_is_refused_in_one_sentence(parameters, message):
    with pytest.raises(ValueError, match=f"'{message}' parameter") as refusal:
        fetch_reuters_domains(**parameters)
    assert "\n" not in str(refusal.value)


def test_absent_file_is_one_sentence(tmp_path):
    with pytest.raises(OSError, match=f"{FILE} is not in") as refusal:
        fetch_reuters_domains(data_home=tmp_path, download_if_missing=False)
    assert "\n" not in str(refusal.value)
