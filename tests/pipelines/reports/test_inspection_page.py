"""The report of an inspection: what it shows, that it is safe, and that it works in a real browser."""

import json
import re
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from pipelines.core.results import CalibratedThreshold, Inspected
from pipelines.core.surface_settings import DefectSettings
from pipelines.imaging.components import find_defects
from pipelines.imaging.procedural import draw
from pipelines.inspection.showcase import Showcase, draw_at_random
from pipelines.inspection.sinks import InspectedImage
from pipelines.reports.inspection_page import InspectionPage, render_inspection_page, write_inspection_page
from tests.chromium import Tab

EVIL = "</script><img src=x onerror=alert(1)> “a” & b"
CALIBRATED = CalibratedThreshold(threshold=1.0, target_rate=0.01, achieved_rate=0.01, images=99)


def see(folder: Path, number: int, knots: int, score: float) -> InspectedImage:
    """Draw a board and a map with `knots` regions; the file's name holds what must be escaped."""
    image = draw("wood", number, 128, 192, ()).image
    found = np.zeros(image.shape[:2], np.float32)
    for knot in range(knots):
        cv2.circle(found, (30 + 45 * knot, 60), 8 + 2 * knot, 1.5 + knot, -1)
    path = folder / f"{number} {EVIL.replace('/', '|')}.png"
    path.write_bytes(number.to_bytes(4, "big"))
    types = ("knot", EVIL, None, None)
    defects = tuple(
        d.model_copy(update={"type": t, "also": ("split",) if t == "knot" else ()})
        for d, t in zip(find_defects(found, 1, DefectSettings()), types, strict=False)
    )
    result = Inspected(path=str(path), score=score, anomalous=score > 1, defects=defects)
    measures = {"brightness_mean": float(image.mean()), "sharpness": 90.0 + number}
    return InspectedImage(image, found, measures, result, path.name, path.stem)


