"""Stage: rank images that are taken for normal by how little they resemble each other."""

import hashlib
import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from pipelines.core.errors import CallError, SourceError
from pipelines.core.paths import inside
from pipelines.core.progress import track
from pipelines.core.records import Label, Split
from pipelines.core.results import Inspected
from pipelines.core.surface_settings import DefectSettings
from pipelines.data.prepared import PreparedImage
from pipelines.data.review_ledger import raw_file
from pipelines.imaging.components import find_defects
from pipelines.imaging.decoding import decode_image
from pipelines.imaging.tile_plan import TileSettings, choose_plan
from pipelines.imaging.tiling import TileSet
from pipelines.inspection.showcase import Showcase, Shown
from pipelines.inspection.sinks import InspectedImage

_FOLDS = 5
_TOP = 0.01  # of an image's places: a defect is small
_USUAL = 0.99  # of all places: what lies above is outlined
_OUTLINES = DefectSettings(low=1.0, min_area=1)
_MOST_OUTLINES = 5  # of one image

log = logging.getLogger(__name__)


class Unlike(NamedTuple):
    """An image and how unlike the others it is: `score` 1 is the median image; `map` (rows, columns) and `level`, what
    99 % of all places lie below, are distances.
    """

    image: PreparedImage
    score: float
    map: NDArray[np.float32]
    level: float


def taken_for_normal(images: Sequence[PreparedImage]) -> list[PreparedImage]:
    """List the images that models are made of, none of which may show a defect: all but anomalous and test ones."""
    return [i for i in images if i.label != Label.ANOMALOUS and i.split != Split.TEST]


def assign_folds(groups: Sequence[str]) -> list[int]:
    """Deal groups out to folds, in the order of their hashes, so that no group is in two and no fold much larger.

    Args:
        groups: The group of each image; at least two different ones.

    Returns:
        The fold of each image, from 0; five folds, or as many as there are groups.

    Raises:
        CallError: If all images are of one group.

    >>> assign_folds(["a", "b", "a"])
    [1, 0, 1]
    """
    ordered = sorted(set(groups), key=lambda group: hashlib.sha256(group.encode()).digest())
    if len(ordered) < 2:
        raise CallError(
            f"{len(groups)} images of {len(ordered)} groups cannot be compared: at least two groups are needed",
            hint="add normal images: `knotwatch data update SURFACE`",
        )
    folds = {group: number % _FOLDS for number, group in enumerate(ordered)}
    return [folds[group] for group in groups]


def rank_unlike(prepared: Path, images: Sequence[PreparedImage], scratch: Path | None = None) -> list[Unlike]:
    """Rank images by how unlike each is to those of other folds, the most unlike first.

    No image is compared with one of its own group, and nothing is trained.

    Args:
        prepared: The surface's prepared folder.
        images: As `taken_for_normal` returns them.
        scratch: Folder for a file that is gone afterwards, 0.6 MB an image; None is the system's.

    Returns:
        All of `images`; the score is the mean of the highest 1 % of the image's map, divided by the median of all.

    Raises:
        CallError: If all images are of one group.
        ModelError: If the weights of DINOv2 are not installed.
    """
    from pipelines.models.held_out import HELD_OUT_SIZE, map_held_out

    started = time.monotonic()
    folds = assign_folds([image.group for image in images])
    sizes = [(image.box.height, image.box.width) for image in images]
    plan = choose_plan(TileSettings(mode="fit"), sizes, HELD_OUT_SIZE)
    tiles = TileSet([inside(prepared, image.file) for image in images], plan)
    maps = map_held_out(tiles, folds, scratch)
    raw = [score_map(found) for found in maps]
    median, level = max(float(np.median(raw)), 1e-6), float(np.quantile(maps, _USUAL))
    ranked = [Unlike(i, s / median, m, level) for i, s, m in zip(images, raw, maps, strict=True)]
    log.info("suspects: %d images of %d folds, %.1f s", len(images), max(folds) + 1, time.monotonic() - started)
    return sorted(ranked, key=lambda unlike: -unlike.score)


def score_map(found: NDArray[np.float32]) -> float:
    """Average the highest 1 % of a map's places, one at least.

    >>> round(score_map(np.array([[0.1, 0.2], [0.9, 0.3]], np.float32)), 3)
    0.9
    """
    most = max(1, round(_TOP * found.size))
    return float(np.sort(found, axis=None)[-most:].mean())


def show_suspects(suspects: Sequence[Unlike], source: Path, max_megapixels: float) -> tuple[Shown, ...]:
    """Picture suspects as a person sees them, with what is least like the other images as heatmap and outlines.

    Args:
        suspects: Those to be shown, in their order.
        source: The surface's raw images; reviewed ones lie in the ledger beside it.
        max_megapixels: Largest image that is decoded, in millions of pixels.

    Returns:
        One for each, in the same order; `path` is the raw file's.

    Raises:
        SourceError: If a raw file is gone.
        ImageError: If one cannot be decoded.
    """
    return tuple(_show(s, source, max_megapixels) for s in track(suspects, len(suspects), "pictures"))


def _show(suspect: Unlike, source: Path, max_megapixels: float) -> Shown:
    file = raw_file(source, suspect.image.path)
    if not file.is_file():
        raise SourceError(f"{file} is gone", hint="restore it with `dvc checkout`, or `knotwatch data pull`")
    image = decode_image(file, max_megapixels).image
    box = suspect.image.box
    whole = np.zeros(image.shape[:2], np.float32)
    whole[box.top : box.bottom, box.left : box.right] = cv2.resize(suspect.map, (box.width, box.height))
    # A whole image may be a little unlike the others, and no place of it far.
    level = min(suspect.level, 0.9 * float(suspect.map.max()))
    outlines = find_defects(whole, level, _OUTLINES)[:_MOST_OUTLINES]
    result = Inspected(path=str(file), score=suspect.score, anomalous=False, defects=outlines)
    showcase = Showcase(suspect.level, limit=1)
    showcase.add(InspectedImage(image, whole, {}, result, file.name, file.stem))
    return showcase.shown()[0]
