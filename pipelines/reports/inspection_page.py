"""The page of one inspection: one HTML file that needs no network, on which a person reviews what was found."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
from pydantic import Field

from pipelines.core import wording
from pipelines.core.files import write_whole
from pipelines.core.geometry import Defect
from pipelines.core.records import NORMAL, UNKNOWN, Record
from pipelines.core.results import CalibratedThreshold
from pipelines.inspection.showcase import Shown
from pipelines.reports.pages import Link, page_environment

MEASURE_NAMES = {
    "brightness_mean": "brightness",
    "brightness_std": "contrast",
    "sharpness": "sharpness",
    "saturated_share": "overexposed share",
}
# Outlines are drawn to this share of the image's longer side; a review keeps them exact.
_SIMPLER = 1 / 1600


class InspectionPage(Record):
    """What the page of an inspection says. `usual` holds the lowest and highest usual value of each measure.

    `anomalous_level` is what a pixel of a defect exceeds in an anomalous image.

    `images` counts all, `unread` those without a result, of which `unreadable` names some with the reason, and
    `before` those that an earlier, stopped call had done, which are not shown. `types` are what a reviewer may choose
    from, besides what he writes himself.
    """

    surface: str
    model: str
    data_version: str
    date: str
    image_threshold: CalibratedThreshold
    pixel_threshold: CalibratedThreshold
    anomalous_level: float
    images: int
    anomalous: int
    shown: tuple[Shown, ...]
    unread: int = 0
    before: int = 0
    unreadable: tuple[tuple[str, str], ...] = ()
    usual: dict[str, tuple[float, float]] = Field(default_factory=dict)
    types: tuple[str, ...] = ()
    pixels_per_mm: float | None = None
    links: tuple[Link, ...] = ()

    @property
    def drawn_at_random(self) -> int:
        return sum(s.drawn == "random" for s in self.shown)


def usual_range(measures: Mapping[str, Sequence[float]]) -> dict[str, tuple[float, float]]:
    """Return the 1 % and 99 % quantiles of each measure of the calibration split.

    >>> usual_range({"sharpness": [1.0, 2.0, 3.0], "brightness_mean": []})
    {'sharpness': (1.02, 2.98)}
    """
    return {
        name: (float(np.quantile(values, 0.01)), float(np.quantile(values, 0.99)))
        for name, values in measures.items()
        if len(values)
    }


def render_inspection_page(page: InspectionPage) -> str:
    """Render the page; every text is escaped, and it asks for nothing outside of itself."""
    return (
        page_environment()
        .get_template("inspection.html")
        .render(
            page=page,
            links=page.links,
            count=wording.count_in_words,
            guarantee=wording.threshold_in_words,
            points=outline_points,
            around=_around,
            size=lambda defect: _size(defect, page.pixels_per_mm),
            named=lambda defect: "" if defect.type in {None, NORMAL, UNKNOWN} else defect.type,
            measured=lambda shown: _measured(shown, page.usual),
            review=review_data(page),
        )
    )


def write_inspection_page(page: InspectionPage, path: Path) -> Path:
    """Write the page whole or not at all.

    Args:
        page: Its texts need not be escaped; its pictures are data URIs.
        path: The HTML file, replaced where it exists; its folders are made.

    Returns:
        `path`.
    """
    write_whole(path, render_inspection_page(page))
    return path


class Reviewable(Protocol):
    """What a page has on which images are judged."""

    @property
    def surface(self) -> str: ...
    @property
    def model(self) -> str: ...
    @property
    def date(self) -> str: ...
    @property
    def shown(self) -> tuple[Shown, ...]: ...


def review_data(page: Reviewable, *, judge_outlines: bool = True) -> dict[str, Any]:
    """Return what the page's script needs to write a review; see pipelines/data/review.py for what reads it.

    Args:
        page: Its texts need not be escaped.
        judge_outlines: Whether a verdict is given on each outline, or on each image alone.

    Returns:
        Facts for JSON.
    """
    return {
        "surface": page.surface,
        "model": page.model,
        "date": page.date,
        "images": [
            {
                **shown.model_dump(include={"path", "sha256", "width", "height", "drawn", "more"}),
                "defects": [{"outline": d.outline, "type": d.type} for d in shown.defects if judge_outlines],
            }
            for shown in page.shown
        ],
    }


def outline_points(defect: Defect, shown: Shown) -> str:
    """Write an outline for SVG, with no more corners than can be seen; a pixel's centre lies in its middle.

    Args:
        defect: One of `shown.defects`.
        shown: Whose size says what can be seen.

    Returns:
        Pairs of numbers in pixels of the image.
    """
    exact = np.array(defect.outline, np.int32)
    simple = cv2.approxPolyDP(exact, max(shown.width, shown.height) * _SIMPLER, closed=True).reshape(-1, 2)
    return " ".join(f"{x + 0.5:g},{y + 0.5:g}" for x, y in simple)


def _around(defect: Defect, shown: Shown) -> str:
    """Write the view box of a defect's own picture: a square with some surroundings, within the image."""
    box = defect.box
    side = max(1.6 * max(box.width, box.height), 0.04 * max(shown.width, shown.height))
    side = min(side, shown.width, shown.height)
    left = min(max(0.0, (box.left + box.right - side) / 2), shown.width - side)
    top = min(max(0.0, (box.top + box.bottom - side) / 2), shown.height - side)
    return f"{left:.1f} {top:.1f} {side:.1f} {side:.1f}"


def _size(defect: Defect, pixels_per_mm: float | None) -> tuple[str, str]:
    """Write length by width, and the area, in millimetres where the scale is known, else in pixels."""
    if pixels_per_mm is None:
        return f"{defect.length:.0f} x {defect.width:.0f} px", f"{defect.area:,} px²"
    length, width = defect.length / pixels_per_mm, defect.width / pixels_per_mm
    return f"{length:.1f} x {width:.1f} mm", f"{defect.area / pixels_per_mm**2:.3g} mm²"


def _measured(shown: Shown, usual: Mapping[str, tuple[float, float]]) -> list[tuple[str, str, str]]:
    """List an image's measures: name, value, and how it compares with the calibration split, empty where unknown."""
    rows = []
    for name, value in shown.measures.items():
        low, high = usual.get(name, (-np.inf, np.inf))
        said = f"usual {low:.4g} to {high:.4g}" if name in usual else ""
        outside = "below the " if value < low else "above the " if value > high else ""
        rows.append((MEASURE_NAMES.get(name, name), f"{value:.4g}", f"{outside}{said}"))
    return rows
