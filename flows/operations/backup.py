"""A project in one file, and back: what was learnt and decided, what the data were, and on request the images.

The file is a ZIP archive of files by their place in the project, and of `manifest.json` with the SHA-256 of each. It is
read back before it counts as written, and checked whole before anything is restored.
"""

import hashlib
import os
import re
import shutil
import sqlite3
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path, PurePosixPath
from typing import Annotated

from packaging.version import Version
from pydantic import AfterValidator, Field, ValidationError

from flows.runtime.leftovers import scratch_folder
from pipelines.core.errors import CallError, ToolError
from pipelines.core.files import whole_file, write_whole
from pipelines.core.parsing import MalformedError, first_fault, parse_json
from pipelines.core.paths import InsidePath, Project, inside
from pipelines.core.progress import track
from pipelines.core.records import Record
from pipelines.data.versioning.dvc_files import read_pointer
from pipelines.data.versioning.sharing import check_out, has_remote

_MANIFEST = "manifest.json"
_DATABASE = ".knotwatch/mlflow/mlflow.db"
# Images, ledgers and prepared images lie in DVC's cache, by their hash.
_IMAGES = (".dvc/cache/**/*",)
_KEPT = (
    "params.yaml",
    "dvc.lock",
    "data/surfaces/*.yaml",
    "data/raw/*/*.dvc",
    "data/work/*/history/**/*",
    "data/work/*/review/**/*",
    "data/work/*/watch.json",
    ".knotwatch/versions/**/*",
    ".knotwatch/mlflow/artifacts/**/*",
)
# What a backup may hold, and nothing else. DVC would run what a `dvc.yaml` says anywhere in the project.
_BELONGS = re.compile(
    "|".join(
        re.escape(pattern).replace(r"\*\*/\*", ".+").replace(r"\*", "[^/]+")
        for pattern in (*_KEPT, *_IMAGES, _DATABASE)
    )
)
_DVC_READS = re.compile(r"(?!data/raw/[^/]+/[^/]+\.dvc$).*(\.dvc|/dvc\.yaml)")
_RESTORING = "restoring"  # in the state folder, until all is there
_CHUNK = 2**20
_MOST_LINE = 5000  # bytes of the manifest that say of one file what it is
_MOST_POINTER = 100_000  # bytes; DVC's own have a few hundred
_NO_BACKUP = "take another backup; this one cannot be relied on"


class _Entry(Record):
    size: int = Field(ge=0)
    sha256: str


def _as_version(text: str) -> str:
    Version(text)  # raises ValueError for what is none
    return text


class _Manifest(Record):
    schema_version: int
    written_by: Annotated[str, AfterValidator(_as_version)]
    created: str
    images: bool
    files: dict[InsidePath, _Entry]


class BackupResult(Record):
    """What a backup holds; `elsewhere` names what a server of the user's keeps, which must be saved there."""

    file: str
    files: int
    megabytes: float
    images: bool
    elsewhere: str = ""


class RestoreResult(Record):
    """What was restored; without `images`, `knotwatch data pull` brings them."""

    files: int
    surfaces: tuple[str, ...]
    images: bool
    written_by: str
    created: str


