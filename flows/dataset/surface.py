"""Data under DVC: add, update, remove, share and bring back a surface's images."""

import logging
import shutil
from collections.abc import Collection
from contextlib import ExitStack
from pathlib import Path

from flows.runtime.data_stages import note_unused, run_preprocess, run_validate
from flows.runtime.locks import data_lock, surface_lock
from flows.runtime.report_index import update_index
from flows.runtime.session import open_session
from pipelines.core.errors import CallError, SourceError
from pipelines.core.paths import Project, SurfacePaths
from pipelines.core.records import Layout, Record
from pipelines.core.results import ValidationReport
from pipelines.core.surface_settings import (
    ProceduralSettings,
    SourceSettings,
    SurfaceSettings,
    ValidationSettings,
    read_surface,
    write_surface,
)
from pipelines.data.intake import Intake, note_arrivals, take_in
from pipelines.data.layouts import read_source, source_files
from pipelines.data.layouts.unused import check_unused, find_unused
from pipelines.data.prepared import PreparedImage, read_index
from pipelines.data.type_examples import TypesIntake, take_in_types
from pipelines.data.versioning.dvc_command import run_dvc
from pipelines.data.versioning.sharing import pull, push
from pipelines.data.versioning.surface_list import write_surface_list
from pipelines.data.versioning.versions import data_version, forget_lock_entries, read_kept, restore

log = logging.getLogger(__name__)


class DataChange(Record):
    """What a change of data came to. `measured` and `prepared` count the images that were new work."""

    surface: str
    data_version: str | None
    intake: Intake
    prepared: int
    verdict: ValidationReport


class TypesChange(Record):
    """What adding example crops came to."""

    surface: str
    data_version: str | None
    types: TypesIntake


def add_surface(
    project: Project, name: str, source: SourceSettings, validation: ValidationSettings | None = None
) -> DataChange:
    """Bring a data set under DVC, write the surface's YAML, then validate and prepare it.

    Args:
        project: Project that gets the surface.
        name: New name: up to 63 of a-z, 0-9 and inner `-`.
        source: Layout and place of the data set, which is copied and never changed.
        validation: Limits that differ from the defaults; they are written into the YAML.

    Returns:
        What was taken in, and the verdict on it.

    Raises:
        CallError: If the surface exists, or cannot have that name.
        SourceError: If the data set does not lie as its layout says, or too many of its files would be left behind;
            nothing is copied then.
        GateError: If too many images are bad; the surface stays, so that `data update` can mend it.
    """
    paths = project.surface(name)
    settings = SurfaceSettings(source=source, validation=validation or ValidationSettings())
    with surface_lock(project, name, "data add"):
        if paths.settings.exists():
            raise CallError(f"surface '{name}' exists", hint=f"`knotwatch data update {name}`, or choose another name")
        # What a killed `data add` left: a surface without settings is none.
        _forget(project, paths)
        try:
            intake = _bring(project, paths, settings, prune=False)
            write_surface(project, name, settings)
            track_raw(project, paths, settings)
        except BaseException:
            _forget(project, paths)
            raise
        try:
            return reproduce(project, name, settings, intake)
        finally:
            update_index(project, name)


def update_surface(project: Project, name: str, *, prune: bool = False, leave: Collection[str] = ()) -> DataChange:
    """Take in what is new at the remembered source, then measure and prepare what changed.

    Args:
        project: Project that holds the surface.
        name: Surface that was added.
        prune: Also remove images that vanished from a source folder; without, they are kept.
        leave: Files of a source folder that are still being written: their images come the next time.

    Returns:
        What was taken in, and the verdict on all images.

    Raises:
        SourceError: If the source is gone, or does not lie as its layout says.
        GateError: If too many images are bad; what was taken in stays.
        BusyError: If another process changes the surface.
    """
    paths = project.surface(name)
    with open_session(name, "data update", project=project) as session:
        settings = session.settings
        intake = _bring(project, paths, settings, prune=prune, leave=leave)
        track_raw(project, paths, settings)
        return reproduce(project, name, settings, intake)


