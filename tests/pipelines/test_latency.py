"""Latency in turns, with detectors that take a known time by a clock of their own."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pipelines.latency import latency_ratio

REGIONS = [np.zeros((8, 8, 3), np.uint8)]


class Clock:
    """The time that passes where a detector works, and nowhere else."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr("pipelines.latency.time", made)
    return made


class Worker:
    """A detector that takes `seconds` a region, and twenty times as long at one call."""

    def __init__(self, clock: Clock, seconds: float, hiccup: int = 0) -> None:
        self.clock, self.seconds, self.hiccup, self.calls = clock, seconds, hiccup, 0

    def scan_region(self, region: NDArray[np.uint8]) -> None:
        assert region is REGIONS[0]
        self.calls += 1
        self.clock.now += self.seconds * (20 if self.calls == self.hiccup else 1)


def ratio(candidate: Any, champion: Any) -> float | None:
    return latency_ratio(candidate, champion, REGIONS)


def test_a_slower_one_is_seen_and_one_hiccup_is_not(clock: Clock) -> None:
    assert ratio(Worker(clock, 0.03), Worker(clock, 0.01)) == pytest.approx(3)
    assert ratio(Worker(clock, 0.02, hiccup=30), Worker(clock, 0.02)) == pytest.approx(1)
    assert latency_ratio(Worker(clock, 1), Worker(clock, 1), []) is None  # type: ignore[arg-type] - a stand-in


@pytest.mark.parametrize(("seconds", "rounds"), [(0.01, 100), (1.0, 20)])
def test_both_take_as_many_turns_and_large_photographs_fewer(clock: Clock, seconds: float, rounds: int) -> None:
    candidate, champion = Worker(clock, seconds), Worker(clock, seconds)
    ratio(candidate, champion)
    assert candidate.calls == champion.calls == rounds + 2
