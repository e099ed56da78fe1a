"""Stage: what the select part says of a version, with defects planted into its normals. Choices are made on this."""

import hashlib
import logging
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipelines.core.progress import track
from pipelines.core.records import Label, Part
from pipelines.core.results import Selection
from pipelines.data.prepared import PreparedImage, read_region
from pipelines.detector.detector import Detector
from pipelines.detector.scan import RegionScan, Remembering
from pipelines.imaging.synthetic.anomalies import plant_defect
from pipelines.metrics.histograms import choose_edges
from pipelines.metrics.intervals import image_intervals, pixel_intervals
from pipelines.metrics.pixels import PixelHistograms


class PlantedScan(NamedTuple):
    """One region's scan and where its planted defect is, (H, W); nowhere in a sound one."""

    scan: RegionScan
    mask: NDArray[np.bool_]


def select_normals(images: Sequence[PreparedImage]) -> list[PreparedImage]:
    """Choose the photographs that defects are planted into; of an adaptation's some may be unlabelled."""
    return [i for i in images if i.part == Part.SELECT and i.label != Label.ANOMALOUS]


def scan_planted(
    detector: Detector, prepared: Path, chosen: Sequence[PreparedImage], rounds: int, seed: int, label: str = "select"
) -> Iterator[PlantedScan]:
    """Yield for each photograph the scan of its sound region, then `rounds` of the same with a defect planted.

    The defects follow from the seed, the image and the round alone, so that versions and algorithms meet the same ones.
    """
    for image in track(chosen, len(chosen), label):
        region, network = read_region(prepared, image), Remembering(detector.network)
        yield PlantedScan(detector.scan_region(region, network), np.zeros(region.shape[:2], dtype=bool))
        network.learn_no_more()
        for number in range(rounds):
            planted = plant_defect(region, _generator(seed, image.path, number))
            yield PlantedScan(detector.scan_region(planted.image, network), planted.mask)


def _generator(seed: int, path: str, number: int) -> np.random.Generator:
    digest = hashlib.sha256(f"{seed}/{path}/{number}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "big"))


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
