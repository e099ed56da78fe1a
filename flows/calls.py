"""What the commands call: each sets the stage (environment, logs, locks) and hands over to a flow or a stage."""

import os
import time
from contextlib import suppress

from flows.disk import require_space
from flows.environment import log_to_terminal, prepare_environment
from flows.locks import data_lock, surface_lock
from flows.results import RetrainResult
from flows.temporary_server import ensure_server
from flows.watch_results import WatchResult
from pipelines.config import read_surface
from pipelines.errors import CallError
from pipelines.paths import Project, find_project
from pipelines.run_settings import resolve_run
from pipelines.versions import data_version, is_current


def call_retrain(surface: str, profile: str, assignments: list[str], trial: str | None, force: bool) -> RetrainResult:
    """Retrain a surface; decide first, and cheaply, whether anything needs training.

    Raises:
        SomeFailedError: with the result, where an algorithm failed; the others are registered.
    """
    started = time.monotonic()
    project = find_project()
    log_to_terminal()
    # Wrong settings stop here, before a server or a library is started.
    resolve_run(project, read_surface(project, surface), profile, assignments)
    require_space(project)
    # The command prints an error itself, once and without a traceback.
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "CRITICAL")
    os.environ.setdefault("PREFECT_SERVER_LOGGING_LEVEL", "CRITICAL")
    prepare_environment(project)
    with surface_lock(project, surface, "retrain"):
        unchanged = None if force or trial else _find_unchanged(project, surface, profile, assignments)
        if unchanged is None:
            ensure_server(project)
            from flows.retrain import retrain

            found = retrain(surface, profile, assignments, trial, force, wait=0.0)
    result = unchanged or RetrainResult.model_validate(found)
    return result.model_copy(update={"seconds": time.monotonic() - started})


def _find_unchanged(project: Project, surface: str, profile: str, assignments: list[str]) -> RetrainResult | None:
    version = data_version(project, surface)
    with data_lock(project):
        if version is None or not is_current(project, surface):
            return None
    from flows.leftovers import clear_up
    from flows.promotion import settle_requests
    from flows.unchanged import find_unchanged
    from pipelines.fingerprint import fingerprints
    from pipelines.tracking.store import Tracking

    own, tracking = read_surface(project, surface), Tracking(project)
    clear_up(project, tracking, surface)
    settle_requests(project, tracking, surface)
    marks = fingerprints(version, resolve_run(project, own, profile, assignments), own.policy)
    return find_unchanged(project, tracking, surface, version, marks)


def call_watch(surface: str) -> WatchResult:
    """Look at a surface once, now.

    Raises:
        BusyError: where another look at it is going on.
    """
    project = find_project()
    log_to_terminal()
    read_surface(project, surface)
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "CRITICAL")
    os.environ.setdefault("PREFECT_SERVER_LOGGING_LEVEL", "CRITICAL")
    ensure_server(project)
    from flows.watch import watch

    return WatchResult.model_validate(watch(surface, at_once=True))


def drop_schedule(project: Project, surface: str) -> None:
    """Remove a surface's schedule, where Prefect was ever used here: else its runs would fail by the clock."""
    if not (project.state / "prefect" / "prefect.db").is_file() and "PREFECT_API_URL" not in os.environ:
        return
    from flows.deployments import remove_schedule

    with suppress(CallError):
        remove_schedule(project, surface)
