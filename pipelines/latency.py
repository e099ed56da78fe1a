"""How long two versions take for the same regions, measured in turns."""

import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipelines.loader import Detector

_WARM_UP, _ROUNDS, _BLOCKS = 2, 20, 5
_LONGEST = 30.0  # seconds; one block is always measured

Regions = Sequence[NDArray[np.uint8]]


def latency_ratio(candidate: Detector, champion: Detector, regions: Regions) -> float | None:
    """Measure the candidate's p95 over the champion's; None without a region (H, W, 3).

    Both take turns, so that whatever else the machine does slows them alike. The p95 of 20 scans stands or falls with
    one hiccup: the median over up to five such blocks is returned.
    """
    if not regions:
        return None
    for number in range(_WARM_UP):
        candidate.scan_region(regions[number % len(regions)])
        champion.scan_region(regions[number % len(regions)])
    started = time.perf_counter()
    ratios: list[float] = []
    while not ratios or (len(ratios) < _BLOCKS and time.perf_counter() - started < _LONGEST):
        seconds = np.array([_time_both(candidate, champion, regions, number) for number in range(_ROUNDS)])
        ours, theirs = np.quantile(seconds, 0.95, axis=0)
        ratios.append(float(ours / theirs))
    return float(np.median(ratios))


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
