"""A study of drawn slices, laid out as a real one: raw/, annotations.json and crops/."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from flows.study.outlines import Outline, write_outlines
from pipelines.core.geometry import Box
from pipelines.core.progress import track
from pipelines.core.records import Record
from pipelines.imaging.crops import cut_crop
from pipelines.imaging.procedural import WOOD_DEFECTS, Drawn, draw

_SEED = 100
_LEAST = 20  # pixels of an outlined area; less is a stroke beside its defect
_CROP = 320  # side of a drawn picture that a crop is cut from
_RINGS = 37.0  # pixels a growth ring on those, as on the slices


class _Slice(NamedTuple):
    look: str
    defects: tuple[str, ...]
    outlined: bool


# As in the real study: three kinds of wood, every second image outlined.
_SLICES = (
    _Slice("walnut", ("live knot",), True),
    _Slice("walnut", (), False),
    _Slice("alder", ("dead knot", "crack"), True),
    _Slice("alder", ("live knot",), False),
    _Slice("oak", ("crack", "crack"), True),
    _Slice("oak", ("crack",), False),
)
_TYPES = {"cracks": ("crack",), "knots": ("live knot", "dead knot"), "perfect": ()}


class DrawnSize(Record):
    """How much is drawn: the first of the six slices, in pixels, and crops of each type."""

    slices: int = 6
    height: int = 780
    width: int = 1040
    crops: int = 10


def write_drawn_study(folder: Path, size: DrawnSize) -> None:
    """Draw slices, the outlines of every second one, and crops of other wood; always the same ones.

    Args:
        folder: Gets raw/, annotations.json and crops/; files of the same names are replaced.
        size: Of at most six slices; crops come from drawings of their own, 320 pixels each side.
    """
    outlines = {}
    for number, slice_ in enumerate(track(_SLICES[: size.slices], size.slices, "draw slices")):
        drawn = draw("wood", _SEED + number, size.height, size.width, slice_.defects, look=slice_.look)
        name = f"{slice_.look}-{number + 1}.png"
        _write(folder / "raw" / name, drawn.image)
        if slice_.outlined:
            outlines[name] = list(_outline(drawn))
    write_outlines(folder / "annotations.json", outlines)
    for kind, defects in _TYPES.items():
        for number in range(size.crops):
            _write(folder / "crops" / kind / f"{number + 1}.png", _draw_crop(kind, defects, number))


def _outline(drawn: Drawn) -> Iterator[Outline]:
    for value in np.unique(drawn.mask[drawn.mask > 0]).tolist():
        area = (drawn.mask == value).astype(np.uint8)
        contours, _ = cv2.findContours(area, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        for contour in contours:
            if cv2.contourArea(contour) >= _LEAST:
                polygon = tuple((float(x), float(y)) for x, y in contour[:, 0])
                yield Outline(label=WOOD_DEFECTS[value], polygon=polygon)


def _draw_crop(kind: str, defects: tuple[str, ...], number: int) -> NDArray[np.uint8]:
    """Draw a crop of one defect, or of normal wood; the kinds of wood take turns."""
    look = ("walnut", "alder", "oak")[number % 3]
    shown = [defects[number % len(defects)]] if defects else []
    seed = 1000 * (1 + list(_TYPES).index(kind)) + number
    drawn = draw("wood", seed, _CROP, _CROP, shown, look=look, scale=_RINGS)
    rows, columns = np.nonzero(drawn.mask) if shown else (np.array([100, 220]), np.array([100, 220]))
    box = Box(int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1)
    return cut_crop(drawn.image, box)


def _write(file: Path, pixels: NDArray[np.uint8]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(file, "PNG", compress_level=1)
