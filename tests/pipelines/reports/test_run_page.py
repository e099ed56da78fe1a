"""The run page says what is there, says why something is not, and holds everything itself."""

import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from pipelines.core.records import Interval
from pipelines.core.results import (
    CalibratedThreshold,
    Confusion,
    Evaluation,
    Quarantined,
    ScoredImage,
    ValidationReport,
)
from pipelines.core.wording import METRIC_NAMES
from pipelines.imaging.overlay import data_uri, encode_picture
from pipelines.reports.run_page import Picture, PictureGroup, RunPage, StageUse, render_run_page, write_run_page
from tests.chromium import Tab

HOSTILE = "planks/<script>alert(1)</script>.png"


class Outline(HTMLParser):
    """Collect tags, what they refer to, and the text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.references: list[str] = []
        self.message: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.references += [v or "" for k, v in attrs if k in {"src", "href", "srcset", "action", "data"}]

    def handle_data(self, data: str) -> None:
        self.message.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.message).split())


@pytest.fixture
def page() -> RunPage:
    pixels = np.random.default_rng(0).integers(0, 255, (20, 30, 3), dtype=np.uint8)
    picture = Picture(
        group=PictureGroup.MISS,
        path=HOSTILE,
        score=0.8123,
        data_uri=data_uri(encode_picture(pixels)),
        defects=("crack",),
    )
    scored = [
        ("a.png", "normal", 0.7),
        ("b.png", "normal", 1.3),
        (HOSTILE, "anomalous", 0.8),
        ("c.png", "anomalous", 9),
    ]
    figure = Interval(value=0.9512, low=0.93, high=0.968)
    return RunPage(
        surface="wood-boards",
        algorithm="padim",
        version="3",
        data_version="0a1b2c",
        git_commit="deadbeef",
        profile="quick",
        date="2025-03-01 12:00 UTC",
        verdict=ValidationReport(
            accepted=True, images=5, usable=4, quarantined=(Quarantined(path=HOSTILE, reason="truncated & small"),)
        ),
        evaluation=Evaluation(
            metrics={"image_auroc": figure, "false_positive_rate": Interval(value=0.5)},
            per_defect={"crack <i>": {"image_auroc": figure}},
            confusion=Confusion(true_positive=1, false_positive=1, true_negative=1, false_negative=1),
            images=tuple(ScoredImage(path=p, label=k, score=s, anomalous=s > 1.2) for p, k, s in scored),
        ),
        image_threshold=CalibratedThreshold(threshold=1.2, target_rate=0.01, achieved_rate=0.01, images=105),
        pixel_threshold=CalibratedThreshold(
            threshold=2.0, target_rate=0.01, achieved_rate=0.01, images=6, in_sample=True
        ),
        pictures=(picture,),
        stages=(StageUse(stage="train", seconds=12.34, peak_memory_mb=812),),
        settings={"padim": {"features": 100}},
        notes=("first run",),
    )


@pytest.mark.parametrize("width", [1300, 800, 390])
def test_figures_by_type_are_whole_or_can_be_scrolled_to(page: RunPage, tab: Tab, tmp_path: Path, width: int) -> None:
    figure = Interval(value=0.9512, low=0.93, high=0.968)
    by_type = {name: dict.fromkeys(METRIC_NAMES, figure) for name in ("crack", "knot-hole-with-a-long-name" * 2)}
    whole = page.model_copy(update={"evaluation": page.evaluation.model_copy(update={"per_defect": by_type})})
    tab.open(write_run_page(whole, tmp_path / "index.html"), width)
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    table = "document.querySelector('.wide:has(thead)')"
    assert tab.evaluate(f"{table}.getBoundingClientRect().right") <= width
    last = f"{table}.querySelector('thead th:last-child').getBoundingClientRect().right"
    if width < 1300:
        tab.evaluate(f"{table}.scrollLeft = 9999")
    assert tab.evaluate(last) <= tab.evaluate(f"{table}.getBoundingClientRect().right") + 1


def test_the_page_says_what_the_run_found(page: RunPage) -> None:
    text = Outline(render_run_page(page)).text
    for expected in (
        "padim version 3 finds 50 % of 2 defective test images and flags 50 % of 2 normal ones. "
        "Image AUROC 0.951 (0.930 to 0.968).",
        "At most 1 % of normal images are flagged, on average; set on 105 images.",
        "An in-sample threshold without a guarantee of 1 % of normal area: set on 6 images that were trained on.",
        "5 images, 4 usable, 1 quarantined, 0 duplicates: accepted .",
        "truncated & small",
        "false-positive rate 0.500 (no interval)",
        "train 12.3 812",
        "padim.features 100",
        "first run",
    ):
        assert expected in text


def test_file_names_and_labels_are_escaped(page: RunPage) -> None:
    outline = Outline(render_run_page(page))
    assert not {"script", "i"} & set(outline.tags)
    assert outline.text.count(HOSTILE) == 2


def test_nothing_is_fetched(page: RunPage) -> None:
    html = render_run_page(page)
    assert [reference[:15] for reference in Outline(html).references] == ["data:image/jpeg"]
    assert not re.search(r"https?://|@import|url\(", html)


def test_a_picture_must_be_held_by_the_page() -> None:
    with pytest.raises(ValueError, match="data_uri"):
        Picture(group=PictureGroup.HIT, path="a.png", score=1, data_uri="https://example.org/a.png")


def test_a_run_without_labels_says_what_is_absent(page: RunPage) -> None:
    bare = RunPage(surface="slices", algorithm="padim", data_version="0", profile="full", date="today")
    outline = Outline(render_run_page(bare))
    assert "Metrics are absent: no test image carries a label." in outline.text
    assert "nothing is known of how well it finds defects" in outline.text
    assert "svg" not in outline.tags
    assert "img" not in outline.tags
    # The same page with labels has both, so that the two lines above can fail.
    assert {"svg", "img"} <= set(Outline(render_run_page(page)).tags)


def test_metrics_that_are_missing_are_named(page: RunPage) -> None:
    text = Outline(render_run_page(page)).text
    assert "Absent, because the test split lacks the labels or masks they need: image AP" in text
    assert "Absent: the images name no condition" in text
    assert "Absent: no type of defect" not in text


def test_the_page_is_written_as_one_file(page: RunPage, tmp_path: Path) -> None:
    path = write_run_page(page, tmp_path / "reports" / "run.html")
    assert path.read_text(encoding="utf-8") == render_run_page(page)
    assert [p.name for p in path.parent.iterdir()] == ["run.html"]
