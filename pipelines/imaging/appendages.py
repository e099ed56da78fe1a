"""A compact region and what runs out of it: a knot, and the crack that touches it."""

import cv2
import numpy as np
from numpy.typing import NDArray

from pipelines.core.geometry import Box, Defect

_LEAST_RADIUS = 4.0  # pixels: what is thinner everywhere has no body
_NARROW = 0.5  # of the body's radius: what no disc of that size fits into is an appendage
_RIM = 1.5  # pixels: on a grid a disc's rim is ragged, and that is no appendage
_COMPACT = 3.0  # times as long as wide at most is a body: a crack that tapers is no knot with appendages
_MOST = 4  # appendages that are named, the longest first
_LONG = 1.0  # of the body's radius: how far an appendage runs at least, and twice its own width


def find_appendages(defect: Defect) -> tuple[Box, ...]:
    """Return the boxes of a region's body and of its longest appendages; empty where nothing narrow leaves what is
    wide.

    The body is the region's opening by a disc of half the radius of the largest one inside (Serra 1982, "Image analysis
    and mathematical morphology"). It is asked of the shape alone: what either is, its pixels have to say.
    """
    left, top, right, bottom = defect.box
    region = np.zeros((bottom - top + 2, right - left + 2), np.uint8)
    cv2.fillPoly(region, [np.array(defect.outline, np.int32) - (left - 1, top - 1)], 1)
    depth = cv2.distanceTransform(region, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    radius = float(depth.max())
    if radius < _LEAST_RADIUS:
        return ()
    body = _distance(depth > _NARROW * radius) <= _NARROW * radius
    length, width = _sides(body)
    if length > _COMPACT * width:
        return ()
    appendages = _find_appendages((region > 0) & (_distance(body) > _RIM), radius)
    return (
        tuple(_move(box, left - 1, top - 1) for box in (_box(body & (region > 0)), *appendages)) if appendages else ()
    )


def _distance(pixels: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return how far each place is from the nearest of some pixels."""
    return np.asarray(cv2.distanceTransform((~pixels).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE), np.float32)


def _find_appendages(pixels: NDArray[np.bool_], radius: float) -> list[Box]:
    """Find the longest pieces that are long enough."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(pixels.astype(np.uint8), connectivity=8)
    found = []
    for label, (x, y, width, height, _) in enumerate(stats.tolist()):
        if label and np.hypot(width, height) >= _LONG * radius:
            length, breadth = _sides(labels[y : y + height, x : x + width] == label)
            if length >= max(_LONG * radius, 2 * breadth):
                found.append((length, Box(x, y, x + width, y + height)))
    return [box for _, box in sorted(found, reverse=True)[:_MOST]]


def _sides(pixels: NDArray[np.bool_]) -> tuple[float, float]:
    """Return length and width of the smallest rectangle around pixels."""
    (_, _), sides, _ = cv2.minAreaRect(np.argwhere(pixels)[:, ::-1].astype(np.float32))
    return max(sides) + 1, min(sides) + 1


def _box(pixels: NDArray[np.bool_]) -> Box:
    rows, columns = (np.flatnonzero(pixels.any(axis=axis)) for axis in (1, 0))
    return Box(int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)


def _move(box: Box, x: int, y: int) -> Box:
    return Box(box.left + x, box.top + y, box.right + x, box.bottom + y)
