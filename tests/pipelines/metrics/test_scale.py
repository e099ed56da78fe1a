"""The version's own scale: 1 is the quantile, order stays, and broken scores give none."""

import numpy as np
import pytest

from pipelines.metrics.checks import MetricError
from pipelines.metrics.normalization import ScoreScale, fit_scale


def test_one_is_the_quantile_and_order_stays() -> None:
    raw = np.random.default_rng(0).exponential(7, 1000).astype(np.float32)
    scaled = fit_scale(raw).apply(raw)
    assert scaled.dtype == np.float32
    assert (scaled > 1).sum() == 10
    assert (np.argsort(scaled) == np.argsort(raw)).all()


def test_a_quantile_of_zero_is_no_divisor() -> None:
    assert fit_scale([0.0] * 400 + [3.0, 5.0]).divisor == 3.0


@pytest.mark.parametrize("raw", [[], [0.0, 0.0], [1.0, np.nan], [1.0, np.inf], [-1.0, 2.0]])
def test_unusable_scores_give_no_scale(raw: list[float]) -> None:
    with pytest.raises(MetricError, match="finite scores"):
        fit_scale(raw)


@pytest.mark.parametrize("divisor", [0.0, -1.0, np.inf, np.nan])
def test_a_divisor_must_be_positive_and_finite(divisor: float) -> None:
    with pytest.raises(ValueError, match="divisor"):
        ScoreScale(divisor=divisor)
