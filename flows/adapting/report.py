"""What an adaptation shows: its page, and the same on Prefect's."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from prefect import task
from prefect.artifacts import create_table_artifact

from flows.adapting.attempt import Attempt
from flows.adapting.choice import Chosen
from flows.runtime.session import Session
from flows.steps.job import Job
from flows.steps.pages import link_pages, note_outcome, open_folder, publish_folder
from pipelines.core.records import Split, Strategy
from pipelines.core.results import Failure, VersionSummary
from pipelines.core.wording import count_in_words, threshold_in_words
from pipelines.reports.adaptation import AdaptationPage, AdaptedRow, lead_in_words, write_adaptation
from pipelines.reports.pages import link_up
from pipelines.tracking.runs import Run


def describe(
    source: str,
    job: Job,
    attempts: Sequence[Attempt],
    failed: Sequence[Failure],
    chosen: Chosen,
    model: VersionSummary,
    used: str,
) -> AdaptationPage:
    """Gather what the page of an adaptation says.

    Args:
        source: Surface that was started from.
        job: Job of the version; its `splits` say how many test images there were.
        attempts: All of them, with fewer images too; each is a row, in this order.
        failed: Attempts that came to no end; each is listed with its reason.
        chosen: The attempt that the version was made from.
        model: The registered version, evaluated on all test images.
        used: Words for how many images were used, and for what.

    Returns:
        The page's content; nothing is written.
    """
    method, compared = _name(chosen.attempt), _name(chosen.compared) if chosen.compared else ""
    return AdaptationPage(
        source=source,
        target=job.surface,
        lead=lead_in_words(
            source,
            method,
            compared,
            scratch=chosen.attempt.strategy == Strategy.SCRATCH,
            gain=chosen.gain,
            on_test=chosen.on_test,
        ),
        reason=f"{method}: {chosen.reason}",
        guarantee=threshold_in_words(model.image_threshold, "normal images"),
        with_labels=chosen.with_labels,
        data_version=job.data.version,
        git_commit=job.commit or None,
        profile=job.profile,
        date=datetime.now(UTC).strftime("%d %B %Y, %H:%M UTC"),
        version=model.version or 0,
        run_id=model.run_id,
        used=used,
        tested=_tested(chosen.attempt, job),
        rows=tuple(_row(found, chosen.attempt) for found in attempts),
        failed=tuple(failed),
    )


def _name(found: Attempt) -> str:
    return f"{found.algorithm} by {found.strategy}"


def _tested(found: Attempt, job: Job) -> str:
    tests = sum(split == Split.TEST for split in (job.splits or {}).values())
    return f"{len(found.test)} of {count_in_words(tests, 'test image')}" if len(found.test) < tests else ""


def _row(found: Attempt, chosen: Attempt) -> AdaptedRow:
    return AdaptedRow(
        algorithm=found.algorithm,
        strategy=found.strategy,
        shots=found.shots,
        run_id=found.run_id,
        metrics=found.metrics,
        validation=found.selection.metrics,
        notes=found.notes,
        chosen=found.run_id == chosen.run_id,
    )


@task(name="compare", task_run_name="compare {page.target}")
def write_task(session: Session, run: Run, page: AdaptationPage) -> Path:
    """Write the page of an adaptation with its links, put it on the parent run and on Prefect's page, and return it.

    Args:
        session: Open on the target, whose reports folder gets the run's.
        run: Parent run of the adaptation, not ended yet.
        page: From `describe`.

    Returns:
        The HTML file, inside the project.
    """
    folder = open_folder(session, run)
    version_page = link_pages(session, folder, [page.run_id]).get(page.run_id, "")
    links = (link_up(session.paths.reports, folder),)
    path = write_adaptation(page.model_copy(update={"version_page": version_page, "links": links}), folder)
    note_outcome(folder, page.lead)
    publish_folder(session, run, folder)
    rows = [
        {
            "algorithm": row.algorithm,
            "strategy": row.strategy + (", chosen" if row.chosen else ""),
            "images": row.shots,
            **{name: round(figure.value, 4) for name, figure in row.metrics.items()},
            **{f"validation_{name}": round(value, 4) for name, value in row.validation.items()},
        }
        for row in page.rows
    ]
    create_table_artifact(rows, key=f"adapt-{page.target}", description=page.lead)
    return path
