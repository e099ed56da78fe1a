"""How long a version takes for a megapixel."""

import math
import time
from collections.abc import Sequence
from pathlib import Path

from pipelines.core.progress import waiting
from pipelines.data.prepared import PreparedImage, read_region
from pipelines.detector.detector import Detector
from pipelines.imaging.tiling import subsample

_IMAGES, _LEAST = 8, 2
_SMALL = 0.1  # megapixels
_LONGEST = 20.0  # seconds; two images are always timed, after one that warms up


def measure_latency(detector: Detector, prepared: Path, images: Sequence[PreparedImage]) -> float | None:
    """Time regions of interest from pixels to map and score.

    The quickest is taken, not the mean: whatever else the machine does can only slow it down. No image is taken to
    need longer than the time that its processors spent on it, which on a busy machine is less than what passed.

    Args:
        detector: The version.
        prepared: The surface's prepared folder.
        images: Of the surface; up to eight, spread over them, are timed.

    Returns:
        Milliseconds for a megapixel of region; a small one counts as a tenth of that, since what a call costs by itself
        would be most of it. None without an image.

    Raises:
        ScoreError: If a score or map is not finite.
    """
    chosen = subsample(list(images), _IMAGES)
    if not chosen:
        return None
    with waiting("time a megapixel"):
        return _time_best(detector, prepared, chosen) * 1000


def _time_best(detector: Detector, prepared: Path, chosen: Sequence[PreparedImage]) -> float:
    detector.scan_region(read_region(prepared, chosen[0]))
    started, best = time.perf_counter(), math.inf
    for number, image in enumerate(chosen):
        if number >= _LEAST and time.perf_counter() - started > _LONGEST:
            break
        region = read_region(prepared, image)
        begun, worked = time.perf_counter(), time.process_time()
        detector.scan_region(region)
        seconds = min(time.perf_counter() - begun, time.process_time() - worked)
        best = min(best, seconds / max(region.shape[0] * region.shape[1] / 1e6, _SMALL))
    return best
