"""Data versions: DVC's stages for one surface, what they made, and how to bring it back."""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from pipelines.core.errors import ToolError
from pipelines.core.files import write_whole
from pipelines.core.parsing import parse_yaml, read_record
from pipelines.core.paths import Project, SurfacePaths
from pipelines.core.records import Record
from pipelines.core.settings import explain_yaml, read_meanings, read_yaml
from pipelines.core.surface_settings import renew_surface
from pipelines.data.versioning.cache import refuse_changed
from pipelines.data.versioning.dvc_command import run_dvc
from pipelines.data.versioning.dvc_files import DvcFile, check_listings, read_lock, read_pointer, read_stage

STAGES = ("validate", "preprocess")
_POINTERS = ("source.dvc", "ledger.dvc")


class DataVersion(Record):
    """A surface's data at one time: DVC's lock entries, the pointers to its raw files, and its settings.

    `version` is the hash of what the stages made, and of nothing else: two ways to the same data have one version.
    """

    version: str
    lock: dict[str, Any]
    pointers: dict[str, str]
    settings: str


def stage_names(surface: str) -> list[str]:
    return [f"{stage}@{surface}" for stage in STAGES]


def is_current(project: Project, surface: str) -> bool:
    """Tell whether a surface's stages are up to date with its raw files, settings and code.

    Args:
        project: Its data must be locked.
        surface: Its settings file is rewritten first where its keys have former names.

    Returns:
        False too where a stage has never run.

    Raises:
        BusyError: If another DVC command holds the project.
        ToolError: If DVC fails, or dvc.lock is damaged.
    """
    if data_version(project, surface) is None:
        return False
    renew_surface(project, surface)
    return not json.loads(run_dvc(project, "status", "--json", *stage_names(surface)))


def lock_entries(project: Project, surface: str) -> dict[str, Any]:
    """Read what dvc.lock says of a surface's own stages.

    Args:
        project: Its dvc.lock may be absent.
        surface: Name of the surface.

    Returns:
        Entries by stage name, such as `validate@wood`; without those that never ran.

    Raises:
        ToolError: If dvc.lock is damaged.
    """
    stages = read_lock(project.dvc_lock).get("stages", {})
    return {name: stages[name] for name in stage_names(surface) if name in stages}


def data_version(project: Project, surface: str) -> str | None:
    """Return the hash of what a surface's own stages made.

    Args:
        project: Only its dvc.lock is read, no data.
        surface: Name of the surface.

    Returns:
        16 hex digits; None before all stages were made of the same data.

    Raises:
        ToolError: If dvc.lock is damaged, or names files outside of the project.
    """
    entries = lock_entries(project, surface)
    if len(entries) < len(STAGES):
        return None
    validate, preprocess = (read_stage(entries[name], f"{project.dvc_lock}: {name}") for name in stage_names(surface))
    made = {out.path: out.md5 for out in validate.outs}
    read = {dep.path: dep.md5 for dep in preprocess.deps if dep.path in made}
    if any(made[path] != md5 for path, md5 in read.items()):
        # Validation ran again and stopped there: what is prepared belongs to an earlier manifest.
        return None
    outs = sorted((out.path, out.md5) for stage in (validate, preprocess) for out in stage.outs)
    return hashlib.sha256(json.dumps(outs).encode()).hexdigest()[:16]


def capture(project: Project, surface: str) -> DataVersion:
    """Take down what brings the current data back, and keep a copy in the project.

    Args:
        project: Where the copy is kept, in its own state.
        surface: Name of the surface; its stages have run.

    Returns:
        The current data version.

    Raises:
        ToolError: If its stages have not run, or not on the same data.
    """
    version = data_version(project, surface)
    if version is None:
        raise ToolError(f"the stages of '{surface}' have not run", hint="run `dvc repro`")
    paths = project.surface(surface)
    kept = DataVersion(
        version=version,
        lock=lock_entries(project, surface),
        pointers={p.name: p.read_text("utf-8") for p in _pointers(paths)},
        settings=paths.settings.read_text("utf-8"),
    )
    write_whole(_kept(project, surface, version), kept.model_dump_json(indent=1))
    return kept


def kept_versions(project: Project, surface: str) -> list[str]:
    """List the data versions that this project remembers.

    Args:
        project: Whose memory is looked at, not MLflow's.
        surface: Name of the surface.

    Returns:
        Full names, 16 hex digits each, the one captured last at the end; may be empty.
    """
    folder = _kept(project, surface, "x").parent
    return [p.stem for p in sorted(folder.glob("*.json"), key=lambda p: p.stat().st_mtime)]


