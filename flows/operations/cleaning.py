"""What is superseded is removed from the disk, by a stated policy: files of networks, data versions and DVC's cache.

Runs, figures, reports and decisions stay: they are what an auditor reads, and small. Docs: docs/guides/operations.md.
"""

import os
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from flows.runtime.locks import data_lock, surface_lock
from pipelines.core.errors import ModelError
from pipelines.core.paths import Project
from pipelines.core.records import Record
from pipelines.data.versioning.dvc_files import read_listing, read_lock, read_pointer, read_stage
from pipelines.data.versioning.versions import DataVersion, data_version, forget_version, kept_versions, read_kept
from pipelines.registry.decision_log import DecisionLog
from pipelines.registry.record import champions
from pipelines.tracking.registry import REMOVED, ModelVersion
from pipelines.tracking.store import Tracking

_YOUNG = 3600.0  # seconds: DVC may be about to name what it has just written
_USED = ("champion", "challenger")

# By surface, its versions from the newest on.
Versions = Mapping[str, Sequence[ModelVersion]]


class Removed(Record):
    """What was removed, or would be; `models` are named `SURFACE/NUMBER (ALGORITHM)`, megabytes are of 10^6 bytes.

    `skipped` says in words what was left alone, and why.
    """

    dry_run: bool
    models: tuple[str, ...]
    data_versions: tuple[str, ...]
    cached_files: int
    megabytes: float
    skipped: tuple[str, ...] = ()


def clean(project: Project, keep: int, *, dry_run: bool = False) -> Removed:
    """Remove what is superseded.

    The network files of a version are kept where it is champion or challenger, was one of the last champions, is one of
    the newest of its algorithm, or is what such a version was made of. Data versions are kept that these name, and the
    newest of each surface; of DVC's cache, what kept data versions and the project's DVC files name.

    Args:
        project: Its surfaces and data are held meanwhile, unless `dry_run`.
        keep: How many of the newest versions of each algorithm, former champions and data versions of each surface; 1
            or more.
        dry_run: Remove nothing.

    Returns:
        What was removed, or would be.

    Raises:
        BusyError: If a surface is being changed, and something is to be removed.
        ToolError: If a DVC file or a data version is damaged: what it names is not known then, and nothing is removed.
    """
    with ExitStack() as stack:
        # What only reads may run beside a retrain.
        if not dry_run:
            for name in project.surface_names():
                stack.enter_context(surface_lock(project, name, "gc"))
            stack.enter_context(data_lock(project))
        tracking = Tracking(project)
        versions = {name: tracking.versions(name) for name in tracking.model_names()}
        former = {name: champions(DecisionLog(tracking, name).read())[-keep - 1 :] for name in versions}
        kept = choose_kept(versions, former, keep)
        known = [v for some in versions.values() for v in some]
        old = [v for v in known if (v.surface, v.version) not in kept]
        stay = [v for v in known if (v.surface, v.version) in kept]
        data = _superseded(project, {v.tags.get("data_version", "") for v in stay}, keep)
        # All that can be damaged is read before anything is removed.
        files, cached = _unused(project, data)
        elsewhere = f"networks at {tracking.uri}: that server's files are not this project's"
        drop = partial(_drop_models, project, tracking, old, stay, dry_run=dry_run)
        models, freed, skipped = drop() if tracking.local else ((), 0, (elsewhere,))
        if not dry_run:
            for surface, name in data:
                forget_version(project, surface, name)
            for file in files:
                file.unlink(missing_ok=True)
    return Removed(
        dry_run=dry_run,
        models=models,
        data_versions=tuple(f"{surface}: {name}" for surface, name in data),
        cached_files=len(files),
        megabytes=round((freed + cached) / 1e6, 1),
        skipped=skipped,
    )


def choose_kept(versions: Versions, former: Mapping[str, Iterable[int]], keep: int) -> set[tuple[str, int]]:
    """Choose the versions whose files are kept.

    Args:
        versions: All of them.
        former: By surface, the versions that `rollback` may return to.
        keep: How many of the newest of each algorithm of a surface.

    Returns:
        (surface, number) of each, with those that they were made of, of other surfaces too.
    """
    by_name = {f"{v.surface}/{v.version}": v for some in versions.values() for v in some}
    kept: set[tuple[str, int]] = set()
    for surface, some in versions.items():
        counts: dict[str, int] = {}
        for version in some:
            counts[version.algorithm] = counts.get(version.algorithm, 0) + 1
            newest = counts[version.algorithm] <= keep
            if newest or set(_USED) & set(version.aliases) or version.version in former.get(surface, ()):
                kept.add((surface, version.version))
    todo = [by_name[f"{surface}/{number}"] for surface, number in kept]
    while todo:
        for parent in _parents(todo.pop()):
            found = by_name.get(parent)
            if found is not None and (found.surface, found.version) not in kept:
                kept.add((found.surface, found.version))
                todo.append(found)
    return kept


