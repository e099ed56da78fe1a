"""Copying a user's folder into the project: once, whole, and never touching the source."""

import errno
import fcntl
import filecmp
import hashlib
import os
import shutil
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from pipelines.core.errors import SourceError
from pipelines.core.files import show_name, write_whole
from pipelines.core.parsing import MalformedError
from pipelines.core.paths import check_name, inside
from pipelines.core.progress import track
from pipelines.core.records import Layout, Record
from pipelines.core.results import Unused
from pipelines.data.layouts import has_table, read_source, source_files
from pipelines.data.layouts.unused import check_unused, find_unused
from pipelines.data.review_ledger import read_reviews

# linux/fs.h: share the file's blocks until one copy is written to.
_FICLONE = 0x40049409
_LARGEST = 2**32  # bytes, where TIFF ends
_CLOCKS_DIFFER = 60.0  # seconds that clocks of two machines may differ by without being wrong


class ChangingError(SourceError):
    """A file was written to while it was read."""


class Intake(Record):
    """What was taken in: images in all, new and changed, and files removed.

    `unused` are files that no row uses; `warnings` say which were left for the next time, or are dated in the future.
    """

    images: int
    new: int
    changed: int
    removed: int
    unused: tuple[Unused, ...] = ()
    warnings: tuple[str, ...] = ()


def take_in(
    layout: Layout,
    source: Path,
    mirror: Path,
    arrivals: Path,
    *,
    prune: bool = False,
    max_unused_share: float = 1.0,
    leave: Collection[str] = (),
) -> Intake:
    """Copy what is new or changed at the source, and write down which batch each image came with.

    The layout is checked before anything is copied. A file that changes while it is read, vanishes or cannot be read is
    left for the next time; the others are taken in.

    Args:
        layout: How the data set lies in `source`.
        source: The user's folder; it is only read, and neither holds `mirror` nor lies in it.
        mirror: The project's copy of it, made where it is absent.
        arrivals: The table of batches, arrivals.csv, in the surface's ledger; the reviews beside it are read too.
        prune: Remove files from `mirror` that vanished at the source. By default they are kept.
        max_unused_share: Largest share of the source's files, 0 to 1, that no row may use.
        leave: Files that are still being written: images that they belong to are left for the next time. Empty where
            the layout has a table, which names them all.

    Returns:
        Counts of images; `removed` counts files, masks included.

    Raises:
        SourceError: If the folder does not lie as its layout says, holds the project's own copy, or too much of it
            would be left behind.
    """
    source = source.resolve()
    if mirror.resolve().is_relative_to(source) or source.is_relative_to(mirror.resolve()):
        raise SourceError(f"{source} holds the project's own copy {mirror}", hint="name a folder outside data/raw")
    rows = read_source(layout, source)
    files = source_files(layout, source, rows)
    unused = find_unused(layout, source, files)
    check_unused(layout, source, unused, len(files), max_unused_share)
    future = find_future(source, files, time.time())
    rows = [row for row in rows if not {row.path, row.mask} & set(leave)]
    images = {row.path for row in rows}
    stale = [name for name in source_files(layout, source, rows) if _differs(source / name, mirror / name)]
    fresh = {name for name in stale if name in images and not (mirror / name).exists()}
    left = _copy(layout, source, mirror, stale)
    removed = _prune(mirror, set(files)) if prune else 0
    note_arrivals(layout, mirror, arrivals)
    changed = len((images & set(stale)) - fresh - left.keys())
    return Intake(
        images=len(images - (fresh & left.keys())),
        new=len(fresh - left.keys()),
        changed=changed,
        removed=removed,
        unused=unused,
        warnings=(*_warn_of_left(left), *future),
    )


def _copy(layout: Layout, source: Path, mirror: Path, names: Sequence[str]) -> dict[str, str]:
    """Copy files; return those that could not be read as they are, with the reason."""
    left: dict[str, str] = {}
    for name in track(names, len(names), "copy"):
        target = inside(mirror, name)
        try:
            _refuse_huge(source / name)
            copy_file(source / name, target)
        except ChangingError as error:
            left[name] = error.problem
        except OSError as error:
            # Of a target the system speaks otherwise: a full disk stops everything.
            if error.filename != str(source / name):
                raise
            left[name] = f"{show_name(name)}: {error.strerror}"
        if name in left and has_table(layout):
            raise SourceError(left[name], hint="wait until the source is written, or mend it, then run this again")
    return left


def _refuse_huge(file: Path) -> None:
    """Refuse to copy what no image is as large as: a file of holes takes no room at its source, and all of it here."""
    if (size := file.stat().st_size) > _LARGEST:
        raise OSError(errno.EINVAL, f"it has {size / 1e9:,.1f} GB, more than any image", str(file))


def _warn_of_left(left: Mapping[str, str]) -> list[str]:
    if not left:
        return []
    shown = "; ".join(list(left.values())[:3]) + (f" and {len(left) - 3} more" if len(left) > 3 else "")
    return [f"{len(left)} files were left for the next `data update`: {shown}"]


def find_future(source: Path, names: Iterable[str], now: float) -> list[str]:
    """Warn of files that are dated in the future: the clock of a camera or of this machine is wrong.

    Args:
        source: The data set.
        names: Its files, relative to it; one that vanished meanwhile is passed over.
        now: Seconds since 1970.

    Returns:
        One sentence, or none.
    """
    dated = {}
    for name in names:
        with suppress(FileNotFoundError):
            dated[name] = (source / name).stat().st_mtime
    late = [name for name, at in dated.items() if at > now + _CLOCKS_DIFFER]
    if not late:
        return []
    first = f"{show_name(late[0])} on {datetime.fromtimestamp(dated[late[0]], UTC):%Y-%m-%d}"
    return [f"{len(late)} file{'s are' if len(late) > 1 else ' is'} dated in the future, {first}: check that clock"]


