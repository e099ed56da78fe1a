"""Stage: what the select part says of a version, with defects planted into its normals. Choices are made on this."""

import logging
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pipelines.loader import Detector
from pipelines.metrics.histograms import choose_edges
from pipelines.metrics.intervals import image_intervals, pixel_intervals
from pipelines.metrics.pixels import PixelHistograms
from pipelines.planted import scan_planted, select_normals
from pipelines.prepared import PreparedImage
from pipelines.records import Selection

_SHOWN = ("image_auroc", "image_ap", "pixel_auroc", "pixel_ap", "aupro")

log = logging.getLogger(__name__)


def score_selection(
    detector: Detector, prepared: Path, images: Sequence[PreparedImage], rounds: int, seed: int
) -> Selection:
    """Plant a defect `rounds` times into each select normal and see what the version makes of it."""
    started = time.monotonic()
    chosen = select_normals(images) if rounds else []
    scores: list[float] = []
    histograms = PixelHistograms(choose_edges([], []))
    for found in scan_planted(detector, prepared, chosen, rounds, seed):
        scores.append(found.scan.score)
        histograms.add(found.scan.map, found.mask.astype(np.uint8), np.ones(found.mask.shape, dtype=bool))
    anomalous = np.tile([False] + [True] * rounds, len(chosen))
    metrics = image_intervals(scores, anomalous, 1.0, 0, seed) if chosen else {}
    metrics |= pixel_intervals(histograms.table(), 0, seed) if chosen else {}
    seconds = time.monotonic() - started
    count = len(chosen) * rounds
    if chosen:
        log.info("select %s: %d images, %d planted, %.1f s", detector.info.algorithm, len(chosen), count, seconds)
    shown = {name: metrics[name].value for name in _SHOWN if name in metrics}
    return Selection(
        images=len(chosen),
        planted=count,
        metrics=shown,
        seconds=seconds,
        scores=tuple(scores),
        holds_defect=tuple(anomalous.tolist()),
    )
