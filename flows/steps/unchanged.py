"""The decision that nothing needs training, made from what MLflow remembers."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from flows.runtime.data_stages import read_verdict
from flows.runtime.session import Session
from flows.steps.results import Champion, ModelResult, Proposed, RetrainResult, ValidationCounts
from pipelines.core.errors import ModelError
from pipelines.core.results import VersionSummary
from pipelines.registry.decision_log import DecisionLog
from pipelines.registry.record import last_of
from pipelines.reports.folders import PAGE, find_folder
from pipelines.tracking.data import SUMMARY
from pipelines.tracking.registry import REMOVED
from pipelines.training.choosing.propose import choose_proposal


@dataclass(frozen=True)
class Known:
    """What need not be trained: an algorithm's version that is as wanted; `result` where nothing is left to do."""

    models: Mapping[str, VersionSummary] = field(default_factory=dict)
    result: RetrainResult | None = None


def find_known(session: Session, data_version: str, fingerprints: Mapping[str, str]) -> Known:
    """Find what is registered with these fingerprints already; a command and its flow ask the registry once.

    Where nothing was decided on the proposed version there is something left to do: the retrain ended before.

    Args:
        session: Open on the surface; the answer holds for all of it, whatever is registered meanwhile.
        data_version: Present one, for the answer.
        fingerprints: Of each algorithm that is wanted.

    Returns:
        Versions of finished runs, by algorithm; with the whole result where nothing is left to do.
    """

    def find() -> Known:
        with session.tracking.remembering():
            models = _find_registered(session, fingerprints)
            return Known(models, _find_unchanged(session, data_version, fingerprints, models))

    return session.once((find_known, data_version, frozenset(fingerprints.items())), find)


def _find_registered(session: Session, fingerprints: Mapping[str, str]) -> dict[str, VersionSummary]:
    """Find, of each algorithm, the newest version of the wanted fingerprint, with its figures.

    A trial does not count, nor a version whose run failed or lost its summary.
    """
    wanted = {fingerprint: algorithm for algorithm, fingerprint in fingerprints.items()}
    tracking = session.tracking
    found: dict[str, VersionSummary] = {}
    for version in tracking.versions(session.surface):
        algorithm = wanted.get(version.tags.get("fingerprint", ""))
        if algorithm is None or algorithm in found or REMOVED in version.tags:
            continue
        if not tracking.is_finished(version.run_id):
            continue
        with suppress(ModelError, ValueError):
            found[algorithm] = VersionSummary.model_validate_json(tracking.read_text(version.run_id, SUMMARY))
    return found


def _find_unchanged(
    session: Session, data_version: str, fingerprints: Mapping[str, str], found: Mapping[str, VersionSummary]
) -> RetrainResult | None:
    """Return what the last retrain with these fingerprints came to, or None where a part of it is missing."""
    if len(found) < len(fingerprints):
        return None
    models = [found[algorithm] for algorithm in fingerprints]
    proposed, champion = propose_among(session, models), session.tracking.champion(session.surface)
    number = proposed.version if proposed else None
    record = last_of(DecisionLog(session.tracking, session.surface).read(), number) if number else None
    if record is None and (champion is None or champion.version != number):
        return None
    verdict = read_verdict(session.project, session.surface)
    return RetrainResult(
        surface=session.surface,
        data_version=data_version,
        skipped=True,
        validation=ValidationCounts(images=verdict.images, quarantined=len(verdict.quarantined)),
        models=tuple(ModelResult.of(model, reused=True) for model in models),
        proposed=proposed,
        decision=record,
        champion=Champion.of(champion),
        report=_find_report(session, models),
    )


def propose_among(session: Session, models: list[VersionSummary]) -> Proposed | None:
    """Choose the version to propose: as the surface's policy names it, or from the figures of the validation split.

    Args:
        session: Open on the surface, for its policy.
        models: At most one of each algorithm.

    Returns:
        The proposal; None where there is no version.
    """
    figures = {model.algorithm: model.validation for model in models}
    chosen = choose_proposal(figures, session.settings.policy.propose)
    if chosen is None:
        return None
    version = next(model.version for model in models if model.algorithm == chosen.algorithm)
    return Proposed(algorithm=chosen.algorithm, version=version, reason=chosen.reason)


def _find_report(session: Session, models: list[VersionSummary]) -> str | None:
    """Find the page that compares them: that of the retrain which trained the newest."""
    newest = max(models, key=lambda model: model.version or 0)
    runs = (session.tracking.parent(newest.run_id), newest.run_id)
    folders = [find_folder(session.paths.reports, run_id) for run_id in runs if run_id]
    page = next((folder / PAGE for folder in folders if folder and (folder / PAGE).is_file()), None)
    return str(page.relative_to(session.project.root)) if page else None
