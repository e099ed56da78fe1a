"""How well the regions that were found fit the defects that a mask shows. Arrays in, numbers out."""

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray


class Match(NamedTuple):
    """A defect that was found: intersection over union with the regions on it, and their area over its own."""

    iou: float
    area_ratio: float


def match_defects(truth: NDArray[np.bool_], found: NDArray[np.bool_]) -> list[Match]:
    """Set each defect of a mask against the regions that share a pixel with it.

    A region that covers two defects counts for both, with all of its area: it is drawn too large for either.

    Args:
        truth: Mask (H, W), true where a defect is; what is connected, corners included, is one defect.
        found: Mask (H, W), true inside the regions that were found; connected likewise.

    Returns:
        A match for each defect that was found, in the order of rows; those missed are left out.

    >>> truth, found = np.zeros((2, 9, 9), bool)
    >>> truth[2:4, 2:4], truth[7, 7], found[2:4, 2:6] = True, True, True
    >>> match_defects(truth, found)
    [Match(iou=0.5, area_ratio=2.0)]
    """
    defects, numbered = cv2.connectedComponents(truth.astype(np.uint8), connectivity=8)
    _, regions = cv2.connectedComponents(found.astype(np.uint8), connectivity=8)
    matches = []
    for number in range(1, defects):
        defect = numbered == number
        touching = np.unique(regions[defect])
        touching = touching[touching > 0]
        if touching.size:
            drawn = np.isin(regions, touching)
            union = int((drawn | defect).sum())
            iou, ratio = int((drawn & defect).sum()) / union, int(drawn.sum()) / int(defect.sum())
            matches.append(Match(iou, ratio))
    return matches
