"""What the commands call: each sets the stage (environment, logs, locks) and hands over to a flow or a stage."""

import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from flows.local_servers.temporary import ensure_server
from flows.runtime.disk import require_space
from flows.runtime.environment import log_to_terminal, prepare_environment
from flows.runtime.locks import data_lock, surface_lock
from flows.steps.results import RetrainResult
from flows.watching.results import WatchResult
from pipelines.core.errors import CallError
from pipelines.core.paths import Project, find_project
from pipelines.core.surface_settings import read_surface
from pipelines.data.versions import data_version, is_current
from pipelines.training.run_settings import resolve_run

if TYPE_CHECKING:
    from flows.adapting.results import AdaptResult


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
    from flows.promotion.requests import settle_requests
    from flows.runtime.leftovers import clear_up
    from flows.steps.unchanged import find_unchanged
    from pipelines.tracking.store import Tracking
    from pipelines.training.fingerprint import fingerprints

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
    from flows.operations.deployments import remove_schedule

    with suppress(CallError):
        remove_schedule(project, surface)


def call_adapt(
    source: str, target: str, shots: list[int], strategy: str, profile: str, assignments: list[str], *, force: bool
) -> "AdaptResult":
    """Bring what one surface taught to another.

    Raises:
        CallError: for a source that is the target, or settings that cannot be.
    """
    started = time.monotonic()
    project = find_project()
    log_to_terminal()
    if source == target:
        raise CallError(f"'{source}' cannot be adapted to itself", cure=f"knotwatch retrain {source}")
    resolve_run(project, read_surface(project, target), profile, assignments)
    require_space(project)
    # The command prints an error itself, once and without a traceback.
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "CRITICAL")
    os.environ.setdefault("PREFECT_SERVER_LOGGING_LEVEL", "CRITICAL")
    ensure_server(project)
    from flows.adapt import adapt
    from flows.adapting.results import AdaptResult

    with surface_lock(project, target, "adapt"):
        found = adapt(source, target, shots or None, strategy, profile, assignments, force, wait=0.0)
    result = AdaptResult.model_validate(found)
    return result.model_copy(update={"seconds": time.monotonic() - started})
