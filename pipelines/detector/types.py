"""Naming the defects of an image, and telling which regions are normal after all."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipelines.core.geometry import Box, Defect
from pipelines.core.records import NORMAL, TYPES, UNKNOWN
from pipelines.detector.type_head import FILE, Named, load_head
from pipelines.imaging.appendages import find_appendages
from pipelines.imaging.components import draw_regions
from pipelines.imaging.crops import cut_crop
from pipelines.models.openvino.embedder import embed_crops
from pipelines.models.openvino.runtime import TileModel

# The highest peaks come first; what an image full of regions shows is not told by the hundredth.
_MOST = 50
_SURE = 0.5  # of a part: likelier that than anything else


class Sorted(NamedTuple):
    """Regions that stay defects, with their types, and those judged normal."""

    defects: tuple[Defect, ...]
    normal_regions: tuple[Defect, ...]


class Namer:
    """A version's network and head for types."""

    def __init__(self, folder: Path) -> None:
        self._network = TileModel(folder / TYPES)
        self._head = load_head(folder / TYPES / FILE)

    def sort(self, image: NDArray[np.uint8], defects: Sequence[Defect]) -> Sorted:
        """Name the 50 highest defects of an image, and separate normal regions.

        Args:
            image: RGB, uint8, shape (height, width, 3): a whole image or its region of interest.
            defects: Boxes and outlines in pixels of `image`, the highest peak first; those after the 50th keep no type.

        Returns:
            New records in the same order; both parts together are all of `defects`.

        Raises:
            ScoreError: If the head gives a probability that is not finite.
        """
        if not defects:
            return Sorted((), ())
        crops = [cut_crop(image, Box(*defect.box)) for defect in defects[:_MOST]]
        found = self._head.name(embed_crops(self._network, crops))
        named = [(_with_type(d, n), n.dropped) for d, n in zip(defects, found, strict=False)]
        kept = [self._with_appendages(image, defect) for defect, dropped in named if not dropped] + list(
            defects[_MOST:]
        )
        return Sorted(tuple(kept), tuple(defect for defect, dropped in named if dropped))

    def _with_appendages(self, image: NDArray[np.uint8], defect: Defect) -> Defect:
        """Name body and appendages of a region by themselves, and note what they are beside what the whole is.

        Where the whole is like nothing known, or like normal surface, it is what its surest part is.
        """
        boxes = find_appendages(defect)
        if not boxes:
            return defect
        parts = self._head.name(embed_crops(self._network, [cut_crop(image, box) for box in boxes]))
        named = sorted((part.confidence, part.type) for part in parts if part.confidence is not None)
        sure = {name: confidence for confidence, name in named if confidence > _SURE and name != NORMAL}
        if defect.type in {UNKNOWN, NORMAL} and sure:
            name = max(sure, key=sure.__getitem__)
            defect = defect.model_copy(update={"type": name, "confidence": sure[name]})
        return defect.model_copy(update={"also": tuple(sorted(sure.keys() - {defect.type}))})


def _with_type(defect: Defect, named: Named) -> Defect:
    return defect.model_copy(update={"type": named.type, "confidence": named.confidence})


def find_namer(folder: Path) -> Namer | None:
    """Load a version's namer; None where it was trained without examples of types."""
    return Namer(folder) if (folder / TYPES / FILE).is_file() else None


def blank_regions(region_map: NDArray[np.float32], normal: tuple[Defect, ...]) -> NDArray[np.float32]:
    """Return a map that is 0 where regions judged normal lie.

    Args:
        region_map: Map, float32, shape (height, width); not changed.
        normal: Regions in pixels of the map; holes in them are blanked too.

    Returns:
        Map, float32, of the same shape.
    """
    return np.where(draw_regions(normal, *region_map.shape) > 0, np.float32(0), region_map)
