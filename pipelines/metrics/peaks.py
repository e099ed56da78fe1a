"""Estimates from photographs that were trained on and may show defects: how high the maps of sound surface reach."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipelines.metrics.checks import MetricError
from pipelines.records import Promise

_SIDE = 64  # pixels at most: a defect spoils few blocks of that size
_LEAST_BLOCKS = 100  # of a photograph, where it is large enough
_LEAST_SIDE = 8  # pixels: below that a block is a pixel or two of what the map was made from
_SOUND = np.linspace(0.1, 0.6, 11)  # quantiles of peaks that are taken to be those of sound blocks


def block_peaks(region_map: NDArray[np.float32]) -> NDArray[np.float64]:
    """Cut a map (H, W) into about square blocks and return the peak of each.

    >>> region = np.zeros((80, 80), np.float32)
    >>> region[9, 79] = 5
    >>> peaks = block_peaks(region)
    >>> peaks.size, float(peaks.max())
    (100, 5.0)
    """
    side = min(_SIDE, max(_LEAST_SIDE, int((region_map.size / _LEAST_BLOCKS) ** 0.5)))
    rows, columns = (max(1, round(length / side)) for length in region_map.shape)
    blocks = [
        block for strip in np.array_split(region_map, rows, axis=0) for block in np.array_split(strip, columns, axis=1)
    ]
    return np.array([block.max() for block in blocks], np.float64)


def highest_sound_peak(peaks: NDArray[np.float64], expected: float) -> float:
    """Estimate the level that `expected` of a photograph's blocks would exceed if all were sound.

    The highest of many values follows a Gumbel distribution (Fisher and Tippett 1928; Gumbel 1958, "Statistics of
    Extremes"). It is fitted to the lower six tenths of the blocks' peaks (n,), which defects do not reach, and read
    where sound blocks would end: how high the others reach does not matter, and how many they are little.

    >>> sound = np.random.default_rng(0).gumbel(3.0, 0.5, 1000)
    >>> spoilt = np.append(sound[:700], np.full(300, 99.0))
    >>> [round(highest_sound_peak(p, 1.0), 1) for p in (sound, spoilt)]
    [6.2, 8.6]
    """
    steps, found = -np.log(-np.log(_SOUND)), np.quantile(peaks, _SOUND)
    slope, start = np.polyfit(steps, found, 1)
    share = min(expected / peaks.size, 0.5)
    return float(start - slope * np.log(-np.log1p(-share)))


def sound_estimate(peaks: Sequence[NDArray[np.float64]], expected: float) -> Promise:
    """Estimate a pixel threshold from the blocks' peaks of all maps: the median photograph's highest sound peak.

    It promises nothing: these photographs were trained on, and that most of each is sound is an assumption.
    """
    if not peaks:
        raise MetricError("no map to estimate a threshold from", cure="add photographs to the surface")
    level = float(np.median([highest_sound_peak(of_one, expected) for of_one in peaks]))
    return Promise(threshold=level, asked=expected, rate=expected, images=len(peaks), estimate=True)
