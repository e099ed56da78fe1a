"""What the commands call: each sets the stage (environment, logs, locks) and hands over to a flow or a stage."""

import logging
import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from flows.commands.links import link_version
from flows.local_servers.temporary import ensure_server
from flows.runtime.disk import require_space
from flows.runtime.environment import log_to_terminal
from flows.runtime.locks import data_lock
from flows.runtime.session import Session, hold, keep_open, look_at
from flows.steps.results import RetrainResult
from flows.watching.results import WatchResult
from pipelines.core.errors import CallError
from pipelines.core.paths import Project
from pipelines.data.versioning.versions import data_version, is_current
from pipelines.models.registry import find_algorithm

if TYPE_CHECKING:
    from flows.adapting.results import AdaptResult
    from flows.tuning.results import TuneResult

log = logging.getLogger(__name__)


def call_retrain(surface: str, profile: str, assignments: list[str], trial: str | None, force: bool) -> RetrainResult:
    """Retrain a surface; decide first, and cheaply, whether anything needs training.

    Args:
        surface: Surface to train on its current data.
        profile: Profile of params.yaml.
        assignments: KEY=VALUE words that change settings for this run; the later one wins.
        trial: Name of a run that is tracked and never registered; None registers.
        force: Train although nothing changed.

    Returns:
        What the retrain came to; `skipped` where nothing needed training. `seconds` are those of the whole call.

    Raises:
        SomeFailedError: With the result, if an algorithm failed; the others are registered.
        SettingsError: If there is no such surface or profile, or a setting is unknown or out of range.
        GateError: If validation stops the data.
        DiskError: If less than 100 MB are free on the project's disk.
        BusyError: If another process changes the surface.
    """
    started = time.monotonic()
    trial = trial or None  # a name without a letter names no trial
    session = _begin(surface)
    # Wrong settings stop here, before a server or a library is started.
    session.run_settings(profile, assignments)
    require_space(session.project)
    log.info("retrain %s: looking for what changed", surface)
    with hold(session, "retrain"):
        unchanged = None if force or trial else _find_unchanged(session, profile, assignments)
        if unchanged is None:
            ensure_server(session.project)
            from flows.retrain import retrain

            found = retrain(surface, profile, assignments, trial, force, wait=0.0)
    result = unchanged or RetrainResult.model_validate(found)
    pages = link_version(session, result.proposed.version if result.proposed else None)
    return result.model_copy(update={"mlflow": pages, "seconds": time.monotonic() - started})


def _begin(surface: str) -> Session:
    log_to_terminal()
    # The command prints an error itself, once and without a traceback.
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "CRITICAL")
    os.environ.setdefault("PREFECT_SERVER_LOGGING_LEVEL", "CRITICAL")
    os.environ.setdefault("PREFECT_LOGGING_INTERNAL_LEVEL", "CRITICAL")
    # Else Prefect says beside it that its server does not take the lines of a log.
    logging.raiseExceptions = False
    return look_at(surface)


def _find_unchanged(session: Session, profile: str, assignments: list[str]) -> RetrainResult | None:
    """Take the flow's own first steps, where its data stages would change nothing; it goes on from what was found."""
    version = data_version(session.project, session.surface)
    with data_lock(session.project):
        if version is None or not is_current(session.project, session.surface):
            return None
    from flows.steps.opening import answer_requests, end_leftovers
    from flows.steps.unchanged import find_known
    from pipelines.training.fingerprint import fingerprints

    end_leftovers(session)
    with session.tracking.remembering():
        answer_requests(session)
        settings = session.run_settings(profile, assignments)
        wanted = fingerprints(version, settings, session.settings.policy)
        return find_known(session, version, wanted, settings.ensemble).result


def call_watch(surface: str) -> WatchResult:
    """Check a surface once, now.

    Raises:
        BusyError: where another check of it is going on.
    """
    with keep_open(_begin(surface)) as session:
        ensure_server(session.project)
        from flows.watch import watch

        return WatchResult.model_validate(watch(surface, at_once=True))


def call_tune(
    surface: str, algorithm: str | None, number: int, hours: float | None, profile: str, *, apply: bool
) -> "TuneResult":
    """Try an algorithm's settings.

    Args:
        surface: Whose training and validation split are used.
        algorithm: Name of a known algorithm; None takes the champion's, or the first that the surface trains.
        number: Trials that there are to be in the end, those of earlier calls included.
        hours: In which a trial may begin; None for ever.
        profile: Profile of params.yaml, which says how much effort a trial is.
        apply: Write the best settings into the surface's YAML.

    Returns:
        All trials, and the best settings.

    Raises:
        CallError: If the algorithm has nothing to be tuned, or there is no validation split.
        SettingsError: If there is no such surface, profile or algorithm.
        GateError: If validation stops the data.
        DiskError: If less than 100 MB are free on the project's disk.
        BusyError: If another process changes the surface.
    """
    session = _begin(surface)
    session.run_settings(profile, [])
    if algorithm is not None:
        find_algorithm(algorithm)
    require_space(session.project)
    ensure_server(session.project)
    from flows.tune import tune
    from flows.tuning.results import TuneResult

    with hold(session, "tune"):
        return TuneResult.model_validate(tune(surface, algorithm, number, hours, profile, apply, wait=0.0))


def drop_schedule(project: Project, surface: str) -> None:
    """Remove a surface's schedule, where Prefect was ever used here: else its runs would fail by the clock.

    Args:
        project: Where Prefect has no database yet, none is made.
        surface: May have no schedule, and no settings any more.
    """
    if not (project.state / "prefect" / "prefect.db").is_file() and "PREFECT_API_URL" not in os.environ:
        return
    from flows.operations.deployments import remove_schedule

    with suppress(CallError):
        remove_schedule(project, surface)


def call_adapt(
    source: str, target: str, shots: list[int], strategy: str, profile: str, assignments: list[str], *, force: bool
) -> "AdaptResult":
    """Bring what one surface taught to another.

    Args:
        source: Surface whose versions are started from.
        target: Another surface, which the new version is registered under.
        shots: Numbers of the target's images to use, each 1 or more; the largest makes the version. Empty: all that may
            be drawn, up to `adapt.most_shots`.
        strategy: `auto`, or a strategy's name.
        profile: Profile of params.yaml.
        assignments: KEY=VALUE words that change settings for this run; the later one wins.
        force: Try again although nothing changed.

    Returns:
        What the adaptation came to; `seconds` are those of the whole call.

    Raises:
        CallError: For a source that is the target, settings that cannot be, or more shots than can be drawn.
        ModelError: If the source has no version, or no strategy came to an end.
        GateError: If validation stops the target's data.
        DiskError: If less than 100 MB are free on the project's disk.
        BusyError: If another process changes the target.
    """
    started = time.monotonic()
    if source == target:
        raise CallError(f"'{source}' cannot be adapted to itself", hint=f"knotwatch retrain {source}")
    session = _begin(target)
    session.run_settings(profile, assignments)
    require_space(session.project)
    log.info("adapt %s: looking for what %s has", target, source)
    ensure_server(session.project)
    from flows.adapt import adapt
    from flows.adapting.results import AdaptResult

    with hold(session, "adapt"):
        found = adapt(source, target, shots or None, strategy, profile, assignments, force, wait=0.0)
    result = AdaptResult.model_validate(found)
    pages = link_version(session, result.chosen.version)
    return result.model_copy(update={"mlflow": pages, "seconds": time.monotonic() - started})
