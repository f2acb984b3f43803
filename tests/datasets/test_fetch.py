"""Downloads are tried on a local server that answers like the real one."""

import hashlib
import json
import socket
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from skadapt.datasets import (
    _adult,
    _amazon_reviews,
    _fetch,
    _mushroom,
    _office_caltech,
    _reuters,
    _wine_quality,
    _wisdm,
    fetch_amazon_reviews,
    fetch_office_caltech,
)
from skadapt.datasets import get_data_home as public_get_data_home
from skadapt.datasets._fetch import Original, get_data_home, packed_file

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def repository(tmp_path):
    """Two originals of one name in two folders, on disk, and their pins."""
    root = tmp_path / "served"
    pins = []
    for folder, text in (("a", b"first "), ("b", b"second")):
        path = root / "owner" / "name" / COMMIT / folder / "part.txt"
        path.parent.mkdir(parents=True)
        path.write_bytes(text)
        sha256 = hashlib.sha256(text).hexdigest()
        pins.append(Original("owner/name", COMMIT, f"{folder}/part.txt", sha256))
    return root, pins


def _join(paths, packed):
    packed.write_bytes(b"".join(path.read_bytes() for path in paths))


def _files_under(folder):
    return sorted(path.name for path in Path(folder).rglob("*"))


# The folder


