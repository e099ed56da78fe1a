"""The page of all results: every surface with its version in use, its figures, last runs and decisions."""

import os
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from pipelines.core import wording
from pipelines.core.files import write_whole
from pipelines.core.records import Interval
from pipelines.reports.folders import PAGE, RunNote, href, list_runs, list_unnamed
from pipelines.reports.overview.surface_card import ChampionNote, ModelsNote, SurfaceCard
from pipelines.reports.pages import Link, page_environment
from pipelines.reports.verdict_page import PAGE_NAME
from pipelines.tracking.pages import experiment_page, run_page, version_page

_RUNS = 5
_FIGURES = ("image_auroc", "image_recall", "false_positive_rate", "pixel_auroc", "aupro")


class Servers(NamedTuple):
    """Where MLflow's and Prefect's pages are, without a slash at the end."""

    mlflow: str
    prefect: str


class _Run(NamedTuple):
    title: str
    date: str
    outcome: str
    again: str
    links: list[Link]


class _Surface(NamedTuple):
    card: SurfaceCard
    models: ModelsNote
    champion: ChampionNote | None
    links: list[Link]
    figures: list[tuple[str, Interval]]
    synthetic: list[tuple[str, float]]
    runs: list[_Run]
    waits: str
    drift: str
    data: str
    decisions: list[tuple[str, str, Link]]


def write_index_page(reports: Path, cards: Sequence[SurfaceCard], servers: Servers) -> Path:
    """Write the page of all results, where it would say something else than it does.

    Args:
        reports: The project's folder of reports, which holds one folder a surface.
        cards: Of all surfaces, in the order that they are shown in.
        servers: What links into MLflow and Prefect begin with.

    Returns:
        The HTML file; it loads nothing.
    """
    path, text = reports / PAGE, render_index(reports, cards, servers)
    if not path.is_file() or path.read_bytes() != text.encode():
        write_whole(path, text)
    return path


def render_index(reports: Path, cards: Sequence[SurfaceCard], servers: Servers) -> str:
    """Render the page; every text is escaped, and links lead only to pages that are there.

    Args:
        reports: Folder that index.html lies in.
        cards: One a surface, in the order in which they are shown.
        servers: Addresses of MLflow and Prefect, where known.

    Returns:
        HTML that loads nothing.
    """
    surfaces = [_describe(reports, card, servers) for card in cards]
    template = page_environment().get_template("index.html")
    return template.render(
        surfaces=surfaces,
        servers=servers,
        guarantee=wording.threshold_in_words,
        share=wording.share_in_words,
        count=wording.count_in_words,
        day=_day,
    )


def _describe(reports: Path, card: SurfaceCard, servers: Servers) -> _Surface:
    models = card.models or ModelsNote()
    champion = models.champion
    summary = champion.summary if champion else None
    metrics = summary.metrics if summary else {}
    validation = summary.validation if summary and not metrics else {}
    names = wording.METRIC_NAMES
    return _Surface(
        card=card,
        models=models,
        champion=champion,
        links=list(_pages(reports, card, servers)),
        figures=[(names[n], metrics[n]) for n in _FIGURES if n in metrics],
        synthetic=[(names[n], validation[n]) for n in _FIGURES if n in validation],
        runs=_runs(reports, card.surface, servers),
        waits="" if champion else _waits(reports, card.surface, models),
        drift=_drift(card),
        data=_data(card),
        decisions=[
            (_day(d.time), d.summary, _decision(reports, card.surface, d.number)) for d in reversed(models.decisions)
        ],
    )


def _pages(reports: Path, card: SurfaceCard, servers: Servers) -> Iterator[Link]:
    """List the pages about a surface that are there."""
    champion = card.models.champion if card.models else None
    if champion:
        yield from _there(reports, reports / card.surface / champion.page / PAGE, f"version {champion.version}")
        number = champion.version
        yield Link(href=version_page(servers.mlflow, card.surface, number), text=f"version {number} in MLflow")
        if champion.experiment:
            yield Link(href=experiment_page(servers.mlflow, champion.experiment), text="all its runs in MLflow")
    yield from _there(reports, reports / card.surface / PAGE_NAME, "validation of its data")
    if card.inspection and card.inspection.page:
        yield from _there(reports, reports / card.inspection.page, "inspection, and its review")
    if card.drift and card.drift.review:
        yield from _there(reports, reports.parents[1] / card.drift.review, "images to review for drift")