def forget_version(project: Project, surface: str, version: str) -> None:
    """Forget a data version; its files are another matter.

    Args:
        project: Whose memory is meant, not MLflow's.
        surface: Name of the surface.
        version: Its full name, as `kept_versions` lists it.
    """
    _kept(project, surface, version).unlink(missing_ok=True)


def read_kept(project: Project, surface: str, version: str) -> DataVersion | None:
    """Read a data version that this project remembers.

    Args:
        project: Whose memory is looked at, not MLflow's.
        surface: Name of the surface.
        version: Its name, 16 hex digits, or a beginning of it.

    Returns:
        None where no version begins so, or more than one.

    Raises:
        ToolError: If what was kept is damaged.
    """
    found = [v for v in kept_versions(project, surface) if v.startswith(version)]
    if len(found) != 1:
        return None
    return read_record(DataVersion, _kept(project, surface, found[0]), "use another data version")


def restore(project: Project, surface: str, kept: DataVersion, refresh: Callable[[], None]) -> None:
    """Bring a data version back: raw files, settings, manifest and prepared images, byte for byte.

    Of the settings, those stay as they are here that say where images come from, and whether versions must be signed.
    Where DVC lacks the files, all is put back as it was.

    Args:
        project: Its data must be locked.
        surface: Must be locked; what it has now is overwritten, and comes back only if it was captured.
        kept: What to bring back; not trusted, for it may come from a shared server.
        refresh: Lists the surfaces for dvc.yaml again; called once the settings are there, and again after a failure.

    Raises:
        ToolError: If the version names files that are not the surface's, holds other data than it is named after, or
            DVC cannot bring its files.
        BusyError: If another DVC command holds the project.
    """
    paths = project.surface(surface)
    outs, settings = _check_own(project, surface, kept), _keep_own(paths.settings, kept)
    files = [*(paths.raw / name for name in _POINTERS), paths.settings, project.dvc_lock]
    before = {file: file.read_bytes() if file.is_file() else None for file in files}
    for name, text in kept.pointers.items():
        write_whole(paths.raw / name, text)
    write_whole(paths.settings, settings)
    lock = read_lock(project.dvc_lock)
    stages = {**lock.get("stages", {}), **kept.lock}
    write_whole(project.dvc_lock, yaml.safe_dump({**lock, "stages": stages}, sort_keys=False))
    targets = [str((paths.raw / name).relative_to(project.root)) for name in kept.pointers]
    targets += stage_names(surface)
    try:
        refresh()
        _check_named(project, surface, kept)
        _check_cached(project, surface)
        refuse_damaged(project, outs)
        run_dvc(project, "checkout", "--force", *targets)
    except BaseException:
        for file, data in before.items():
            if data is None:
                file.unlink(missing_ok=True)
            else:
                write_whole(file, data)
        refresh()
        raise


def _keep_own(file: Path, kept: DataVersion) -> str:
    """Return a version's settings, in which what opens doors is as in the surface's own: a shared server must not name
    a private folder as the source of images, nor have unsigned versions used.
    """
    try:
        theirs = dict(parse_yaml(kept.settings))
    except (ValueError, TypeError) as error:
        raise ToolError(f"data version {kept.version} has no settings: {error}", hint="use another one") from error
    if not file.is_file():
        return kept.settings
    ours = read_yaml(file)
    source, policy = _section(theirs, "source"), _section(theirs, "policy")
    wanted = {**_section(ours, "source"), **{key: source[key] for key in ("layout",) if key in source}}
    signed = _section(ours, "policy").get("require_signature", False)
    if source == wanted and policy.get("require_signature", False) == signed:
        return kept.settings
    merged = {**theirs, "source": wanted, "policy": {**policy, "require_signature": signed}}
    return explain_yaml(merged, read_meanings())


def _section(values: Mapping[str, Any], name: str) -> dict[str, Any]:
    found = values.get(name)
    return found if isinstance(found, dict) else {}


def _check_named(project: Project, surface: str, kept: DataVersion) -> None:
    """Raise ToolError where the lock that is brought back makes another data version than was asked for."""
    if data_version(project, surface) != kept.version:
        raise ToolError(f"data version {kept.version} holds other data than that", hint="do not use this version")


