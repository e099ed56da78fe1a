"""Defects as files that other tools read: a table, COCO, masks, and crops around each."""

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.core.files import write_whole
from pipelines.core.geometry import Box, Defect
from pipelines.core.records import Record
from pipelines.imaging.components import draw_regions
from pipelines.imaging.overlay import encode_picture
from pipelines.inspection.sinks import InspectedImage, Sink

UNTYPED = "defect"
_MARGIN = 0.25  # of a defect's longer side, that a crop shows around it
_LEAST_MARGIN = 16
_COLUMNS = (
    *("path", "image_score", "anomalous", "defect", "left", "top", "right", "bottom", "area", "orientation"),
    *("length", "width", "score", "mean_score", "type", "confidence", "also"),
)


class Exports(Record):
    """Where an inspection's defects go besides its answer."""

    coco: Path | None = None
    csv: Path | None = None
    masks: Path | None = None
    crops: Path | None = None

    @property
    def files(self) -> list[Path]:
        return [path for path in (self.coco, self.csv) if path]

    @property
    def folders(self) -> list[Path]:
        return [path for path in (self.masks, self.crops) if path]

    def open(self, model: str) -> Iterator[Sink]:
        """Return what writes each; `model` names the version in the files that say who made them."""
        if self.coco:
            yield Coco(self.coco, model)
        if self.csv:
            yield Table(self.csv)
        if self.masks:
            yield Masks(self.masks)
        if self.crops:
            yield Crops(self.crops)


class Table:
    """A CSV with one row a defect."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._text = io.StringIO()
        self._rows = csv.writer(self._text, lineterminator="\n")
        self._rows.writerow(_COLUMNS)

    def add(self, seen: InspectedImage) -> None:
        found = seen.result
        for number, d in enumerate(found.defects, 1):
            place = (_as_path(found.path), found.score, found.anomalous, number, *d.box, d.area, d.orientation)
            kind = _as_word(d.type or "")
            self._rows.writerow(
                (*place, d.length, d.width, d.score, d.mean_score, kind, d.confidence, _as_word("; ".join(d.also)))
            )

    def close(self) -> None:
        write_whole(self._path, self._text.getvalue())


# A spreadsheet computes a cell that begins so, and may ask an address or run a program by it.
_FORMULA = tuple("=+-@\t\r\n")


def _as_path(path: str) -> str:
    return f"./{path}" if path.startswith(_FORMULA) else path


def _as_word(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULA) else text


class Coco:
    """A COCO file for detection and segmentation, with a score to each annotation.

    Format: https://cocodataset.org/#format-data; a pixel covers one unit, so that its centre is at (x + 0.5, y + 0.5).
    """

    def __init__(self, path: Path, model: str) -> None:
        self._path, self._model = path, model
        self._images: list[dict[str, Any]] = []
        self._defects: list[tuple[int, Defect]] = []

    def add(self, seen: InspectedImage) -> None:
        height, width = seen.map.shape
        number = len(self._images) + 1
        self._images.append({"id": number, "file_name": seen.name, "width": width, "height": height})
        self._defects += [(number, defect) for defect in seen.result.defects]

    def close(self) -> None:
        names = sorted({defect.type or UNTYPED for _, defect in self._defects}) or [UNTYPED]
        ids = {name: number for number, name in enumerate(names, 1)}
        annotations = [
            {"id": n, "image_id": image, "category_id": ids[defect.type or UNTYPED], **_annotate(defect)}
            for n, (image, defect) in enumerate(self._defects, 1)
        ]
        content = {
            "info": {"description": f"defects found by knotwatch, {self._model}"},
            "images": self._images,
            "annotations": annotations,
            "categories": [{"id": number, "name": name} for name, number in ids.items()],
        }
        write_whole(self._path, json.dumps(content) + "\n")


def _annotate(defect: Defect) -> dict[str, Any]:
    box = defect.box
    return {
        "bbox": [box.left, box.top, box.width, box.height],
        "area": defect.area,
        "segmentation": [_polygon(defect)],
        "iscrowd": 0,
        "score": defect.score,
        "attributes": {"also": list(defect.also)},
    }


def _polygon(defect: Defect) -> list[float]:
    """Write an outline as x, y, x, y; a region without an inside, a line of single pixels, as its box."""
    (left, top, right, bottom), points = defect.box, defect.outline
    if len(points) < 3:
        return [float(v) for v in (left, top, right, top, right, bottom, left, bottom)]
    return [value + 0.5 for point in points for value in point]


class Masks:
    """One PNG an image, of its size: 255 where a defect is, 0 elsewhere."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def add(self, seen: InspectedImage) -> None:
        mask = (draw_regions(seen.result.defects, *seen.map.shape) > 0).astype(np.uint8) * 255
        write_whole(self._folder / f"{seen.stem}.png", encode_picture(mask.astype(np.uint8), "png"))

    def close(self) -> None: ...


class Crops:
    """One PNG a defect, cut out of the image with some of its surroundings: STEM-1.png is the first."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def add(self, seen: InspectedImage) -> None:
        for number, defect in enumerate(seen.result.defects, 1):
            crop = cut_around(seen.image, defect.box)
            write_whole(self._folder / f"{seen.stem}-{number}.png", encode_picture(crop, "png"))

    def close(self) -> None: ...


def cut_around(image: NDArray[np.uint8], box: Box) -> NDArray[np.uint8]:
    """Cut a box and a margin around it out of an image.

    Args:
        image: RGB image, uint8, shape (H, W, 3).
        box: In pixels of `image`; a quarter of its longer side, or 16 pixels, is the margin, less at the rim.

    Returns:
        RGB crop, uint8, a view of `image` and not a copy.

    >>> cut_around(np.zeros((100, 100, 3), np.uint8), Box(0, 40, 10, 50)).shape
    (42, 26, 3)
    """
    margin = max(_LEAST_MARGIN, round(_MARGIN * max(box.width, box.height)))
    top, left = max(0, box.top - margin), max(0, box.left - margin)
    return image[top : box.bottom + margin, left : box.right + margin]