class News(Record):
    """What lies at a source that was not taken in: new or changed files, `state` of all that lies there as one hash.

    `moving` are those of the new or changed files that were written to a moment ago.
    """

    stale: int
    state: str
    moving: frozenset[str] = frozenset()


def compare_source(layout: Layout, source: Path, mirror: Path, settle_seconds: float = 0.0) -> News:
    """Look what `take_in` would copy, without copying; names, sizes and times are compared, contents where in doubt.

    Args:
        layout: How the data set lies in `source`.
        source: The user's folder; it is only read.
        mirror: The project's copy of it, which may be absent: then every file is new.
        settle_seconds: A file that was written to less than so long ago may be half copied.

    Returns:
        How many files differ, masks and tables included. `state` is 16 hex digits over names, sizes and times.

    Raises:
        SourceError: If the folder is not there, or does not lie as its layout says.
    """
    if not source.is_dir():
        raise SourceError(f"{source} is not there", hint="mount or restore it; what was taken in is safe")
    files = sorted(source_files(layout, source, read_source(layout, source)))
    facts = {name: (source / name).stat() for name in files if (source / name).exists()}
    text = "\n".join(f"{name} {fact.st_size} {fact.st_mtime_ns}" for name, fact in facts.items())
    stale = [name for name in facts if _differs(source / name, mirror / name)]
    now = time.time()
    return News(
        stale=len(stale),
        state=hashlib.sha256(text.encode()).hexdigest()[:16],
        moving=frozenset(name for name in stale if _written(facts[name], now) > now - settle_seconds),
    )


def _written(fact: os.stat_result, now: float) -> float:
    """Say when a file was written to. One that is dated in the future was when its inode changed, or long ago."""
    return next((at for at in (fact.st_mtime, fact.st_ctime) if at <= now), 0.0)


def note_arrivals(layout: Layout, mirror: Path, arrivals: Path) -> int:
    """Give images that the ledger does not know the next batch number, and forget those that went.

    Args:
        layout: How the data set lies in `mirror`.
        mirror: The project's copy of the source; reviewed images in the ledger count as images too.
        arrivals: The table of batches, arrivals.csv, in the ledger; written where it is absent or something changed.

    Returns:
        How many images came.

    Raises:
        SourceError: If the mirror does not lie as its layout says, or a table of the ledger is damaged.
    """
    before = read_arrivals(arrivals)
    present = [row.path for row in read_source(layout, mirror)]
    present += [review.image for review in read_reviews(arrivals.parent)]
    # An image that went and comes again comes last.
    known = before[before["path"].isin(present)]
    named = set(known["path"])
    fresh = [path for path in present if path not in named]
    if fresh or len(known) < len(before) or not arrivals.is_file():
        batch = int(before["arrival"].max()) + 1 if len(before) else 1
        grown = pd.concat([known, pd.DataFrame({"path": fresh, "arrival": batch})], ignore_index=True)
        write_whole(arrivals, grown.to_csv(index=False, lineterminator="\n"))
    return len(fresh)


def read_arrivals(path: Path) -> pd.DataFrame:
    """Read the ledger's table of which batch each file came with; empty without one.

    Raises:
        SourceError: where the table is damaged.
    """
    if not path.is_file():
        return pd.DataFrame({"path": pd.Series(dtype=str), "arrival": pd.Series(dtype=int)})
    try:
        found = pd.read_csv(path, keep_default_na=False, dtype=str, encoding="utf-8")
        if list(found.columns) != ["path", "arrival"]:
            raise MalformedError("expected the columns path and arrival")
        for name in found["path"]:
            check_name(name)
        return found.astype({"arrival": int})
    except (ValueError, TypeError, OverflowError) as error:
        raise SourceError(f"{path} is damaged ({error})", hint="restore it from DVC: `dvc checkout --force`") from error


def _differs(source: Path, copy: Path) -> bool:
    if not copy.is_file():
        return True
    here, there = source.stat(), copy.stat()
    if here.st_size != there.st_size:
        return True
    # DVC's checkout gives files a new time, so that an equal size asks for a look inside.
    return here.st_mtime_ns != there.st_mtime_ns and not filecmp.cmp(source, copy, shallow=False)


def copy_file(source: Path, target: Path) -> None:
    """Copy through a temporary neighbour, sharing blocks where the file system can.

    Args:
        source: File to copy; its times are kept, its permissions are not (0644).
        target: Path of the copy, replaced whole where it exists; folders above it are made.

    Raises:
        ChangingError: If the source is written to meanwhile; `target` is then as it was.
        OSError: If reading or writing fails, for example on a full disk; `target` is then as it was.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{hashlib.sha256(target.name.encode()).hexdigest()[:16]}.part")
    before = source.stat()
    try:
        with source.open("rb") as reader, part.open("wb") as writer:
            try:
                fcntl.ioctl(writer.fileno(), _FICLONE, reader.fileno())
            except OSError:
                shutil.copyfileobj(reader, writer, 1 << 20)
        shutil.copystat(source, part)
        after = source.stat()
        if (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
            raise ChangingError(f"{source} changed while it was read", hint="run this again once it is written")
        part.chmod(0o644)
        part.replace(target)
    except OSError as error:
        error.filename = error.filename or str(target)  # the system names none where a write fails
        raise
    finally:
        part.unlink(missing_ok=True)


def _prune(mirror: Path, files: set[str]) -> int:
    gone = [p for p in mirror.rglob("*") if p.is_file() and p.relative_to(mirror).as_posix() not in files]
    for path in gone:
        path.unlink()
    return len(gone)
