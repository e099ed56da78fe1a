"""Timing sides in turn, so that a busy minute falls on all of them."""

import gc
import time
from collections.abc import Callable, Mapping

Side = Callable[[], object]


def time_sides(
    sides: Mapping[str, Side],
    resamples: int,
    *,
    calls: int = 1,
    settling: int = 0,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Time every side once a round, in seconds a call; every other round goes backwards through the sides.

    In its turn a side is called `calls` times, after `settling` calls that do not count: they let caches warm and
    the worker threads of the side before fall asleep.
    """
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    order = list(sides)
    for number in range(resamples):
        for name in order if number % 2 == 0 else reversed(order):
            seconds[name].append(_time(sides[name], calls, settling, clock))
    return seconds


def _time(side: Side, calls: int, settling: int, clock: Callable[[], float]) -> float:
    # The garbage of the side before is not this one's to clear.
    gc.collect()
    for _ in range(settling):
        side()
    started = clock()
    for _ in range(calls):
        side()
    return (clock() - started) / calls
