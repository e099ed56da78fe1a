"""Thresholds from images that may show defects."""

import numpy as np
import pytest
from scipy.stats import gumbel_r

from pipelines.metrics.checks import MetricError
from pipelines.metrics.normalization import (
    NormalPeak,
    block_peaks,
    find_normal_peak,
    highest_normal_peak,
    per_image_scale,
)


def test_defects_in_a_third_of_the_blocks_hardly_raise_the_level_that_they_are_to_exceed() -> None:
    random = np.random.default_rng(0)
    normal = random.normal(0, 1, (640, 640)).astype(np.float32)
    flagged = normal.copy()
    flagged[:200] = 9
    found = find_normal_peak([block_peaks(m) for m in (normal, flagged, normal)], 1.0).level
    assert 4 < found < 6
    assert (flagged > found)[:200].all()
    fresh = np.concatenate([block_peaks(random.normal(0, 1, (640, 640)).astype(np.float32)) for _ in range(20)])
    assert 0.1 < np.sum(fresh > found) / 20 < 3, "about one block of a normal image"


def test_the_level_is_that_of_the_distribution_it_is_fitted_to() -> None:
    peaks = gumbel_r.ppf((np.arange(5000) + 0.5) / 5000, loc=2.0, scale=0.3)
    for expected in (0.1, 1.0, 50.0):
        exact = gumbel_r.isf(expected / 5000, loc=2.0, scale=0.3)
        assert highest_normal_peak(peaks, expected) == pytest.approx(exact, abs=0.01)


def test_blocks_cover_a_map_of_any_size() -> None:
    for height, width in ((25, 17), (1, 1), (1952, 2592), (224, 3)):
        region = np.zeros((height, width), np.float32)
        region[-1, -1] = 5
        peaks = block_peaks(region)
        assert (peaks.max(), np.sum(peaks)) == (5, 5)
        assert np.isfinite(highest_normal_peak(peaks, 1.0))


def test_without_a_map_there_is_no_estimate() -> None:
    with pytest.raises(MetricError, match="no map"):
        find_normal_peak([], 1.0)


def test_another_kind_keeps_its_defects_above_the_usual_level_and_its_normal_surface_below() -> None:
    random = np.random.default_rng(1)
    usual = find_normal_peak([block_peaks(random.normal(0, 1, (640, 640)).astype(np.float32)) for _ in range(5)], 1.0)
    other = 1.6 * random.normal(0, 1, (640, 640)).astype(np.float32)
    other[300:310, 100:300] = 20
    assert per_image_scale(block_peaks(np.abs(other) / 1.6), usual) == 1.0, "images of one kind are not told apart"
    image_scale = other / per_image_scale(block_peaks(other), usual)
    normal = np.delete(block_peaks(image_scale), np.flatnonzero(block_peaks(other) > 15))
    assert np.sum(other > usual.level) > 2100
    assert np.sum(normal > usual.level) < 20
    assert (image_scale[300:310, 100:300] > 2 * usual.level).all()
    assert (
        per_image_scale(block_peaks(np.zeros((640, 640), np.float32)), NormalPeak(level=0.0, low=0.0, blocks=1.0))
        == 1.0
    )


@pytest.mark.parametrize("share", [0.35, 0.45, 0.6])
def test_a_defect_on_half_of_an_image_does_not_hide_itself(share: float) -> None:
    random = np.random.default_rng(2)
    normal = np.abs(random.normal(0, 1, (1280, 1280))).astype(np.float32)
    usual = find_normal_peak([block_peaks(normal)], 1.0)
    rotten = normal.copy()
    rotten[: int(share * 1280)] *= 2.2
    assert per_image_scale(block_peaks(rotten), usual) == 1.0
    assert per_image_scale(block_peaks(1.6 * normal), usual) > 1.3
