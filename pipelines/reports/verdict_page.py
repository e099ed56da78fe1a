"""The page of a validation: whether the data may be trained on, which images may not, and what was not used."""

from collections.abc import Sequence
from pathlib import Path

from pipelines.core import wording
from pipelines.core.errors import KnotwatchError
from pipelines.core.files import write_whole
from pipelines.core.progress import track
from pipelines.core.records import Record
from pipelines.core.results import Quarantined, ValidationReport
from pipelines.data.review_ledger import raw_file
from pipelines.imaging.decoding import decode_image
from pipelines.imaging.measures import shrink
from pipelines.imaging.overlay import data_uri, encode_picture
from pipelines.reports.pages import Link, page_environment

PAGE_NAME = "validation.html"
_LISTED = 500  # rows of a table; nobody reads more, and the verdict's JSON has all
_PICTURES, _SIDE = 12, 240


class Refused(Record):
    """An image that is not used, why, and what it looks like where it can be read."""

    path: str
    reason: str
    data_uri: str = ""


class VerdictPage(Record):
    """What the page says; `quarantined` may be fewer than the report's. `extra` links to Great Expectations' pages."""

    surface: str
    date: str
    report: ValidationReport
    quarantined: tuple[Refused, ...] = ()
    links: tuple[Link, ...] = ()
    extra: str = ""


def show_refused(quarantined: Sequence[Quarantined], source: Path, max_megapixels: float) -> tuple[Refused, ...]:
    """Give the first images that are not used a small picture each.

    Args:
        quarantined: In any order; at most 500 are taken.
        source: The surface's mirror of the user's folder.
        max_megapixels: A larger image is not read.

    Returns:
        In the same order; without a picture where a file cannot be read, and from the thirteenth on.
    """
    shown = quarantined[:_PICTURES]
    pictures = [_picture(source, found.path, max_megapixels) for found in track(shown, len(shown), "validation page")]
    pictures += [""] * _LISTED
    return tuple(
        Refused(path=found.path, reason=found.reason, data_uri=picture)
        for found, picture in zip(quarantined[:_LISTED], pictures, strict=False)
    )


def _picture(source: Path, name: str, max_megapixels: float) -> str:
    try:
        return data_uri(encode_picture(shrink(decode_image(raw_file(source, name), max_megapixels).image, _SIDE)))
    except (KnotwatchError, OSError, ValueError):
        return ""  # that it cannot be read is what the table says of it


def render_verdict_page(page: VerdictPage) -> str:
    """Render the page; every text is escaped, and it asks for nothing outside of itself."""
    template = page_environment().get_template("verdict.html")
    return template.render(page=page, report=page.report, links=page.links, count=wording.count_in_words)


def write_verdict_page(page: VerdictPage, path: Path) -> Path:
    """Write the page whole or not at all.

    Args:
        page: Its texts need not be escaped; its pictures are data URIs.
        path: The HTML file, replaced where it exists; its folders are made.

    Returns:
        `path`.
    """
    write_whole(path, render_verdict_page(page))
    return path
