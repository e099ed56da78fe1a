"""Pictures side by side, each with its caption."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from pipelines.imaging.overlay import encode_picture
from pipelines.imaging.scaling import shrink
from pipelines.study.shown import Picture

_GAP = 8
_FONT, _PANEL = 13, 480  # of captions, pixels: up to this panel, and larger with larger ones
_INK = (60, 60, 60)
_QUALITY = 80


def lay_out(panels: Sequence[tuple[str, NDArray[np.uint8]]], columns: int, side: int, words: str) -> Picture:
    """Set panels (caption, (H, W, 3)) in rows, each at most `side` pixels long; a row is as high as its highest."""
    small = [(caption, shrink(pixels, side)) for caption, pixels in panels]
    rows = [small[start : start + columns] for start in range(0, len(small), columns)]
    width = max(pixels.shape[1] for _, pixels in small)
    letter = max(_FONT, _FONT * side // _PANEL)
    heights = [max(pixels.shape[0] for _, pixels in row) + letter + 11 + _GAP for row in rows]
    across = min(columns, len(small))
    sheet = Image.new("RGB", (across * (width + _GAP) - _GAP, sum(heights)), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(letter)
    for number, row in enumerate(rows):
        top = sum(heights[:number])
        for place, (caption, pixels) in enumerate(row):
            left = place * (width + _GAP)
            sheet.paste(Image.fromarray(pixels), (left, top))
            pen.text((left, top + pixels.shape[0] + 3), _cut(caption, width, font), fill=_INK, font=font)
    return Picture(encode_picture(np.asarray(sheet), quality=_QUALITY), words)


def _cut(caption: str, width: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """Shorten a caption that is wider than its picture in the middle: file names differ at their ends."""
    kept = caption
    while font.getlength(kept) > width and len(kept) > 3:
        half = (len(kept) - 2) // 2
        kept = f"{caption[:half]}…{caption[len(caption) - half :]}"
    return kept
