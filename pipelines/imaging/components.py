"""From an anomaly map to defects: connected regions, each with its outline and its figures."""

from collections.abc import Iterator
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from pipelines.core.geometry import Box, Defect
from pipelines.core.surface_settings import DefectSettings

_HIGH = 2.0  # times the level: up to here a peak is too near to it to say where a defect ends
_RUNGS = 7  # levels at which a region is looked at for parts
_RISE = 1.2  # times such a level: what a part's peak comes to at least


class _Component(NamedTuple):
    """One region cut out of its map: where its box begins, its pixels and the map there, both (h, w)."""

    left: int
    top: int
    pixels: NDArray[np.bool_]
    map: NDArray[np.float32]


def find_defects(
    anomaly_map: NDArray[np.float32], threshold: float, settings: DefectSettings, corner: tuple[int, int] = (0, 0)
) -> tuple[Defect, ...]:
    """List the defects of a map, the highest peak first.

    Hysteresis (Canny 1986): a region holds a pixel above `threshold` and spreads as far as the map exceeds
    `settings.low` times that, because the threshold is so high that hardly a normal image reaches it, and would cut a
    defect into its brightest pieces.

    Args:
        anomaly_map: Map of the region of interest or a part of it, float32, shape (H, W).
        threshold: What one pixel of a region exceeds, on the map's scale; see `pixel_level`.
        settings: How far regions spread and the least area that counts, in pixels or mm²; `anomalous` is not used here.
        corner: Where the map lies in the image: (left, top) in pixels of the image.

    Returns:
        Defects with boxes and outlines in pixels of the image, without types; empty where no region is large enough.
    """
    x, y = corner
    found = [_describe(region, x, y) for region in _find_regions(anomaly_map, threshold, settings)]
    return tuple(sorted(found, key=lambda defect: -defect.score))


def pixel_level(threshold: float, settings: DefectSettings, *, anomalous: bool) -> float:
    """Return the level that one pixel of a region exceeds.

    An image that is anomalous already is searched more closely, yet not below 1, where normal pixels would be found
    everywhere: 99 % of them lie below.

    Args:
        threshold: The version's pixel threshold, on the version's scale.
        settings: Says by its `anomalous`, a share, how much lower the level is in an anomalous image.
        anomalous: Whether the image score is above the image threshold.

    Returns:
        The level on the version's scale, `threshold` at most.

    >>> [pixel_level(t, DefectSettings(anomalous=0.75), anomalous=True) for t in (2.0, 1.2, 0.9)]
    [1.5, 1.0, 0.9]
    """
    return max(threshold * settings.anomalous, min(threshold, 1.0)) if anomalous else threshold


def flagged_share(anomaly_map: NDArray[np.float32], threshold: float, settings: DefectSettings) -> float:
    """Return the share of a map's area that lies in regions; it falls as the threshold rises.

    Args:
        anomaly_map: Map of the region of interest, float32, shape (H, W), not empty.
        threshold: What one pixel of a region exceeds, on the map's scale; see `pixel_level`.
        settings: How far regions spread, and the least area that counts.

    Returns:
        Share of the map's pixels, 0 to 1.
    """
    regions = _find_regions(anomaly_map, threshold, settings)
    return sum(int(region.pixels.sum()) for region in regions) / anomaly_map.size


def trim_regions(
    anomaly_map: NDArray[np.float32], defects: tuple[Defect, ...], threshold: float, settings: DefectSettings
) -> tuple[Defect, ...]:
    """Draw regions closer around peaks that are far above the level that the regions spread to.

    A map falls off over as many pixels as its network sees at once. Where a peak is thirty times the level, it is
    those pixels that a region is mostly made of. One whose peak is more than twice the level is cut again, at the
    level times (peak / (2 level)) ** `settings.trim`. Where it falls apart before that, each part is cut by its own
    peak, so that a strong defect does not take a weak one beside it away.

    Args:
        anomaly_map: The map that `find_defects` was given, float32, shape (H, W); not changed.
        defects: From `find_defects`, boxes and outlines in pixels of `anomaly_map`; they may have been named since.
        threshold: The same as there.
        settings: The same as there; `trim` 0 leaves regions as they are.

    Returns:
        Defects with smaller outlines, measured again, the highest peak first; one that falls apart gives one of each
        piece that is large enough. Types stay.
    """
    level = threshold * settings.low
    found: list[Defect] = []
    for defect in defects:
        # Above a level of 0 every peak is infinitely far: it says nothing of where a defect ends.
        if not settings.trim or level <= 0 or defect.score <= _HIGH * level:
            found.append(defect)
            continue
        left, top, right, bottom = defect.box
        inside = np.zeros((bottom - top, right - left), np.uint8)
        cv2.fillPoly(inside, [np.array(defect.outline, np.int32) - (left, top)], 1)
        part = anomaly_map[top:bottom, left:right]
        whole = _Component(left, top, (inside > 0) & (part > level), part)
        named = {"type": defect.type, "confidence": defect.confidence, "also": defect.also}
        pieces = _trim(whole, level, level, settings)
        found += [_describe(piece, 0, 0).model_copy(update=named) for piece in pieces]
    return tuple(sorted(found, key=lambda one: -one.score))


