"""What a model folder held when its version was registered: the SHA-256 of every file, and of this list itself.

The list lies in the folder, its own SHA-256 in the registry: who changes a file has to change three places.
"""

import hashlib
import os
from pathlib import Path

from pydantic import Field, ValidationError

from pipelines.core.errors import ModelError
from pipelines.core.files import write_whole
from pipelines.core.records import Record

FILE = "checksums.json"
TAG = "checksums_sha256"
_HINT = "do not use this version: restore its files from a backup, or retrain"
_NAMED = 3  # files, in a message


class Kept(Record):
    """One file as it was registered."""

    sha256: str
    size: int = Field(ge=0)


class Checksums(Record):
    """All files of a model folder but this one, by their POSIX path in it."""

    files: dict[str, Kept]


def write_checksums(folder: Path) -> str:
    """Write the list of a model folder's files into it, and return the SHA-256 that the registry keeps."""
    found = Checksums(files={name: _sum_file(folder / name) for name in sorted(_find_files(folder))})
    text = (found.model_dump_json(indent=1) + "\n").encode()
    write_whole(folder / FILE, text)
    return hashlib.sha256(text).hexdigest()


def check_list(folder: Path, registered: str) -> None:
    """See that a folder's list is the one that the registry knows.

    Args:
        folder: A version's model folder.
        registered: SHA-256 of the list in hexadecimal, as the registry keeps it. Empty: it keeps none, and nothing is
            checked.

    Raises:
        ModelError: If the list is gone or another one.
    """
    path = folder / FILE
    if not registered:
        return
    if not path.is_file():
        raise _damaged(folder, f"{FILE} is missing")
    if hashlib.sha256(path.read_bytes()).hexdigest() != registered:
        raise _damaged(folder, f"{FILE} was changed")


def check_folder(folder: Path, registered: str = "") -> None:
    """See that a model folder holds the files that were registered, unchanged, and no others.

    Nothing is known of a folder without a list: of a network that was just fitted, or of a version older than lists.

    Args:
        folder: A version's model folder; every file in it is read.
        registered: SHA-256 of the list in hexadecimal, as the registry keeps it. Empty: the list is taken as it is.

    Raises:
        ModelError: If files were changed, removed or added; the first three are named.
    """
    check_list(folder, registered)
    known = _read_list(folder)
    if known is None:
        return
    found = _find_files(folder)
    problems = [f"{name} is missing" for name in sorted(known.files.keys() - found)]
    problems += [f"{name} was added" for name in sorted(found - known.files.keys())]
    problems += [
        f"{name} was changed"
        for name in sorted(found & known.files.keys())
        if _differs(folder / name, known.files[name])
    ]
    if problems:
        more = f" and {len(problems) - _NAMED} more" if len(problems) > _NAMED else ""
        raise _damaged(folder, ", ".join(problems[:_NAMED]) + more)


def read_checked(folder: Path, name: str) -> bytes:
    """Read one file of a model folder, and see that it is as it was registered.

    Args:
        folder: A version's model folder. Where it has no list, the file is taken as it is.
        name: POSIX path of the file in the folder.

    Returns:
        What the file holds.

    Raises:
        ModelError: If the file is not as listed, or the list cannot be read.
        OSError: If there is no such file.
    """
    data, known = (folder / name).read_bytes(), _read_list(folder)
    if known is not None and known.files.get(name) != Kept(sha256=hashlib.sha256(data).hexdigest(), size=len(data)):
        raise _damaged(folder, f"{name} was changed")
    return data


def _read_list(folder: Path) -> Checksums | None:
    path = folder / FILE
    if not path.is_file():
        return None
    try:
        return Checksums.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise _damaged(folder, f"{FILE} cannot be read ({error.errors()[0]['msg']})") from error


def _find_files(folder: Path) -> set[str]:
    found = set()
    for place, folders, names in os.walk(folder):
        # A link to a folder is not entered, and whoever opens a file by it would.
        linked = [name for name in folders if (Path(place) / name).is_symlink()]
        found |= {(Path(place) / name).relative_to(folder).as_posix() for name in [*names, *linked]}
    return found - {FILE}


def _sum_file(path: Path) -> Kept:
    with path.open("rb") as file:
        return Kept(sha256=hashlib.file_digest(file, "sha256").hexdigest(), size=path.stat().st_size)


def _differs(path: Path, known: Kept) -> bool:
    try:
        # What is no file of that size need not be read.
        return not path.is_file() or path.stat().st_size != known.size or _sum_file(path) != known
    except OSError:  # of a disk that is going
        return True


def _damaged(folder: Path, found: str) -> ModelError:
    return ModelError(f"{folder} is damaged: {found} since it was registered", hint=_HINT)
