"""The one place that knows where things lie inside a project folder."""

import os
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Annotated
from urllib.parse import quote, unquote

from pydantic import AfterValidator

from pipelines.core.errors import CallError, PathError, offer

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


@dataclass(frozen=True)
class SurfacePaths:
    """Where one surface's files lie. Built by `Project.surface`, which checks the name."""

    root: Path
    name: str

    @property
    def settings(self) -> Path:
        return self.root / "data/surfaces" / f"{self.name}.yaml"

    @property
    def raw(self) -> Path:
        return self.root / "data/raw" / self.name

    @property
    def source(self) -> Path:
        """The mirror of the user's folder, tracked by DVC."""
        return self.raw / "source"

    @property
    def ledger(self) -> Path:
        """What knotwatch knows of the source beyond its files: the order of arrival. Tracked by DVC."""
        return self.raw / "ledger"

    @property
    def arrivals(self) -> Path:
        return self.ledger / "arrivals.csv"

    @property
    def types(self) -> Path:
        """Example crops of defect types, one folder a type."""
        return self.ledger / "types"

    @property
    def work(self) -> Path:
        return self.root / "data/work" / self.name

    @property
    def manifest(self) -> Path:
        return self.work / "manifest.csv"

    @property
    def verdict(self) -> Path:
        return self.work / "verdict.json"

    @property
    def unused(self) -> Path:
        """Which files of the user's folder were not taken in; what the source was like is no part of the data."""
        return self.work / "unused.json"

    @property
    def prepared(self) -> Path:
        return self.work / "prepared"

    @property
    def history(self) -> Path:
        """What was inspected, one Parquet file a batch; see pipelines/inspection/history.py."""
        return self.work / "history"

    @property
    def review(self) -> Path:
        """Images of drifted batches, sampled for review by a person; a folder a batch."""
        return self.work / "review"

    @property
    def watch(self) -> Path:
        """What the checks of this surface remember."""
        return self.work / "watch.json"

    @property
    def reports(self) -> Path:
        return self.root / "data/reports" / self.name


@dataclass(frozen=True)
class Project:
    """A project folder: the clone that holds dvc.yaml and params.yaml."""

    root: Path

    @property
    def params(self) -> Path:
        return self.root / "params.yaml"

    @property
    def dvc_lock(self) -> Path:
        return self.root / "dvc.lock"

    @property
    def surfaces_dir(self) -> Path:
        return self.root / "data/surfaces"

    @property
    def surfaces_index(self) -> Path:
        """The names that dvc.yaml makes its stages for."""
        return self.surfaces_dir / "index.yaml"

    @property
    def state(self) -> Path:
        """What knotwatch and its servers keep for themselves; git ignores it."""
        return self.root / ".knotwatch"

    @property
    def signing_key(self) -> Path:
        """What versions are signed with: on one machine alone, and in no backup."""
        return self.state / "signing-key.pem"

    @property
    def public_key(self) -> Path:
        """What signatures are checked with; belongs into git."""
        return self.root / "mlflow/signing-key.pub.pem"

    def surface(self, name: str) -> SurfacePaths:
        """Name a surface's paths; raise CallError where the name could leave its folder."""
        if not _NAME.fullmatch(name) or name == "index":
            plain = re.sub("[^a-z0-9]+", "-", name[:63].lower()).strip("-") if name != "index" else ""
            raise CallError(
                f"{name[:80]!r} cannot name a surface: expected up to 63 of a-z, 0-9 and inner '-', not 'index'",
                hint=offer("choose a name such as wood-boards", [plain] if _NAME.fullmatch(plain) else []),
            )
        return SurfacePaths(self.root, name)

    def surface_names(self) -> list[str]:
        """Name the surfaces that have settings; raise CallError for a file there that cannot be a surface's."""
        return [self.surface(name).name for name in self._files()]

    def _files(self) -> list[str]:
        return sorted(p.stem for p in self.surfaces_dir.glob("*.yaml") if p.name != "index.yaml")


def find_project(start: Path | None = None) -> Project:
    """Find the project around `start` (the current folder), or the one that KNOTWATCH_PROJECT names."""
    named = os.environ.get("KNOTWATCH_PROJECT")
    here = Path(named) if named else (start or Path.cwd())
    for folder in [here.resolve(), *here.resolve().parents]:
        if (folder / "dvc.yaml").is_file() and (folder / "params.yaml").is_file():
            return Project(folder)
    raise CallError(
        f"no knotwatch project at {here}: expected dvc.yaml and params.yaml there or in a folder above",
        hint="change into the project's folder, or set KNOTWATCH_PROJECT to it",
    )


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

    Args:
        folder: Where the name comes from.
        name: POSIX path relative to the folder, as a table, a record or a request holds it.

    Returns:
        The path below `folder`, links not resolved.

    Raises:
        PathError: If `check_name` refuses the name, or it leaves the folder by a link on its way.
    """
    try:
        check_name(name)
    except UnsafeNameError as error:
        raise PathError(f"{folder}: {error}", hint="rename the file, or remove its row") from error
    root = os.path.realpath(folder)
    if not Path(os.path.realpath(os.path.join(root, name))).is_relative_to(root):  # noqa: PTH118 - named often
        raise PathError(
            f"{folder}: '{name}' leads out of the folder", hint="put a copy of the file into the folder, not a link"
        )
    return folder / name


# A path with one of these in it must be escaped, or the database lies elsewhere.
_SPECIAL = set("?%#")
_ADDRESS = re.compile(r"sqlite(?:\+\w+)?:///(?:file:(?P<escaped>.+)\?uri=true|(?P<plain>.+))", re.DOTALL)


def database_address(file: Path, driver: str = "") -> str:
    """Write the address that SQLAlchemy opens a database by.

    Args:
        file: Absolute path of the database; it need not be there.
        driver: Of Python's for SQLite; empty for the usual one.

    Returns:
        The address; a path without special characters stands in it as it is.

    >>> database_address(Path("/a b/x.db")), database_address(Path("/what?/x.db"))
    ('sqlite:////a b/x.db', 'sqlite+pysqlite:///file:/what%3F/x.db?uri=true')
    """
    if not _SPECIAL & set(str(file)):
        return f"sqlite{'+' * bool(driver)}{driver}:///{file}"
    # MLflow takes the rest of `sqlite:///` for a path and makes its folders; with a driver named it does not.
    return f"sqlite+{driver or 'pysqlite'}:///file:{quote(str(file))}?uri=true"


def database_file(address: str) -> Path | None:
    """Read the file's path from such an address; None where it is no SQLite database.

    >>> [database_file(one) for one in (database_address(Path("/what?/x.db")), "http://127.0.0.1:5000")]
    [PosixPath('/what?/x.db'), None]
    """
    found = _ADDRESS.fullmatch(address)
    if not found:
        return None
    return Path(unquote(found["escaped"])) if found["escaped"] else Path(found["plain"])
