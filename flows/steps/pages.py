"""Where the pages of a run lie, and how they lead to each other."""

from pathlib import Path

from prefect import runtime

from flows.runtime.session import Session
from pipelines.reports.folders import PAGE, RunNote, claim_folder, read_note, write_note
from pipelines.reports.overview.unfinished_page import write_unfinished
from pipelines.reports.pages import Link, link_run, link_up, note_kind
from pipelines.tracking.runs import Run


def open_folder(session: Session, run: Run, parent: Run | None = None, again: str = "") -> Path:
    """Return the folder of a run's reports, made on first use.

    Args:
        session: Open on the run's surface, and held.
        run: MLflow run that the reports are of.
        parent: Run that it hangs below: the folders of both begin alike, so that they stand together.
        again: Command that goes on with the run where it is stopped; a run that has one gets a page at once.

    Returns:
        The folder, below those of the surface.
    """
    started, title = (parent.started, f"{parent.name} {run.name}") if parent else (run.started, run.name)
    note = RunNote(
        run_id=run.id,
        title=title,
        started=started,
        parent=run.parent,
        experiment=run.experiment,
        flow_run=str(runtime.flow_run.id or ""),
        again=again,
    )
    folder = claim_folder(session.paths.reports, note)
    if again:
        write_unfinished(folder)
    return folder


def links_of_run(session: Session, run: Run, folder: Path) -> tuple[Link, ...]:
    """Link from the page of a run to all results, and to the page of the run that it hangs below, written or not.

    Args:
        session: Open on the surface.
        run: Whose page it is.
        folder: Of that page.

    Returns:
        Relative links.
    """
    reports = session.paths.reports
    above = link_run(reports, folder, run.parent, note_kind(run.parent, reports))
    return (link_up(reports, folder), *above)


def note_outcome(folder: Path, outcome: str) -> None:
    """Note with a folder of reports what its run came to, in a line: it is finished, and its own page follows.

    Args:
        folder: One that `open_folder` made; without a note nothing is written.
        outcome: In words.
    """
    note = read_note(folder)
    if note is not None:
        write_note(folder, note.model_copy(update={"outcome": outcome, "again": ""}))


def publish_folder(session: Session, run: Run, folder: Path) -> None:
    """Put a folder of reports on its MLflow run, and say there where it lies in the project.

    Args:
        session: Open on the surface.
        run: Not ended yet.
        folder: Below the project; all its files are copied.
    """
    run.files(folder)
    run.tags({"report": str((folder / PAGE).relative_to(session.project.root))})


def link_pages(session: Session, start: Path, run_ids: list[str]) -> dict[str, str]:
    """Map those runs to a link from the folder `start` that have a page here.

    Args:
        session: Open on the surface.
        start: Folder of the page that links.
        run_ids: Of the surface's runs, with a page or without.

    Returns:
        Links by the ids of runs.
    """
    found = {run_id: link_run(session.paths.reports, start, run_id, "") for run_id in run_ids}
    return {run_id: links[0].href for run_id, links in found.items() if links}
