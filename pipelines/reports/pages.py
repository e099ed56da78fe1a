"""How templates become pages: escaped, strict about names, with figures in words, and with links to each other."""

from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from pipelines.core import wording
from pipelines.core.records import Record
from pipelines.registry.record import DecisionRecord
from pipelines.reports.folders import PAGE, find_folder, href, read_note


class Link(Record):
    """A link from a page to another one of the same project; `href` is relative to the page."""

    href: str
    text: str


def page_environment() -> Environment:
    """Return the environment that every HTML page is rendered in."""
    environment = Environment(
        loader=PackageLoader("pipelines.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"words": wording.interval_in_words}
    return environment


def link_up(reports: Path, start: Path) -> Link:
    """Link to where a surface stands among all results.

    Args:
        reports: Folder of the surface's reports.
        start: Folder of the page that links, in `reports` or below it.

    Returns:
        The link to the page of all results, at this surface.
    """
    return Link(href=f"{href(start, reports.parent / PAGE)}#{reports.name}", text="all results")


def link_run(reports: Path, start: Path, run_id: str, text: str) -> tuple[Link, ...]:
    """Link to the page of a run; to none where the run has no folder here.

    Args:
        reports: Folder of the surface's reports.
        start: Folder of the page that links.
        run_id: May be empty.
        text: What the link says.

    Returns:
        One link or none.
    """
    folder = find_folder(reports, run_id)
    return () if folder is None else (Link(href=href(start, folder / PAGE), text=text),)


def link_version(reports: Path, start: Path, run_id: str, text: str) -> tuple[Link, ...]:
    """Link to the page of a version's run, and to the page that compares it with others.

    Args:
        reports: Folder of the surface's reports.
        start: Folder of the page that links, in `reports` or below it.
        run_id: Of the version; may be empty, or of a run that was made elsewhere.
        text: What the link to the version says.

    Returns:
        At most two links; none to what is not there.
    """
    folder = find_folder(reports, run_id)
    note = read_note(folder) if folder else None
    above = link_run(reports, start, note.parent, note_kind(note.parent, reports)) if note else ()
    return (*above, *link_run(reports, start, run_id, text))


def note_kind(run_id: str, reports: Path) -> str:
    """Say what the page above a version's is: the one of its adaptation, or that compares a retrain's algorithms.

    Args:
        run_id: Of the run above; may be empty.
        reports: Folder of the surface's reports.

    Returns:
        `adaptation` or `comparison`.
    """
    folder = find_folder(reports, run_id)
    note = read_note(folder) if folder else None
    return "adaptation" if note and note.title.startswith("adapt ") else "comparison"


def render_decision(record: DecisionRecord, links: Sequence[Link] = ()) -> str:
    """Render the page; every text is escaped.

    Args:
        record: With all its figures, where there are some.
        links: Relative to the folder that the page is for.

    Returns:
        HTML that loads nothing.
    """
    template = page_environment().get_template("decision.html")
    policy = list(wording.flatten(record.decision.policy.model_dump())) if record.decision else []
    return template.render(record=record, decision=record.decision, policy=policy, links=links)
