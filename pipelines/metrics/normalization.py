"""Estimates from images that were trained on and may show defects: how high the maps of normal surface reach."""

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field

from pipelines.core.records import FiniteRecord, Record
from pipelines.metrics.checks import MetricError

_SIDE = 64  # pixels at most: a defect spoils few blocks of that size
_LEAST_BLOCKS = 100  # of an image, where it is large enough
_LEAST_SIDE = 8  # pixels: below that a block is a pixel or two of what the map was made from
# How far normal images of one species differ in level, and how much more a species may lie higher.
_ALIKE, _MOST = 1.15, 2.0
_NORMAL = np.linspace(0.1, 0.6, 11)  # quantiles of peaks that are taken to be those of normal blocks


class NormalPeak(FiniteRecord):
    """How high maps of normal surface reach: about `blocks` places of the median image exceed `level`.

    `low` is what a tenth of its blocks' peaks stay below.
    """

    level: float
    low: float
    blocks: float


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


def highest_normal_peak(peaks: NDArray[np.float64], expected: float) -> float:
    """Estimate the level that `expected` of an image's blocks would exceed if all were normal.

    The highest of many values follows a Gumbel distribution (Fisher and Tippett 1928; Gumbel 1958, "Statistics of
    Extremes"). It is fitted to the lower six tenths of the blocks' peaks, which defects do not reach, and read where
    normal blocks would end: how high the others reach does not matter, and how many they are little.

    Args:
        peaks: Peaks (n,) of one image's blocks, as `block_peaks` gives them; at least one.
        expected: Number of blocks, above 0; more than half of the n count as half.

    Returns:
        The level, in the map's own unit.

    >>> normal = np.random.default_rng(0).gumbel(3.0, 0.5, 1000)
    >>> spoilt = np.append(normal[:700], np.full(300, 99.0))
    >>> [round(highest_normal_peak(p, 1.0), 1) for p in (normal, spoilt)]
    [6.2, 8.6]
    """
    steps, found = -np.log(-np.log(_NORMAL)), np.quantile(peaks, _NORMAL)
    slope, start = np.polyfit(steps, found, 1)
    share = min(expected / peaks.size, 0.5)
    return float(start - slope * np.log(-np.log1p(-share)))


def find_normal_peak(peaks: Sequence[NDArray[np.float64]], blocks: float) -> NormalPeak:
    """Estimate the level that about `blocks` of the median image's blocks exceed though they are normal.

    Nothing is guaranteed: these images were trained on, and that most of each is normal is an assumption.

    Args:
        peaks: For each image the peaks (n,) of its map's blocks, as `block_peaks` gives them; n may differ.
        blocks: Number of blocks of an image, above 0; need not be whole.

    Returns:
        Level and lowest peaks, medians over the images, in the maps' own unit.

    Raises:
        MetricError: If there is no image.
    """
    if not peaks:
        raise MetricError("no map to estimate a threshold from", hint="add images to the surface")
    level = float(np.median([highest_normal_peak(of_one, blocks) for of_one in peaks]))
    low = float(np.median([np.quantile(of_one, _NORMAL[0]) for of_one in peaks]))
    return NormalPeak(level=level, low=low, blocks=blocks)


def per_image_scale(peaks: NDArray[np.float64], usual: NormalPeak) -> float:
    """Say what an image's map is divided by, so that its normal surface reaches hardly higher than the usual one's.

    A domain that is rare among those trained on, or new, has a level of its own, and a common threshold would
    outline it everywhere. It raises the lowest peaks as well: a defect, however large, does not. Up to 15 % more is
    left, as images of one kind differ, and so is what exceeds twice that. Kinds that reach less high than usual
    keep the common threshold.

    Args:
        peaks: Peaks (n,) of the image's blocks, as `block_peaks` gives them; at least one.
        usual: How high the median image that was trained on reaches, in the same unit as `peaks`.

    Returns:
        The divisor, 1 to 2; 1 where the usual level is 0.

    >>> normal = np.random.default_rng(0).gumbel(3.0, 0.5, 1000)
    >>> usual = find_normal_peak([normal], 1.0)
    >>> [round(per_image_scale(factor * normal, usual), 2) for factor in (0.5, 1.1, 1.6, 9.0)]
    [1.0, 1.0, 1.39, 2.0]
    >>> per_image_scale(np.append(normal[:500], 9 * normal[500:]), usual)
    1.0
    """
    if usual.level <= 0 or usual.low <= 0:
        return 1.0
    higher = highest_normal_peak(peaks, usual.blocks) / usual.level
    raised = float(np.quantile(peaks, _NORMAL[0])) / usual.low
    return float(np.clip(min(higher, raised) / _ALIKE, 1.0, _MOST))


_Floats = TypeVar("_Floats", bound=np.floating[Any])


class ScoreScale(Record):
    """A strictly increasing map from raw scores >= 0 to scores >= 0."""

    divisor: float = Field(gt=0, allow_inf_nan=False)

    def apply(self, raw: NDArray[_Floats]) -> NDArray[_Floats]:
        """Scale raw scores or maps of any shape; the type stays.

        >>> ScoreScale(divisor=2.0).apply(np.array([0, 1, 5], dtype=np.float32))
        array([0. , 0.5, 2.5], dtype=float32)
        """
        return np.asarray(raw / raw.dtype.type(self.divisor))


def fit_scale(raw: ArrayLike, quantile: float = 0.99) -> ScoreScale:
    """Fit the scale to raw scores of validation normals.

    Args:
        raw: Raw scores of images or of normal pixels, >= 0, of any shape; some above 0.
        quantile: Which of these scores becomes 1, 0 to 1.

    Returns:
        The scale, which divides by that quantile, or by the lowest positive score where the quantile is 0.

    Raises:
        MetricError: If scores are absent, not finite, negative or all 0: no scale can compare such a version.

    >>> fit_scale([1.0, 2.0, 9.0], quantile=0.5).divisor
    2.0
    """
    found = np.asarray(raw, dtype=np.float64).ravel()
    if not found.size or not np.isfinite(found).all() or found.min() < 0 or not found.max() > 0:
        what = "none" if not found.size else f"{found.size} from {found.min()} to {found.max()}"
        raise MetricError(
            f"expected finite scores >= 0 of normal images, some of them above 0; found {what}",
            hint="check the training and the validation split: the model does not tell these images apart",
        )
    divisor = float(np.quantile(found, quantile))
    return ScoreScale(divisor=divisor if divisor > 0 else float(found[found > 0].min()))
