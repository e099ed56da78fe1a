"""A picture for each step: images, tiles, heat, outlines, and each defect from near."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from flows.study.folder import Study
from flows.study.shown import Picture, Words
from flows.study.steps import Model, Prepared, Scanned, read_image
from pipelines.core.paths import inside
from pipelines.core.wording import count_in_words
from pipelines.imaging.components import draw_regions
from pipelines.imaging.crops import cut_crop
from pipelines.imaging.measures import shrink
from pipelines.imaging.overlay import FOUND, TRUE, encode_picture, heatmap, outline
from pipelines.imaging.tile_plan import plan_canvas, plan_positions
from pipelines.metrics.outlines import draw_outlines

_GAP = 8
_FONT, _PANEL = 13, 480  # of captions, pixels: up to this panel, and larger with larger ones
_INK = (60, 60, 60)
_QUALITY = 80


def lay_out(panels: Sequence[tuple[str, NDArray[np.uint8]]], columns: int, side: int, words: str) -> Picture:
    """Set panels in rows; a row is as high as its highest.

    Args:
        panels: At least one: a caption, shortened where it is too wide, and RGB pixels, uint8, (height, width, 3).
        columns: Panels in a row, at most.
        side: Longer side of a panel, pixels; larger ones are reduced, smaller ones stay.
        words: Say what the picture shows, for those who cannot see it.

    Returns:
        One JPEG on white.
    """
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


_NEAR = 24  # defects shown from near
_NEAR_SIDE = 150


def show_images(study: Study, prepared: Prepared) -> Picture:
    """Show all usable images, small.

    Args:
        study: Says how large images are shown.
        prepared: At least one image, read from its file.

    Returns:
        Three images in a row, with their paths.
    """
    panels = [(i.path, shrink(read_image(inside(prepared.raw, i.path)), study.panel)) for i in prepared.images]
    return lay_out(panels, 3, study.panel * 2 // 3, f"{count_in_words(len(panels), 'image')}, side by side")


def show_tiles(study: Study, prepared: Prepared, model: Model) -> Picture:
    """Show how the first image is cut into tiles that overlap, the first of them in red.

    Args:
        study: Says how large images are shown.
        prepared: At least one image; tiles are drawn on it in its own pixels.
        model: Its tile plan is shown.

    Returns:
        The image with its tiles, and their number.
    """
    image, plan = prepared.images[0], model.trained.plan
    box, canvas = image.box, plan_canvas(plan, image.box.height, image.box.width)
    across, down = box.width / canvas.width, box.height / canvas.height
    drawn = read_image(inside(prepared.raw, image.path)).copy()
    line = max(2, round(3 * max(drawn.shape) / study.panel))
    positions = plan_positions(plan, box.height, box.width)
    # The first is drawn last, over its neighbours.
    for top, left in reversed(positions):
        start = (box.left + round(left * across), box.top + round(top * down))
        size = (round(plan.tile_width * across), round(plan.tile_height * down))
        end = (start[0] + size[0], start[1] + size[1])
        cv2.rectangle(drawn, start, end, FOUND if (top, left) == (0, 0) else TRUE, line)
    words = f"{count_in_words(len(positions), 'tile')} of {plan.tile_width} x {plan.tile_height} pixels on {image.path}"
    return lay_out([(words, drawn)], 1, study.panel, words)


def show_maps(study: Study, scanned: Sequence[Scanned], model: Model) -> Picture:
    """Lay each anomaly map over its image: dark where all is usual, bright where it is not.

    Args:
        study: Says how large images are shown.
        scanned: At least one image.
        model: The one that scanned them; its pixel threshold sets the brightness.

    Returns:
        Two images in a row, with their names.
    """
    level = model.detector.info.pixel_threshold.threshold
    panels = [(s.name, _heat(s, level, study.panel)) for s in scanned]
    return lay_out(panels, 2, study.panel, "anomaly maps over the images; the brighter, the more unusual")


def _heat(scanned: Scanned, level: float, side: int) -> NDArray[np.uint8]:
    return heatmap(shrink(scanned.image, side), shrink(scanned.scan.map, side), level)


def show_outlines(study: Study, scanned: Sequence[Scanned]) -> Picture:
    """Draw what was found in red, over what a person outlined in blue where somebody did.

    Args:
        study: Its outlines are drawn, and it says how large images are shown.
        scanned: At least one image.

    Returns:
        Two images in a row, with the number of regions on each.
    """
    panels = [(f"{s.name}: {count_in_words(len(s.scan.defects), 'region')}", _outline(study, s)) for s in scanned]
    return lay_out(panels, 2, study.panel, "outlines on the images: found in red, drawn by a person in blue")


def _outline(study: Study, scanned: Scanned) -> NDArray[np.uint8]:
    size = scanned.scan.map.shape
    line = max(1, round(2 * max(size) / study.panel))
    polygons = [found.polygon for found in study.outlines.get(scanned.name, ())]
    true = (draw_outlines(polygons, *size) > 0).astype(np.uint8)
    # Around a defect, not on it: a hairline would vanish below its own outline.
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (6 * line + 1, 6 * line + 1))
    around = cv2.dilate(true, disc) > 0
    drawn = outline(scanned.image, around, TRUE, line)
    return outline(drawn, draw_regions(scanned.scan.defects, *size) > 0, FOUND, line)


def show_defects(scanned: Sequence[Scanned]) -> Picture | Words:
    """Show the regions that were found from near, the highest of each image first, with their types if named."""
    found = [(s, defect) for s in scanned for defect in s.scan.defects]
    if not found:
        return Words("No region was found: no pixel of any map exceeds the threshold.")
    panels = []
    for one, defect in found[:_NEAR]:
        sure = "" if defect.confidence is None else f" {100 * defect.confidence:.0f} %"
        panels.append((f"{defect.types}{sure}", cut_crop(one.image, defect.box)))
    shown = f"the first {_NEAR} of {len(found)} regions" if len(found) > _NEAR else count_in_words(len(found), "region")
    return lay_out(panels, 6, _NEAR_SIDE, f"{shown} from near")
