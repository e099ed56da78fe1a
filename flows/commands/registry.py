"""What `promote`, `rollback` and `models` call: each sets the stage and hands over."""

from flows.promotion.lineage import Lineage, Seen, find_seers, trace, why
from flows.promotion.requests import decide_promotion, find_proposed
from flows.promotion.rollback import release_hold, roll_back
from flows.runtime.environment import log_to_terminal, prepare_environment
from flows.steps.results import ModelLine
from pipelines.core.errors import ModelError
from pipelines.core.paths import Project, find_project
from pipelines.core.surface_settings import read_surface
from pipelines.registry.decision import Ruling
from pipelines.registry.decision_log import DecisionLog
from pipelines.tracking.store import Tracking


def call_promote(surface: str, version: int | None, *, dry_run: bool, force_reason: str | None) -> Ruling:
    """Let the gate decide on a version, by default the challenger."""
    project, tracking = _open(surface)
    number = find_proposed(tracking, surface) if version is None else version
    return decide_promotion(project, tracking, surface, number, dry_run=dry_run, force_reason=force_reason)


def call_rollback(surface: str, to: int | None, reason: str) -> Ruling:
    """Return to the champion before, or to version `to`."""
    project, tracking = _open(surface)
    return roll_back(project, tracking, surface, to, reason)


def call_release(surface: str) -> tuple[str, int | None]:
    """Release a hold; return what had held, and the version that waits for a decision."""
    project, tracking = _open(surface)
    held = release_hold(project, tracking, surface)
    return held, tracking.aliases(surface).get("challenger")


def call_lineage(surface: str, version: int | None) -> Lineage:
    """Trace a version, by default the champion."""
    _, tracking = _open(surface)
    if version is None:
        champion = tracking.champion(surface)
        if champion is None:
            raise ModelError(f"'{surface}' has no champion", cure="name a version with --version")
        version = champion.version
    return trace(tracking, surface, version)


def call_seen(data: str) -> list[Seen]:
    """Find all models that saw a data version."""
    project = find_project()
    prepare_environment(project)
    return find_seers(project, Tracking(project), data)


def list_models(surface: str) -> tuple[list[ModelLine], str]:
    """List a surface's registered versions, newest first, and what holds promotion."""
    project = find_project()
    prepare_environment(project)
    tracking = Tracking(project)
    found = tracking.versions(surface)
    if not found:
        read_surface(project, surface)
    lines = [
        ModelLine(
            version=v.version,
            algorithm=v.algorithm,
            aliases=v.aliases,
            data_version=v.tags.get("data_version", ""),
            run_id=v.run_id,
            metrics=tracking.metrics(v.run_id) if v.run_id else {},
            why=why(tracking, v),
        )
        for v in found
    ]
    return lines, DecisionLog(tracking, surface).hold() if found else ""


def _open(surface: str) -> tuple[Project, Tracking]:
    project = find_project()
    log_to_terminal()
    read_surface(project, surface)
    prepare_environment(project)
    return project, Tracking(project)