def add_types(project: Project, name: str, folder: Path, *, prune: bool = False) -> TypesChange:
    """Take in example crops of defect types, one folder a type, as part of the surface's data.

    Args:
        project: Project that holds the surface.
        name: Surface that the types are of.
        folder: Subfolders named as their types, of at least three crops each; `perfect`, `good`, `normal` and `sound`
            hold what is no defect. It is only read.
        prune: Also remove crops that vanished from the folder; without, they are kept.

    Returns:
        Crops by type, and the data version that they made.

    Raises:
        SourceError: If the folder does not lie so, or a crop cannot be read; nothing is copied then.
        GateError: If validation stops the surface's images; the crops stay.
        BusyError: If another process changes the surface.
    """
    paths = project.surface(name)
    with open_session(name, "data add-types", project=project) as session:
        settings = session.settings
        taken = take_in_types(folder, paths.types, settings.validation.max_megapixels, prune=prune)
        track_raw(project, paths, settings)
        run_validate(project, name, settings)
        run_preprocess(project, name)
        return TypesChange(surface=name, data_version=data_version(project, name), types=taken)


def remove_surface(project: Project, name: str) -> None:
    """Remove a surface's files from the project. DVC's cache, the source and registered models stay.

    Args:
        project: Project that holds the surface.
        name: Surface whose raw files, prepared images, history, reports, settings and kept data versions go.

    Raises:
        SettingsError: If there is no such surface.
        BusyError: If another process changes the surface.
    """
    with open_session(name, "data remove", project=project):
        _forget(project, project.surface(name))


def checkout_version(project: Project, name: str, version: str) -> str:
    """Bring an old data version back exactly.

    Looks in the project's memory first, then in the runs that MLflow keeps.

    Args:
        project: Its copy of the surface's files and settings is replaced.
        name: Surface of the data version.
        version: 16 hex digits, or an unambiguous beginning of them.

    Returns:
        The data version's full name.

    Raises:
        CallError: If no data version is known by that name, or several are.
        ToolError: If DVC lacks its files, or it names files of others; all is as before then.
        BusyError: If another process changes the surface.
    """
    kept = read_kept(project, name, version)
    if kept is None:
        from pipelines.tracking.data import find_data_version

        kept = find_data_version(project, name, version)
    with surface_lock(project, name, "data checkout"), data_lock(project):
        restore(project, name, kept, lambda: write_surface_list(project))
    update_index(project, name)
    return kept.version


def share(project: Project, verb: str, names: list[str]) -> str:
    """Push data to, or pull it from, the user's DVC remote.

    Args:
        project: Its DVC configuration names the remote.
        verb: `push`, or `pull`.
        names: Surfaces, in any order; empty is all of the project. All are held until DVC has ended.

    Returns:
        What DVC printed.

    Raises:
        CallError: If no DVC remote is set, or there is no such surface.
        ToolError: If DVC fails, or what was pulled leads out of the project.
        BusyError: If another process changes one of the surfaces.
    """
    if not run_dvc(project, "remote", "list").strip():
        raise CallError(
            "no DVC remote is set", hint="`dvc remote add -d NAME URL`, for example a folder or s3://bucket"
        )
    surfaces = sorted(set(names or project.surface_names()))
    if not surfaces:
        # DVC without a target would take whatever it tracks, unchecked.
        raise CallError("there is no surface here", hint="knotwatch data add NAME PATH --layout LAYOUT")
    for name in surfaces:
        read_surface(project, name)
    with ExitStack() as locks:
        for name in surfaces:
            locks.enter_context(surface_lock(project, name, f"data {verb}"))
        locks.enter_context(data_lock(project))
        said = (push if verb == "push" else pull)(project, surfaces)
    for name in surfaces:
        update_index(project, name)
    return said


