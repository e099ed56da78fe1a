"""The decision that nothing needs training, made from what MLflow remembers."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from flows.runtime.data_stages import read_verdict
from flows.runtime.session import Session
from flows.steps.results import Champion, ModelResult, Proposed, RetrainResult, ValidationCounts
from pipelines.core.errors import ModelError
from pipelines.core.results import VersionSummary
from pipelines.registry.decision_log import DecisionLog
from pipelines.registry.record import last_of
from pipelines.reports.folders import PAGE, find_folder, read_note
from pipelines.tracking.data import SUMMARY
from pipelines.tracking.registry import REMOVED
from pipelines.training.choosing.propose import Proposal, choose_proposal
from pipelines.training.ensemble.choose import MemberChoice, choose_members
from pipelines.training.ensemble.settings import ENSEMBLE, EnsembleSettings


@dataclass(frozen=True)
class Known:
    """What need not be trained: an algorithm's version that is as wanted; `result` where nothing is left to do."""

    models: Mapping[str, VersionSummary] = field(default_factory=dict)
    result: RetrainResult | None = None


def find_known(
    session: Session, data_version: str, fingerprints: Mapping[str, str], ensemble: EnsembleSettings
) -> Known:
    """Find what is registered with these fingerprints already; a command and its flow ask the registry once.

    Where nothing was decided on the proposed version there is something left to do: the retrain ended before.

    Args:
        session: Open on the surface; the answer holds for all of it, whatever is registered meanwhile.
        data_version: Present one, for the answer.
        fingerprints: Of each algorithm that is wanted, and of the ensemble if one is.
        ensemble: Says whether known versions would make one at all.

    Returns:
        Versions of finished runs, by algorithm; with the whole result where nothing is left to do.
    """

    def find() -> Known:
        with session.tracking.remembering():
            models = _find_registered(session, fingerprints)
            return Known(models, _find_unchanged(session, data_version, fingerprints, models, ensemble))

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
    session: Session,
    data_version: str,
    fingerprints: Mapping[str, str],
    found: Mapping[str, VersionSummary],
    ensemble: EnsembleSettings,
) -> RetrainResult | None:
    """Return what the last retrain with these fingerprints came to, or None where a part of it is missing."""
    missing = fingerprints.keys() - found.keys()
    models = [found[algorithm] for algorithm in fingerprints if algorithm in found]
    if missing - {ENSEMBLE} or (missing and not _choose(session, models, ensemble).alone):
        return None
    proposed, champion = propose_among(session, models, ensemble), session.tracking.champion(session.surface)
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


def _choose(session: Session, models: Sequence[VersionSummary], ensemble: EnsembleSettings) -> MemberChoice:
    return choose_members(models, ensemble, session.settings.policy.latency_ms)


def propose_among(session: Session, models: Sequence[VersionSummary], ensemble: EnsembleSettings) -> Proposed | None:
    """Choose the version to propose: as the surface's policy names it, or from the figures of the validation split.

    Args:
        session: Open on the surface, for its policy.
        models: At most one of each algorithm.
        ensemble: Says which of them stands alone where an ensemble would have no second member.

    Returns:
        The proposal; None where there is no version.
    """
    figures = {model.algorithm: model.validation for model in models}
    choice = _choose(session, models, ensemble)
    is_alone = choice.alone and ENSEMBLE not in figures
    alone = Proposal(algorithm=choice.alone, reason=choice.reasons) if is_alone else None
    chosen = choose_proposal(figures, session.settings.policy.propose, alone)
    if chosen is None:
        return None
    version = next(model.version for model in models if model.algorithm == chosen.algorithm)
    return Proposed(algorithm=chosen.algorithm, version=version, reason=chosen.reason)


def _find_report(session: Session, models: list[VersionSummary]) -> str | None:
    """Find the page that compares them: that of the retrain which trained the newest."""
    newest = max(models, key=lambda model: model.version or 0)
    runs = (session.tracking.parent(newest.run_id), newest.run_id)
    folders = [find_folder(session.paths.reports, run_id) for run_id in runs if run_id]
    page = next((folder / PAGE for folder in folders if folder and _has_own_page(folder)), None)
    return str(page.relative_to(session.project.root)) if page else None


def _has_own_page(folder: Path) -> bool:
    """Say whether a run has come to its page: that of a stopped one compares nothing."""
    note = read_note(folder)
    return (folder / PAGE).is_file() and not (note and note.is_unfinished)
