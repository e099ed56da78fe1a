"""Keep what a pixel threshold promises of sound area true for whole regions."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from pipelines.config import DefectSettings
from pipelines.defects.regions import marked_share, pixel_level
from pipelines.metrics.calibration import risk_controlled_threshold
from pipelines.records import Promise

# Levels above the threshold that are tried; the last one marks nothing.
_TRIED = 100


def hold_for_regions(
    promise: Promise,
    shares: NDArray[np.float64],
    levels: NDArray[np.float64],
    anomalous: NDArray[np.bool_],
    scan: Callable[[int], NDArray[np.float32]],
    settings: DefectSettings,
) -> Promise:
    """Raise a pixel threshold as far as its regions need, which spread below it.

    The area of regions falls as the threshold rises, just as that of the pixels above it does, so conformal risk
    control holds for it too. `shares` (images, levels) are the shares of each calibration photograph above `levels`,
    as `PixelTable.exceedance` gives them, `anomalous` (images,) their verdicts. `scan` gives the map of one of them
    again, and is asked only for those that are anomalous or have a pixel above the threshold: usually none.
    """
    first = int(np.searchsorted(levels, promise.threshold))
    tried = levels[np.unique(np.linspace(first, levels.size - 1, _TRIED).astype(int))]
    if anomalous.any():
        # The last one must mark nothing, also where a lower level holds.
        tried = np.append(tried, 1.001 * tried[-1] / settings.anomalous)
    marked = np.zeros((shares.shape[0], tried.size))
    for number in np.flatnonzero((shares[:, first] > 0) | anomalous):
        anomaly_map = scan(int(number))
        for column, threshold in enumerate(tried):
            level = pixel_level(float(threshold), settings, anomalous=bool(anomalous[number]))
            marked[number, column] = marked_share(anomaly_map, level, settings)
            if not marked[number, column]:
                break
    return risk_controlled_threshold(marked, tried, promise.asked)
