"""The number of false alarms that a kept guarantee allows, against thresholds set on drawn scores and against sums."""

import math
from fractions import Fraction

import numpy as np
import pytest

from pipelines.metrics.checks import MetricError
from pipelines.metrics.conformal import conformal_threshold, most_false_alarms, places_above


@pytest.mark.parametrize("images", [1, 2, 8, 9, 13, 99, 100, 199, 999])
@pytest.mark.parametrize("rate", [0.001, 0.01, 0.05, 0.1, 0.29, 0.5])
def test_places_above_are_those_of_the_conformal_threshold(images: int, rate: float) -> None:
    calibrated = conformal_threshold(np.arange(images), rate)
    above = images - calibrated.threshold  # the threshold is the score of its own rank
    assert places_above(rate, images) == above
    assert places_above(calibrated.achieved_rate, images) == above, (
        "the rate that holds gives another threshold than the one asked"
    )


def brute_force(above: int, images: int, normals: int, quantile: Fraction) -> int:
    """Count, exactly, in which places among all scores the normals can lie: every order is equally likely."""
    total, orders = Fraction(0), math.comb(images + normals, normals)
    for alarms in range(normals + 1):
        higher = math.comb(alarms + above - 1, alarms)
        lower = math.comb(normals - alarms + images - above, normals - alarms)
        total += Fraction(higher * lower, orders)
        if total >= quantile:
            return alarms
    raise AssertionError


@pytest.mark.parametrize(("rate", "images"), [(0.01, 1), (0.01, 8), (0.01, 99), (0.05, 99), (0.1, 37), (0.3, 250)])
@pytest.mark.parametrize("normals", [1, 7, 100])
def test_the_quantile_equals_counting_orders(rate: float, images: int, normals: int) -> None:
    expected = brute_force(places_above(rate, images), images, normals, Fraction(99, 100))
    assert most_false_alarms(rate, images, normals) == expected


@pytest.mark.parametrize(("rate", "images", "normals"), [(0.01, 99, 100), (0.05, 120, 60), (0.01, 20, 80)])
def test_a_correct_threshold_is_refused_once_in_a_hundred(rate: float, images: int, normals: int) -> None:
    generator = np.random.default_rng(images)
    resamples = 4000
    alarms = np.empty(resamples)
    for number in range(resamples):
        scores = generator.lognormal(0, 1, images + normals)
        alarms[number] = (scores[images:] > conformal_threshold(scores[:images], rate).threshold).sum()
    most = most_false_alarms(rate, images, normals)
    # Four standard errors of a share of 1 % in 4000 are 0.63 %; one alarm fewer would be refused more often than 1 %.
    assert (alarms > most).mean() <= 0.0163
    assert (alarms > most - 1).mean() > 0.01 - 0.0063


def test_edges() -> None:
    assert most_false_alarms(0.01, images=99, normals=0) == 0
    assert most_false_alarms(0.05, 99, 100, quantile=0.5) < most_false_alarms(0.05, 99, 100)
    for images, rate in ((0, 0.01), (10, 0.0), (10, 1.0)):
        with pytest.raises(MetricError):
            most_false_alarms(rate, images, 10)
