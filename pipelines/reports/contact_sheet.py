"""Draw a sheet of the drawn surfaces: `python -m pipelines.reports.contact_sheet docs/surfaces.jpg`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import typer
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from pipelines.imaging.procedural import FABRIC_DEFECTS, WOOD_DEFECTS, Drawn, draw

_COLUMNS, _WIDTH, _GAP, _CAPTION = 3, 456, 8, 22
_OUTLINE = (230, 30, 90)

CaptionedImage = tuple[str, Image.Image]


def _outline(drawn: Drawn, distance: int) -> NDArray[np.uint8]:
    """Draw a line around each defect, `distance` pixels away so that a hairline stays visible."""
    around = np.ones((2 * distance + 1, 2 * distance + 1), dtype=np.uint8)
    near = cv2.dilate((drawn.mask > 0).astype(np.uint8), around)
    contours, _ = cv2.findContours(near, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    shown = drawn.image.copy()
    cv2.drawContours(shown, contours, -1, _OUTLINE, max(1, distance // 4))
    return shown


def _small_pictures(seed: int) -> Iterator[CaptionedImage]:
    wood = [("pine, normal", None)] * 3 + [(f"pine, {name}", name) for name in WOOD_DEFECTS.values()]
    fabric = [("linen, normal", None)] + [(f"linen, {name}", name) for name in FABRIC_DEFECTS.values()]
    for place, (caption, defect) in enumerate(wood):
        drawn = draw("wood", seed + place, 192, 384, [defect] if defect else [])
        yield caption, Image.fromarray(_outline(drawn, 4))
    for name in ("oak", "walnut", "alder"):
        yield f"{name}, normal", Image.fromarray(draw("wood", seed + 20, 192, 384, look=name).image)
    for place, (caption, defect) in enumerate(fabric):
        drawn = draw("fabric", seed + 40 + place, 192, 384, [defect] if defect else [])
        yield caption, Image.fromarray(_outline(drawn, 4))
    for name in ("cotton", "chambray"):
        yield f"{name}, normal", Image.fromarray(draw("fabric", seed + 50, 192, 384, look=name).image)


def _slices(seed: int) -> Iterator[CaptionedImage]:
    for place, (look, defects) in enumerate({"alder": ["dead knot", "crack"], "oak": ["live knot", "crack"]}.items()):
        drawn = draw("wood", seed + 60 + place, 1952, 2592, defects, look=look)
        yield f"{look}, a slice of 2592 x 1952 with {' and '.join(defects)}", Image.fromarray(_outline(drawn, 24))


def contact_sheet(seed: int = 3) -> Image.Image:
    """Lay normal and defective pictures of every kind on one sheet, the defects outlined."""
    small, large = list(_small_pictures(seed)), list(_slices(seed))
    wide = _COLUMNS * (_WIDTH + _GAP) + _GAP
    half = (wide - 3 * _GAP) // 2
    row, tall = _WIDTH // 2 + _CAPTION + _GAP, half * 1952 // 2592 + _CAPTION + _GAP
    rows = -(-len(small) // _COLUMNS)
    sheet = Image.new("RGB", (wide, rows * row + tall + _GAP), "white")
    for place, picture in enumerate(small):
        down, across = divmod(place, _COLUMNS)
        _put(sheet, picture, (_GAP + across * (_WIDTH + _GAP), _GAP + down * row), (_WIDTH, _WIDTH // 2))
    for place, picture in enumerate(large):
        _put(sheet, picture, (_GAP + place * (half + _GAP), _GAP + rows * row), (half, tall - _CAPTION - _GAP))
    return sheet


def _put(sheet: Image.Image, picture: CaptionedImage, corner: tuple[int, int], size: tuple[int, int]) -> None:
    caption, image = picture
    sheet.paste(image.resize(size, Image.Resampling.LANCZOS), corner)
    below = (corner[0], corner[1] + size[1] + 3)
    ImageDraw.Draw(sheet).text(below, caption, fill=(40, 40, 40), font=ImageFont.load_default(14))


def main(path: Annotated[Path, typer.Argument(help="The picture to write, .jpg or .png.")], seed: int = 3) -> None:
    """Write the sheet."""
    path.parent.mkdir(parents=True, exist_ok=True)
    contact_sheet(seed).save(path, quality=85, optimize=True)


if __name__ == "__main__":
    typer.run(main)
