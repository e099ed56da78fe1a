"""Stage: what the validation split says of a version, by its labelled anomalies, and by synthetic ones that are
added to its normals. Choices are made on this.
"""

import hashlib
import logging
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipelines.core.progress import track
from pipelines.core.records import Label, Split
from pipelines.core.results import Selection
from pipelines.data.prepared import PreparedImage, read_region, without_anomalies
from pipelines.detector.cache import CrossFitted, TileCache, Wraps, wrap_for
from pipelines.detector.detector import Detector
from pipelines.detector.scan import MapsTiles, RegionScan, Wrap
from pipelines.imaging.synthetic.anomalies import add_synthetic_anomaly
from pipelines.metrics.histograms import choose_edges
from pipelines.metrics.intervals import image_intervals, pixel_intervals
from pipelines.metrics.pixels import PixelHistograms
from pipelines.training.choosing.labelled import choose_labelled_images, score_labelled


class SyntheticScan(NamedTuple):
    """One region's scan and where its synthetic anomaly is, (H, W); nowhere in a normal one."""

    scan: RegionScan
    mask: NDArray[np.bool_]


def validation_normals(images: Sequence[PreparedImage]) -> list[PreparedImage]:
    """Choose the images that synthetic anomalies are added to; of an adaptation's some may be unlabelled."""
    return without_anomalies(images, Split.VALIDATION)


def scan_synthetic(
    detector: Detector,
    prepared: Path,
    chosen: Sequence[PreparedImage],
    repeats: int,
    seed: int,
    label: str = "validation",
    wrap: Wraps = None,
) -> Iterator[SyntheticScan]:
    """Scan each image's normal region, then the same region with synthetic anomalies.

    The defects follow from the seed, the image and the round alone, so that versions and algorithms meet the same ones.

    Args:
        detector: The version; maps and scores are on its scale.
        prepared: The surface's prepared folder.
        chosen: Images without known defects, as `validation_normals` chooses them; may be empty.
        repeats: Synthetic anomalies for each image, one at a time; 0 scans normal regions alone.
        seed: Draws the anomalies.
        label: Word before the progress bar.
        wrap: Puts a network before each of the version's, or in its place, below what remembers the tiles of one image.

    Yields:
        For each image its normal scan, whose mask is empty, then `repeats` others.

    Raises:
        ScoreError: If a score or map is not finite.
    """
    for image in track(chosen, len(chosen), label):
        region, cache = read_region(prepared, image), TileCache()
        own = wrap_for(wrap, image)

        def remember(network: MapsTiles, cache: TileCache = cache, below: Wrap | None = own) -> MapsTiles:
            return cache.wrap(below(network) if below else network)

        yield SyntheticScan(detector.scan_region(region, remember), np.zeros(region.shape[:2], dtype=bool))
        cache.freeze()
        for number in range(repeats):
            synthetic = add_synthetic_anomaly(region, _generator(seed, image.path, number))
            yield SyntheticScan(detector.scan_region(synthetic.image, remember), synthetic.mask)


def _generator(seed: int, path: str, number: int) -> np.random.Generator:
    digest = hashlib.sha256(f"{seed}/{path}/{number}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "big"))


_SHOWN = ("image_auroc", "image_ap", "pixel_auroc", "pixel_ap", "aupro")

log = logging.getLogger(__name__)


def score_selection(  # noqa: PLR0913 - a stage is handed all that it depends on
    detector: Detector,
    prepared: Path,
    images: Sequence[PreparedImage],
    repeats: int,
    seed: int,
    *,
    resamples: int = 0,
    scratch: Path | None = None,
    wrap: Wraps = None,
) -> Selection:
    """Add synthetic anomalies to the validation normals, and see what the version makes of them and of labelled ones.

    Where the training split's images can be judged by networks that do not know them, they stand in for normals of the
    validation split.

    Args:
        detector: The version; scores are on its scale.
        prepared: The surface's prepared folder.
        images: All of the surface; those of other splits are left out.
        repeats: Synthetic anomalies for each image, one at a time; with 0 none are added.
        seed: Draws the anomalies, and the resamples.
        resamples: Bootstrap resamples behind the 95 % intervals of labelled figures; 0 gives none.
        scratch: Folder that region maps lie in meanwhile; None takes the system's.
        wrap: Puts a network before each of the version's, such as one that knows tiles already, or in its place, by
            image. None: none.

    Returns:
        Image and pixel metrics, and every score with a synthetic anomaly or without; no metric without validation
        normals, and no labelled one without labelled anomalies.

    Raises:
        ScoreError: If a score or map is not finite.
    """
    started = time.monotonic()
    known, own = (True, None) if isinstance(wrap, CrossFitted) else (False, wrap)
    normals = validation_normals(images) or (without_anomalies(images, Split.TRAIN) if known else [])
    chosen = normals if repeats else []
    scores: list[float] = []
    histograms = PixelHistograms(choose_edges([], []))
    for found in scan_synthetic(detector, prepared, chosen, repeats, seed, wrap=wrap):
        scores.append(found.scan.score)
        histograms.add(found.scan.map, found.mask.astype(np.uint8), np.ones(found.mask.shape, dtype=bool))
    anomalous = np.tile([False] + [True] * repeats, len(chosen))
    metrics = image_intervals(scores, anomalous, 1.0, 0, seed) if chosen else {}
    metrics |= pixel_intervals(histograms.table(), 0, seed) if chosen else {}
    told = choose_labelled_images(images)
    labelled = sum(image.label == Label.ANOMALOUS for image in told)
    labelled_metrics = score_labelled(detector, prepared, told, resamples, seed, scratch, own)
    seconds = time.monotonic() - started
    count = len(chosen) * repeats
    if chosen or told:
        log.info(
            "select %s: %d images, %d synthetic, %d labelled, %.1f s",
            *(detector.info.algorithm, len(normals), count, labelled, seconds),
        )
    shown = {name: metrics[name].value for name in _SHOWN if name in metrics}
    return Selection(
        images=len(chosen),
        synthetic=count,
        metrics=shown,
        seconds=seconds,
        scores=tuple(scores),
        holds_defect=tuple(anomalous.tolist()),
        labelled=labelled,
        labelled_metrics=labelled_metrics,
    )
