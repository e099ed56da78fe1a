"""Estimates from photographs that were trained on and may show defects: the worst blocks of their maps left out."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipelines.metrics.checks import MetricError
from pipelines.records import Promise


def block_peaks(region_map: NDArray[np.float32], height: int, width: int) -> NDArray[np.float64]:
    """Cut a map (H, W) into blocks of about (height, width) and return the peak of each.

    >>> block_peaks(np.float32([[1, 1, 1, 9], [1, 2, 1, 1]]), 2, 1).tolist()
    [1.0, 2.0, 1.0, 9.0]
    """
    rows, columns = (max(1, round(h / b)) for h, b in zip(region_map.shape, (height, width), strict=True))
    blocks = [
        block for strip in np.array_split(region_map, rows, axis=0) for block in np.array_split(strip, columns, axis=1)
    ]
    return np.array([block.max() for block in blocks], np.float64)


def remainder_estimate(peaks: Sequence[NDArray[np.float64]], contamination: float) -> Promise:
    """Estimate a pixel threshold from blocks of all maps: the level that all but a share of them nowhere exceed.

    It promises nothing: these photographs were trained on, and the share of defects among them is an assumption.
    """
    if not peaks:
        raise MetricError("no map to estimate a threshold from", cure="add photographs to the surface")
    rising = np.sort(np.concatenate(peaks))
    # Never all of it: one block at least is left.
    left_out = min(int(contamination * rising.size), rising.size - 1)
    level = float(rising[rising.size - 1 - left_out])
    return Promise(threshold=level, asked=contamination, rate=contamination, images=len(peaks), estimate=True)
