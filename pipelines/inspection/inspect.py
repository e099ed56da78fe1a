"""Stage: look at new images with a registered version."""

import functools
import logging
import os
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipelines.core.errors import CallError, ImageError, ScoreError
from pipelines.core.files import write_whole
from pipelines.core.progress import track
from pipelines.core.results import Inspected
from pipelines.detector.detector import Detector, Scan
from pipelines.imaging.components import draw_regions
from pipelines.imaging.decoding import decode_image
from pipelines.imaging.measures import MEASURES, measure_image
from pipelines.imaging.overlay import encode_map, encode_picture, strip
from pipelines.inspection.history import Observation
from pipelines.inspection.inputs import InputImage
from pipelines.inspection.sinks import InspectedImage, Sink, close_all

_PANEL = 900  # longer side of each of the picture's three panels, pixels

log = logging.getLogger(__name__)


class InspectionOutcome(NamedTuple):
    """One image's result, and what the history keeps of it."""

    inspected: Inspected
    observation: Observation


def _spare_images(images: Sequence[InputImage], out: Path | None, maps: Path | None) -> None:
    inputs = {os.path.realpath(p.file) for p in images}
    # A result takes the place of its own name, also where that is a link: only its folder is followed.
    real_folder = functools.cache(os.path.realpath)
    for image in images:
        for target in (_overlay_file(out, image), _map_file(maps, image)):
            if target is not None and f"{real_folder(target.parent)}/{target.name}" in inputs:
                raise CallError(
                    f"the result {target} would be written over an image",
                    hint="give --out and --maps other folders",
                )


def _overlay_file(out: Path | None, image: InputImage) -> Path | None:
    return None if out is None else out / f"{image.stem}.jpg"


def _map_file(maps: Path | None, image: InputImage) -> Path | None:
    return None if maps is None else maps / f"{image.stem}.tiff"


def inspect_images(
    detector: Detector,
    version: int,
    images: Sequence[InputImage],
    out: Path | None,
    maps: Path | None,
    sinks: Sequence[Sink] = (),
) -> Iterator[InspectionOutcome]:
    """Score images one by one; nothing is kept of what was handed on.

    A file that cannot be read, or scanned, or that gets no finite score, is reported in its place and stops nothing.

    Args:
        detector: The version that looks at them.
        version: Its number in the registry, for the history.
        images: May be empty.
        out: Folder for a picture of each, STEM.jpg: image, heatmap and outlines; None for no pictures.
        maps: Folder for a float32 TIFF of each map, STEM.tiff; None for no maps.
        sinks: Get each image that was scanned; closed after the last image.

    Yields:
        Each image's result, in the order of `images`.

    Raises:
        CallError: If a result would be written over one of the images; nothing is inspected then.
    """
    _spare_images(images, out, maps)
    started = time.monotonic()
    looked = flagged = unread = 0
    for image in track(images, len(images), "inspect"):
        found = _inspect_one(detector, version, image, out, maps, sinks)
        looked += 1
        flagged += bool(found.inspected.anomalous)
        unread += found.inspected.error is not None
        yield found
    close_all(sinks)
    log.info(
        "inspect %s: %d images, %d anomalous, %d unreadable, %.1f s",
        *(detector.info.surface, looked, flagged, unread, time.monotonic() - started),
    )


def _inspect_one(
    detector: Detector,
    version: int,
    source_image: InputImage,
    out: Path | None,
    maps: Path | None,
    sinks: Sequence[Sink],
) -> InspectionOutcome:
    seen = Observation(time=datetime.now(UTC), path=str(Path(source_image.shown).absolute()), version=version)
    try:
        image = decode_image(Path(source_image.file), detector.info.max_megapixels).image
        # Also here: a fixed region of interest may lie outside of one image.
        scan = detector.scan(image)
    except (ImageError, ScoreError) as error:
        return InspectionOutcome(
            Inspected(path=source_image.shown, error=error.problem), seen.model_copy(update={"error": error.problem})
        )
    written_map, written_overlay = _map_file(maps, source_image), _overlay_file(out, source_image)
    if written_map is not None:
        write_whole(written_map, encode_map(scan.map))
    if written_overlay is not None:
        found = draw_regions(scan.defects, *scan.map.shape) > 0
        picture = strip(image, scan.map, detector.info.pixel_threshold.threshold, max_side=_PANEL, found=found)
        write_whole(written_overlay, encode_picture(picture))
    height, width = image.shape[:2]
    inspected = Inspected(
        path=source_image.shown,
        score=scan.score,
        anomalous=scan.anomalous,
        width=width,
        height=height,
        map=str(written_map) if written_map else None,
        overlay=str(written_overlay) if written_overlay else None,
        defects=scan.defects,
        normal_regions=scan.normal_regions,
        out_of_distribution=scan.out_of_distribution,
    )
    observation = observe(seen, image, scan)
    measures = observation.model_dump(include=set(MEASURES))
    for sink in sinks:
        sink.add(
            InspectedImage(
                image, scan.map, measures, inspected, source_image.name, source_image.stem, source_image.file
            )
        )
    return InspectionOutcome(inspected, observation)


def observe(seen: Observation, image: NDArray[np.uint8], scan: Scan) -> Observation:
    """Fill in what a scan found on an image, and how its region of interest measures.

    Args:
        seen: Time, path and version; not changed.
        image: RGB image as a person sees it, uint8, shape (H, W, 3).
        scan: Of that image.

    Returns:
        The whole line for the history.
    """
    box = scan.region
    measures = measure_image(image[box.top : box.bottom, box.left : box.right])
    return seen.model_copy(
        update={
            "score": scan.score,
            "anomalous": scan.anomalous,
            **{name: getattr(measures, name) for name in MEASURES},
        }
    )
