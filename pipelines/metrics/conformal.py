"""Thresholds and what stands behind them. The verdict is always `score > threshold`."""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import betabinom, binom

from pipelines.core.results import CalibratedThreshold
from pipelines.metrics.checks import MetricError, check_rate, check_scores

# (n + 1) * (1 - 0.1) must not become 9.000000000000002 and skip a rank.
_ROUNDING = 1e-9


def _check_calibration(scores: ArrayLike) -> NDArray[np.float64]:
    found = check_scores(scores)
    if not found.size:
        raise MetricError("no calibration image", hint="give the calibration split at least one normal image")
    return found


def conformal_threshold(scores: ArrayLike, rate: float) -> CalibratedThreshold:
    """Set the threshold that at most a share `rate` of new normal images exceeds, on average over calibrations.

    Split conformal prediction: the ceil((n + 1)(1 - rate))-th smallest of n scores; exchangeability is all that is
    asked. Vovk, Gammerman, Shafer 2005, "Algorithmic Learning in a Random World"; Lei et al. 2018, "Distribution-Free
    Predictive Inference", section 2.2.

    Args:
        scores: Scores (n,) of normal images that were not trained on, in any order and on any scale; at least one.
        rate: Target rate, between 0 and 1 without both.

    Returns:
        The threshold, on the scale of `scores`. Too few images for the rate: the largest score, with an
        `achieved_rate` of 1 / (n + 1).

    Raises:
        MetricError: If there is no score, one is not finite, or the rate is out of range.

    >>> conformal_threshold(range(1, 100), 0.05).threshold
    95.0
    >>> conformal_threshold([3.0, 1.0, 2.0], 0.05)
    CalibratedThreshold(threshold=3.0, target_rate=0.05, achieved_rate=0.25, images=3, in_sample=False)
    """
    found = np.sort(_check_calibration(scores))
    images = found.size
    rank = math.ceil((images + 1) * (1 - check_rate(rate)) - _ROUNDING)
    if rank > images:
        return CalibratedThreshold(
            threshold=float(found[-1]), target_rate=rate, achieved_rate=1 / (images + 1), images=images
        )
    return CalibratedThreshold(threshold=float(found[rank - 1]), target_rate=rate, achieved_rate=rate, images=images)


def risk_controlled_threshold(shares: ArrayLike, thresholds: ArrayLike, rate: float) -> CalibratedThreshold:
    """Set the threshold that flags at most a share `rate` of a new normal image's area, in expectation.

    Conformal risk control: the smallest threshold t with n / (n + 1) * mean(share(t)) + 1 / (n + 1) <= rate.
    Angelopoulos et al. 2022, "Conformal Risk Control", equation 4 with B = 1.

    Args:
        shares: Shares (images, thresholds), 0 to 1, of each image's normal pixels that exceed each threshold, as
            `PixelTable.exceedance` gives them. They fall to 0 at the last; an image without normal pixels has no row.
        thresholds: The levels (thresholds,) that may be chosen, rising.
        rate: Target share of an image's area, between 0 and 1 without both.

    Returns:
        One of `thresholds`. Too few images for the rate: the last, with an `achieved_rate` of 1 / (n + 1).

    Raises:
        MetricError: If there is no image, thresholds do not rise, shares do not fall to 0, or the rate is out of range.

    >>> risk_controlled_threshold([[0.5, 0.2, 0.0]] * 9, [1.0, 2.0, 3.0], 0.3).threshold
    2.0
    """
    flagged, levels = _check_shares(shares, thresholds)
    images = flagged.shape[0]
    bound = (flagged.sum(axis=0) + 1) / (images + 1)
    holds = np.flatnonzero(bound <= check_rate(rate) + _ROUNDING)
    if holds.size:
        return CalibratedThreshold(
            threshold=float(levels[holds[0]]), target_rate=rate, achieved_rate=rate, images=images
        )
    return CalibratedThreshold(
        threshold=float(levels[-1]), target_rate=rate, achieved_rate=float(bound[-1]), images=images
    )


def in_sample_quantile(scores: ArrayLike, rate: float) -> CalibratedThreshold:
    """Estimate a threshold from scores of images that were trained on; it guarantees nothing.

    Args:
        scores: Scores (n,) in any order and on any scale; at least one.
        rate: Share of these images that may exceed the threshold, between 0 and 1 without both.

    Returns:
        The smallest score that at most that share exceeds, marked `in_sample`.

    Raises:
        MetricError: If there is no score, one is not finite, or the rate is out of range.

    >>> in_sample_quantile([4.0, 1.0, 2.0, 3.0], 0.25)
    CalibratedThreshold(threshold=3.0, target_rate=0.25, achieved_rate=0.25, images=4, in_sample=True)
    """
    found = np.sort(_check_calibration(scores))
    exceeding = math.floor(found.size * check_rate(rate) + _ROUNDING)
    threshold = float(found[found.size - 1 - exceeding])
    return CalibratedThreshold(
        threshold=threshold, target_rate=rate, achieved_rate=rate, images=found.size, in_sample=True
    )


