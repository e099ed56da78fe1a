"""The decision that nothing needs training, made from what MLflow remembers."""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from flows.runtime.data_stages import read_verdict
from flows.steps.results import Champion, ModelResult, Proposed, RetrainResult, ValidationCounts
from pipelines.core.errors import ModelError
from pipelines.core.paths import Project
from pipelines.core.results import Compared
from pipelines.registry.decision import last_of
from pipelines.registry.decision_log import DecisionLog
from pipelines.tracking.store import Tracking
from pipelines.training.propose import choose_proposal

SUMMARY = "summary.json"


def find_registered(tracking: Tracking, surface: str, fingerprints: Mapping[str, str]) -> dict[str, Compared]:
    """Find, of each algorithm, the newest version of the wanted fingerprint, with its figures.

    A trial does not count, nor a version whose run failed or lost its summary.
    """
    wanted = {mark: algorithm for algorithm, mark in fingerprints.items()}
    found: dict[str, Compared] = {}
    for version in tracking.versions(surface):
        algorithm = wanted.get(version.tags.get("fingerprint", ""))
        if algorithm is None or algorithm in found or not tracking.is_finished(version.run_id):
            continue
        with suppress(ModelError, ValueError):
            found[algorithm] = Compared.model_validate_json(tracking.read_text(version.run_id, SUMMARY))
    return found


def find_unchanged(
    project: Project, tracking: Tracking, surface: str, data_version: str, fingerprints: Mapping[str, str]
) -> RetrainResult | None:
    """Return what the last retrain with these fingerprints came to, or None where a part of it is missing.

    Where nothing was decided on the proposed version there is something left to do: the retrain ended before.
    """
    found = find_registered(tracking, surface, fingerprints)
    if len(found) < len(fingerprints):
        return None
    models = [found[algorithm] for algorithm in fingerprints]
    proposed, champion = propose_among(models), tracking.champion(surface)
    number = proposed.version if proposed else None
    ruling = last_of(DecisionLog(tracking, surface).read(), number) if number else None
    if ruling is None and (champion is None or champion.version != number):
        return None
    verdict = read_verdict(project, surface)
    return RetrainResult(
        surface=surface,
        data_version=data_version,
        skipped=True,
        validation=ValidationCounts(images=verdict.images, quarantined=len(verdict.quarantined)),
        models=tuple(ModelResult.of(model, reused=True) for model in models),
        proposed=proposed,
        decision=ruling,
        champion=Champion.of(champion),
        report=_find_report(project, tracking, surface, models),
    )


def propose_among(models: list[Compared]) -> Proposed | None:
    """Choose the version to propose from the figures of the select part."""
    chosen = choose_proposal({model.algorithm: model.select for model in models})
    if chosen is None:
        return None
    version = next(model.version for model in models if model.algorithm == chosen.algorithm)
    return Proposed(algorithm=chosen.algorithm, version=version, reason=chosen.reason)


def _find_report(project: Project, tracking: Tracking, surface: str, models: list[Compared]) -> str | None:
    """Find the page that compares them: that of the retrain which trained the newest."""
    newest = max(models, key=lambda model: model.version or 0)
    reports = project.surface(surface).reports
    pages: list[Path] = [
        reports / run_id / "index.html" for run_id in (tracking.parent(newest.run_id), newest.run_id) if run_id
    ]
    page = next((page for page in pages if page.is_file()), None)
    return str(page.relative_to(project.root)) if page else None
