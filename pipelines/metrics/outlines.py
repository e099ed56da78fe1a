"""A map and its regions against outlines that a person drew. Arrays in, numbers out."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, roc_auc_score

TOLERANCE = 8  # pixels by which a hand may miss the border of a defect
_EVERY = 7  # pixel that is counted: an outline is thousands wide

Polygon = Sequence[tuple[float, float]] | NDArray[Any]


class Pixels(NamedTuple):
    """Scores (n,) of the pixels that count, and which of them a person outlined."""

    scores: NDArray[np.float32]
    truth: NDArray[np.bool_]


class Ranking(NamedTuple):
    """AUROC and average precision of pixels."""

    auroc: float
    ap: float


class OutlineFigures(NamedTuple):
    """One image against its outlines: its pixels with either tolerance, and what was found.

    `strict` leaves out what lies within the tolerance around an outline, `even` what lies so on either side of it;
    `false` counts regions that come near none.
    """

    strict: Pixels
    even: Pixels
    outlined: int
    found: int
    false: int


def compare_with_outlines(
    anomaly_map: NDArray[np.float32], outlines: Sequence[Polygon], regions: Sequence[Polygon]
) -> OutlineFigures:
    """Compare a map and the regions that were found with the outlines that a person drew.

    Args:
        anomaly_map: Map, float32, shape (height, width); any scale.
        outlines: What a person drew, points (x, y) in pixels of the map; may be empty.
        regions: Outlines (x, y) of the regions that were found; may be empty.

    Returns:
        Score and truth of every seventh pixel with either tolerance; the number of outlines, of those that a region
        comes within 8 pixels of, and of regions that come so near none.

    >>> square = [(10, 10), (30, 10), (30, 30), (10, 30)]
    >>> compare_with_outlines(np.zeros((80, 80), np.float32), [square], [square, [(60, 60), (70, 60), (70, 70)]])[2:]
    (1, 1, 1)
    """
    numbers = draw_outlines(outlines, *anomaly_map.shape)
    truth = numbers > 0
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * TOLERANCE + 1,) * 2)
    wide, narrow = cv2.dilate(truth.astype(np.uint8), disc) > 0, cv2.erode(truth.astype(np.uint8), disc) > 0
    strict, even = (
        Pixels(anomaly_map[place][::_EVERY], truth[place][::_EVERY]) for place in (~wide | truth, ~wide | narrow)
    )
    touched = [_touched(region, numbers, disc) for region in regions]
    return OutlineFigures(
        strict, even, len(outlines), len(set().union(*touched)), sum(not numbers for numbers in touched)
    )


def draw_outlines(outlines: Sequence[Polygon], height: int, width: int) -> NDArray[np.int32]:
    """Fill outlines into an image's pixels; what lies outside is cut.

    Args:
        outlines: Points (x, y) in pixels, rounded to whole ones; an outline is closed by itself. Where two overlap, the
            later one is drawn over the earlier.
        height: Of the image, in pixels.
        width: Of the image, in pixels.

    Returns:
        Numbers, int32, shape (height, width): 0 normal, n the n-th outline, from 1.

    >>> draw_outlines([[(0, 0), (1, 0), (1, 1), (0, 1)]], 2, 4).tolist()
    [[1, 1, 0, 0], [1, 1, 0, 0]]
    """
    numbers = np.zeros((height, width), np.int32)
    for number, outline in enumerate(outlines, 1):
        cv2.fillPoly(numbers, [np.round(np.asarray(outline)).astype(np.int32)], number)
    return numbers


def rank_pixels(pixels: Sequence[Pixels]) -> Ranking | None:
    """Rank the pixels of several images together; None where no outlined one is left."""
    scores, truth = (np.concatenate(column) for column in zip(*pixels, strict=True))
    if not truth.any():
        return None
    return Ranking(float(roc_auc_score(truth, scores)), float(average_precision_score(truth, scores)))


def _touched(region: Polygon, numbers: NDArray[np.int32], disc: NDArray[np.uint8]) -> set[int]:
    """Return the outlines that a region comes within the tolerance of."""
    inside = (draw_outlines([region], *numbers.shape) > 0).astype(np.uint8)
    return set(np.unique(numbers[cv2.dilate(inside, disc) > 0]).tolist()) - {0}
