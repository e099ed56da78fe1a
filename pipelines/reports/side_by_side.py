"""The same images as each algorithm of a retrain sees them: those on which they disagree most, and a normal one."""

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from pipelines.core.records import Label, Record
from pipelines.core.results import ScoredImage
from pipelines.data.prepared import PreparedImage, read_index, read_region
from pipelines.detector.detector import Detector
from pipelines.imaging.overlay import data_uri, encode_picture
from pipelines.reports.pictures import mark_region

_PANEL = 400  # pixels of a picture's longer side
_SMALLEST = 1e-30

log = logging.getLogger(__name__)


class Seen(Record):
    """What one algorithm makes of an image; the picture has its outlines."""

    algorithm: str
    score: float
    threshold: float
    anomalous: bool
    data_uri: str = Field(pattern=r"^data:image/jpeg;base64,[A-Za-z0-9+/]+=*$")


class ImageSeen(Record):
    """One image as several algorithms see it."""

    path: str
    label: Label
    defects: tuple[str, ...]
    views: tuple[Seen, ...]


def choose_disagreed(
    scored: Mapping[str, Sequence[ScoredImage]], thresholds: Mapping[str, float], most: int
) -> list[ScoredImage]:
    """Choose images by how far the algorithms' scores are apart, each in units of its own threshold.

    Images that some call anomalous and others normal come first.

    Args:
        scored: Test images by algorithm, two or more; images that not all have scored do not count.
        thresholds: Image threshold by algorithm.
        most: How many anomalous ones, or where nothing is labelled anomalous, images of any kind.

    Returns:
        The anomalous ones, then one normal image where there is one; empty with one algorithm or `most` 0.
    """
    if len(scored) < 2 or most < 1:
        return []
    by_path = [{image.path: image for image in images} for images in scored.values()]
    common = [path for path in by_path[0] if all(path in images for images in by_path)]
    levels = [max(thresholds[name], _SMALLEST) for name in scored]

    def apart(path: str) -> tuple[bool, float, str]:
        found = [images[path] for images in by_path]
        octaves = [math.log2(max(image.score, _SMALLEST) / level) for image, level in zip(found, levels, strict=True)]
        return len({image.anomalous for image in found}) < 2, min(octaves) - max(octaves), path

    ordered = [by_path[0][path] for path in sorted(common, key=apart)]
    anomalous = [image for image in ordered if image.label == Label.ANOMALOUS]
    normal = [image for image in ordered if image.label == Label.NORMAL]
    return [*(anomalous or [i for i in ordered if i not in normal])[:most], *normal[:1]]


def draw_side_by_side(
    prepared: Path, chosen: Sequence[ScoredImage], folders: Mapping[str, Path]
) -> tuple[ImageSeen, ...]:
    """Score some images again by each algorithm, and outline what each finds.

    Args:
        prepared: The surface's prepared images, which the chosen ones are among.
        chosen: Test images, in the order that they are shown in.
        folders: Model folder by algorithm.

    Returns:
        One entry an image.

    Raises:
        KnotwatchError: If a model folder, or the table of prepared images, is damaged.
    """
    index = {image.path: image for image in read_index(prepared)}
    views: dict[str, list[Seen]] = {image.path: [] for image in chosen}
    for algorithm, folder in folders.items():
        # One after another: a network that is loaded takes hundreds of megabytes.
        for path, seen in _see(prepared, [index[image.path] for image in chosen], algorithm, folder):
            views[path].append(seen)
    return tuple(ImageSeen(path=i.path, label=i.label, defects=i.defects, views=tuple(views[i.path])) for i in chosen)


def _see(prepared: Path, images: Sequence[PreparedImage], algorithm: str, folder: Path) -> Iterator[tuple[str, Seen]]:
    detector = Detector(folder)
    for image in images:
        region = read_region(prepared, image)
        judged = detector.judge(region, detector.scan_region(region))
        found = _fill([defect.outline for defect in judged.defects], region.shape[:2])
        yield (
            image.path,
            Seen(
                algorithm=algorithm,
                score=judged.score,
                threshold=detector.info.image_threshold.threshold,
                anomalous=judged.anomalous,
                data_uri=data_uri(encode_picture(mark_region(prepared, image, found, _PANEL))),
            ),
        )


def _fill(outlines: Sequence[Sequence[tuple[int, int]]], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    mask = np.zeros(shape, np.uint8)
    for points in outlines:
        cv2.fillPoly(mask, [np.array(points, np.int32)], 1)
    return mask > 0