def test_data_home_is_argument_then_environment_then_home(monkeypatch, tmp_path):
    monkeypatch.setenv("SKADAPT_DATA", str(tmp_path))
    assert get_data_home("elsewhere") == "elsewhere"
    assert get_data_home(Path("elsewhere")) == "elsewhere"
    assert get_data_home() == str(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert get_data_home("~/data") == str(tmp_path / "data")
    monkeypatch.setenv("SKADAPT_DATA", "")
    assert get_data_home() == str(tmp_path / "skadapt_data")
    monkeypatch.delenv("SKADAPT_DATA")
    assert get_data_home() == str(tmp_path / "skadapt_data")
    assert _files_under(tmp_path) == []
    assert public_get_data_home is get_data_home


def test_data_home_of_a_wrong_type():
    with pytest.raises(ValueError, match="data_home"):
        get_data_home(3)


# The mechanism


def test_a_file_that_is_there_is_taken_as_it_is(tmp_path, repository, serve):
    root, pins = repository
    requested = serve(root)
    (tmp_path / "pack.txt").write_bytes(b"whatever")
    path = packed_file(
        "pack.txt", originals=pins, convert=_join, data_home=str(tmp_path)
    )
    assert path == tmp_path / "pack.txt"
    assert path.read_bytes() == b"whatever"
    assert requested == []


def test_an_absent_file_is_made_once_from_its_originals(tmp_path, repository, serve):
    root, pins = repository
    requested = serve(root)
    home = tmp_path / "new" / "folder"
    for _ in range(2):
        path = packed_file("pack.txt", originals=pins, convert=_join, data_home=home)
        assert path == home / "pack.txt"
        assert path.read_bytes() == b"first second"
    assert requested == [
        f"/owner/name/{COMMIT}/a/part.txt",
        f"/owner/name/{COMMIT}/b/part.txt",
    ]
    assert _files_under(home) == ["pack.txt"]


def test_no_download_unless_allowed(tmp_path, repository, serve):
    root, pins = repository
    requested = serve(root)
    with pytest.raises(FileNotFoundError, match="download_if_missing") as refusal:
        packed_file(
            "pack.txt",
            originals=pins,
            convert=_join,
            data_home=tmp_path / "home",
            download_if_missing=False,
        )
    assert "pack.txt" in str(refusal.value)
    assert str(tmp_path / "home") in str(refusal.value)
    assert requested == []
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize("download_if_missing", [True, False])
def test_a_file_without_originals_must_be_there(tmp_path, download_if_missing):
    options = {"data_home": tmp_path, "download_if_missing": download_if_missing}
    with pytest.raises(FileNotFoundError, match="cannot be downloaded") as refusal:
        packed_file("pack.txt", **options)
    message = str(refusal.value)
    assert f"pack.txt is not in {tmp_path}" in message and "put it there" in message
    assert "\n" not in message
    (tmp_path / "pack.txt").write_bytes(b"there")
    assert packed_file("pack.txt", **options) == tmp_path / "pack.txt"


def test_offline_is_one_sentence(tmp_path, repository, monkeypatch):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(_fetch, "ORIGINALS_URL", f"http://127.0.0.1:{port}")
    with pytest.raises(FileNotFoundError, match="could not be downloaded") as refusal:
        packed_file(
            "pack.txt", originals=repository[1], convert=_join, data_home=tmp_path / "h"
        )
    message = str(refusal.value)
    assert "pack.txt" in message and str(tmp_path / "h") in message
    assert "\n" not in message
    assert _files_under(tmp_path / "h") == []


def test_an_original_that_the_server_lacks(tmp_path, repository, serve):
    root, pins = repository
    serve(root)
    pins[1] = pins[1]._replace(path="b/moved.txt")
    with pytest.raises(FileNotFoundError, match="b/moved.txt: connect"):
        packed_file("pack.txt", originals=pins, convert=_join, data_home=tmp_path / "h")
    assert _files_under(tmp_path / "h") == []


def test_an_original_that_is_not_the_pinned_one(tmp_path, repository, serve):
    root, pins = repository
    serve(root)
    (root / "owner" / "name" / COMMIT / "b" / "part.txt").write_bytes(b"forged")
    with pytest.raises(OSError, match="b/part.txt is not the file") as refusal:
        packed_file("pack.txt", originals=pins, convert=_join, data_home=tmp_path / "h")
    assert "\n" not in str(refusal.value)
    assert _files_under(tmp_path / "h") == []


def test_a_conversion_that_dies_leaves_nothing(tmp_path, repository, serve):
    root, pins = repository
    serve(root)

    def die_half_way(paths, packed):
        packed.write_bytes(b"half")
        assert not (tmp_path / "h" / "pack.txt").exists()
        raise RuntimeError("died")

    with pytest.raises(RuntimeError, match="died"):
        packed_file(
            "pack.txt", originals=pins, convert=die_half_way, data_home=tmp_path / "h"
        )
    assert _files_under(tmp_path / "h") == []


def test_a_folder_that_cannot_be_written_to(tmp_path, repository):
    (tmp_path / "h").write_text("a file, not a folder")
    with pytest.raises(OSError, match="pack.txt cannot be stored in") as refusal:
        packed_file(
            "pack.txt", originals=repository[1], convert=_join, data_home=tmp_path / "h"
        )
    assert "\n" not in str(refusal.value)


def test_pooch_is_asked_for_only_when_needed(tmp_path, repository, monkeypatch):
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(ImportError, match="pip install pooch"):
        packed_file(
            "pack.txt", originals=repository[1], convert=_join, data_home=tmp_path
        )
    (tmp_path / "pack.txt").write_bytes(b"there")
    packed_file("pack.txt", originals=repository[1], convert=_join, data_home=tmp_path)


def test_import_loads_no_optional_package():
    code = (
        "import sys, skadapt.datasets; "
        "print({'pooch', 'mlxtend', 'matplotlib'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set()"


# The pins of the loaders

LOADERS = [
    _adult,
    _amazon_reviews,
    _mushroom,
    _office_caltech,
    _reuters,
    _wine_quality,
    _wisdm,
]


@pytest.mark.parametrize("loader", LOADERS, ids=lambda loader: loader.__name__)
def test_pins_are_those_on_record(loader, recorded):
    record = json.loads(recorded("originals.json").read_text())
    for original in loader._ORIGINALS:
        entry = record[original.repository]
        assert original.commit == entry["commit"]
        hashes = {file["path"]: file["sha256"] for file in entry["files"]}
        assert original.sha256 == hashes[original.path]


@pytest.mark.parametrize(
    "loader, fetch, filename",
    [
        (_office_caltech, fetch_office_caltech, "office-caltech-surf.npz"),
        (
            _amazon_reviews,
            partial(fetch_amazon_reviews, version="400"),
            "amazon400.npz",
        ),
    ],
)
def test_a_pack_from_its_originals_bit_for_bit(
    loader, fetch, filename, tmp_path, serve, recorded
):
    for original in loader._ORIGINALS:
        folder = recorded(f"originals/{Path(original.path).name}").parent
    requested = serve(folder, flat=True)
    made = fetch(data_home=tmp_path)
    assert requested == [
        f"/{repository}/{commit}/{path}"
        for repository, commit, path, _ in loader._ORIGINALS
    ]
    assert _files_under(tmp_path) == [filename]
    with np.load(tmp_path / filename) as new, np.load(recorded(filename)) as old:
        assert new.files == old.files
        for key in old.files:
            assert new[key].dtype == old[key].dtype
            np.testing.assert_array_equal(new[key], old[key])
    there = fetch(download_if_missing=False)
    np.testing.assert_array_equal(made.X, there.X)
