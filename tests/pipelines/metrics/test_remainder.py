"""Thresholds from what is left when the worst blocks are left out."""

import numpy as np
import pytest

from pipelines.metrics.checks import MetricError
from pipelines.metrics.remainder import block_peaks, remainder_estimate


def test_a_defect_does_not_raise_the_level_that_it_is_to_exceed() -> None:
    random = np.random.default_rng(0)
    sound = random.uniform(0, 1, (100, 100)).astype(np.float32)
    marked = sound.copy()
    marked[10:14, 10:40] = 9  # three blocks of a hundred
    found = remainder_estimate([block_peaks(m, 10, 10) for m in (sound, marked)], 0.1)
    assert (found.estimate, found.images) == (True, 2)
    assert 0.9 < found.threshold < 1
    assert (marked > found.threshold)[10:14, 10:40].all()
    assert np.mean(block_peaks(sound, 10, 10) > found.threshold) < 0.1


def test_blocks_cover_a_map_that_is_no_multiple_of_them() -> None:
    region = np.zeros((25, 17), np.float32)
    region[-1, -1] = 5
    peaks = block_peaks(region, 8, 8)
    assert (peaks.size, peaks.max()) == (3 * 2, 5)
    assert remainder_estimate([block_peaks(region, 100, 100)], 0.4).threshold == 5, "never all of it is left out"


def test_without_a_map_there_is_no_estimate() -> None:
    with pytest.raises(MetricError, match="no map"):
        remainder_estimate([], 0.1)
