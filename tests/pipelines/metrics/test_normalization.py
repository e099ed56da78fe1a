"""Thresholds from photographs that may show defects."""

import numpy as np
import pytest
from scipy.stats import gumbel_r

from pipelines.metrics.checks import MetricError
from pipelines.metrics.normalization import Reach, block_peaks, find_reach, highest_sound_peak, own_scale


def test_defects_in_a_third_of_the_blocks_hardly_raise_the_level_that_they_are_to_exceed() -> None:
    random = np.random.default_rng(0)
    sound = random.normal(0, 1, (640, 640)).astype(np.float32)
    marked = sound.copy()
    marked[:200] = 9
    found = find_reach([block_peaks(m) for m in (sound, marked, sound)], 1.0).level
    assert 4 < found < 6
    assert (marked > found)[:200].all()
    fresh = np.concatenate([block_peaks(random.normal(0, 1, (640, 640)).astype(np.float32)) for _ in range(20)])
    assert 0.1 < np.sum(fresh > found) / 20 < 3, "about one block of a sound photograph"


def test_the_level_is_that_of_the_distribution_it_is_fitted_to() -> None:
    peaks = gumbel_r.ppf((np.arange(5000) + 0.5) / 5000, loc=2.0, scale=0.3)
    for expected in (0.1, 1.0, 50.0):
        exact = gumbel_r.isf(expected / 5000, loc=2.0, scale=0.3)
        assert highest_sound_peak(peaks, expected) == pytest.approx(exact, abs=0.01)


def test_blocks_cover_a_map_of_any_size() -> None:
    for height, width in ((25, 17), (1, 1), (1952, 2592), (224, 3)):
        region = np.zeros((height, width), np.float32)
        region[-1, -1] = 5
        peaks = block_peaks(region)
        assert (peaks.max(), np.sum(peaks)) == (5, 5)
        assert np.isfinite(highest_sound_peak(peaks, 1.0))


def test_without_a_map_there_is_no_estimate() -> None:
    with pytest.raises(MetricError, match="no map"):
        find_reach([], 1.0)


def test_another_kind_keeps_its_defects_above_the_usual_level_and_its_sound_surface_below() -> None:
    random = np.random.default_rng(1)
    usual = find_reach([block_peaks(random.normal(0, 1, (640, 640)).astype(np.float32)) for _ in range(5)], 1.0)
    other = 1.6 * random.normal(0, 1, (640, 640)).astype(np.float32)
    other[300:310, 100:300] = 20
    assert own_scale(block_peaks(np.abs(other) / 1.6), usual) == 1.0, "photographs of one kind are not told apart"
    lowered = other / own_scale(block_peaks(other), usual)
    sound = np.delete(block_peaks(lowered), np.flatnonzero(block_peaks(other) > 15))
    assert np.sum(other > usual.level) > 2100
    assert np.sum(sound > usual.level) < 20
    assert (lowered[300:310, 100:300] > 2 * usual.level).all()
    assert own_scale(block_peaks(np.zeros((640, 640), np.float32)), Reach(level=0.0, low=0.0, blocks=1.0)) == 1.0


@pytest.mark.parametrize("share", [0.35, 0.45, 0.6])
def test_a_defect_on_half_of_a_photograph_does_not_hide_itself(share: float) -> None:
    random = np.random.default_rng(2)
    sound = np.abs(random.normal(0, 1, (1280, 1280))).astype(np.float32)
    usual = find_reach([block_peaks(sound)], 1.0)
    rotten = sound.copy()
    rotten[: int(share * 1280)] *= 2.2
    assert own_scale(block_peaks(rotten), usual) == 1.0
    assert own_scale(block_peaks(1.6 * sound), usual) > 1.3
