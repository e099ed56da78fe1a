"""Keep what a pixel threshold promises of sound area true for whole regions."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from pipelines.config import DefectSettings
from pipelines.defects.regions import marked_share
from pipelines.metrics.calibration import risk_controlled_threshold
from pipelines.records import Promise

# Levels above the threshold that are tried; the last one marks nothing.
_TRIED = 100


def hold_for_regions(
    promise: Promise,
    shares: NDArray[np.float64],
    levels: NDArray[np.float64],
    scan: Callable[[int], NDArray[np.float32]],
    settings: DefectSettings,
) -> Promise:
    """Raise a pixel threshold as far as its regions need, which spread below it.

    The area of regions falls as the threshold rises, just as that of the pixels above it does, so conformal risk
    control holds for it too. `shares` (images, levels) are the shares of each calibration photograph above `levels`,
    as `PixelTable.exceedance` gives them; `scan` gives the map of one of them again, and is asked only for those that
    have a pixel above the threshold: usually none.
    """
    first = int(np.searchsorted(levels, promise.threshold))
    tried = np.unique(np.linspace(first, levels.size - 1, _TRIED).astype(int))
    marked = np.zeros((shares.shape[0], tried.size))
    for number in np.flatnonzero(shares[:, first]):
        anomaly_map = scan(int(number))
        for column, level in enumerate(levels[tried[:-1]]):
            marked[number, column] = marked_share(anomaly_map, float(level), settings)
            if not marked[number, column]:
                break
    return risk_controlled_threshold(marked, levels[tried], promise.asked)
