"""From the page of an inspection to the next data version: a real browser saves the review, a real command takes it."""

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipelines.core.paths import Project
from pipelines.core.results import CalibratedThreshold, Inspected
from pipelines.core.surface_settings import DefectSettings
from pipelines.data.prepared import read_index, read_mask
from pipelines.imaging.components import find_defects
from pipelines.inspection.showcase import Showcase
from pipelines.inspection.sinks import InspectedImage
from pipelines.reports.inspection_page import InspectionPage, write_inspection_page
from tests.chromium import open_chromium
from tests.conftest import Knotwatch

CALIBRATED = CalibratedThreshold(threshold=1.0, target_rate=0.01, achieved_rate=0.01, images=99)
KNOT = (slice(20, 40), slice(30, 50))


def draw_board(path: Path, seed: int, *, knot: bool = False) -> Path:
    generator = np.random.default_rng(seed)
    pixels = np.clip(150 + generator.normal(0, 25, (64, 96, 3)), 0, 255).astype(np.uint8)
    if knot:
        pixels[KNOT] = 30
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def see(source_image: Path) -> InspectedImage:
    """Inspect with a map that is the image's darkness."""
    with Image.open(source_image) as file:
        image = np.asarray(file)
    found = np.zeros(image.shape[:2], np.float32)
    if image[KNOT].max() == 30:
        found[KNOT] = 2
    defects = find_defects(found, 1, DefectSettings())
    result = Inspected(path=str(source_image), score=float(found.max()), anomalous=bool(defects), defects=defects)
    return InspectedImage(image, found, {}, result, source_image.name, source_image.stem)


def write_page(project: Project, images: list[Path], drawn: str) -> Path:
    showcase = Showcase(1.0, frozenset({drawn}))
    for image in images:
        showcase.add(see(image))
    page = InspectionPage(
        surface="oak",
        model="oak/1 (padim)",
        data_version="0" * 16,
        date="today",
        image_threshold=CALIBRATED,
        pixel_threshold=CALIBRATED,
        anomalous_level=1.0,
        images=showcase.images,
        anomalous=showcase.anomalous,
        shown=showcase.shown(),
        types=("dead knot",),
    )
    return write_inspection_page(page, project.surface("oak").reports / "inspect" / "report.html")


def save_review(page: Path, folder: Path) -> Path:
    """Judge as a person does: the first defect is a dead knot, the second a false alarm, the rest is normal."""
    with open_chromium(folder) as tab:
        tab.open(page)
        tab.evaluate("document.querySelector('#table a').click()")
        tab.evaluate(
            "(e => { e.value = 'dead knot'; e.dispatchEvent(new Event('change', { bubbles: true })); })"
            "(document.querySelector('#p1-d1 .named'))"
        )
        tab.press("n")
        tab.press("r")
        tab.evaluate("document.querySelectorAll('article:not(:has(li[data-defect])) .sound').forEach(b => b.click())")
        tab.evaluate("document.getElementById('save').click()")
        deadline = time.monotonic() + 30
        while not (found := list((folder / "downloads").glob("*.json"))):
            assert time.monotonic() < deadline
            time.sleep(0.05)
    return found[0]


def show(knotwatch: Knotwatch) -> Any:
    return knotwatch("data", "show", "oak", "--json").json


@pytest.fixture
def boards(tmp_path: Path) -> Path:
    for number in range(12):
        draw_board(tmp_path / f"boards/good/{number:02d}.png", number)
    return tmp_path / "boards"


def test_a_review_becomes_the_next_data_version(
    knotwatch: Knotwatch, project: Project, boards: Path, tmp_path: Path
) -> None:
    knotwatch("data", "add", "oak", str(boards), "--layout", "folder")
    before = show(knotwatch)
    knots = [draw_board(tmp_path / f"new/knot {n}.png", 100 + n, knot=True) for n in range(2)]
    normal = [draw_board(tmp_path / f"new/sound {n}.png", 200 + n) for n in range(2)]
    page = write_page(project, [*knots, *normal], drawn="sound 1")
    review = save_review(page, tmp_path / "browser")
    wrong = tmp_path / "wrong.json"
    wrong.write_text(review.read_text().replace('"surface": "oak"', '"surface": "ash"'))
    assert "reviews surface 'ash'" in knotwatch("data", "review", "oak", str(wrong), expect=2).err
    change = knotwatch("data", "review", "oak", str(review), "--json").json
    assert (change["images"], change["new"], change["confirmed"], change["rejected"]) == (4, 4, 1, 1)
    assert change["splits"] == {"test": 1, "calibration": 1, "train": 2}
    assert change["data_version"] != before["data_version"]
    paths = project.surface("oak")
    added = {
        Path(i.path).name.rsplit("-", 1)[0]: i for i in read_index(paths.prepared) if i.path.startswith("reviews/")
    }
    assert {name: image.split for name, image in added.items()} == {
        "knot_0": "test",
        "knot_1": "train",
        "sound_0": "train",
        "sound_1": "calibration",
    }
    found = added["knot_0"]
    assert found.defects == {1: "dead knot"}
    expected = np.zeros((64, 96), np.uint8)
    expected[KNOT] = 1
    assert np.array_equal(read_mask(paths.prepared, found), expected)
    rows, columns = KNOT
    false_alarm = (columns.start, rows.start, columns.stop, rows.stop)
    assert {name: image.rejected for name, image in added.items() if image.rejected} == {"knot_1": (false_alarm,)}

    # A later update keeps the review, and an old version comes back without it.
    assert knotwatch("data", "update", "oak", "--json").json["data_version"] == change["data_version"]
    knotwatch("data", "checkout", "oak", before["data_version"])
    assert not list(paths.ledger.rglob("*.png"))
    knotwatch("data", "checkout", "oak", change["data_version"])
    assert len(list(paths.ledger.rglob("*.png"))) == 5

    # The second look at one image counts, and it stays in test.
    content = json.loads(review.read_text())
    for source_image in content["images"]:
        for defect in source_image["defects"]:
            defect["verdict"] = "rejected"
    review.write_text(json.dumps(content))
    again = knotwatch("data", "review", "oak", str(review), "--json").json
    assert (again["new"], again["splits"]) == (0, change["splits"])
    (one,) = [i for i in read_index(paths.prepared) if Path(i.path).name.startswith("knot_0")]
    assert (one.split, one.label, one.mask) == ("test", "normal", None)
