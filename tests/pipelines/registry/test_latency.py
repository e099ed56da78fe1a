"""Latency in turns, with detectors that take a known time by a clock of their own."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pipelines.core.records import Interval
from pipelines.registry.checks import latency_ratio
from pipelines.registry.load import Load
from pipelines.registry.timing import time_in_turns, time_version

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
    monkeypatch.setattr("pipelines.registry.checks.time", made)
    return made


class Worker:
    """Takes `seconds` a region, and twenty times as long at call `hiccup` and at each call that `every` divides."""

    def __init__(self, clock: Clock, seconds: float, hiccup: int = 0, every: int = 0) -> None:
        self.clock, self.seconds, self.hiccup, self.every, self.calls = clock, seconds, hiccup, every, 0

    def scan_region(self, region: NDArray[np.uint8]) -> None:
        assert region is REGIONS[0]
        self.calls += 1
        struck = self.calls == self.hiccup or (self.every > 0 and self.calls % self.every == 0)
        self.clock.now += self.seconds * (20 if struck else 1)


def ratio(candidate: Any, champion: Any) -> Interval:
    found = latency_ratio(candidate, champion, REGIONS)
    assert found is not None
    return found


def test_a_slower_one_is_seen_and_one_hiccup_is_not(clock: Clock) -> None:
    assert ratio(Worker(clock, 0.03), Worker(clock, 0.01)).low == pytest.approx(3)
    assert ratio(Worker(clock, 0.02, hiccup=30), Worker(clock, 0.02)).value == pytest.approx(1)
    assert latency_ratio(Worker(clock, 1), Worker(clock, 1), []) is None  # type: ignore[arg-type] - a stand-in


def test_what_strikes_one_of_them_now_and_then_is_inside_the_interval(clock: Clock) -> None:
    """Six turns in a hundred are more than a p95 leaves out, and too few to say that this one is slower."""
    found = ratio(Worker(clock, 0.01, every=16), Worker(clock, 0.01))
    assert found.low == pytest.approx(1)
    assert found.value > 2


@pytest.mark.parametrize(
    ("ratios", "loads", "kept", "measured"),
    [
        ([3.0, 1.0, 3.0], [9.0, 8.0, 8.0], (1.0, 8.0), 2),
        ([3.0, 2.9, 2.8], [9.0, 7.0, 8.0], (2.9, 7.0), 3),
        ([3.0, 1.0, 1.0], [2.0, 9.0, 9.0], (3.0, 2.0), 1),
        ([1.0, 3.0, 3.0], [9.0, 2.0, 2.0], (1.0, 9.0), 1),
    ],
    ids=["a burst", "slower by itself", "a quiet machine", "within the limit"],
)
def test_what_a_busy_machine_would_refuse_is_timed_again(
    monkeypatch: pytest.MonkeyPatch, ratios: list[float], loads: list[float], kept: tuple[float, float], measured: int
) -> None:
    timed, loaded = iter(ratios), iter(loads)
    monkeypatch.setattr("pipelines.registry.timing.latency_ratio", lambda *_: Interval(value=next(timed)))
    monkeypatch.setattr("pipelines.registry.timing.read_load", lambda: Load(average=next(loaded), cores=2))
    found = time_in_turns(None, None, REGIONS, 1.5)  # type: ignore[arg-type] - both stand-ins are timed by a stand-in
    assert found.ratio is not None
    assert (found.ratio.value, found.load.average) == kept
    assert len(ratios) - len(list(timed)) == measured


@pytest.mark.parametrize(
    ("loads", "kept"), [([9.0, 2.0, 9.0], (300, 2.0)), ([9.0, 7.0, 8.0], (200, 7.0)), ([2.0], (500, 2.0))]
)
def test_a_version_is_timed_until_no_other_work_runs_or_three_times(
    monkeypatch: pytest.MonkeyPatch, loads: list[float], kept: tuple[float, float]
) -> None:
    timed, loaded = iter([500, 300, 200]), iter(loads)
    monkeypatch.setattr("pipelines.registry.timing.measure_latency", lambda *_: next(timed))
    monkeypatch.setattr("pipelines.registry.timing.read_load", lambda: Load(average=next(loaded), cores=2))
    found = time_version(None, None, [])  # type: ignore[arg-type] - a stand-in is timed
    assert (found.milliseconds, found.load.average) == kept


@pytest.mark.parametrize(("seconds", "resamples"), [(0.01, 100), (1.0, 16), (10.0, 6)])
def test_both_take_as_many_turns_and_large_images_fewer(clock: Clock, seconds: float, resamples: int) -> None:
    candidate, champion = Worker(clock, seconds), Worker(clock, seconds)
    ratio(candidate, champion)
    assert candidate.calls == champion.calls == resamples + 2
