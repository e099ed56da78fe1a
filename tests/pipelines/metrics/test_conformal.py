"""Thresholds against a search over every candidate, and their guarantee against simulation."""

import numpy as np
import pytest

from pipelines.metrics.checks import MetricError
from pipelines.metrics.conformal import (
    conformal_threshold,
    in_sample_area,
    in_sample_quantile,
    risk_controlled_threshold,
)


@pytest.mark.parametrize("images", [9, 10, 99, 100, 137])
@pytest.mark.parametrize("rate", [0.01, 0.1, 0.3])
def test_conformal_threshold_is_the_smallest_that_ranks_allow(images: int, rate: float) -> None:
    scores = np.random.default_rng(images).integers(0, 60, images).astype(float)
    calibrated = conformal_threshold(scores, rate)
    # A new score is equally likely to take any of n + 1 places; at most `allowed` of them may lie above.
    allowed = [t for t in np.sort(scores) if ((scores > t).sum() + 1) / (images + 1) <= rate + 1e-12]
    if allowed:
        assert calibrated.achieved_rate == rate
        # With ties the rank is stricter than the search by no more than the tie itself.
        assert calibrated.threshold == min(allowed)
    else:
        assert (calibrated.threshold, calibrated.achieved_rate) == (scores.max(), 1 / (images + 1))


def test_conformal_threshold_keeps_its_guarantee() -> None:
    generator = np.random.default_rng(11)
    alarms = []
    for _ in range(4000):
        drawn = generator.lognormal(0, 1, 20)
        alarms.append(drawn[-1] > conformal_threshold(drawn[:-1], 0.1).threshold)
    # 19 scores: exactly 2 of 20 places lie above; four standard errors are 0.019.
    assert np.mean(alarms) == pytest.approx(0.1, abs=0.019)


def test_risk_controlled_threshold_is_the_smallest_that_holds() -> None:
    generator = np.random.default_rng(5)
    levels = np.linspace(0, 3, 31)
    scores = generator.exponential(generator.uniform(0.2, 0.6, (40, 1)), (40, 500)).clip(max=3)
    shares = (scores[:, :, None] > levels).mean(axis=1)
    calibrated = risk_controlled_threshold(shares, levels, 0.1)
    holds = [t for t, s in zip(levels, shares.T, strict=True) if 40 / 41 * s.mean() + 1 / 41 <= 0.1]
    assert calibrated.threshold == holds[0]
    assert (calibrated.achieved_rate, calibrated.images, calibrated.in_sample) == (0.1, 40, False)


def test_risk_controlled_threshold_keeps_its_guarantee() -> None:
    generator = np.random.default_rng(6)
    levels = np.linspace(0, 1, 101)
    flagged = []
    for _ in range(1500):
        # Each image's scores are uniform up to its own maximum, so its share above t is known in closed form.
        tops = generator.beta(2, 2, (31, 1))
        shares = np.clip(1 - levels / tops, 0, 1)
        threshold = risk_controlled_threshold(shares[:-1], levels, 0.08).threshold
        flagged.append(max(0.0, 1 - threshold / tops[-1, 0]))
    mean, error = np.mean(flagged), np.std(flagged) / np.sqrt(len(flagged))
    assert mean < 0.08 + 3 * error
    # It gives away no more than the 1 / (n + 1) of the bound and one step of the grid.
    assert mean > 0.08 - 1 / 31 - 0.02


def test_too_few_images_guarantee_what_they_can() -> None:
    calibrated = risk_controlled_threshold(np.array([[0.5, 0.0]] * 4), [1.0, 2.0], 0.01)
    assert (calibrated.threshold, calibrated.target_rate, calibrated.achieved_rate) == (2.0, 0.01, 0.2)
    single = conformal_threshold([1.5], 0.01)
    assert (single.threshold, single.achieved_rate, single.images) == (1.5, 0.5, 1)


def test_estimates_mark_at_most_their_rate_and_guarantee_nothing() -> None:
    scores = np.random.default_rng(2).random(50)
    calibrated = in_sample_quantile(scores, 0.1)
    assert (scores > calibrated.threshold).sum() == 5
    assert calibrated.in_sample
    assert in_sample_quantile([2.0, 2.0], 0.1).threshold == 2.0
    area = in_sample_area([[0.4, 0.2, 0.0], [0.2, 0.0, 0.0]], [1.0, 2.0, 3.0], 0.1)
    assert (area.threshold, area.in_sample) == (2.0, True)


@pytest.mark.parametrize("call", [conformal_threshold, in_sample_quantile])
@pytest.mark.parametrize(("scores", "rate"), [([], 0.1), ([np.nan], 0.1), ([1.0], 0.0)])
def test_unusable_calibration_is_refused(call, scores: list[float], rate: float) -> None:
    with pytest.raises(MetricError):
        call(scores, rate)


@pytest.mark.parametrize("call", [risk_controlled_threshold, in_sample_area])
@pytest.mark.parametrize("shares", [np.zeros((0, 2)), [[0.1, 0.2]], [[0.2, 0.1]]])
def test_shares_that_are_no_exceedance_are_refused(call, shares: list[list[float]]) -> None:
    with pytest.raises(MetricError):
        call(shares, [1.0, 2.0], 0.1)
