"""The part of a check that concerns drift: new batches of the history against the champion's calibration."""

import os
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from flows.operations.notify import notify
from flows.runtime.session import Session
from flows.watching.state import WatchState, write_state
from pipelines.core.paths import Project, SurfacePaths
from pipelines.core.surface_settings import WatchSettings
from pipelines.detector.version import DriftReference, read_drift_reference
from pipelines.inspection.drift import Drift, find_drift
from pipelines.inspection.history import list_batches, read_batch
from pipelines.inspection.review_sample import sample_for_review
from pipelines.tracking.registry import ModelVersion

EVENT = "knotwatch.drift"
_RECENT = 200  # images that show a change which is too small for one batch


def check_drift(
    session: Session, champion: ModelVersion, state: WatchState
) -> tuple[WatchState, list[Drift], list[Path]]:
    """Check the batches that came since the last check.

    Each batch is checked once, also where a check is killed: what was seen is written down after it was told.
    Drift that goes on is neither told again nor sampled for review again until it ends or changes.

    Args:
        session: Open on the surface, of which no other check may be going on.
        champion: Its calibration is compared with; batches of other versions do not count.
        state: From the last check; of another champion, the counts begin anew.

    Returns:
        What is remembered, each check, and the folders of images to review. No check where nothing came, or the
        champion keeps no measures to compare with.
    """
    paths, settings = session.paths, session.settings.policy.watch
    if state.version != champion.version:
        fresh = {"version": champion.version, "checks": 0, "calm_ns": state.seen_ns, "drift": None, "noticed": None}
        state = state.model_copy(update=fresh)
    files = _new_files(paths.history, state.seen_ns)
    reference = read_drift_reference(session.tracking.folder(champion.surface, champion.version)) if files else None
    if reference is None or not reference.measures:
        return state, [], []
    checks: list[Drift] = []
    folders: list[Path] = []
    for batch, seen_ns in _group(files, champion.version, paths, settings.least_images):
        state = state.model_copy(update={"seen_ns": seen_ns})
        if not batch.empty:
            recent = _read_recent(paths, champion.version, state) if len(batch) < _RECENT else None
            found = find_drift(champion.surface, reference, batch, state.checks + 1, settings, recent)
            checks.append(found)
            if found.kind is not None and found.kind != state.drift:
                folders += _tell(session.project, found, reference, batch, settings)
            state = _remember(state, found)
        write_state(session.project, champion.surface, state)
    return state, checks, folders


def _new_files(folder: Path, seen_ns: int) -> list[Path]:
    return [path for path, time in list_batches(folder) if time > seen_ns]


def _group(files: list[Path], version: int, paths: SurfacePaths, least: int) -> Iterator[tuple[pd.DataFrame, int]]:
    """Join small batches until they are large enough to look at; the last ones may have to wait for more.

    An empty table stands for batches of which nothing counts: another version's, or images sampled for review before.
    """
    waiting: list[pd.DataFrame] = []
    for path in files:
        waiting.append(_read_counting(path, version, paths))
        if sum(map(len, waiting)) >= least or not any(map(len, waiting)):
            yield pd.concat(waiting, ignore_index=True), path.stat().st_mtime_ns
            waiting = []


def _read_counting(path: Path, version: int, paths: SurfacePaths) -> pd.DataFrame:
    """Read the rows of a batch that count: scored by this version, and not images that were sampled for review."""
    rows = read_batch(path, version)
    reviewed = rows["path"].str.startswith(f"{paths.review}{os.sep}")
    return rows[rows["score"].notna() & ~reviewed]


def _remember(state: WatchState, found: Drift) -> WatchState:
    calm_ns = state.calm_ns if found.kind is None else state.seen_ns
    noticed = found.kind or state.noticed
    changes = {"checks": found.number, "calm_ns": calm_ns, "drift": found.kind, "noticed": noticed}
    return state.model_copy(update=changes)


def _read_recent(paths: SurfacePaths, version: int, state: WatchState) -> pd.DataFrame:
    """Read the last images that were seen since the last drift, the latest batches first."""
    found: list[pd.DataFrame] = []
    for path in reversed(_new_files(paths.history, state.calm_ns)):
        if path.stat().st_mtime_ns <= state.seen_ns and sum(map(len, found)) < _RECENT:
            found.append(_read_counting(path, version, paths).tail(_RECENT))
    return pd.concat(found, ignore_index=True)


def _tell(
    project: Project, found: Drift, reference: DriftReference, batch: pd.DataFrame, settings: WatchSettings
) -> list[Path]:
    """Sample images for review, emit a Prefect event, and notify; return the folder, where there is one."""
    from prefect.events import emit_event

    folder = sample_for_review(found, reference, batch, project.surface(found.surface).review, settings.review_images)
    where = str(folder.relative_to(project.root)) if folder else ""
    emit_event(
        event=f"{EVENT}.{found.kind}",
        resource={
            "prefect.resource.id": f"knotwatch.surface.{found.surface}",
            "prefect.resource.name": found.surface,
        },
        payload={**found.model_dump(mode="json"), "review": where},
    )
    notify(project, found.surface, f"{found.kind} drift", found.message + (f"\nTo look at: {where}" if where else ""))
    return [folder] if folder else []
