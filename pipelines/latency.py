"""How long two versions take for the same regions, measured in turns."""

import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipelines.loader import Detector
from pipelines.records import Interval

_WARM_UP, _LEAST, _MOST = 2, 6, 100
_LONGEST = 30.0  # seconds; the least number of turns is always measured
_RESAMPLES = 1000

Regions = Sequence[NDArray[np.uint8]]


def latency_ratio(candidate: Detector, champion: Detector, regions: Regions) -> Interval | None:
    """Measure the candidate's p95 over the champion's, with its 95 % interval; None without a region (H, W, 3).

    Both take turns, so that whatever else the machine does slows them alike. It still stirs the p95 of one more than
    that of the other: the interval, a bootstrap over the turns (Efron, Tibshirani 1993), tells by how much.
    """
    if not regions:
        return None
    for number in range(_WARM_UP):
        candidate.scan_region(regions[number % len(regions)])
        champion.scan_region(regions[number % len(regions)])
    started = time.perf_counter()
    turns: list[tuple[float, float]] = []
    while len(turns) < _LEAST or (len(turns) < _MOST and time.perf_counter() - started < _LONGEST):
        # Two at a time: each region once with either first.
        turns += [_time_both(candidate, champion, regions, len(turns) + number) for number in range(2)]
    seconds = np.array(turns)
    drawn = np.random.default_rng(0).integers(len(turns), size=(_RESAMPLES, len(turns)))
    low, high = np.quantile(_p95_ratio(seconds[drawn]), (0.025, 0.975))
    return Interval(value=float(_p95_ratio(seconds)), low=float(low), high=float(high))


def _p95_ratio(seconds: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return ratios (...) of turns (..., turns, 2)."""
    ours, theirs = np.moveaxis(np.quantile(seconds, 0.95, axis=-2), -1, 0)
    return np.asarray(ours / theirs)


def _time_both(candidate: Detector, champion: Detector, regions: Regions, number: int) -> tuple[float, float]:
    """Time one region by both, seconds; who comes first changes, because a second reading finds caches warm."""
    region = regions[number // 2 % len(regions)]
    pair = (candidate, champion) if number % 2 else (champion, candidate)
    taken = {}
    for detector in pair:
        started = time.perf_counter()
        detector.scan_region(region)
        taken[id(detector)] = time.perf_counter() - started
    return taken[id(candidate)], taken[id(champion)]
