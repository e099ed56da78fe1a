"""The page of a run that has not ended, was stopped, or failed: what is finished, and the command that goes on."""

from collections.abc import Sequence
from pathlib import Path

from pipelines.core.files import write_whole
from pipelines.reports.folders import PAGE, Noted, RunNote, href, list_runs, read_note, write_note
from pipelines.reports.pages import Link, link_up, page_environment

STOPPED = "stopped"
KILLED = "stopped by force"


def write_unfinished(folder: Path) -> None:
    """Write the page of an unfinished run, of which nothing else will ever speak if it is stopped.

    Args:
        folder: Of a run's reports, with its note; what is finished is read from the notes of the folders beside it.
    """
    note = read_note(folder)
    if note is not None and note.is_unfinished:
        beside = list(list_runs(folder.parent))
        write_whole(folder / PAGE, render_unfinished(folder, note, beside))


def end_unfinished(folder: Path, outcome: str) -> None:
    """Note how a run ended that did not come to its own page, and say so on one; a page of its own stays.

    Args:
        folder: Of the run's reports.
        outcome: In a line.
    """
    note = read_note(folder)
    if note is not None and note.is_unfinished and not note.outcome:
        write_note(folder, note.model_copy(update={"outcome": outcome}))
        write_unfinished(folder)


def end_killed(reports: Path) -> None:
    """End what killed processes left unfinished; while the surface's lock is held, nobody works on any of it.

    Args:
        reports: Folder of the surface's reports; it need not be there.
    """
    for folder, note in list(list_runs(reports)):
        if note.is_unfinished and not note.outcome:
            end_unfinished(folder, KILLED)


def render_unfinished(folder: Path, note: RunNote, beside: Sequence[Noted]) -> str:
    """Render the page; every text is escaped.

    Args:
        folder: Of the run's reports.
        note: Of the run.
        beside: Folders of the same surface's reports; those of versions that the run has finished are linked.

    Returns:
        HTML that loads nothing.
    """
    finished = [
        Link(href=href(folder, found.folder / PAGE), text=found.note.title.removeprefix(f"{note.title} "))
        for found in reversed(beside)
        if found.note.parent == note.run_id and (found.folder / PAGE).is_file()
    ]
    template = page_environment().get_template("unfinished.html")
    return template.render(
        surface=folder.parent.name, note=note, finished=finished, links=[link_up(folder.parent, folder)]
    )