def _trim(whole: _Component, base: float, level: float, settings: DefectSettings) -> list[_Component]:
    """Cut a region, of which nothing is below `base`, by its peak, or its parts by theirs."""
    peak = float(whole.map[whole.pixels].max())
    cut = max(base, level * max(1.0, peak / (_HIGH * level)) ** settings.trim)
    for rung in np.geomspace(base, cut, _RUNGS)[1:] if cut > base else ():
        pieces = _split(whole, float(rung), settings)
        if len(pieces) > 1 or rung == cut:
            return [one for piece in pieces for one in _trim(piece, float(rung), level, settings)]
    return [whole]


def _split(whole: _Component, cut: float, settings: DefectSettings) -> list[_Component]:
    """Return the parts of a region above a level that are large enough and rise above it; the highest always."""
    above = (whole.pixels & (whole.map >= cut)).astype(np.uint8)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(above, connectivity=8, ltype=cv2.CV_32S)
    highest = labels.flat[np.argmax(np.where(whole.pixels, whole.map, -np.inf))]
    kept = []
    for label, (x, y, width, height, area) in enumerate(stats[1:].tolist(), 1):
        place = (slice(y, y + height), slice(x, x + width))
        piece = _Component(whole.left + x, whole.top + y, labels[place] == label, whole.map[place])
        rises = area >= _least_pixels(settings) and piece.map[piece.pixels].max() >= _RISE * cut
        if label == highest or rises:
            kept.append(piece)
    return kept


def draw_regions(defects: tuple[Defect, ...], height: int, width: int) -> NDArray[np.uint8]:
    """Fill outlines into a mask; holes are filled, and what lies outside is cut.

    Args:
        defects: Outlines are in pixels of the mask; where two overlap, the later one shows.
        height: Rows of the mask, usually the image's.
        width: Columns of the mask.

    Returns:
        Mask (H, W): 0 normal, n the n-th defect, counted from 1; uint8, or uint16 for 256 defects and more.
    """
    mask = np.zeros((height, width), np.uint8 if len(defects) < 256 else np.uint16)
    for number, defect in enumerate(defects, 1):
        cv2.fillPoly(mask, [np.array(defect.outline, np.int32)], number)
    return mask


def _find_regions(anomaly_map: NDArray[np.float32], threshold: float, settings: DefectSettings) -> Iterator[_Component]:
    seeds = anomaly_map > threshold
    if not seeds.any():
        return
    grown = (anomaly_map > threshold * settings.low).astype(np.uint8)
    # Eight neighbours: a hairline crack may run along a diagonal.
    _, labels, stats, _ = cv2.connectedComponentsWithStats(grown, connectivity=8, ltype=cv2.CV_32S)
    for label in np.unique(labels[seeds]):
        left, top, width, height, area = (int(value) for value in stats[label])
        if area < _least_pixels(settings):
            continue
        place = (slice(top, top + height), slice(left, left + width))
        yield _Component(left, top, labels[place] == label, anomaly_map[place])


def _describe(region: _Component, x: int, y: int) -> Defect:
    """Measure one region; (x, y) is where its map lies in the image."""
    height, width = region.pixels.shape
    left, top = region.left + x, region.top + y
    contours, _ = cv2.findContours(
        region.pixels.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE, offset=(left, top)
    )
    points = contours[0].reshape(-1, 2)
    orientation, length, breadth = _measure_axes(points)
    scores = region.map[region.pixels]
    return Defect(
        box=Box(left, top, left + width, top + height),
        outline=tuple((int(px), int(py)) for px, py in points),
        area=int(region.pixels.sum()),
        orientation=orientation,
        length=length,
        width=breadth,
        score=float(scores.max()),
        mean_score=float(scores.mean(dtype=np.float64)),
    )


def _measure_axes(points: NDArray[np.int32]) -> tuple[float, float, float]:
    """Return orientation, length and width of the smallest rectangle around pixels (n, 2).

    The orientation is that of the long side against the horizontal, anticlockwise as a person sees it, degrees in
    (-90, 90]. Points are the centres of pixels, which reach half a pixel further on either side.

    >>> _measure_axes(np.array([[0, 0], [9, 0], [9, 2], [0, 2]], np.int32))
    (0.0, 10.0, 3.0)
    >>> _measure_axes(np.array([[0, 0], [0, 9]], np.int32))
    (90.0, 10.0, 1.0)
    """
    (_, _), (first, second), angle = cv2.minAreaRect(points)
    if second > first:
        first, second, angle = second, first, angle + 90
    # OpenCV turns clockwise, because y points down.
    turned = -angle % 180
    orientation = round(turned - 180 if turned > 90 else turned, 2) + 0.0
    return orientation, round(first + 1, 2), round(second + 1, 2)


def _least_pixels(settings: DefectSettings) -> float:
    if settings.min_area_mm2 is None or settings.pixels_per_mm is None:
        return settings.min_area
    return settings.min_area_mm2 * settings.pixels_per_mm**2
