"""How long a version takes, alone and against the champion, timed again where other work may be why."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipelines.core.progress import waiting
from pipelines.core.records import Interval
from pipelines.data.prepared import PreparedImage
from pipelines.detector.detector import Detector
from pipelines.registry.checks import latency_ratio
from pipelines.registry.load import Load, read_load
from pipelines.training.ensemble.latency import measure_latency

_MOST_TIMINGS = 3

log = logging.getLogger(__name__)


class Latency(NamedTuple):
    """Milliseconds that a megapixel takes at best, None without an image, and how busy the machine was at the least."""

    milliseconds: float | None
    load: Load


def time_version(version: Detector, prepared: Path, images: Sequence[PreparedImage]) -> Latency:
    """Time a version, and again, up to three times in all, while other work runs on the machine.

    Args:
        version: To be registered.
        prepared: The surface's prepared folder.
        images: Of the surface; some of them are timed.

    Returns:
        The quickest of all timings, since other work can only slow one down.

    Raises:
        ScoreError: If a score or map is not finite.
    """
    found: list[Latency] = []
    while not found or (len(found) < _MOST_TIMINGS and found[-1].load.is_busy):
        found.append(Latency(measure_latency(version, prepared, images), read_load()))
    known = [one.milliseconds for one in found if one.milliseconds is not None]
    return Latency(min(known, default=None), min((one.load for one in found), key=lambda load: load.average))


class Timing(NamedTuple):
    """The ratio of both p95s, None without a region, and how busy the machine was."""

    ratio: Interval | None
    load: Load

    def is_above(self, most: float) -> bool:
        """Tell whether the ratio is surely above the limit."""
        if self.ratio is None:
            return False
        return (self.ratio.value if self.ratio.low is None else self.ratio.low) > most


def time_in_turns(candidate: Detector, champion: Detector, regions: Sequence[NDArray[np.uint8]], most: float) -> Timing:
    """Time both in turns, and again, up to three times in all, where a busy machine would have the candidate refused.

    Args:
        candidate: The version to be judged.
        champion: The version in use.
        regions: RGB, uint8, shape (height, width, 3); of none there is no ratio.
        most: Largest ratio that is allowed.

    Returns:
        A timing within the limit if there was one, else the one at the lowest load.
    """
    found = [_time(candidate, champion, regions)]
    while len(found) < _MOST_TIMINGS and found[-1].load.is_busy and found[-1].is_above(most):
        log.info("gate: %s; latency is measured again", found[-1].load.message)
        found.append(_time(candidate, champion, regions))
    return min(found, key=lambda one: (one.is_above(most), one.load.average))


def _time(candidate: Detector, champion: Detector, regions: Sequence[NDArray[np.uint8]]) -> Timing:
    with waiting("gate, latency"):
        return Timing(latency_ratio(candidate, champion, regions), read_load())
