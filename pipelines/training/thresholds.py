"""Thresholds from what the photographs that they are set on came to: promised, estimated, or without any label."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipelines.core.results import Promise
from pipelines.core.surface_settings import DefectSettings, PolicySettings
from pipelines.imaging.components import marked_share, pixel_level
from pipelines.metrics.conformal import area_estimate, conformal_threshold, quantile_estimate, risk_controlled_threshold
from pipelines.metrics.normalization import Reach, ScoreScale, find_reach, own_scale

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


class Scales(NamedTuple):
    map: ScoreScale
    image: ScoreScale


class HeldOut(NamedTuple):
    """What the photographs that thresholds are set on came to, on the version's scale.

    `shares` (images, levels) are the shares of each region above `levels`; `measures` has a list for each measure.
    `tops` are the map's values that an image score is the mean of, `peaks` and `medians` are of the maps.
    """

    scores: list[float]
    shares: NDArray[np.float64]
    levels: NDArray[np.float64]
    measures: dict[str, tuple[float, ...]]
    tops: list[NDArray[np.float32]]
    peaks: list[NDArray[np.float64]]
    medians: list[float]


class Thresholds(NamedTuple):
    """Thresholds and how defects are searched; `level` and `reach` are what is usual of photographs without labels.

    `lowered` is what each photograph's map is divided by when it is scanned.
    """

    image: Promise
    pixel: Promise
    defects: DefectSettings
    lowered: list[float]
    level: float | None = None
    reach: Reach | None = None


def set_thresholds(
    found: HeldOut,
    scales: Scales,
    asked: PolicySettings,
    false_blocks: float | None,
    scan_again: Callable[[int], NDArray[np.float32]] | None,
) -> Thresholds:
    """Set thresholds as photographs allow: without labels (where `false_blocks` says how), or as the policy asks.

    `scan_again` gives the map of a photograph by its number; None says that they were trained on.
    """
    if false_blocks is not None:
        return _estimate_unlabelled(found, scales, false_blocks, asked)
    return _estimate(found, asked) if scan_again is None else _promise(found, asked, scan_again)


def _promise(found: HeldOut, asked: PolicySettings, scan_again: Callable[[int], NDArray[np.float32]]) -> Thresholds:
    """Set thresholds on photographs that were not trained on: they hold what is asked for, or say what they hold."""
    image = conformal_threshold(found.scores, asked.false_alarm_rate)
    pixel = risk_controlled_threshold(found.shares, found.levels, asked.marked_area_rate)
    anomalous = np.array(found.scores) > image.threshold
    pixel = hold_for_regions(pixel, found.shares, found.levels, anomalous, scan_again, asked.defects)
    return Thresholds(image, pixel, asked.defects, [1.0] * len(found.scores))


def _estimate(found: HeldOut, asked: PolicySettings) -> Thresholds:
    """Take the same shares of photographs that were trained on: an estimate, marked as one."""
    image = quantile_estimate(found.scores, asked.false_alarm_rate)
    pixel = area_estimate(found.shares, found.levels, asked.marked_area_rate)
    return Thresholds(image, pixel, asked.defects, [1.0] * len(found.scores))


def _estimate_unlabelled(found: HeldOut, scales: Scales, false_blocks: float, asked: PolicySettings) -> Thresholds:
    """Take how high sound surface reaches from the lower part of each map; image scores are those of maps cut there."""
    reach = find_reach(found.peaks, false_blocks)
    lowered = [own_scale(peaks, reach) for peaks in found.peaks]
    to_images = scales.map.divisor / scales.image.divisor
    cut = [np.minimum(top / scale, reach.level) for top, scale in zip(found.tops, lowered, strict=True)]
    image = quantile_estimate([float(top.mean()) * to_images for top in cut], asked.false_alarm_rate)
    places = np.searchsorted(found.levels, reach.level * np.array(lowered)).clip(max=found.levels.size - 1)
    marked = float(found.shares[np.arange(places.size), places].mean())
    pixel = Promise(
        threshold=reach.level, asked=asked.marked_area_rate, rate=marked, images=len(lowered), estimate=True
    )
    # The threshold lies where sound surface ends already: no photograph is searched more closely.
    defects = asked.defects.model_copy(update={"anomalous": 1.0})
    return Thresholds(image, pixel, defects, lowered, max(found.medians), reach)
