"""Stage: what the select part says of a version, with defects planted into its normals. Choices are made on this."""

import hashlib
import logging
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pipelines.defects.synthetic import plant_defect
from pipelines.loader import Detector
from pipelines.metrics.histograms import choose_edges
from pipelines.metrics.intervals import image_intervals, pixel_intervals
from pipelines.metrics.pixels import PixelHistograms
from pipelines.prepared import PreparedImage, read_region
from pipelines.progress import track
from pipelines.records import Label, Part, Selection

_SHOWN = ("image_auroc", "image_ap", "pixel_auroc", "pixel_ap", "aupro")

log = logging.getLogger(__name__)


def score_selection(
    detector: Detector, prepared: Path, images: Sequence[PreparedImage], rounds: int, seed: int
) -> Selection:
    """Plant a defect `rounds` times into each select normal and see what the version makes of it.

    The defects follow from the seed, the image and the round alone, so that versions and algorithms meet the same ones.
    """
    started = time.monotonic()
    chosen = [i for i in images if i.part == Part.SELECT and i.label == Label.NORMAL] if rounds else []
    scores: list[float] = []
    histograms = PixelHistograms(choose_edges([], []))
    for image in track(chosen, len(chosen), "select"):
        region = read_region(prepared, image)
        everywhere = np.ones(region.shape[:2], dtype=bool)
        sound = detector.scan_region(region)
        scores.append(sound.score)
        histograms.add(sound.map, np.zeros(region.shape[:2], np.uint8), everywhere)
        for number in range(rounds):
            planted = plant_defect(region, _generator(seed, image.path, number))
            found = detector.scan_region(planted.image)
            scores.append(found.score)
            histograms.add(found.map, planted.mask.astype(np.uint8), everywhere)
    anomalous = np.tile([False] + [True] * rounds, len(chosen))
    metrics = image_intervals(scores, anomalous, 1.0, 0, seed) if chosen else {}
    metrics |= pixel_intervals(histograms.table(), 0, seed) if chosen else {}
    seconds = time.monotonic() - started
    count = len(chosen) * rounds
    if chosen:
        log.info("select %s: %d images, %d planted, %.1f s", detector.info.algorithm, len(chosen), count, seconds)
    shown = {name: metrics[name].value for name in _SHOWN if name in metrics}
    return Selection(images=len(chosen), planted=count, metrics=shown, seconds=seconds)


def _generator(seed: int, path: str, number: int) -> np.random.Generator:
    digest = hashlib.sha256(f"{seed}/{path}/{number}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "big"))
