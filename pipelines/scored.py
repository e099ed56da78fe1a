"""A version's scores of the test part: one score and verdict a photograph, and a table of all pixels."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipelines.loader import Detector
from pipelines.metrics.histograms import choose_edges
from pipelines.metrics.pixels import PixelHistograms, PixelTable
from pipelines.prepared import PreparedImage, read_mask, read_region
from pipelines.progress import track
from pipelines.records import Label, ScoredImage

_SAMPLE = 2000  # pixels of each class and image that choose the histograms' bins


class ScoredTest(NamedTuple):
    """Photographs in the order they were given; `rows` are the numbers of those that `table` counts the pixels of.

    `types` are the names of the defects; the table numbers them from 1 in this order.
    """

    images: tuple[ScoredImage, ...]
    table: PixelTable
    rows: NDArray[np.intp]
    types: tuple[str, ...]

    @property
    def scores(self) -> NDArray[np.float64]:
        return np.array([image.score for image in self.images])

    @property
    def anomalous(self) -> NDArray[np.bool_]:
        """Say which photographs are labelled anomalous, (images,)."""
        return np.array([image.label == Label.ANOMALOUS for image in self.images], dtype=bool)


class _Pixels(NamedTuple):
    """One photograph's map, its mask with one number per type, and where pixels count; all (H, W)."""

    map: NDArray[np.float32]
    mask: NDArray[np.uint8]
    valid: NDArray[np.bool_]


def score_test(
    detector: Detector, prepared: Path, images: Sequence[PreparedImage], spool: Path, label: str = "evaluate"
) -> ScoredTest:
    """Score photographs, and count the pixels of those with a mask or without a defect.

    Region maps are left in `spool` as NAME.npy, numbered as the photographs.
    """
    spool.mkdir(parents=True, exist_ok=True)
    scored = tuple(_score_all(detector, prepared, images, spool, label))
    types = sorted({name for image in images for name in image.defects.values()})
    with_masks = [n for n, i in enumerate(images) if i.mask or i.label == Label.NORMAL]
    table = _count_pixels([(images[n], spool / f"{n}.npy") for n in with_masks], prepared, types)
    return ScoredTest(scored, table, np.array(with_masks, dtype=np.intp), tuple(types))


def _score_all(
    detector: Detector, prepared: Path, images: Sequence[PreparedImage], spool: Path, label: str
) -> Iterator[ScoredImage]:
    for number, image in enumerate(track(images, len(images), label)):
        found = detector.scan_region(read_region(prepared, image))
        np.save(spool / f"{number}.npy", found.map)
        yield ScoredImage(
            path=image.path,
            label=image.label,
            score=found.score,
            anomalous=detector.is_anomalous(found.score),
            condition=image.condition,
            defects=tuple(sorted(set(image.defects.values()))),
        )


def _read_pixels(image: PreparedImage, spooled: Path, prepared: Path, types: Sequence[str]) -> _Pixels:
    """Place a region's map in its photograph and give each defect type its number over the whole surface."""
    box = image.box
    whole = np.zeros((image.height, image.width), np.float32)
    whole[box.top : box.bottom, box.left : box.right] = np.load(spooled)
    valid = np.zeros(whole.shape, dtype=bool)
    valid[box.top : box.bottom, box.left : box.right] = True
    numbers = np.zeros(256, np.uint8)
    for value, name in image.defects.items():
        numbers[value] = types.index(name) + 1
    return _Pixels(whole, numbers[read_mask(prepared, image)], valid)


def _count_pixels(images: Sequence[tuple[PreparedImage, Path]], prepared: Path, types: Sequence[str]) -> PixelTable:
    """Read each spooled map twice: a sample fixes the bins, then all pixels are counted."""
    sound, defective = [np.zeros(0, np.float32)], [np.zeros(0, np.float32)]
    for image, spooled in images:
        pixels = _read_pixels(image, spooled, prepared, types)
        sound.append(_sample(pixels.map[pixels.valid & (pixels.mask == 0)]))
        defective.append(_sample(pixels.map[pixels.mask > 0]))
    histograms = PixelHistograms(choose_edges(np.concatenate(sound), np.concatenate(defective)))
    for image, spooled in images:
        histograms.add(*_read_pixels(image, spooled, prepared, types))
    return histograms.table()


def _sample(values: NDArray[np.float32]) -> NDArray[np.float32]:
    if values.size <= _SAMPLE:
        return values
    return np.asarray(values[np.linspace(0, values.size - 1, _SAMPLE).astype(int)])
