"""Where data files live, and how the packed ones are made from their originals."""

# Authors: The skadapt developers
# SPDX-License-Identifier: BSD-3-Clause

import os
import tempfile
from pathlib import Path
from typing import NamedTuple

from sklearn.utils._param_validation import validate_params

# Originals are pinned by commit and by hash. Tests point this address to a local
# server.
ORIGINALS_URL = "https://raw.githubusercontent.com"


class Original(NamedTuple):
    """One file of a public repository, fixed by a commit and a hash.

    Parameters
    ----------
    repository : str
        The repository, as ``owner/name``.
    commit : str
        The commit, 40 hexadecimal digits.
    path : str
        The file's path inside the repository.
    sha256 : str
        The hash of the file's bytes, 64 hexadecimal digits.
    """

    repository: str
    commit: str
    path: str
    sha256: str


@validate_params(
    {"data_home": [str, os.PathLike, None]}, prefer_skip_nested_validation=True
)
def get_data_home(data_home=None):
    """Return the folder in which the loaders look for data files.

    The folder need not exist: the first download makes it.

    Parameters
    ----------
    data_home : str or path-like, default=None
        The folder; ``~`` stands for the user's home. None is the folder named by the
        environment variable `SKADAPT_DATA`, or ``~/skadapt_data`` where that is unset
        or empty.

    Returns
    -------
    data_home : str
        The path of the folder.

    Examples
    --------
    >>> from skadapt.datasets import get_data_home
    >>> get_data_home("some/folder")
    'some/folder'
    """
    if data_home is None:
        data_home = os.environ.get("SKADAPT_DATA") or os.path.join("~", "skadapt_data")
    return os.path.expanduser(os.fspath(data_home))


def packed_file(
    filename, *, originals=(), convert=None, data_home=None, download_if_missing=True
):
    """Return the path of a packed file, made from its originals where it is absent.

    A file that is there is taken as it is. One that is made appears under its name
    complete or not at all: it is written in a temporary folder beside its place and
    then moved, which is one step of the file system.

    Parameters
    ----------
    filename : str
        Name of the packed file in the data folder.

    originals : sequence of Original, default=()
        What to download. Empty where no public file is known that the packed one could
        be made from: it must then be there.

    convert : callable, default=None
        ``convert(paths, packed)`` reads the downloaded originals, whose paths come in
        the order of `originals`, and writes the packed file.

    data_home : str or path-like, default=None
        The data folder, see :func:`get_data_home`.

    download_if_missing : bool, default=True
        Whether to download when the file is absent.

    Returns
    -------
    path : pathlib.Path
        Where the packed file is.

    Raises
    ------
    FileNotFoundError
        If the file is absent and may not or cannot be downloaded, or has no originals.
    OSError
        If an original is not the pinned one, or the folder cannot be written to.
    ImportError
        If a download is needed and pooch is not installed.
    """
    folder = Path(get_data_home(data_home))
    packed = folder / filename
    if packed.is_file():
        return packed
    if not originals:
        raise FileNotFoundError(
            f"{filename} is not in {folder} and cannot be downloaded: put it there, or "
            "name the folder that has it in data_home or in the environment variable "
            "SKADAPT_DATA."
        )
    if not download_if_missing:
        raise FileNotFoundError(
            f"{filename} is not in {folder} and download_if_missing is False: allow "
            "the download, or name the folder that has the file in data_home or in "
            "the environment variable SKADAPT_DATA."
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        scratch = tempfile.TemporaryDirectory(prefix=".download-", dir=folder)
    except OSError as error:
        raise OSError(
            f"{filename} cannot be stored in {folder} ({error.strerror}): name a "
            "folder that can be written to in data_home or in the environment variable "
            "SKADAPT_DATA."
        ) from error
    with scratch as scratch_folder:
        # The number keeps apart files of one name in two folders.
        paths = [
            _retrieve(original, f"original-{number}", scratch_folder, packed)
            for number, original in enumerate(originals)
        ]
        unfinished = Path(scratch_folder) / filename
        convert(paths, unfinished)
        os.replace(unfinished, packed)
    return packed


def _retrieve(original, name, folder, packed):
    """Download one original into `folder` as `name`, and check its hash."""
    try:
        import pooch
    except ImportError as error:
        raise ImportError(
            f"pooch is needed to download {packed.name}: pip install pooch, or put the "
            f"file into {packed.parent}."
        ) from error
    repository, commit, path, sha256 = original
    url = f"{ORIGINALS_URL}/{repository}/{commit}/{path}"
    try:
        retrieved = pooch.retrieve(
            url, known_hash=f"sha256:{sha256}", fname=name, path=folder
        )
    except OSError as error:
        raise FileNotFoundError(
            f"{packed.name} is not in {packed.parent} and could not be downloaded from "
            f"{url}: connect to the network, or put the file into that folder."
        ) from error
    except ValueError as error:
        # How pooch says that the hash differs.
        raise OSError(
            f"{url} is not the file that {packed.name} is made from (its sha256 "
            f"differs): try again, or put {packed.name} into {packed.parent}."
        ) from error
    return Path(retrieved)