def back_up(project: Project, target: Path, *, images: bool | None = None) -> BackupResult:
    """Write a project's registry, runs, decisions, settings, data pointers and history to one file, and read it back.

    Work beside it may go on: the database is copied as it is at one moment, and first, so that all that it names is
    there. Schedules and secrets are not taken: the ones belong to a machine, the others to nobody else.

    Args:
        project: Whose files are read.
        target: File that is written; it must not be there yet.
        images: Whether DVC's cache is taken as well; None takes it where no DVC remote has the images.

    Returns:
        What the file holds.

    Raises:
        CallError: If `target` is there, or lies where it would be part of itself.
        ToolError: If the file does not read back as it was written.
    """
    if target.exists():
        raise CallError(f"{target} is there already", hint="name a new file; no backup is written over another one")
    taken = not has_remote(project) if images is None else images
    with tempfile.TemporaryDirectory(dir=scratch_folder(project, "backup")) as scratch, whole_file(target) as neighbour:
        copied = _copy_database(project, Path(scratch))
        names = [*copied, *_list(project, (*_KEPT, *(_IMAGES if taken else ())))]
        with zipfile.ZipFile(neighbour, "w") as archive:
            files = {
                name: _write(archive, name, copied.get(name, project.root / name))
                for name in track(names, len(names), "backup")
            }
            manifest = _Manifest(
                schema_version=1,
                written_by=version("knotwatch"),
                created=datetime.now(UTC).isoformat(timespec="seconds"),
                images=taken,
                files=files,
            )
            archive.writestr(_MANIFEST, manifest.model_dump_json(indent=1))
        with _opened(neighbour) as archive:
            _verify(archive, _read_manifest(archive, neighbour), neighbour)
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    return BackupResult(
        file=str(target),
        files=len(files),
        megabytes=round(target.stat().st_size / 1e6, 1),
        images=taken,
        elsewhere="" if uri.startswith("sqlite") else uri,
    )


def restore(project: Project, source: Path) -> RestoreResult:
    """Bring what `back_up` wrote into a clone without surfaces and runs.

    The whole file is checked first. Where it is stopped on its way, the same call goes on.

    Args:
        project: A clone of the same release or a newer one.
        source: The file.

    Returns:
        What was restored.

    Raises:
        CallError: If the clone is not empty, or the file is not there or of a newer release.
        ToolError: If the file is damaged, or holds what no backup has.
    """
    if not source.is_file():
        raise CallError(f"{source} is not there", hint="name a file that `knotwatch backup` wrote")
    with _opened(source) as archive:
        manifest = _read_manifest(archive, source)
        mark = project.state / _RESTORING
        token = hashlib.sha256(manifest.model_dump_json().encode()).hexdigest()
        if not (mark.is_file() and mark.read_text("utf-8") == token):
            _refuse_used(project)
            _refuse_bomb(project, manifest, source)
        _verify(archive, manifest, source)
        _refuse_pointers(archive, manifest)
        write_whole(mark, token)
        # The database last: until it is there, nothing points to anything.
        names = sorted(manifest.files, key=lambda name: name == _DATABASE)
        for name in track(names, len(names), "restore"):
            with whole_file(inside(project.root, name)) as neighbour:
                _unpack(archive, name, neighbour)
    surfaces = project.surface_names()
    if manifest.images:
        check_out(project, surfaces)
    mark.unlink()
    return RestoreResult(
        files=len(manifest.files),
        surfaces=tuple(surfaces),
        images=manifest.images,
        written_by=manifest.written_by,
        created=manifest.created,
    )


def _copy_database(project: Project, scratch: Path) -> dict[str, Path]:
    """Copy the tracking database as it is at one moment, also while servers write; nothing where there is none."""
    database, copy = project.root / _DATABASE, scratch / "mlflow.db"
    if not database.is_file():
        return {}
    with (
        closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as source,
        closing(sqlite3.connect(copy)) as to,
    ):
        source.backup(to)
    return {_DATABASE: copy}


def _list(project: Project, patterns: Sequence[str]) -> Iterator[str]:
    """List files by their place in the project; none that is half written, and no link out of it."""
    for pattern in patterns:
        for path in sorted(project.root.glob(pattern)):
            if path.is_file() and not path.is_symlink() and not path.name.startswith("."):
                yield path.relative_to(project.root).as_posix()


def _write(archive: zipfile.ZipFile, name: str, path: Path) -> _Entry:
    """Add a file; images and networks hardly get smaller, texts and the database do."""
    found, size = hashlib.sha256(), 0
    info = zipfile.ZipInfo(name)
    packed = path.suffix in {".png", ".jpg", ".bin", ".parquet", ".safetensors"} or name.startswith(".dvc/")
    info.compress_type = zipfile.ZIP_STORED if packed else zipfile.ZIP_DEFLATED
    with path.open("rb") as file, archive.open(info, "w", force_zip64=True) as place:
        while chunk := file.read(_CHUNK):
            place.write(chunk)
            found.update(chunk)
            size += len(chunk)
    return _Entry(size=size, sha256=found.hexdigest())


