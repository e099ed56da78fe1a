"""The script that sets guarantee against observation, on scores whose answer is known."""

import numpy as np
import pytest

from tests.guarantees import observe


@pytest.mark.parametrize("rate", [0.01, 0.05])
def test_exchangeable_scores_keep_the_guarantee_and_the_band(rate: float) -> None:
    found = observe(np.random.default_rng(3).lognormal(size=300), rate, 199, 400, seed=1)
    assert found.mean == pytest.approx(rate, abs=3 * found.error)
    assert found.inside >= 0.93


def test_ties_only_lower_the_rate() -> None:
    assert observe(np.ones(300), 0.05, 199, 20, seed=1).mean == 0
