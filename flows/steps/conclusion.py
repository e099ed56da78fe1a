"""What a retrain's models come to: a decision on the one that is proposed, a page that compares them, the answer."""

from collections.abc import Container, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from flows.steps.algorithm import Shared
from flows.steps.pages import link_pages, note_outcome, open_folder
from flows.steps.results import Champion, ModelResult, Proposed, RetrainResult, ValidationCounts
from flows.steps.side_by_side import see_side_by_side
from flows.steps.tasks import compare_task, decide_task
from pipelines.core.results import Failure, VersionSummary
from pipelines.registry.descriptions import describe_retrain, shown_figures
from pipelines.registry.record import DecisionRecord
from pipelines.reports.comparison import ComparisonPage
from pipelines.reports.pages import Link, link_up


class Outcome(NamedTuple):
    """What came of a retrain's algorithms, those that were `known` before, and what was decided."""

    models: Sequence[VersionSummary]
    failed: Sequence[Failure]
    known: Container[str]
    proposed: Proposed | None
    record: DecisionRecord | None


def decide_on(shared: Shared, proposed: Proposed | None) -> DecisionRecord | None:
    """Note what is proposed on the parent run, and let the gate decide; a trial has no version to decide on.

    Args:
        shared: Of the flow run.
        proposed: None where there is no version to propose.

    Returns:
        What was decided; None where nothing is proposed, in a trial, and where the version is champion already.
    """
    if proposed is None:
        return None
    shared.parent.tags({"proposed": proposed.algorithm, "proposed_reason": proposed.reason})
    if proposed.version is None:
        return None
    shared.parent.tags({"proposed_version": str(proposed.version)})
    version = shared.session.tracking.version(shared.job.surface, proposed.version)
    return decide_task(shared.session, version, proposed.reason, shared.wrap)


def compare_models(shared: Shared, outcome: Outcome) -> Path:
    """Compare all models on one page, put it on the parent run, and return it.

    Args:
        shared: Of the flow run, whose parent run is not ended yet.
        outcome: May be of failures alone.

    Returns:
        The HTML file, in a folder of its own among the surface's reports.
    """
    session, job, proposed = shared.session, shared.job, outcome.proposed
    folder = open_folder(session, shared.parent)
    page = ComparisonPage(
        surface=job.surface,
        data_version=job.data.version,
        git_commit=job.commit or None,
        profile=job.profile,
        date=datetime.now(UTC).strftime("%d %B %Y, %H:%M UTC"),
        models=tuple(outcome.models),
        failed=tuple(outcome.failed),
        reused=tuple(model.algorithm for model in outcome.models if model.algorithm in outcome.known),
        proposed=proposed.algorithm if proposed else None,
        reason=proposed.reason if proposed else "",
        decided=outcome.record.summary if outcome.record else "",
        pages=link_pages(session, folder, [model.run_id for model in outcome.models]),
        side_by_side=see_side_by_side(shared, outcome.models),
        links=(link_up(session.paths.reports, folder), *_link_decision(outcome.record)),
    )
    note_outcome(folder, page.outcome)
    return compare_task(session, shared.parent, page, folder)


def _link_decision(record: DecisionRecord | None) -> tuple[Link, ...]:
    if record is None:
        return ()
    return (Link(href=f"../decisions/{record.number:04d}.html", text=f"decision {record.number}"),)


def describe_parent(shared: Shared, outcome: Outcome) -> None:
    """Say on the parent run's page what came of it, with the figures of what is proposed.

    Args:
        shared: Of the flow run, whose parent run is not ended yet.
        outcome: May be of failures alone.
    """
    proposed, job = outcome.proposed, shared.job
    model = next((m for m in outcome.models if proposed and m.algorithm == proposed.algorithm), None)
    if model:
        shared.parent.metrics(shown_figures(model.metrics, model.validation))
    failed = [f"{failure.algorithm} failed: {failure.problem}" for failure in outcome.failed]
    reason = f"{proposed.algorithm} is proposed: {proposed.reason}" if proposed else ""
    said = outcome.record.summary if outcome.record else reason
    shared.parent.describe(
        describe_retrain(shared.parent, job.surface, job.data.version, "; ".join([*([said] if said else []), *failed]))
    )


def answer(shared: Shared, outcome: Outcome, report: Path) -> RetrainResult:
    """Note the decision on the parent run, which fails where an algorithm did, and say what the retrain came to.

    Args:
        shared: Of the flow run, whose parent run is not ended yet.
        outcome: As it was put on the page.
        report: Page inside the project, named relative to its root in the answer.

    Returns:
        The answer, with the champion as it is now and without the seconds.
    """
    session, job, verdict, parent, *_ = shared
    if outcome.record:
        parent.tags({"decision": outcome.record.summary})
    describe_parent(shared, outcome)
    if outcome.failed:
        parent.fail("; ".join(f"{f.algorithm}: {f.problem}" for f in outcome.failed))
    return RetrainResult(
        surface=job.surface,
        data_version=job.data.version,
        skipped=False,
        validation=ValidationCounts(images=verdict.images, quarantined=len(verdict.quarantined)),
        models=tuple(ModelResult.of(model, reused=model.algorithm in outcome.known) for model in outcome.models),
        failed=tuple(outcome.failed),
        proposed=outcome.proposed,
        decision=outcome.record,
        champion=Champion.of(session.tracking.champion(job.surface)),
        report=str(report.relative_to(session.project.root)),
    )