def in_sample_area(shares: ArrayLike, thresholds: ArrayLike, rate: float) -> CalibratedThreshold:
    """Estimate a pixel threshold from images that were trained on; it guarantees nothing.

    Args:
        shares: Shares (images, thresholds) of each image's area flagged, as for `risk_controlled_threshold`.
        thresholds: The levels (thresholds,) that may be chosen, rising; the last flags nothing.
        rate: Share of these images' area that may be flagged on average, between 0 and 1 without both.

    Returns:
        The smallest of `thresholds` that flags at most that share, marked `in_sample`.

    Raises:
        MetricError: If there is no image, thresholds do not rise, shares do not fall to 0, or the rate is out of range.

    >>> in_sample_area([[0.5, 0.2, 0.0]] * 9, [1.0, 2.0, 3.0], 0.2).threshold
    2.0
    """
    flagged, levels = _check_shares(shares, thresholds)
    first = int(np.flatnonzero(flagged.mean(axis=0) <= check_rate(rate) + _ROUNDING)[0])
    return CalibratedThreshold(
        threshold=float(levels[first]), target_rate=rate, achieved_rate=rate, images=flagged.shape[0], in_sample=True
    )


def _check_shares(shares: ArrayLike, thresholds: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return (images, thresholds) shares that fall and (thresholds,) levels that rise, as float64."""
    flagged, levels = np.asarray(shares, dtype=np.float64), np.asarray(thresholds, dtype=np.float64)
    if flagged.ndim != 2 or not flagged.size or flagged.shape[1:] != levels.shape:
        raise MetricError(
            f"expected (images, thresholds) shares of at least one image, found {flagged.shape} for {levels.shape}",
            hint="give the calibration split at least one normal image",
        )
    if not ((np.diff(levels) > 0).all() and (np.diff(flagged, axis=1) <= 0).all() and not flagged[:, -1].any()):
        raise MetricError(
            "expected rising thresholds and shares that fall to 0 at the last",
            hint="take them from PixelTable.exceedance",
        )
    return flagged, levels


def places_above(rate: float, images: int) -> int:
    """Count the places above the threshold, of the n + 1 that a new score can take among n calibration scores.

    Args:
        rate: The rate that the threshold was set for, between 0 and 1 without both.
        images: Number n of calibration images, 1 or more.

    Returns:
        l = floor((n + 1) rate), 1 to n. It is 1 where the images are too few: `conformal_threshold` then takes the
        largest.

    Raises:
        MetricError: If there is no image, or the rate is out of range.

    >>> places_above(0.01, 99), places_above(0.05, 99), places_above(0.01, 8)
    (1, 5, 1)
    """
    if images < 1:
        raise MetricError(f"no threshold is set on {images} images", hint="calibrate on one normal image at least")
    return min(images, max(1, math.floor((images + 1) * check_rate(rate) + _ROUNDING)))


def most_by_chance(rate: float, images: int) -> int:
    """Return the number of flagged images that a true rate exceeds with probability 10 % at most.

    Args:
        rate: Share of images that is flagged in the long run, 0 to 1.
        images: How many there are, 0 or more.

    Returns:
        Images, 0 to `images`: the 90 % quantile of the binomial distribution.

    >>> most_by_chance(0.1, 10), most_by_chance(0.1, 100)
    (2, 14)
    """
    return int(binom.ppf(0.9, images, rate)) if images else 0


def most_false_alarms(rate: float, images: int, normals: int, quantile: float = 0.99) -> int:
    """Return the number of false alarms that a correct threshold exceeds with probability 1 - `quantile` at most.

    The threshold was set by split-conformal prediction, and meets other images like those it was set on. Its own rate
    is then distributed as Beta(l, n + 1 - l), l as in `places_above`, and the number of false alarms as the
    beta-binomial over that; ties of scores only lower it. Angelopoulos, Bates 2023, "Conformal Prediction: A Gentle
    Introduction", section 3.2; Vovk 2012, "Conditional Validity of Inductive Conformal Predictors".

    Args:
        rate: The rate that the threshold was set for, between 0 and 1 without both.
        images: Number n of normal images that it was set on, 1 or more.
        normals: Number of normal images that it meets, 0 or more.
        quantile: How sure the answer is, between 0 and 1 without both.

    Returns:
        False alarms, 0 to `normals`.

    Raises:
        MetricError: If it was set on no image, or rate or quantile is out of range.

    >>> most_false_alarms(0.01, images=99, normals=100), most_false_alarms(0.01, images=9999, normals=100)
    (6, 4)
    """
    above = places_above(rate, images)
    return int(betabinom.ppf(check_rate(quantile), normals, above, images + 1 - above)) if normals else 0