def _bring(
    project: Project, paths: SurfacePaths, settings: SurfaceSettings, *, prune: bool, leave: Collection[str] = ()
) -> Intake:
    source, allowed = settings.source, settings.validation.max_unused_share
    if source.layout == Layout.PROCEDURAL:
        from pipelines.data.layouts.procedural import write_procedural

        write_procedural(source.procedural or ProceduralSettings(), paths.source)
    elif source.git_url:
        _import_from_git(project, paths, source)
    else:
        taken = take_in(
            source.layout,
            Path(source.path or ""),
            paths.source,
            paths.arrivals,
            prune=prune,
            max_unused_share=allowed,
            leave=leave,
        )
        note_unused(paths, taken.unused, taken.warnings)
        return taken
    rows = read_source(source.layout, paths.source)
    files = source_files(source.layout, paths.source, rows)
    unused = find_unused(source.layout, paths.source, files)
    check_unused(source.layout, paths.source, unused, len(files), allowed)
    note_unused(paths, unused)
    fresh = note_arrivals(source.layout, paths.source, paths.arrivals)
    return Intake(images=len(rows), new=fresh, changed=0, removed=0, unused=unused)


def _import_from_git(project: Project, paths: SurfacePaths, source: SourceSettings) -> None:
    """Bring data of another git or DVC repository; its commit is kept in source.dvc as rev_lock."""
    paths.raw.mkdir(parents=True, exist_ok=True)
    pointer = paths.raw / "source.dvc"
    with data_lock(project):
        if pointer.is_file():
            run_dvc(project, "update", str(pointer.relative_to(project.root)))
        else:
            target = str(paths.source.relative_to(project.root))
            run_dvc(project, "import", "-o", target, str(source.git_url), str(source.path))


def track_raw(project: Project, paths: SurfacePaths, settings: SurfaceSettings) -> None:
    """Let DVC keep a surface's raw files as they are now.

    Args:
        project: Its list of surfaces for dvc.yaml is written again, too.
        paths: The surface's; its ledger, and its source where that was copied, must be there.
        settings: Say whether the source was imported from git: then DVC knows it already.

    Raises:
        ToolError: If DVC fails.
    """
    folders = [paths.ledger] if settings.source.git_url else [paths.source, paths.ledger]
    with data_lock(project):
        write_surface_list(project)
        run_dvc(project, "add", *(str(p.relative_to(project.root)) for p in folders))


def reproduce(project: Project, name: str, settings: SurfaceSettings, intake: Intake) -> DataChange:
    """Measure and prepare what changed.

    Args:
        project: Project that holds the surface.
        name: Surface that the caller holds, its raw files under DVC already.
        settings: The surface's.
        intake: What the caller took in; handed on in the result.

    Returns:
        The verdict, and how many images were prepared that were not so before.

    Raises:
        GateError: If too many images are bad; nothing is prepared then.
    """
    before = _keys(project, name)
    verdict = run_validate(project, name, settings)
    run_preprocess(project, name)
    made = _keys(project, name) - before
    version = data_version(project, name)
    return DataChange(surface=name, data_version=version, intake=intake, prepared=len(made), verdict=verdict)


def _keys(project: Project, name: str) -> set[tuple[str, str]]:
    return {(image.path, image.key) for image in prepared_images(project, name)}


def prepared_images(project: Project, name: str) -> list[PreparedImage]:
    """Read a surface's prepared images.

    Args:
        project: Project that holds the surface.
        name: Surface's name; it need not exist.

    Returns:
        The images, by path; empty before preprocessing has run.

    Raises:
        ToolError: If their table is damaged.
    """
    folder = project.surface(name).prepared
    return read_index(folder) if (folder / "index.csv").is_file() else []


def _forget(project: Project, paths: SurfacePaths) -> None:
    kept = [project.state / name / paths.name for name in ("versions", "attempts")]
    for folder in (paths.raw, paths.work, paths.reports, *kept):
        shutil.rmtree(folder, ignore_errors=True)
    paths.settings.unlink(missing_ok=True)
    with data_lock(project):
        forget_lock_entries(project, paths.name)
        write_surface_list(project)


def check_source(path: Path) -> Path:
    """Return the folder as an absolute path; raise SourceError where it is not there."""
    if not path.is_dir():
        raise SourceError(f"{path} is not a folder", hint="name the folder that holds the data set")
    return path.resolve()
