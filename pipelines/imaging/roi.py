"""Where the inspected object lies in an image."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.core.errors import ImageError
from pipelines.core.geometry import Box
from pipelines.core.surface_settings import RegionSettings
from pipelines.imaging.measures import shrink

Grey = NDArray[np.uint8]

# Long side at which edges are looked for: an edge is then known to a pixel of this size.
_WORKING_SIDE = 1280
# A background is at most this bright, in 0..255 and as a share of the object's brightness (95 % quantile).
_DARK = 40.0
_DARK_SHARE = 0.2
# A line of the image's rim counts as background where at least this share of it is dark.
_RIM_SHARE = 0.9
# An edge is straight where at least this share of it lies on one line.
_STRAIGHT_SHARE = 0.65
# A band narrower than this share of the image is a rim of the object as likely as background.
_LEAST_BAND = 0.03
# A band as wide as this is background whatever the opposite side looks like.
_WIDE_BAND = 0.12
# Shares of the contrast: how much brighter it is just inside the edge, and how uneven the background may be.
_STEP = 0.35
_EVEN = 0.22
_LEAST_CONTRAST = 100.0
# What is left of a side when everything that looks like background was cut must be at least this share of it.
_LEAST_LEFT = 0.05


@dataclass(frozen=True)
class _Levels:
    """Brightness of background and object; a pixel below `threshold` counts as background."""

    dark: float
    bright: float

    @property
    def contrast(self) -> float:
        return self.bright - self.dark

    @property
    def threshold(self) -> float:
        # Low, because a board's edge is bevelled and may be dark wood; a conveyor is darker still.
        return self.dark + 0.22 * self.contrast


def find_region(rgb: NDArray[np.uint8], settings: RegionSettings) -> Box:
    """Find the region of interest by the surface's rule.

    `none` is the whole image, `box` the given one clipped to it. `auto` cuts a border band off a side only where
    it is dark along the whole side and ends in a straight, clear edge; it leaves everything else as it is, so that a
    knot, a stain or a shadow at the rim stays in.

    Args:
        rgb: RGB image as a person sees it, uint8, shape (H, W, 3).
        settings: The rule, and for `box` the box in pixels of the image.

    Returns:
        The region in pixels of the image; `auto` knows an edge to a pixel of the image at a long side of 1280 pixels.

    Raises:
        ImageError: If a fixed box lies outside of the image.
    """
    height, width = rgb.shape[:2]
    if settings.rule == "none":
        return Box(0, 0, width, height)
    if settings.box is not None:
        return _clip(settings.box, width, height)
    small = shrink(rgb, _WORKING_SIDE)
    # The brightest channel: dark wood is red or yellow, a conveyor is dark in all three.
    found = _find_object(np.ascontiguousarray(small.max(axis=2)))
    return _scale_inwards(found, height / small.shape[0], width / small.shape[1], width, height)


def _clip(box: tuple[int, int, int, int], width: int, height: int) -> Box:
    left, top, right, bottom = box
    clipped = Box(max(0, left), max(0, top), min(width, right), min(height, bottom))
    if clipped.width <= 0 or clipped.height <= 0:
        raise ImageError(
            f"the region of interest {list(box)} holds no pixel of an image of {width} x {height}",
            hint="correct `region.box: [left, top, right, bottom]` in the surface's settings",
        )
    return clipped


def _find_object(grey: Grey) -> Box:
    """Cut left and right first: the board's ends are looked for only between its sides."""
    height, width = grey.shape
    bright = float(np.percentile(grey, 95))
    left, right = _cut_both(grey, bright)
    inner = grey[:, left : width - right].T
    top, bottom = _cut_both(inner, bright)
    if left and right:
        levels = _Levels(float(np.median(grey[:, : left // 2])), bright)
        top = top or _sliver(inner, levels)
        bottom = bottom or _sliver(inner[:, ::-1], levels)
    return Box(left, top, width - right, height - bottom)


def _cut_both(grey: Grey, bright: float) -> tuple[int, int]:
    """Count the columns of background at the left and at the right.

    A narrow band alone may be the object's own rim (a bevel, a shaded side): it is cut only with its opposite.
    """
    length = grey.shape[1]
    first, last = _cut(grey, bright), _cut(grey[:, ::-1], bright)
    if first + last > (1 - _LEAST_LEFT) * length:
        return 0, 0
    if not (first and last):
        wide = _WIDE_BAND * length
        return (first if first >= wide else 0), (last if last >= wide else 0)
    return first, last


def _sliver(grey: Grey, levels: _Levels) -> int:
    """Count the columns of a sliver of background at the left, the board's tilted end; 0 where it is a defect.

    Only asked where both sides lie on background, so that its darkness is known.
    """
    dark = np.mean(grey < levels.threshold, axis=0)
    ends = np.flatnonzero(dark < 0.02)
    if dark[0] < 0.4 or ends.size == 0 or ends[0] > 0.05 * dark.size:
        return 0
    return int(ends[0])


def _cut(grey: Grey, bright: float) -> int:
    """Count the columns of background at the left: 0 where there is no such band."""
    length = grey.shape[1]
    rim = grey[:, : max(2, round(0.006 * length))]
    levels = _Levels(float(np.median(rim)), bright)
    if levels.dark > min(_DARK, _DARK_SHARE * bright) or levels.contrast < _LEAST_CONTRAST:
        return 0
    if np.mean(rim < levels.threshold) < _RIM_SHARE:
        return 0
    edges = _first_bright(grey, levels)
    found = edges[edges < length]
    if found.size < 0.2 * edges.size:
        return 0
    edge = _straight_edge(np.flatnonzero(edges < length), found, 0.01 * length)
    if edge is None or edge < _LEAST_BAND * length or not _is_clear(grey, edges, edge, levels):
        return 0
    # No margin: defects at the very edge are worth more than the last half-dark pixel. Of 620 line-scan boards three
    # keep a border column that is more than a tenth dark; a margin of 2 px cost 1 % of all defective pixels.
    reached: int = min(length, int(np.ceil(edge)))
    return reached


def _first_bright(grey: Grey, levels: _Levels) -> NDArray[np.int64]:
    """Find in each row where the object begins, at a bright run longer than a speck; the row's length where nowhere."""
    length = grey.shape[1]
    run = max(4, round(0.03 * length))
    sums = np.cumsum(np.pad(grey >= levels.threshold, ((0, 0), (1, 0))), axis=1, dtype=np.int32)
    ahead = sums[:, run:] - sums[:, :-run]
    begins = (ahead >= 0.9 * run) & (grey[:, : ahead.shape[1]] >= levels.threshold)
    found: NDArray[np.int64] = np.where(begins.any(axis=1), begins.argmax(axis=1), length)
    return found


def _straight_edge(rows: NDArray[np.int64], edges: NDArray[np.int64], tolerance: float) -> float | None:
    """Fit a line to the edge and return its innermost point, or None where most rows are not on a line.

    Robust to rows where a defect or a speck of dust moves the edge: repeated least squares on the rows near the fit.
    """
    tolerance = max(2.0, tolerance)
    near = np.abs(edges - np.median(edges)) <= 3 * tolerance
    if near.sum() < 0.5 * edges.size:
        return None
    line = np.array([0.0, float(np.median(edges))])
    for _ in range(3):
        line = np.polyfit(rows[near], edges[near], 1) if near.sum() > 2 else line
        near = np.abs(edges - np.polyval(line, rows)) <= tolerance
    if near.sum() < _STRAIGHT_SHARE * edges.size:
        return None
    residuals = (edges - np.polyval(line, rows))[near]
    return float(np.polyval(line, rows[[0, -1]]).max() + np.median(residuals))


def _is_clear(grey: Grey, edges: NDArray[np.int64], edge: float, levels: _Levels) -> bool:
    """Tell an edge from a shading: a step within a few pixels, and an even darkness all the way outside it."""
    length = grey.shape[1]
    reach = max(3, round(0.012 * length))
    on_edge = np.flatnonzero(np.abs(edges - edge) <= max(4.0, 0.03 * length))
    if on_edge.size == 0:
        return False
    inside = np.minimum(edges[on_edge] + reach, length - 1)
    outside = np.maximum(edges[on_edge] - reach, 0)
    step = grey[on_edge, inside].astype(float) - grey[on_edge, outside]
    low, high = np.percentile(grey[:, : max(1, int(edges[on_edge].min()))], [10, 90])
    return bool(np.median(step) >= _STEP * levels.contrast and high - low <= _EVEN * levels.contrast)


def _scale_inwards(box: Box, down: float, across: float, width: int, height: int) -> Box:
    """Bring a box found on the reduced image back; a side that was not cut stays at the rim."""
    return Box(
        int(np.ceil(box.left * across)),
        int(np.ceil(box.top * down)),
        min(width, int(np.floor(box.right * across + 1e-6))),
        min(height, int(np.floor(box.bottom * down + 1e-6))),
    )
