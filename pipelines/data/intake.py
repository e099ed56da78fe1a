"""Copying a user's folder into the project: once, whole, and never touching the source."""

import fcntl
import filecmp
import hashlib
import shutil
from pathlib import Path

import pandas as pd

from pipelines.core.errors import SourceError
from pipelines.core.files import write_whole
from pipelines.core.parsing import MalformedError
from pipelines.core.paths import check_name, inside
from pipelines.core.progress import track
from pipelines.core.records import Layout, Record
from pipelines.core.results import Unused
from pipelines.data.layouts import read_source, source_files
from pipelines.data.layouts.unused import check_unused, find_unused
from pipelines.data.review_ledger import read_reviews

# linux/fs.h: share the file's blocks until one copy is written to.
_FICLONE = 0x40049409


class Intake(Record):
    """What was taken in: images in all, new and changed, and files removed. `unused` are files that no row uses."""

    images: int
    new: int
    changed: int
    removed: int
    unused: tuple[Unused, ...] = ()


def take_in(
    layout: Layout,
    source: Path,
    mirror: Path,
    arrivals: Path,
    *,
    prune: bool = False,
    max_unused_share: float = 1.0,
) -> Intake:
    """Copy what is new or changed at the source, and write down which batch each image came with.

    The layout is checked before anything is copied.

    Args:
        layout: How the data set lies in `source`.
        source: The user's folder; it is only read, and neither holds `mirror` nor lies in it.
        mirror: The project's copy of it, made where it is absent.
        arrivals: The table of batches, arrivals.csv, in the surface's ledger; the reviews beside it are read too.
        prune: Remove files from `mirror` that vanished at the source. By default they are kept.
        max_unused_share: Largest share of the source's files, 0 to 1, that no row may use.

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
    images = {row.path for row in rows}
    stale = [name for name in files if _differs(source / name, mirror / name)]
    new = sum(name in images and not (mirror / name).exists() for name in stale)
    for name in track(stale, len(stale), "copy"):
        copy_file(source / name, inside(mirror, name))
    removed = _prune(mirror, set(files)) if prune else 0
    note_arrivals(layout, mirror, arrivals)
    changed = sum(name in images for name in stale) - new
    return Intake(images=len(rows), new=new, changed=changed, removed=removed, unused=unused)


class News(Record):
    """What lies at a source that was not taken in: new or changed files, `state` of all that lies there as one hash.

    `youngest` is when a file there was changed last, seconds since 1970.
    """

    stale: int
    state: str
    youngest: float


def compare_source(layout: Layout, source: Path, mirror: Path) -> News:
    """Look what `take_in` would copy, without copying; names, sizes and times are compared, contents where in doubt.

    Args:
        layout: How the data set lies in `source`.
        source: The user's folder; it is only read.
        mirror: The project's copy of it, which may be absent: then every file is new.

    Returns:
        How many files differ, masks and tables included. `state` is 16 hex digits over names, sizes and times.

    Raises:
        SourceError: If the folder is not there, or does not lie as its layout says.
    """
    if not source.is_dir():
        raise SourceError(f"{source} is not there", hint="mount or restore it; what was taken in is safe")
    files = sorted(source_files(layout, source, read_source(layout, source)))
    facts = {name: (source / name).stat() for name in files}
    text = "\n".join(f"{name} {fact.st_size} {fact.st_mtime_ns}" for name, fact in facts.items())
    return News(
        stale=sum(_differs(source / name, mirror / name) for name in files),
        state=hashlib.sha256(text.encode()).hexdigest()[:16],
        youngest=max((fact.st_mtime for fact in facts.values()), default=0.0),
    )


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
        OSError: If reading or writing fails, for example on a full disk; `target` is then as it was.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{hashlib.sha256(target.name.encode()).hexdigest()[:16]}.part")
    try:
        with source.open("rb") as reader, part.open("wb") as writer:
            try:
                fcntl.ioctl(writer.fileno(), _FICLONE, reader.fileno())
            except OSError:
                shutil.copyfileobj(reader, writer, 1 << 20)
        shutil.copystat(source, part)
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