def _check_cached(project: Project, surface: str) -> None:
    """Raise ToolError where DVC's cache lacks something, before a checkout deletes what is there."""
    status = json.loads(run_dvc(project, "data", "status", "--json", "--granular") or "{}")
    own = (f"data/raw/{surface}/", f"data/work/{surface}/")
    missing = [name for name in status.get("not_in_cache", []) if name.startswith(own)]
    if missing:
        raise ToolError(
            f"DVC's cache here lacks {len(missing)} files of this version of '{surface}', e.g. {missing[0]}",
            hint="fetch them from your DVC remote, where they were pushed",
        )


def _check_own(project: Project, surface: str, kept: DataVersion) -> list[DvcFile]:
    """Return what a version names; refuse files outside the surface: it may come from a shared MLflow server."""
    out_of_distribution = sorted(set(kept.pointers) - set(_POINTERS)) + sorted(
        set(kept.lock) - set(stage_names(surface))
    )
    outs: list[DvcFile] = []
    work = project.surface(surface).work.relative_to(project.root).as_posix()
    try:
        outs += pointed(project.surface(surface), kept.pointers)
        for name, entry in kept.lock.items():
            made = read_stage(entry, name).outs
            out_of_distribution += [out.path for out in made if not out.path.startswith(f"{work}/")]
            outs += made
    except ToolError as error:
        out_of_distribution.append(error.problem)
    if out_of_distribution:
        raise ToolError(
            f"data version {kept.version} names '{out_of_distribution[0]}', which is not of '{surface}'",
            hint="do not use this version",
        )
    return outs


def refuse_damaged(project: Project, outs: Iterable[DvcFile]) -> None:
    """Refuse what DVC's cache holds damaged, and folders that list a file outside of themselves.

    Args:
        project: Whose cache is looked at; every file of the outs in it is read.
        outs: Files and folders that are about to be checked out, by paths relative to the project.

    Raises:
        ToolError: If a listing names a file outside of its folder, a file was changed, or DVC fails.
    """
    outs = list(outs)
    if outs:
        cache = cache_folder(project)
        check_listings(cache, [out for out in outs if str(out.md5).endswith(".dir")])
        refuse_changed(cache, project.root, outs)


def cache_folder(project: Project) -> Path:
    """Ask DVC where its cache is; a user may share one between projects."""
    return Path(run_dvc(project, "cache", "dir").strip())


def kept_outs(project: Project, surface: str, kept: DataVersion) -> list[DvcFile]:
    """Return what a data version that this project remembers names.

    Args:
        project: Whose data version it is.
        surface: Name of the surface.
        kept: The data version.

    Returns:
        Files and folders by paths relative to the project.
    """
    made = (out for name, entry in kept.lock.items() for out in read_stage(entry, name).outs)
    return [*pointed(project.surface(surface), kept.pointers), *made]


def pointed(paths: SurfacePaths, pointers: Mapping[str, str]) -> list[DvcFile]:
    """Return what pointers to a surface's raw files name, by paths relative to the project.

    Args:
        paths: The surface's.
        pointers: Text by file name, such as source.dvc.

    Raises:
        ToolError: If one names anything but what lies beside it.
    """
    raw = paths.raw.relative_to(paths.root).as_posix()
    outs = (out for name, text in pointers.items() for out in read_pointer(name, text, f"{raw}/{name}"))
    return [out.model_copy(update={"path": f"{raw}/{out.path}"}) for out in outs]


def forget_lock_entries(project: Project, surface: str) -> None:
    """Remove a surface's entries from dvc.lock.

    Args:
        project: Its dvc.lock is rewritten whole, or left as it is where it has no stages.
        surface: Name of the surface; files of its stages stay.

    Raises:
        ToolError: If dvc.lock is damaged.
    """
    lock = read_lock(project.dvc_lock)
    if not lock.get("stages"):
        return
    stages = {k: v for k, v in lock.get("stages", {}).items() if k not in stage_names(surface)}
    write_whole(project.dvc_lock, yaml.safe_dump({**lock, "stages": stages}, sort_keys=False))


def _pointers(paths: SurfacePaths) -> list[Path]:
    return [paths.raw / name for name in _POINTERS if (paths.raw / name).is_file()]


def _kept(project: Project, surface: str, version: str) -> Path:
    return project.state / "versions" / surface / f"{version}.json"
