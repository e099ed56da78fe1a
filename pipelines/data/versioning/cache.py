"""Whether DVC's files hold what their names say: DVC takes a cached file that is there for whole, and checks it out."""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from pipelines.core.errors import ToolError
from pipelines.core.files import whole_file
from pipelines.core.paths import inside
from pipelines.core.wording import count_in_words
from pipelines.data.versioning.dvc_files import DvcFile, read_members

_FOLDER = ".dir"  # how the hash of a folder's list ends


class Kept(NamedTuple):
    """One file that DVC keeps: its hash, where the cache has it, and what it is a copy of, a file or folder."""

    md5: str
    cached: Path
    path: Path

    @property
    def is_cached(self) -> bool:
        """Tell whether the cache has the file, and as its name says."""
        return hash_file(self.cached) == self.md5.removesuffix(_FOLDER)


def list_kept(cache: Path, root: Path, outs: Iterable[DvcFile]) -> Iterator[Kept]:
    """List all files that DVC keeps of some outs, each folder's own list before its files.

    Args:
        cache: DVC's cache folder.
        root: Folder that the outs' paths are relative to.
        outs: Files and folders. Of a folder whose list is gone or changed, the list alone is yielded.

    Raises:
        PathError: If a name leads out of `root`, by a link too.
    """
    for out in outs:
        md5 = str(out.md5)
        if not md5:
            continue
        own = Kept(md5, _place(cache, md5), inside(root, out.path))
        yield own
        if md5.endswith(_FOLDER) and own.is_cached:
            for name, inner in read_members(own.cached):
                yield Kept(inner, _place(cache, inner), inside(root, f"{out.path}/{name}"))


def refuse_changed(cache: Path, root: Path, outs: Iterable[DvcFile]) -> None:
    """Refuse data of which the cache holds a file that was changed: DVC would bring it as if it were the right one.

    Args:
        cache: DVC's cache folder.
        root: Folder that the outs' paths are relative to.
        outs: Files and folders that are about to be checked out. What the cache lacks, DVC refuses itself.

    Raises:
        ToolError: Naming the first file.
    """
    changed = [kept for kept in list_kept(cache, root, outs) if kept.cached.is_file() and not kept.is_cached]
    if changed:
        raise ToolError(
            f"{count_in_words(len(changed), 'file')} in DVC's cache changed since it was written there, first "
            f"{changed[0].cached}, which is {changed[0].path.relative_to(root)}",
            hint="`knotwatch doctor --repair` restores what it finds another copy of, and says what to do for the rest",
        )


def heal(kept: Kept, copies: Iterable[Path]) -> Path | None:
    """Put a file back into DVC's cache from the first copy that has its hash.

    Args:
        kept: A file that the cache lacks. A folder's list is made of the folder itself, where all of it is there.
        copies: Files, or folders, that may be the same; they are only read.

    Returns:
        The copy that was taken; None where none is the same.
    """
    for copy in copies:
        data = _list_folder(copy) if kept.md5.endswith(_FOLDER) else _read(copy)
        if data is not None and _hash(data) == kept.md5.removesuffix(_FOLDER):
            with whole_file(kept.cached) as neighbour:
                neighbour.write_bytes(data)
            kept.cached.chmod(0o444)  # as DVC has it
            return copy
    return None


def hash_file(path: Path) -> str:
    """Return a file's MD5, which DVC names it by; empty where it cannot be read, or is a pipe or a device."""
    try:
        if not path.is_file():
            return ""
        with path.open("rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    except OSError:
        return ""


def _hash(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes() if path.is_file() else None
    except OSError:
        return None


def _list_folder(folder: Path) -> bytes | None:
    """Write a folder's list as DVC does: by path, and JSON as Python writes it."""
    names = [Path(place, name).relative_to(folder).as_posix() for place, _, found in os.walk(folder) for name in found]
    rows = [{"md5": hash_file(folder / name), "relpath": name} for name in names]
    return json.dumps(sorted(rows, key=lambda row: row["relpath"]), sort_keys=True).encode() if rows else None


def _place(cache: Path, md5: str) -> Path:
    return cache / "files/md5" / md5[:2] / md5[2:]
