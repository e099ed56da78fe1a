"""What `promote`, `rollback` and `models` call: each sets the stage and hands over."""

from typing import NamedTuple

from flows.commands.links import link_version
from flows.promotion.lineage import DataUser, Lineage, find_data_users, trace, why
from flows.promotion.requests import decide_promotion, find_proposed
from flows.promotion.rollback import release_hold, roll_back
from flows.runtime.champion import explain_no_champion
from flows.runtime.environment import log_to_terminal, prepare_environment
from flows.runtime.report_index import update_index
from flows.runtime.session import Session, look_at
from flows.steps.results import MlflowPages, ModelLine
from pipelines.core.paths import find_project
from pipelines.core.surface_settings import read_surface
from pipelines.registry.decision_log import DecisionLog
from pipelines.registry.record import DecisionRecord
from pipelines.tracking.registry import ModelVersion
from pipelines.tracking.store import Tracking


class Decided(NamedTuple):
    """A decision, and MLflow's pages about the version where a server shows them."""

    record: DecisionRecord
    mlflow: MlflowPages | None


def call_promote(surface: str, version: int | None, *, dry_run: bool, force_reason: str | None) -> Decided:
    """Let the gate decide on a version, by default the challenger.

    Args:
        surface: Surface of the version.
        version: Its number; None is the challenger, else what a retrain proposed last.
        dry_run: Decide, but keep and move nothing.
        force_reason: Why a refused version becomes champion all the same, kept with the decision; None does not force.

    Returns:
        The decision, with all figures, and links to the version.

    Raises:
        BusyError: If another process changes the surface.
        CallError: If the version is champion already, or none is proposed.
        ModelError: If there is no such version.
    """
    session = _look_at(surface)
    number = find_proposed(session) if version is None else version
    record = decide_promotion(session, number, dry_run=dry_run, force_reason=force_reason)
    return Decided(record, link_version(session, number))


def call_rollback(surface: str, to: int | None, reason: str) -> DecisionRecord:
    """Return to the champion before, or to version `to`.

    Args:
        surface: Surface whose champion is changed.
        to: Number of a registered version; None is the champion before the present one.
        reason: A person's own, kept with the decision; may be empty.

    Returns:
        The decision.

    Raises:
        BusyError: If another process moves the surface's aliases for longer than a minute.
        CallError: If there is no champion to return to.
        ModelError: If there is no version `to`, or its files are gone.
        GateError: If the version does not load or reproduce its reference tiles.
    """
    session = _look_at(surface)
    try:
        return roll_back(session, to, reason)
    finally:
        update_index(session.project, surface, session.tracking)


def call_release(surface: str) -> tuple[str, int | None]:
    """Release a hold; return what had held, and the version that waits for a decision."""
    session = _look_at(surface)
    held = release_hold(session)
    update_index(session.project, surface, session.tracking)
    return held, session.tracking.aliases(surface).get("challenger")


def call_lineage(surface: str, version: int | None) -> Lineage:
    """Trace a version, by default the champion.

    Args:
        surface: Surface of the version.
        version: Its number; None is the champion.

    Returns:
        All that made the version, and the decisions about it.

    Raises:
        ModelError: If there is no such version, or no champion.
    """
    tracking = _look_at(surface).tracking
    if version is None:
        champion = tracking.champion(surface)
        if champion is None:
            raise explain_no_champion(surface, tracking.versions(surface))
        version = champion.version
    return trace(tracking, surface, version)


def call_data_users(data: str) -> list[DataUser]:
    """Find all models that saw a data version."""
    project = find_project()
    prepare_environment(project)
    return find_data_users(project, Tracking(project), data)


class ModelList(NamedTuple):
    """A surface's versions, newest first; what holds promotion, and what to do where none is in use, or empty."""

    lines: list[ModelLine]
    hold: str
    problem: str


def list_models(surface: str) -> ModelList:
    """List a surface's registered versions, and bring the page of all results up to what the registry says."""
    project = find_project()
    prepare_environment(project)
    tracking = Tracking(project)
    found = tracking.versions(surface)
    if not found:
        read_surface(project, surface)
    with tracking.remembering():
        lines = [_line(tracking, version) for version in found]
        hold = DecisionLog(tracking, surface).hold() if found else ""
        update_index(project, surface, tracking, look=True)
    in_use = any("champion" in version.aliases for version in found)
    return ModelList(lines, hold, "" if in_use or not found else str(explain_no_champion(surface, found)))


def _line(tracking: Tracking, version: ModelVersion) -> ModelLine:
    return ModelLine(
        version=version.version,
        algorithm=version.algorithm,
        aliases=version.aliases,
        data_version=version.tags.get("data_version", ""),
        run_id=version.run_id,
        metrics=tracking.metrics(version.run_id) if version.run_id else {},
        why=why(tracking, version),
    )


def _look_at(surface: str) -> Session:
    log_to_terminal()
    return look_at(surface)
