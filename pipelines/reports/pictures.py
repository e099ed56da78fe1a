"""The pictures of a run: which of its test images are shown on its page, and the one that stands for its version."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipelines.core.files import write_whole
from pipelines.core.records import Label
from pipelines.core.results import Evaluation, ScoredImage
from pipelines.data.prepared import PreparedImage, read_index, read_mask, read_region
from pipelines.imaging.measures import shrink
from pipelines.imaging.overlay import TRUE, data_uri, encode_picture, outline, strip
from pipelines.reports.folders import EXAMPLE, PAGE
from pipelines.reports.run_page import Picture, PictureGroup, RunPage, write_run_page

# A strip holds three panels of this longer side; twenty-four of them stay below 5 MB a page.
_PANEL = 480


def write_pages(
    prepared: Path,
    folder: Path,
    page: RunPage,
    pixel_threshold: float,
    maps: Path,
    pictures: int,
) -> Path:
    """Write a run's page and its pictures as files, and one marked image that stands for its version.

    Args:
        prepared: The surface's, which must still hold the images of the evaluation.
        folder: Of the run's reports.
        page: Without pictures, which are chosen here from its evaluation.
        pixel_threshold: On the scale of the maps.
        maps: Holds a region's map (H, W) for each image of the evaluation: N.npy is the N-th, counted from 0.
        pictures: How many each group shows at most: misses, false alarms and hits.

    Returns:
        The page.

    Raises:
        ToolError: If the table of prepared images is missing or damaged.
    """
    images = {image.path: image for image in read_index(prepared)}
    shown: list[Picture] = []
    for group, number, scored in _choose(page.evaluation, pictures):
        encoded = _draw(prepared, images[scored.path], maps / f"{number}.npy", pixel_threshold)
        name = f"{group.value.replace(' ', '-')}-{sum(p.group == group for p in shown) + 1}.jpg"
        write_whole(folder / "pictures" / name, encoded)
        uri = data_uri(encoded)
        shown.append(Picture(group=group, path=scored.path, score=scored.score, data_uri=uri, defects=scored.defects))
    for number, scored in choose_examples(page.evaluation):
        found = np.load(maps / f"{number}.npy") > pixel_threshold
        marked = mark_region(prepared, images[scored.path], found, _PANEL)
        write_whole(folder / EXAMPLE, encode_picture(marked))
        if found.any():
            break
    write_run_page(page.model_copy(update={"pictures": tuple(shown)}), folder / PAGE)
    return folder / PAGE


def _choose(evaluation: Evaluation, pictures: int) -> Iterator[tuple[PictureGroup, int, ScoredImage]]:
    """Choose the worst misses and false alarms, and hits from the middle of their scores."""
    numbered = list(enumerate(evaluation.images))

    def among(test: Callable[[ScoredImage], bool], *, rising: bool) -> list[tuple[int, ScoredImage]]:
        return sorted((p for p in numbered if test(p[1])), key=lambda p: p[1].score if rising else -p[1].score)

    misses = among(lambda s: s.label == Label.ANOMALOUS and not s.anomalous, rising=True)
    alarms = among(lambda s: s.label == Label.NORMAL and s.anomalous, rising=False)
    hits = among(lambda s: s.label == Label.ANOMALOUS and s.anomalous, rising=False)
    groups = (
        (PictureGroup.MISS, misses),
        (PictureGroup.FALSE_ALARM, alarms),
        (PictureGroup.HIT, _middle(hits, pictures)),
    )
    for group, found in groups:
        for number, scored in found[:pictures]:
            yield group, number, scored


def _middle(found: Sequence[tuple[int, ScoredImage]], count: int) -> list[tuple[int, ScoredImage]]:
    start = max(0, (len(found) - count) // 2)
    return list(found[start : start + count])


def _draw(prepared: Path, image: PreparedImage, spooled: Path, pixel_threshold: float) -> bytes:
    box = image.box
    mask = read_mask(prepared, image)[box.top : box.bottom, box.left : box.right] > 0
    picture = strip(read_region(prepared, image), np.load(spooled), pixel_threshold, mask, _PANEL)
    return encode_picture(picture)


_TRIED = 5  # examples that may show no outline before one without is taken


def choose_examples(evaluation: Evaluation) -> list[tuple[int, ScoredImage]]:
    """Choose what may stand for a version: hits from the middle of their scores, else what scores highest.

    Args:
        evaluation: Of the version; its images need no labels.

    Returns:
        At most five images with their places in the evaluation, the last to be taken first.
    """
    numbered = sorted(enumerate(evaluation.images), key=lambda p: -p[1].score)
    hits = [p for p in numbered if p[1].label == Label.ANOMALOUS and p[1].anomalous]
    return _middle(hits, _TRIED) or numbered[:_TRIED]


def mark_region(prepared: Path, image: PreparedImage, found: NDArray[np.bool_], side: int) -> NDArray[np.uint8]:
    """Draw what was found on an image's region of interest, and what is labelled where it has labels.

    Args:
        prepared: The surface's folder of prepared images.
        image: One of its index.
        found: What is outlined as found, shape (H, W) of the region.
        side: Most pixels of the picture's longer side.

    Returns:
        RGB picture, uint8; lines are so wide that they stay visible.
    """
    region = read_region(prepared, image)
    line = max(1, round(2 * max(region.shape[:2]) / side))
    box = image.box
    mask = read_mask(prepared, image)[box.top : box.bottom, box.left : box.right] > 0
    return shrink(outline(outline(region, mask, TRUE, line), found, width=line), side)
