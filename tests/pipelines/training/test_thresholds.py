"""Thresholds as images allow: a guarantee, an in-sample threshold, or what normal surface reaches without labels."""

import numpy as np
import pytest
from numpy.typing import NDArray

from pipelines.core.results import CalibratedThreshold
from pipelines.core.surface_settings import DefectSettings, PolicySettings
from pipelines.metrics.normalization import ScoreScale
from pipelines.training.thresholds import HeldOutScores, Scales, hold_for_regions, set_thresholds

LEVELS = np.linspace(0, 4, 401)
ASKED = PolicySettings(false_positive_rate=0.05, flagged_area_rate=0.05)
SCALES = Scales(ScoreScale(divisor=1.0), ScoreScale(divisor=1.0))


def held_out(count: int = 40) -> tuple[HeldOutScores, list[NDArray[np.float32]]]:
    """Maps of noise below 1, with what calibration keeps of them."""
    maps = [np.random.default_rng(n).uniform(0, 1, (40, 40)).astype(np.float32) for n in range(count)]
    shares = np.array([[(found > level).mean() for level in LEVELS] for found in maps])
    scores = [float(found.max()) for found in maps]
    tops = [np.sort(found.ravel())[-16:] for found in maps]
    peaks = [found.reshape(10, 4, 10, 4).max((1, 3)).ravel().astype(float) for found in maps]
    medians = [float(np.median(found)) for found in maps]
    return HeldOutScores(scores, shares, LEVELS, {}, tops, peaks, medians), maps


def test_what_was_not_trained_on_gets_a_guarantee_that_holds_on_it() -> None:
    found, maps = held_out()
    made = set_thresholds(found, SCALES, ASKED, None, maps.__getitem__)
    assert not made.image.in_sample
    assert np.mean(np.array(found.scores) > made.image.threshold) <= ASKED.false_positive_rate
    assert made.pixel.achieved_rate <= ASKED.flagged_area_rate
    assert made.image_scale == [1.0] * 40


def test_too_few_images_guarantee_what_they_can() -> None:
    found, maps = held_out(4)
    made = set_thresholds(found, SCALES, ASKED, None, maps.__getitem__)
    assert made.image.achieved_rate == pytest.approx(1 / 5)
    assert made.image.threshold == max(found.scores)


def test_what_was_trained_on_gives_an_in_sample_threshold_and_says_so() -> None:
    found, _ = held_out()
    made = set_thresholds(found, SCALES, ASKED, None, None)
    assert made.image.in_sample
    assert made.pixel.in_sample
    assert made.level is None


def test_without_labels_a_defect_in_some_images_moves_nothing() -> None:
    clean, _ = held_out()
    found, _ = held_out()
    for number in range(4):  # a tenth of the images, in a tenth of each
        found.peaks[number][:10] = 30.0
        found.tops[number][:] = 30.0
    spoilt, normal = (set_thresholds(each, SCALES, ASKED, 1.0, None) for each in (found, clean))
    assert spoilt.pixel.threshold == pytest.approx(normal.pixel.threshold, rel=0.05)
    assert spoilt.image.threshold < 2 * normal.image.threshold
    assert spoilt.defects.anomalous == 1
    assert spoilt.pixel.in_sample


def test_regions_that_spread_below_the_threshold_raise_it() -> None:
    settings = DefectSettings(anomalous=1.0, low=0.5, min_area=1)
    board = np.zeros((20, 20), np.float32)
    board[:10] = 0.8  # half the board, above half of the threshold ...
    board[0, 0] = 1.2  # ... around a single pixel that is above all of it
    shares = np.array([[(board > level).mean() for level in LEVELS]])
    before = CalibratedThreshold(threshold=1.0, target_rate=0.6, achieved_rate=0.0, images=1)
    held = hold_for_regions(before, shares, LEVELS, np.array([False]), lambda _: board, settings)
    assert held.threshold >= 1.2


def test_a_map_below_the_threshold_is_not_made_again() -> None:
    board = np.zeros((20, 20), np.float32)
    before = CalibratedThreshold(threshold=1.0, target_rate=0.6, achieved_rate=0.0, images=1)
    shares = np.zeros((1, LEVELS.size))
    scan = {0: board}.__getitem__
    held = hold_for_regions(before, shares, LEVELS, np.array([False]), lambda _: scan(9), DefectSettings())
    assert held.threshold == pytest.approx(1.0)
