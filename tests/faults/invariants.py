"""What must hold of a project whatever was ended in it, and when."""

import hashlib
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psutil

from pipelines.core.errors import KnotwatchError
from pipelines.core.paths import Project
from pipelines.detector.checksums import check_folder
from pipelines.detector.version import read_info
from tests.faults.project import SHELF, SURFACE, shelf


def fingerprint(folder: Path) -> dict[str, str]:
    """Hash every file of a folder."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def find_faults(project: Project, sources: dict[str, str]) -> list[str]:
    """Say in words what does not hold.

    `sources` is the fingerprint of the user's folder as it was before the command.
    """
    return [*_sources(project, sources), *_databases(project), *_aliases(project), *_half_written(project)]


def _sources(project: Project, sources: dict[str, str]) -> Iterator[str]:
    if fingerprint(shelf(project)) != sources:
        yield "the user's images are not what they were"
    for name in (SURFACE, SHELF):
        if not any(project.surface(name).source.rglob("*.png")):
            yield f"the mirror of '{name}' is empty"


def _databases(project: Project) -> Iterator[str]:
    for name in ("mlflow/mlflow.db", "prefect/prefect.db"):
        path = project.state / name
        if path.is_file():
            with closing(sqlite3.connect(path)) as connection:
                found = connection.execute("pragma quick_check(1)").fetchone()[0]
            if found != "ok":
                yield f"{name}: {found}"


def _aliases(project: Project) -> Iterator[str]:
    """Check that what an alias names is there, whole, and as it was registered."""
    with closing(sqlite3.connect(project.state / "mlflow" / "mlflow.db")) as connection:
        named = connection.execute("select name, alias, version from registered_model_aliases").fetchall()
        places = {
            (str(name), int(version)): str(source)
            for name, version, source in connection.execute("select name, version, source from model_versions")
        }
    if not any(name == SURFACE and alias == "champion" for name, alias, _ in named):
        yield f"'{SURFACE}' has no champion"
    for name, alias, version in named:
        source = places.get((str(name), int(version)))
        if source is None:
            yield f"the alias {alias} of '{name}' names version {version}, which is not there"
            continue
        model = source.rpartition("/")[2]
        folders = [path.parent for path in project.state.glob(f"mlflow/artifacts/*/models/{model}/**/model.json")]
        whole = [folder for folder in folders if "members" not in folder.parts]
        if not whole:
            yield f"the files of {name} version {version} ({alias}) are not there"
        for folder in whole:
            try:
                check_folder(folder)
                read_info(folder)
            except KnotwatchError as error:
                yield f"{name} version {version} ({alias}): {error.problem}"


def _half_written(project: Project) -> Iterator[str]:
    """Look for files that somebody might read as whole."""
    for path in (project.surfaces_index, project.dvc_lock, *project.surfaces_dir.glob("*.yaml")):
        if not path.is_file() or not path.stat().st_size:
            yield f"{path.name} is empty or gone"
    for name in ("saved.zip", "out.parquet"):
        path = project.root / name
        if path.is_file() and path.stat().st_size < 100:
            yield f"{name} is half written"


def find_left_running(project: Project) -> list[str]:
    """List processes that still work in a project's folder."""
    found = []
    for process in psutil.process_iter():
        try:
            if Path(process.cwd()).is_relative_to(project.root) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(f"{process.pid} {' '.join(process.cmdline())[:120]}")
        except (psutil.Error, OSError):
            continue
    return found
