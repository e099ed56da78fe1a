"""The page of suspects: names cannot end a script, and keys alone give a review that the intake takes."""

import json
import re
import time
from pathlib import Path

import numpy as np
import pytest

from pipelines.core.results import Inspected
from pipelines.core.surface_settings import DefectSettings
from pipelines.data.review import read_review
from pipelines.imaging.components import find_defects
from pipelines.inspection.showcase import Showcase, Shown
from pipelines.inspection.sinks import InspectedImage
from pipelines.reports.suspects_page import SuspectEntry, SuspectsPage, render_suspects_page, write_suspects_page
from tests.chromium import open_chromium

EVIL = "</script><img src=x onerror=alert(1)> “a” & b"


def picture(folder: Path, number: int) -> Shown:
    found = np.zeros((40, 60), np.float32)
    found[10:20, 10:30] = 2
    path = folder / f"{number} {EVIL.replace('/', '|')}.png"
    path.write_bytes(bytes([number]))
    defects = find_defects(found, 1, DefectSettings())
    result = Inspected(path=str(path), score=3.0 - number, anomalous=False, defects=defects)
    showcase = Showcase(1.0, limit=1)
    showcase.add(InspectedImage(np.full((40, 60, 3), 150, np.uint8), found, {}, result, path.name, path.stem))
    return showcase.shown()[0]


def page_of(folder: Path, images: int) -> SuspectsPage:
    entries = tuple(
        SuspectEntry(shown=picture(folder, n), rank=n + 1, split="calibration", label="normal", threshold=EVIL)
        for n in range(images)
    )
    facts = {"surface": "oak", "model": EVIL, "data_version": "0" * 16, "date": "1 May 2030", "threshold": EVIL}
    return SuspectsPage(**facts, images=90, reviewed=4, entries=entries)


def test_names_are_escaped_and_nothing_lies_outside(tmp_path: Path) -> None:
    text = render_suspects_page(page_of(tmp_path, 2))
    assert "<img src=x" not in text
    assert text.count("</script>") == 2, "a name ended a script"
    assert not re.search(r"(?:src|href)=\"(?!data:image/jpeg|#)", text)
    assert "http:" not in text
    assert "https:" not in text


def test_a_page_without_images_says_why(tmp_path: Path) -> None:
    assert "Every image was confirmed as normal before" in render_suspects_page(page_of(tmp_path, 0))


@pytest.mark.parametrize("width", [1280, 390])
def test_keys_judge_whole_images(tmp_path: Path, width: int) -> None:
    page = write_suspects_page(page_of(tmp_path, 3), tmp_path / "suspects.html")
    with open_chromium(tmp_path / "browser") as tab:
        tab.open(page, width)
        assert tab.errors() == []
        assert tab.evaluate("document.documentElement.scrollWidth") <= width, "the page is wider than the screen"
        assert tab.evaluate("document.images.length") == 0, "a name became an element"
        # The second thought counts.
        for key in ("n", "r", "c", "n", "c", "r", "n"):
            tab.press(key)
        assert tab.evaluate("document.getElementById('progress').textContent") == "2 of 3 images reviewed"
        said = tab.evaluate("[...document.querySelectorAll('.done')].map(e => e.textContent)")
        assert said == ["reviewed: anomalous", "reviewed: normal", ""]
        tab.evaluate("document.getElementById('save').click()")
        deadline = time.monotonic() + 30
        while not (found := list((tmp_path / "browser/downloads").glob("*.json"))):
            assert time.monotonic() < deadline
            time.sleep(0.05)
    review = read_review(found[0])
    assert [(i.missed, i.defects, i.drawn) for i in review.images] == [(True, (), "score"), (False, (), "score")]
    shown = json.loads(found[0].read_text(encoding="utf-8"))
    assert shown["model"] == EVIL
