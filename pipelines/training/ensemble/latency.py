"""How long a version takes for a megapixel."""

import math
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pipelines.data.prepared import PreparedImage, read_region
from pipelines.detector.detector import Detector
from pipelines.imaging.tiling import subsample

_IMAGES, _LEAST = 8, 2
_LONGEST = 20.0  # seconds; two images are always timed, after one that warms up


def measure_latency(detector: Detector, prepared: Path, images: Sequence[PreparedImage]) -> float | None:
    """Time regions of interest from pixels to map and score.

    The quickest is taken, not the mean: whatever else the machine does can only slow it down.

    Args:
        detector: The version.
        prepared: The surface's prepared folder.
        images: Of the surface; up to eight, spread over them, are timed.

    Returns:
        Milliseconds for a megapixel of region; None without an image.

    Raises:
        ScoreError: If a score or map is not finite.
    """
    chosen = subsample(list(images), _IMAGES)
    if not chosen:
        return None
    detector.scan_region(read_region(prepared, chosen[0]))
    started, best = time.perf_counter(), math.inf
    for number, image in enumerate(chosen):
        if number >= _LEAST and time.perf_counter() - started > _LONGEST:
            break
        region = read_region(prepared, image)
        begun = time.perf_counter()
        detector.scan_region(region)
        best = min(best, (time.perf_counter() - begun) / np.prod(region.shape[:2]))
    return float(best * 1e9)
