"""Thresholds from what the images that they are set on came to: calibrated, in-sample, or without any label."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipelines.core.results import CalibratedThreshold
from pipelines.core.surface_settings import DefectSettings, PolicySettings
from pipelines.imaging.components import flagged_share, pixel_level
from pipelines.metrics.conformal import (
    conformal_threshold,
    in_sample_area,
    in_sample_quantile,
    risk_controlled_threshold,
)
from pipelines.metrics.normalization import NormalPeak, ScoreScale, find_normal_peak, per_image_scale

# Levels above the threshold that are tried; the last one flags nothing.
_TRIED = 100


def hold_for_regions(
    calibrated: CalibratedThreshold,
    shares: NDArray[np.float64],
    levels: NDArray[np.float64],
    anomalous: NDArray[np.bool_],
    scan: Callable[[int], NDArray[np.float32]],
    settings: DefectSettings,
) -> CalibratedThreshold:
    """Raise a pixel threshold as far as its regions need, which spread below it.

    The area of regions falls as the threshold rises, just as that of the pixels above it does, so conformal risk
    control holds for it too.

    Args:
        calibrated: The threshold for pixels alone, one of `levels`, with the share of area (0 to 1) it was set for.
        shares: Of each calibration image above each level, shape (images, levels), as from `PixelTable.exceedance`.
        levels: Rising, shape (levels,), on the version's scale; no pixel exceeds the last.
        anomalous: Verdicts on the calibration images, shape (images,).
        scan: Gives the scaled map, float32 (H, W), of the image of that number again; asked only for those that are
            anomalous or have a pixel above the threshold: usually none.
        settings: Which regions of a map count as defects.

    Returns:
        A threshold at least as high, for the same rate; `achieved_rate` is larger where there are too few images.
    """
    first = int(np.searchsorted(levels, calibrated.threshold))
    tried = levels[np.unique(np.linspace(first, levels.size - 1, _TRIED).astype(int))]
    if anomalous.any():
        # The last one must flag nothing, also where a lower level holds.
        tried = np.append(tried, 1.001 * tried[-1] / settings.anomalous)
    flagged = np.zeros((shares.shape[0], tried.size))
    for number in np.flatnonzero((shares[:, first] > 0) | anomalous):
        anomaly_map = scan(int(number))
        for column, threshold in enumerate(tried):
            level = pixel_level(float(threshold), settings, anomalous=bool(anomalous[number]))
            flagged[number, column] = flagged_share(anomaly_map, level, settings)
            if not flagged[number, column]:
                break
    return risk_controlled_threshold(flagged, tried, calibrated.target_rate)


class Scales(NamedTuple):
    map: ScoreScale
    image: ScoreScale


class HeldOutScores(NamedTuple):
    """What the images that thresholds are set on came to, on the version's scale.

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
    """Thresholds and how defects are searched; `level` and `normal_peak` are what is usual of images without labels.

    `image_scale` is what each image's map is divided by when it is scanned.
    """

    image: CalibratedThreshold
    pixel: CalibratedThreshold
    defects: DefectSettings
    image_scale: list[float]
    level: float | None = None
    normal_peak: NormalPeak | None = None


def set_thresholds(
    found: HeldOutScores,
    scales: Scales,
    policy: PolicySettings,
    false_blocks: float | None,
    scan_again: Callable[[int], NDArray[np.float32]] | None,
) -> Thresholds:
    """Set thresholds as images allow: calibrated, in-sample, or without any label.

    Args:
        found: What the images came to that thresholds are set on; at least one image.
        scales: The version's, of maps and of image scores.
        policy: Shares of normal images, and of normal area, that may be flagged, 0 to 1.
        false_blocks: Places of a normal image that may be flagged where none was labelled; None with labels.
        scan_again: Gives the scaled map, float32 (H, W), of an image by its number in `found`; None says that these
            images were trained on. Not used without labels.

    Returns:
        Thresholds on the version's scale; only calibrated ones guarantee their rates.

    Raises:
        MetricError: If there is no image.
    """
    if false_blocks is not None:
        return _in_sample_unlabelled(found, scales, false_blocks, policy)
    return _in_sample(found, policy) if scan_again is None else _calibrated(found, policy, scan_again)


def _calibrated(
    found: HeldOutScores, policy: PolicySettings, scan_again: Callable[[int], NDArray[np.float32]]
) -> Thresholds:
    """Set thresholds on images that were not trained on: they hold what is requested, or say what they hold."""
    image = conformal_threshold(found.scores, policy.false_positive_rate)
    pixel = risk_controlled_threshold(found.shares, found.levels, policy.flagged_area_rate)
    anomalous = np.array(found.scores) > image.threshold
    pixel = hold_for_regions(pixel, found.shares, found.levels, anomalous, scan_again, policy.defects)
    return Thresholds(image, pixel, policy.defects, [1.0] * len(found.scores))


def _in_sample(found: HeldOutScores, policy: PolicySettings) -> Thresholds:
    """Take the same shares of images that were trained on: an in-sample threshold, marked as one."""
    image = in_sample_quantile(found.scores, policy.false_positive_rate)
    pixel = in_sample_area(found.shares, found.levels, policy.flagged_area_rate)
    return Thresholds(image, pixel, policy.defects, [1.0] * len(found.scores))


def _in_sample_unlabelled(
    found: HeldOutScores, scales: Scales, false_blocks: float, policy: PolicySettings
) -> Thresholds:
    """Take how high normal surface reaches from the lower part of each map.

    Image scores are those of maps cut there.
    """
    normal_peak = find_normal_peak(found.peaks, false_blocks)
    image_scale = [per_image_scale(peaks, normal_peak) for peaks in found.peaks]
    to_images = scales.map.divisor / scales.image.divisor
    cut = [np.minimum(top / scale, normal_peak.level) for top, scale in zip(found.tops, image_scale, strict=True)]
    image = in_sample_quantile([float(top.mean()) * to_images for top in cut], policy.false_positive_rate)
    places = np.searchsorted(found.levels, normal_peak.level * np.array(image_scale)).clip(max=found.levels.size - 1)
    flagged = float(found.shares[np.arange(places.size), places].mean())
    pixel = CalibratedThreshold(
        threshold=normal_peak.level,
        target_rate=policy.flagged_area_rate,
        achieved_rate=flagged,
        images=len(image_scale),
        in_sample=True,
    )
    # The threshold lies where normal surface ends already: no image is searched more closely.
    defects = policy.defects.model_copy(update={"anomalous": 1.0})
    return Thresholds(image, pixel, defects, image_scale, max(found.medians), normal_peak)
