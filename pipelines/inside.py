"""Names of files that were read from a table, a record or a request: what may be one, and where it leads.

Every name that comes from outside goes through `check_name`, and through `inside` before a file is opened or written.
"""

import os
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Annotated

from pydantic import AfterValidator

from pipelines.errors import PathError

# What file systems take at most, in bytes: of one part, and of a whole path.
_PART, _WHOLE = 255, 4096


class UnsafeNameError(ValueError):
    """Say what is wrong with a name; a record that holds it says so, a reader adds where it stands."""


def check_name(name: str) -> str:
    """Return a POSIX path relative to some folder as it is; raise UnsafeNameError for one that could lead out of it.

    Windows' ways to say the same are refused too: what is shared may be read there. So is another spelling of a name
    (`a/./b`), which would be another name to whoever compares.
    """
    fault = _fault(name)
    if fault:
        raise UnsafeNameError(fault)
    return name


def _fault(name: str) -> str:
    if any(ord(c) < 32 or ord(c) == 127 or 0xD800 <= ord(c) < 0xE000 for c in name):
        return f"the file name {name[:200]!r} cannot be written into a table"
    path, windows = PurePosixPath(name), PureWindowsPath(name)
    if path.is_absolute() or windows.drive or windows.root or ".." in (*path.parts, *windows.parts):
        return f"'{name[:200]}' leads out of the folder"
    if not path.parts or str(path) != name:
        return f"'{name[:200]}' names no file: expected a path such as images/a.png"
    if len(name.encode()) > _WHOLE or any(len(part.encode()) > _PART for part in path.parts):
        return f"the file name '{name[:60]}…' is too long"
    return ""


# What a record calls a file by that lies in a folder which the record's reader knows.
InsidePath = Annotated[str, AfterValidator(check_name)]


def inside(folder: Path, name: str) -> Path:
    """Return the file of that name in a folder, which need not be there.

    Raises:
        PathError: for a name that `check_name` refuses, or that leaves the folder by a link on its way.
    """
    try:
        check_name(name)
    except UnsafeNameError as error:
        raise PathError(f"{folder}: {error}", cure="rename the file, or remove its row") from error
    root = os.path.realpath(folder)
    if not Path(os.path.realpath(os.path.join(root, name))).is_relative_to(root):  # noqa: PTH118 - named often
        raise PathError(
            f"{folder}: '{name}' leads out of the folder", cure="put a copy of the file into the folder, not a link"
        )
    return folder / name