def _parents(version: ModelVersion) -> Iterator[str]:
    """Name what a version was made of: the members of an ensemble, the source of an adaptation."""
    if source := version.tags.get("adapted_from"):
        yield source
    for member in filter(None, version.tags.get("members", "").split(", ")):
        yield f"{version.surface}/{member.rpartition('/')[2]}"


def _drop_models(
    project: Project, tracking: Tracking, old: Sequence[ModelVersion], stay: Sequence[ModelVersion], *, dry_run: bool
) -> tuple[tuple[str, ...], int, tuple[str, ...]]:
    """Remove the networks of versions, which keep their entry, card and run; return names, bytes, and what was left."""
    names, freed, skipped = [], 0, []
    home = (project.state / "mlflow/artifacts").resolve()
    # On MLflow's page one model is registered twice by a click, and with any folder by a request.
    shared = {_folder_of(tracking, version): _name(version) for version in stay}
    for version in old:
        folder = _folder_of(tracking, version)
        if folder is None:
            continue  # gone already: `knotwatch doctor` and whoever loads it say so
        if folder in shared or not folder.is_relative_to(home):
            why = f"are those of {shared[folder]} too" if folder in shared else f"lie in {folder}, not in this project"
            skipped.append(f"{_name(version)}, whose files {why}")
            continue
        names.append(_name(version))
        # A file that another version shares is freed with the last of them.
        freed += sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and path.stat().st_nlink == 1)
        if not dry_run:
            today = datetime.now(UTC).date().isoformat()
            tracking.tag_version(version.surface, version.version, {REMOVED: today})
            shutil.rmtree(folder)
    return tuple(names), freed, tuple(skipped)


def _name(version: ModelVersion) -> str:
    return f"{version.surface}/{version.version} ({version.algorithm})"


def _folder_of(tracking: Tracking, version: ModelVersion) -> Path | None:
    """Return the folder of a version's files, links resolved; None where they are gone or damaged."""
    try:
        # What is not used for want of a signature is superseded all the same.
        return tracking.folder(version.surface, version.version, signed=False).resolve()
    except ModelError:
        return None


def _superseded(project: Project, used: set[str], keep: int) -> list[tuple[str, str]]:
    """List (surface, data version) of those that nothing needs any more."""
    found = []
    for surface in project.surface_names():
        names = kept_versions(project, surface)
        stays = used | set(names[-keep:]) | {data_version(project, surface) or ""}
        found += [(surface, name) for name in names if name not in stays]
    return found


def _unused(project: Project, gone: Sequence[tuple[str, str]]) -> tuple[list[Path], int]:
    """List what DVC's cache holds that neither a DVC file nor a kept data version names, and their bytes."""
    cache = project.root / ".dvc/cache/files/md5"
    if not cache.is_dir() or cache.resolve() != project.root.resolve() / ".dvc/cache/files/md5":
        return [], 0  # a cache that other projects may share
    named = set(_named(project, set(gone)))
    for name in [name for name in named if name.endswith(".dir")]:
        named |= set(read_listing(cache / name[:2] / name[2:]))
    files = [
        path
        for path in cache.glob("??/*")
        if path.parent.name + path.name not in named and time.time() - path.stat().st_mtime > _YOUNG
    ]
    return files, sum(path.stat().st_size for path in files)


def _named(project: Project, gone: set[tuple[str, str]]) -> Iterator[str]:
    """Yield the hashes that data versions and the project's own DVC files name; those of the user's own too."""
    for surface in project.surface_names():
        for name in kept_versions(project, surface):
            kept = read_kept(project, surface, name) if (surface, name) not in gone else None
            if kept is not None:
                yield from _of_version(kept)
    for stage, entry in read_lock(project.dvc_lock).get("stages", {}).items():
        yield from _of_stage(entry, f"{project.dvc_lock}: {stage}")
    for folder, folders, files in os.walk(project.root):
        folders[:] = [name for name in folders if not name.startswith(".") and name != "node_modules"]
        for name in files:
            path = Path(folder, name)
            if name.endswith(".dvc"):
                yield from (str(out.md5) for out in read_pointer(name, path.read_text("utf-8"), str(path)))


def _of_version(kept: DataVersion) -> Iterator[str]:
    for name, text in kept.pointers.items():
        yield from (str(out.md5) for out in read_pointer(name, text, name))
    for name, entry in kept.lock.items():
        yield from _of_stage(entry, name)


def _of_stage(entry: object, where: str) -> Iterator[str]:
    stage = read_stage(entry, where)
    yield from (str(file.md5) for file in (*stage.outs, *stage.deps))
