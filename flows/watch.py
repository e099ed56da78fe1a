"""The flow `watch`: check requests, new images and drift, then retrain once where there is a reason."""

import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from prefect import flow

from flows.operations.notify import notify
from flows.promotion.requests import settle_requests
from flows.runtime.cancelled import mark_cancelled
from flows.runtime.environment import log_stages, prepare_environment
from flows.runtime.locks import watch_lock
from flows.runtime.report_index import update_index
from flows.runtime.session import Session, keep_open, look_at
from flows.watching.data import take_in_news
from flows.watching.drift import check_drift
from flows.watching.results import WatchResult
from flows.watching.retrain import retrain_once
from flows.watching.state import WatchState, read_state, write_state
from pipelines.core.errors import BusyError, ToolError
from pipelines.core.paths import Project, find_project
from pipelines.core.progress import interrupts_first
from pipelines.inspection.drift import Drift
from pipelines.inspection.history import join_days
from pipelines.reports.overview.surface_card import DriftNote

log = logging.getLogger(__name__)


@flow(name="watch", flow_run_name="watch {surface}", on_crashed=[mark_cancelled])
def watch(surface: str, at_once: bool = False) -> dict[str, Any]:
    """Check a surface once.

    Args:
        surface: Surface whose requests, source and history are checked.
        at_once: Check the source also where the policy's interval has not passed.

    Returns:
        A `WatchResult` as JSON values.

    Raises:
        BusyError: If another check of this surface is going on.
    """
    project = find_project()
    prepare_environment(project)
    log_stages()
    with watch_lock(project, surface):
        try:
            with interrupts_first(), keep_open(look_at(surface, project=project)) as session:
                result = check(session, at_once=at_once)
                update_index(project, surface, session.tracking, drift=_note(result))
        except Exception as error:
            _tell_once(project, surface, error)
            raise
        _forget_problem(project, surface)
    # A command prints the same itself.
    log.log(logging.DEBUG if at_once else logging.INFO, "watch %s: %s", surface, result.message)
    return result.model_dump(mode="json")


def check(session: Session, *, at_once: bool = False) -> WatchResult:
    """Check a surface's requests, source and history, and retrain it once where there is a reason.

    What another process holds just now is left for the next check, which is said once.

    Args:
        session: Open on the surface, which is held only while something changes.
        at_once: Check the source also where the policy's interval has not passed.

    Returns:
        What was found and done; a retrain that failed is told in it, not raised.
    """
    project, surface = session.project, session.surface
    state = read_state(project, surface)
    notes: list[str] = []
    holder = ""
    requests: tuple[str, ...] = ()
    source = None
    try:
        requests = tuple(record.summary for record in settle_requests(session))
    except BusyError as error:
        holder = error.problem
    try:
        state, source = take_in_news(session, state, at_once=at_once)
    except BusyError as error:
        holder = error.problem
    write_state(project, surface, state)
    champion = session.tracking.champion(surface)
    checks: list[Drift] = []
    folders: list[Path] = []
    retrained = None
    if holder:
        notes.append(f"{holder}: requests, new images and a retrain wait for the next check")
    elif champion is None:
        notes.append(f"no champion yet: knotwatch retrain {surface}")
    if champion is not None:
        # Before anything new is read, so that what a killed call left is not read twice.
        notes += _tidy(project, surface, state)
        state, checks, folders = check_drift(session, champion, state)
        write_state(project, surface, state)
        if not holder:
            retrained, why_not = retrain_once(session, state, _train)
            notes += why_not
    return WatchResult(
        surface=surface,
        champion=champion.version if champion else None,
        requests=requests,
        source=source,
        drift=tuple(checks),
        review=tuple(str(folder.relative_to(project.root)) for folder in folders),
        retrained=retrained,
        notes=tuple(notes),
    )


def _note(result: WatchResult) -> DriftNote | None:
    """Say of a check what the page of all results shows; of one that saw no batch, nothing new."""
    if not result.drift:
        return None
    last = result.drift[-1]
    return DriftNote(
        time=datetime.now(UTC),
        version=last.version,
        batch=last.batch,
        kind=last.kind,
        message=last.message,
        review=result.review[-1] if result.review else "",
    )


def _train(surface: str, profile: str) -> dict[str, Any]:
    # A check that finds nothing, each minute, must not load what trains.
    from flows.retrain import retrain

    return retrain(surface, profile, wait=0.0)


def _tidy(project: Project, surface: str, state: WatchState) -> list[str]:
    """Join the history's files of past days; a file that cannot be read is no reason to end a check."""
    try:
        joined = join_days(project.surface(surface).history, datetime.now(UTC).date(), (state.calm_ns, state.seen_ns))
    except (ToolError, OSError) as error:
        return [f"the history is not tidied up: {error}"]
    if joined:
        log.info("watch %s: %d files of the history joined to others of their day", surface, joined)
    return []


def _tell_once(project: Project, surface: str, error: Exception) -> None:
    """Tell people what a check failed with, and not again a minute later."""
    state = read_state(project, surface)
    if state.problem != str(error):
        notify(project, surface, "watch failed", str(error))
        write_state(project, surface, state.model_copy(update={"problem": str(error)}))


def _forget_problem(project: Project, surface: str) -> None:
    state = read_state(project, surface)
    if state.problem:
        write_state(project, surface, state.model_copy(update={"problem": ""}))
