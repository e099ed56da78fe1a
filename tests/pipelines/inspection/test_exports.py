"""Exports: each file read back by the rules of its format."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from PIL import Image

from pipelines.core.errors import CallError
from pipelines.core.results import Inspected
from pipelines.core.surface_settings import DefectSettings
from pipelines.imaging.components import find_defects
from pipelines.inspection.exports import Exports
from pipelines.inspection.sinks import InspectedImage, spare_inputs

NAMES = ("line 1/=board, “a”.jpg", "b.png", "sound.png")


def truth(number: int) -> NDArray[np.bool_]:
    """Draw an ellipse and, on the first image, a crack of one pixel's width; the last one is normal."""
    drawn = np.zeros((120, 160), np.uint8)
    if number < 2:
        cv2.ellipse(drawn, (60 + 20 * number, 60), (30, 14), 30, 0, 360, 1, -1)
    if number == 0:
        drawn[110, 20:80] = 1
    return drawn > 0


def see(number: int, types: tuple[str | None, ...] = (None, None)) -> InspectedImage:
    found = truth(number).astype(np.float32) * 2
    image = np.full((*found.shape, 3), 90, np.uint8)
    image[truth(number)] = 10
    defects = find_defects(found, 1, DefectSettings(min_area=1))
    named = tuple(d.model_copy(update={"type": t}) for d, t in zip(defects, types, strict=False))
    result = Inspected(path=f"/in/{NAMES[number]}", score=1.5, anomalous=bool(named), defects=named)
    return InspectedImage(image, found, {}, result, NAMES[number], NAMES[number].rsplit(".", 1)[0])


def write(exports: Exports, *seen: InspectedImage) -> None:
    sinks = list(exports.open("oak/3 (padim)"))
    for sink in sinks:
        for one in seen:
            sink.add(one)
        sink.close()


def check_coco(content: Any) -> None:
    """Check what cocodataset.org/#format-data asks of a file for detection."""
    images = {i["id"]: i for i in content["images"]}
    categories = {c["id"] for c in content["categories"]}
    assert len(images) == len(content["images"])
    assert len(categories) == len(content["categories"]) > 0
    assert all(isinstance(i[k], int) for i in images.values() for k in ("id", "width", "height"))
    numbers = [a["id"] for a in content["annotations"]]
    assert len(set(numbers)) == len(numbers)
    for found in content["annotations"]:
        image = images[found["image_id"]]
        assert found["category_id"] in categories
        assert found["iscrowd"] == 0
        x, y, width, height = found["bbox"]
        assert 0 <= x < x + width <= image["width"]
        assert 0 <= y < y + height <= image["height"]
        assert 0 < found["area"] <= width * height
        for polygon in found["segmentation"]:
            assert len(polygon) >= 6
            assert len(polygon) % 2 == 0
            assert all(x <= v <= x + width for v in polygon[::2])
            assert all(y <= v <= y + height for v in polygon[1::2])


def test_coco_is_as_its_format_says_and_its_polygons_are_the_defects(tmp_path: Path) -> None:
    write(Exports(coco=tmp_path / "x/c.json"), see(0, ("knot", None)), see(1, ("knot",)), see(2))
    content = json.loads((tmp_path / "x/c.json").read_text())
    check_coco(content)
    assert [i["file_name"] for i in content["images"]] == list(NAMES)
    assert [c["name"] for c in content["categories"]] == ["defect", "knot"]
    assert len(content["annotations"]) == 3
    for number in (1, 2):
        drawn = np.zeros((120, 160), np.uint8)
        for found in content["annotations"]:
            if found["image_id"] == number:
                points = np.array(found["segmentation"][0]).reshape(-1, 2) - 0.5
                cv2.fillPoly(drawn, [np.round(points).astype(np.int32)], 1)
        flagged = truth(number - 1)
        assert ((drawn > 0) & flagged).sum() / ((drawn > 0) | flagged).sum() > 0.9


def test_coco_without_a_defect_is_one_all_the_same(tmp_path: Path) -> None:
    write(Exports(coco=tmp_path / "c.json"), see(2))
    content = json.loads((tmp_path / "c.json").read_text())
    check_coco(content)
    assert (len(content["images"]), content["annotations"]) == (1, [])


def test_the_table_has_a_row_for_each_defect(tmp_path: Path) -> None:
    write(Exports(csv=tmp_path / "d.csv"), see(0, ("knot", None)), see(2))
    table = pd.read_csv(tmp_path / "d.csv")
    expected = see(0).result.defects
    assert table["path"].tolist() == [f"/in/{NAMES[0]}"] * 2
    assert table["defect"].tolist() == [1, 2]
    assert table["area"].tolist() == [d.area for d in expected]
    assert table["type"].fillna("").tolist() == ["knot", ""]
    assert table[["left", "top", "right", "bottom"]].to_numpy().tolist() == [list(d.box) for d in expected]


@pytest.mark.parametrize("start", ["=", "+", "-", "@"])
def test_no_name_in_the_table_is_a_formula_to_a_spreadsheet(tmp_path: Path, start: str) -> None:
    seen = see(0, (f"{start}cmd|calc", None))
    path = f"{start}HYPERLINK(1).png"
    write(Exports(csv=tmp_path / "d.csv"), seen._replace(result=seen.result.model_copy(update={"path": path})))
    table = pd.read_csv(tmp_path / "d.csv", dtype=str)
    assert table["path"].tolist() == [f"./{path}"] * 2, "it still opens the image"
    assert table["type"].tolist()[0] == f"'{start}cmd|calc"


def test_masks_have_the_images_size_and_name(tmp_path: Path) -> None:
    write(Exports(masks=tmp_path / "m"), see(0), see(2))
    with Image.open(tmp_path / "m/line 1/=board, “a”.png") as file:
        assert np.array_equal(np.asarray(file), np.where(truth(0), 255, 0))
    with Image.open(tmp_path / "m/sound.png") as file:
        assert (file.size, np.asarray(file).max()) == ((160, 120), 0)


def test_crops_show_each_defect_with_its_surroundings(tmp_path: Path) -> None:
    seen = see(0)
    write(Exports(crops=tmp_path / "c"), seen, see(2))
    files = sorted(p.relative_to(tmp_path / "c").as_posix() for p in (tmp_path / "c").rglob("*.png"))
    assert files == ["line 1/=board, “a”-1.png", "line 1/=board, “a”-2.png"]
    for number, defect in enumerate(seen.result.defects, 1):
        with Image.open(tmp_path / f"c/line 1/=board, “a”-{number}.png") as file:
            crop = np.asarray(file)
        assert crop.shape[1] > defect.box.width
        assert (crop[..., 0] == 10).sum() >= defect.area
        assert crop.max() == 90


def test_no_export_is_written_over_or_beside_the_images(tmp_path: Path) -> None:
    image = tmp_path / "in/a.png"
    with pytest.raises(CallError, match="one of the images"):
        spare_inputs([image], [tmp_path / "x/../in/a.png"], [])
    with pytest.raises(CallError, match="holds images"):
        spare_inputs([image], [], [tmp_path])
    spare_inputs([image], [tmp_path / "in/c.json"], [tmp_path / "in/masks"])