def _there(reports: Path, page: Path, text: str) -> Iterator[Link]:
    # A card may name what somebody else wrote into it: no link leads out of the project.
    whole, root = os.path.normpath(page), os.path.normpath(reports.parents[1])
    if page.exists() and whole.startswith(f"{root}{os.sep}"):
        yield Link(href=href(reports, page), text=text)


def _decision(reports: Path, surface: str, number: int) -> Link:
    page = reports / surface / "decisions" / f"{number:04d}.html"
    return Link(href=href(reports, page) if page.is_file() else "", text=f"decision {number}")


def _runs(reports: Path, surface: str, servers: Servers) -> list[_Run]:
    """List the last retrains and adaptations that have a page; those of before folders had names come last."""
    found: list[_Run] = []
    ended: set[str] = set()
    for folder, note in islice((n for n in list_runs(reports / surface) if not n.note.parent), _RUNS):
        links = list(_there(reports, folder / PAGE, "page"))
        if note.experiment:
            links.append(Link(href=run_page(servers.mlflow, note.experiment, note.run_id), text="MLflow"))
        if note.flow_run:
            flow_run = quote(note.flow_run, safe="")
            links.append(Link(href=f"{servers.prefect}/flow-runs/flow-run/{flow_run}", text="Prefect"))
        # The latest come first: once a later one of the same kind has ended, nothing is left to go on with.
        again = note.again if note.outcome and note.title not in ended else ""
        found.append(_Run(note.title, _day(note.started), _outcome(note), again, links))
        if not note.is_unfinished:
            ended.add(note.title)
    for folder in list_unnamed(reports / surface)[: _RUNS - len(found)]:
        date = _day(datetime.fromtimestamp(folder.stat().st_mtime, UTC))
        found.append(_Run("an earlier run", date, "", "", [Link(href=href(reports, folder / PAGE), text="page")]))
    return found


def _outcome(note: RunNote) -> str:
    if note.is_unfinished:
        return f"not finished: {note.outcome}" if note.outcome else "under way"
    # Of before unfinished runs had pages.
    return note.outcome or "not finished"


def _waits(reports: Path, surface: str, models: ModelsNote) -> str:
    """Say what a surface without a version in use waits for, where that is known; the command that ends it follows."""
    made = f"{wording.count_in_words(models.versions, 'version')} registered"
    if models.challenger:
        return f"{made}, version {models.challenger} is proposed and waits for a decision"
    whole = (n.note for n in list_runs(reports / surface) if not n.note.parent)
    # A trial registers and proposes nothing.
    last = next((note for note in whole if not note.title.startswith("trial ")), None)
    if last is None or (last.outcome and not last.is_unfinished):
        return ""
    run = f"{last.title} of {_day(last.started)}"
    if last.outcome:
        return f"{run} was not finished ({last.outcome})"
    return f"{run} is under way, {made} so far; it proposes one at its end"


def _drift(card: SurfaceCard) -> str:
    found, champion = card.drift, card.models.champion if card.models else None
    if champion is None:
        return ""
    if found is None or found.version != champion.version:
        return "not checked since this version is in use"
    state = f"{found.kind} drift" if found.kind else "none"
    said = f": {found.message}" if found.kind and found.message else ""
    return f"{state}, checked {_day(found.time)}{said}"


def _data(card: SurfaceCard) -> str:
    if card.data is None:
        return ""
    said = f"{wording.count_in_words(card.data.images, 'image')}, {card.data.usable:,} usable"
    champion = card.models.champion if card.models else None
    if champion and champion.data_version and champion.data_version != card.data.version:
        return f"{said}; changed since the version in use was trained"
    return said


def _day(time: datetime) -> str:
    return time.astimezone(UTC).strftime("%d %b %Y, %H:%M UTC")