def page_of(showcase: Showcase, **changes: Any) -> InspectionPage:
    facts: dict[str, Any] = {
        "surface": "oak",
        "model": "oak/3 (padim)",
        "data_version": "0" * 16,
        "date": "1 May 2030, 10:00 UTC",
        "image_threshold": CALIBRATED,
        "pixel_threshold": CALIBRATED,
        "anomalous_level": 1.0,
        "shown": showcase.shown(),
        "images": showcase.images,
        "anomalous": showcase.anomalous,
        "types": (EVIL, "knot", "split"),
    }
    return InspectionPage(**{**facts, **changes})


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of three images: with three regions, with one, and with none, drawn at random."""
    folder = tmp_path_factory.mktemp("page")
    seen = [see(folder, 1, 3, 2.0), see(folder, 2, 1, 1.5), see(folder, 3, 0, 0.5)]
    showcase = Showcase(1.0, frozenset({seen[2].stem}))
    for one in seen:
        showcase.add(one)
    return write_inspection_page(page_of(showcase), folder / "report.html")


def test_the_highest_scores_and_the_drawn_ones_are_shown(tmp_path: Path) -> None:
    seen = [see(tmp_path, n, 1, score) for n, score in enumerate((0.5, 3.0, 0.7, 2.0, 2.0, 0.1))]
    showcase = Showcase(1.0, frozenset({seen[5].stem}), limit=3)
    for one in seen:
        showcase.add(one)
    shown = showcase.shown()
    assert [(s.score, s.drawn) for s in shown] == [
        *((3.0, "score"), (2.0, "score"), (2.0, "score"), (0.1, "random")),
    ]
    assert (showcase.images, showcase.anomalous) == (6, 3)
    text = render_inspection_page(page_of(showcase))
    assert "Shown: 4 of 6 images, by the highest scores, 1 of them drawn at random." in text


def test_of_very_many_defects_the_highest_are_listed(tmp_path: Path) -> None:
    seen = see(tmp_path, 1, 1, 2.0)
    many = tuple(seen.result.defects[0].model_copy(update={"score": 9.0 - n / 100}) for n in range(103))
    showcase = Showcase(1.0)
    showcase.add(seen._replace(result=seen.result.model_copy(update={"defects": many})))
    (shown,) = showcase.shown()
    assert (shown.defects, shown.more) == (many[:100], 3)
    assert "3 more regions of lower scores are not listed" in render_inspection_page(page_of(showcase))


def test_the_draw_does_not_look_at_scores_and_is_the_same_again() -> None:
    stems = [f"board {n}" for n in range(500)]
    drawn = draw_at_random(stems, 50)
    assert len(drawn) == 50
    assert drawn == draw_at_random(reversed(stems), 50)
    assert 150 < np.mean([stems.index(stem) for stem in drawn]) < 350
    assert draw_at_random(stems, 0) == frozenset()


def test_names_and_types_are_escaped_and_nothing_lies_outside(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert "<img src=x" not in text
    assert text.count("</script>") == 2, "a name ended a script"
    assert not re.search(r"(?:src|href)=\"(?!data:image/jpeg|#)", text)
    assert "http:" not in text
    assert "https:" not in text


def test_measures_are_set_against_the_usual_ones(tmp_path: Path) -> None:
    showcase = Showcase(1.0)
    showcase.add(see(tmp_path, 1, 1, 2.0))
    (shown,) = showcase.shown()
    usual = {name: (value + 1, value + 2) for name, value in shown.measures.items() if name == "sharpness"}
    text = render_inspection_page(page_of(showcase, usual=usual | {"brightness_mean": (0, 255)}))
    assert "below the usual" in text
    assert "(usual 0 to 255)" in text


def test_sizes_are_in_millimetres_where_the_scale_is_known(tmp_path: Path) -> None:
    showcase = Showcase(1.0)
    showcase.add(see(tmp_path, 1, 1, 2.0))
    (defect,) = showcase.shown()[0].defects
    text = render_inspection_page(page_of(showcase, pixels_per_mm=2.0))
    assert f"{defect.length / 2:.1f} x {defect.width / 2:.1f} mm, {defect.area / 4:.3g} mm²" in text


@pytest.mark.parametrize("width", [1280, 390])
def test_a_browser_opens_it_from_disk_and_asks_for_nothing_else(page: Path, tab: Tab, width: int) -> None:
    before = len(tab.requests())
    tab.open(page, width)
    assert tab.requests()[before:] == [page.as_uri()]
    assert tab.errors() == []
    assert tab.evaluate("document.documentElement.scrollWidth") <= width, "the page is wider than the screen"
    assert tab.evaluate("document.querySelectorAll('.outlines polygon').length") == 4
    assert tab.evaluate("[...document.images].length") == 0, "a name became an element"


def test_outlines_and_heatmap_can_be_switched(page: Path, tab: Tab) -> None:
    tab.open(page)
    visible = "getComputedStyle(document.querySelector('.outlines')).display"
    assert tab.evaluate(visible) != "none"
    tab.press("o")
    assert tab.evaluate(visible) == "none"
    tab.evaluate("document.getElementById('outlines').click()")
    assert tab.evaluate(visible) != "none"
    tab.choose("heat", "70")
    assert tab.evaluate("getComputedStyle(document.querySelector('.heat')).opacity") == "0.7"


@pytest.mark.parametrize("field", ["#heat", "#type", "#least", "#outlines", "summary"])
def test_keys_work_wherever_the_focus_is(page: Path, tab: Tab, field: str) -> None:
    tab.open(page)
    tab.evaluate(f"document.querySelector('{field}').focus()")
    assert tab.evaluate(f"document.activeElement.matches('{field}')"), "nothing has the focus"
    tab.press("n")
    assert tab.evaluate("document.activeElement.id") == "p1-d1"
    assert tab.evaluate("document.getElementById('type').value") == "", "the list took the key too"


@pytest.mark.parametrize("width", [1280, 900, 390])
def test_sizes_are_whole_and_long_names_wrap(tmp_path: Path, tab: Tab, width: int) -> None:
    showcase = Showcase(1.0)
    long = see(tmp_path, 1, 3, 2.0)
    name = f"{'a-long-name-without-a-blank' * 5}.png"
    showcase.add(long._replace(name=name))
    shown = showcase.shown()[0].model_copy(update={"path": name})
    file = write_inspection_page(page_of(showcase, shown=(shown,), image_threshold=CALIBRATED), tmp_path / "long.html")
    tab.open(file, width)
    inside = "[...document.querySelectorAll('.list .wide, .list td, .photo, h2')]"
    cut = f"{inside}.filter(e => e.scrollWidth > e.clientWidth + 1).map(e => e.outerHTML.slice(0, 80))"
    assert tab.evaluate(cut) == []
    right = "document.querySelector('{}').getBoundingClientRect().right"
    assert tab.evaluate(right.format(".list table")) <= tab.evaluate(right.format(".list")) + 1, (
        "columns are out of view"
    )
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    assert "threshold 1.000" in tab.evaluate("document.querySelector('.verdict').textContent")
    assert "(threshold 1.00)" in tab.evaluate("document.querySelector('#p1-d1 p').textContent")


def test_the_table_jumps_and_filters_hide(page: Path, tab: Tab) -> None:
    tab.open(page, height=500)
    tab.evaluate("document.querySelectorAll('#table a')[3].click()")
    assert tab.evaluate("document.activeElement.id") == "p2-d1"
    assert tab.evaluate("[...document.querySelectorAll('polygon.current')].map(p => p.dataset.defect)") == ["p2-d1"]
    place = tab.evaluate("(r => [r.top, r.bottom])(document.getElementById('p2-d1').getBoundingClientRect())")
    assert 0 <= place[0] < place[1] <= 500, "what the table jumped to is out of sight"
    shown = "[...document.querySelectorAll('li[data-defect]')].filter(l => l.offsetParent).map(l => l.id)"
    tab.choose("type", EVIL)
    assert tab.evaluate(shown) == ["p1-d2"]
    tab.choose("type", "split")
    assert tab.evaluate(shown) == ["p1-d1", "p2-d1"]
    assert tab.evaluate("document.querySelector('#p1-d1 strong').textContent") == "1: knot + split"
    tab.choose("type", "")
    tab.choose("least", "2")
    assert tab.evaluate(shown) == ["p1-d1", "p1-d2"]


def test_a_review_is_saved_as_a_file(page: Path, tab: Tab, tmp_path: Path) -> None:
    tab.call("Page.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    tab.open(page)
    assert tab.evaluate("document.getElementById('save').disabled") is True
    for key in ("n", "c", "n", "r", "n"):
        tab.press(key)
    assert tab.evaluate("document.activeElement.id") == "p1-d3"
    tab.evaluate(
        "{ const t = document.querySelectorAll('#p1-d3 .named')[0]; t.value = ' resin '; "
        "t.dispatchEvent(new Event('change', { bubbles: true })); }"
    )
    tab.evaluate("document.querySelector('#p3 .sound').click()")
    assert tab.evaluate("document.getElementById('progress').textContent") == "2 of 3 images reviewed"
    # What was judged is still there when the page is opened again.
    tab.evaluate("window.onbeforeunload = null; document.getElementById('save').click()")
    said = tab.evaluate("document.getElementById('saved').textContent")
    assert re.fullmatch(r"Saved as (review-oak-.*\.json). Next: knotwatch data review oak ~/Downloads/\1", said)
    assert reopen(tab, page, "2 of 3 images reviewed")
    (file,) = wait_for(tmp_path, "review-oak-*.json")
    saved = json.loads(file.read_text(encoding="utf-8"))
    assert (saved["surface"], saved["kind"], saved["schema_version"]) == ("oak", "knotwatch review", 1)
    first, second = saved["images"]
    assert [(d["verdict"], d["type"]) for d in first["defects"]] == [
        *(("confirmed", "knot"), ("rejected", EVIL), ("confirmed", "resin")),
    ]
    assert (first["drawn"], second["drawn"], second["defects"], second["missed"]) == ("score", "random", [], False)
    assert first["path"].startswith(str(page.parent))
    assert len(first["defects"][0]["outline"]) > 8


def test_keys_reach_and_judge_an_image_without_an_outline(page: Path, tab: Tab, tmp_path: Path) -> None:
    tab.call("Page.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    tab.open(page)
    for key in ("n", "n", "n", "n", "n", "c"):
        tab.press(key)
    defect_without_outline = "document.querySelector('#p3 .missed').checked"
    assert tab.evaluate(defect_without_outline) is True
    tab.press("r")
    assert tab.evaluate(defect_without_outline) is False
    assert tab.evaluate("document.querySelector('#p3 .done').textContent") == "reviewed: normal"
    # A page with unsaved verdicts would ask before it is left.
    tab.evaluate("document.getElementById('save').click()")


def test_one_key_says_that_nothing_is_wrong_with_an_image_and_goes_to_the_next(page: Path, tab: Tab) -> None:
    tab.open(page)
    for key in ("n", "g"):
        tab.press(key)
    verdicts = "[...document.querySelectorAll('#p1 li[data-defect] input:checked')].map(r => r.value)"
    assert set(tab.evaluate(verdicts)) == {"rejected"}
    assert tab.evaluate("document.querySelector('#p1 .done').textContent") == "reviewed"
    assert tab.evaluate("document.activeElement.id") == "p2-d1"
    # A page with unsaved verdicts asks before it is left.
    tab.call("Page.setDownloadBehavior", behavior="deny")
    tab.evaluate("document.getElementById('save').click()")


def test_letters_of_a_type_are_letters_until_it_is_ended(page: Path, tab: Tab) -> None:
    tab.open(page)
    tab.evaluate("document.querySelector('#p1-d3 .named').focus()")
    for key in ("r", "o", "n", "Enter", "n"):
        tab.press(key)
    assert tab.evaluate("document.querySelector('#p1-d3 .named').value").endswith("ron")
    assert tab.evaluate("document.activeElement.id") == "p2-d1"
    # A page with unsaved verdicts would ask before it is left.
    tab.evaluate("document.querySelector('#p1 .sound').click(); document.getElementById('save').click()")


def reopen(tab: Tab, page: Path, progress: str) -> bool:
    """Open the page until it remembers: the browser's storage process takes in its own time what a page gives it."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        tab.open(page)
        if tab.evaluate("document.getElementById('progress').textContent") == progress:
            return True
    return False


def wait_for(folder: Path, pattern: str) -> list[Path]:
    deadline = time.monotonic() + 30
    while not (found := list(folder.glob(pattern))):
        assert time.monotonic() < deadline, "nothing was downloaded"
        time.sleep(0.05)
    return found