def _unpack(archive: zipfile.ZipFile, name: str, path: Path) -> None:
    with archive.open(name) as packed, path.open("wb") as file:
        shutil.copyfileobj(packed, file, _CHUNK)


@contextmanager
def _opened(source: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(source) as archive:
            yield archive
    except (zipfile.BadZipFile, EOFError, NotImplementedError) as error:
        raise ToolError(f"{source} is damaged, or no backup ({error})", hint=_NO_BACKUP) from error


def _read_manifest(archive: zipfile.ZipFile, source: Path) -> _Manifest:
    try:
        if archive.getinfo(_MANIFEST).file_size > 2**20 + _MOST_LINE * len(archive.namelist()):
            raise ToolError(f"{source} is no backup: its {_MANIFEST} is longer than any could be", hint=_NO_BACKUP)
        with archive.open(_MANIFEST) as file:
            manifest = _Manifest.model_validate(parse_json(file.read()))
    except (KeyError, MalformedError, ValidationError) as error:
        fault = first_fault(error) if isinstance(error, ValidationError) else error
        raise ToolError(f"{source} is no backup: its {_MANIFEST} cannot be read ({fault})", hint=_NO_BACKUP) from error
    ours = version("knotwatch")
    if Version(manifest.written_by) > Version(ours):
        raise CallError(
            f"{source} was written by knotwatch {manifest.written_by}, this is {ours}",
            hint=f"restore it into a clone of {manifest.written_by} or newer",
        )
    strange = [name for name in manifest.files if not _belongs(name)]
    if strange:
        raise ToolError(f"{source} holds '{strange[0]}', which no backup has", hint=_NO_BACKUP)
    return manifest


def _refuse_bomb(project: Project, manifest: _Manifest, source: Path) -> None:
    """Refuse what would fill the disk: a few megabytes of an archive can become terabytes."""
    wanted, free = sum(entry.size for entry in manifest.files.values()), shutil.disk_usage(project.root).free
    if wanted > free:
        raise ToolError(
            f"{source} becomes {wanted / 1e9:,.1f} GB, and {free / 1e9:,.1f} GB of the disk are free",
            hint="make room; where it should be small, do not use it",
        )


def _belongs(name: str) -> bool:
    hidden = PurePosixPath(name).name.startswith(".")
    return not hidden and _BELONGS.fullmatch(name) is not None and _DVC_READS.fullmatch(name) is None


def _refuse_pointers(archive: zipfile.ZipFile, manifest: _Manifest) -> None:
    """Refuse a pointer by which DVC would fetch something else than a surface's images."""
    for name in manifest.files:
        place = PurePosixPath(name)
        if place.match("data/raw/*/*.dvc"):
            text = archive.read(name).decode(errors="replace") if manifest.files[name].size < _MOST_POINTER else ""
            read_pointer(place.name, text, name)


def _verify(archive: zipfile.ZipFile, manifest: _Manifest, source: Path) -> None:
    """Read every file, and compare it with what the manifest says of it."""
    listed = [name for name in archive.namelist() if name != _MANIFEST]
    if sorted(listed) != sorted(manifest.files):
        raise ToolError(f"{source} holds other files than its {_MANIFEST} lists", hint=_NO_BACKUP)
    for name, entry in track(manifest.files.items(), len(manifest.files), "verify"):
        found, size = hashlib.sha256(), 0
        with archive.open(name) as file:
            while chunk := file.read(_CHUNK):
                found.update(chunk)
                size += len(chunk)
                if size > entry.size:
                    break
        if (size, found.hexdigest()) != (entry.size, entry.sha256):
            raise ToolError(f"{source}: '{name}' is not what was written", hint=_NO_BACKUP)


def _refuse_used(project: Project) -> None:
    used = [f"the surface '{name}'" for name in project.surface_names()[:1]]
    used += [str(path) for path in [project.root / _DATABASE] if path.exists()]
    if used:
        raise CallError(
            f"{project.root} holds {used[0]} already",
            hint="restore into a fresh clone: git clone, make install, knotwatch restore FILE",
        )
