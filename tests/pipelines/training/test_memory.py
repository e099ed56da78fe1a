"""The peak of one fit is not that of the one before it."""

import numpy as np
import pytest

from pipelines.training.memory import peak_rss_mb, reset_peak


def test_a_peak_that_is_over_is_forgotten() -> None:
    block = np.ones(20_000_000)  # 160 MB
    before = peak_rss_mb()
    del block
    if not reset_peak():
        pytest.skip("this system does not let a process count its peak anew")
    assert peak_rss_mb() < before - 100
