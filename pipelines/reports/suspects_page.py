"""The page of images that are taken for normal and look least like it: looked at and judged as an inspection's are."""

from pathlib import Path

from pipelines.core import wording
from pipelines.core.files import write_whole
from pipelines.core.records import Record
from pipelines.inspection.showcase import Shown
from pipelines.reports.inspection_page import outline_points, review_data
from pipelines.reports.pages import page_environment


class SuspectEntry(Record):
    """One image of the page, whose `shown.score` is in medians; `threshold` says how a threshold rests on it."""

    shown: Shown
    rank: int
    split: str
    label: str
    threshold: str = ""


class SuspectsPage(Record):
    """What the page says: `entries` of `images` that were ranked, `reviewed` of which are not listed.

    `model` stands in the review that is saved; `threshold` is a sentence on what sets the champion's, or empty.
    """

    surface: str
    model: str
    data_version: str
    date: str
    images: int
    reviewed: int
    entries: tuple[SuspectEntry, ...]
    threshold: str = ""
    types: tuple[str, ...] = ()

    @property
    def shown(self) -> tuple[Shown, ...]:
        return tuple(entry.shown for entry in self.entries)


def render_suspects_page(page: SuspectsPage) -> str:
    """Render the page; every text is escaped, and it asks for nothing outside of itself."""
    template = page_environment().get_template("suspects.html")
    return template.render(
        page=page, count=wording.count_in_words, points=outline_points, review=review_data(page, judge_outlines=False)
    )


def write_suspects_page(page: SuspectsPage, path: Path) -> Path:
    """Write the page whole or not at all.

    Args:
        page: Its texts need not be escaped; its pictures are data URIs.
        path: The HTML file, replaced where it exists; its folders are made.

    Returns:
        `path`.
    """
    write_whole(path, render_suspects_page(page))
    return path
