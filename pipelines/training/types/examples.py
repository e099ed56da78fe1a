"""Examples of types: crops that were sorted by hand, regions of typed masks, and normal wood to tell them from."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipelines.core.geometry import Box
from pipelines.core.records import NORMAL, TYPES, Label, Split
from pipelines.data.prepared import PreparedImage, read_mask, read_region
from pipelines.imaging.crops import cut_crop, resize_crop

_LEAST_AREA = 30  # pixels of a region; less is a stroke beside it
_MOST = 300  # examples of one type: more name it no better and take time with every version
_LEAST_GROUPS = 3  # a type of fewer cannot be held out and still be known


class Example(NamedTuple):
    """A crop (128, 128, 3) of known type; examples of one `group` must not be split."""

    crop: NDArray[np.uint8]
    type: str
    group: str


class Examples(NamedTuple):
    """Examples to learn from, and the types that have too few: in how many groups each was found.

    `only` is the one type that all are of, where nothing is learnt for that reason.
    """

    kept: list[Example]
    too_few: dict[str, int]
    only: str = ""


class _TypedRegion(NamedTuple):
    image: PreparedImage
    box: Box
    type: str


def read_examples(prepared: Path, images: Sequence[PreparedImage], seed: int) -> Examples:
    """Read a surface's examples of types, and of what is normal, to tell them from.

    Regions of masks are named by the mask, and as much normal wood of their sizes is cut from training normals; what a
    reviewer rejected there is normal too. Without such regions rejected ones teach nothing: beside crops that a hand
    framed, they would be told by their frame.

    Args:
        prepared: The surface's prepared folder; crops that a hand framed lie in its types/.
        images: Of all splits; regions of masks mostly lie on test images.
        seed: Draws at most 300 examples of a type, and the places on normals.

    Returns:
        Crops of types with at least three groups each, none where fewer than two types have as many; and the others.
        The only type of a surface is learnt where somebody sorted normal crops from it by hand.
    """
    random = np.random.default_rng(seed)
    regions = _draw(list(_find_regions(prepared, images)), random)
    if regions:
        regions += _draw([*_find_normal(regions, images, random), *_find_rejected(images)], random)
    crops = list(_read_crops(prepared))
    found = [*crops, *_cut_regions(prepared, regions)]
    known = Counter(name for name, _ in {(e.type, e.group) for e in found})
    kept = [e for e in found if known[e.type] >= _LEAST_GROUPS]
    too_few = {name: known[name] for name in sorted(known) if known[name] < _LEAST_GROUPS and name != NORMAL}
    if len({e.type for e in kept}) < 2:
        return Examples([], too_few)
    types = {e.type for e in found} - {NORMAL}
    is_alone = len(types) == 1 and NORMAL not in {e.type for e in crops}
    return Examples([], too_few, only=types.pop()) if is_alone else Examples(kept, too_few)


def _read_crops(prepared: Path) -> Iterator[Example]:
    for file in sorted((prepared / TYPES).glob("*/*.png")):
        with Image.open(file) as picture:
            crop = np.asarray(picture.convert("RGB"))
        yield Example(resize_crop(crop), file.parent.name, f"{TYPES}/{file.parent.name}/{file.name}")


def _find_regions(prepared: Path, images: Sequence[PreparedImage]) -> Iterator[_TypedRegion]:
    """Yield the regions of masks, in pixels of the prepared image; what lies outside of it is not shown to anyone."""
    for image in images:
        if image.mask is None or not image.defects:
            continue
        area = image.box
        mask = read_mask(prepared, image)[area.top : area.bottom, area.left : area.right]
        for value, name in sorted(image.defects.items()):
            count, _, stats, _ = cv2.connectedComponentsWithStats((mask == value).astype(np.uint8), connectivity=8)
            for left, top, width, height, pixels in stats[1:count].tolist():
                if pixels >= _LEAST_AREA:
                    yield _TypedRegion(image, Box(left, top, left + width, top + height), name)


def _draw(regions: list[_TypedRegion], random: np.random.Generator) -> list[_TypedRegion]:
    """Keep at most 300 of each type, in their order."""
    kept: list[int] = []
    for name in sorted({r.type for r in regions}):
        members = [n for n, region in enumerate(regions) if region.type == name]
        kept += members if len(members) <= _MOST else random.choice(members, _MOST, replace=False).tolist()
    return [regions[n] for n in sorted(kept)]


def _find_normal(
    regions: Sequence[_TypedRegion], images: Sequence[PreparedImage], random: np.random.Generator
) -> list[_TypedRegion]:
    """Choose places on training normals, of the sizes that regions have.

    As many as the most frequent type has regions.
    """
    normals = _train_normals(images)
    if not normals:
        return []
    wanted = max(Counter(r.type for r in regions).values())
    found = []
    for number in range(wanted):
        image, like = normals[number % len(normals)], regions[int(random.integers(len(regions)))].box
        height, width = min(like.height, image.box.height), min(like.width, image.box.width)
        top = int(random.integers(image.box.height - height + 1))
        left = int(random.integers(image.box.width - width + 1))
        found.append(_TypedRegion(image, Box(left, top, left + width, top + height), NORMAL))
    return found


def _find_rejected(images: Sequence[PreparedImage]) -> Iterator[_TypedRegion]:
    """Yield the false alarms on training normals, in pixels of the prepared image."""
    for image in _train_normals(images):
        area = image.box
        for box in image.rejected:
            within = Box(
                max(box.left, area.left) - area.left,
                max(box.top, area.top) - area.top,
                min(box.right, area.right) - area.left,
                min(box.bottom, area.bottom) - area.top,
            )
            if min(within.width, within.height) > 0 and within.width * within.height >= _LEAST_AREA:
                yield _TypedRegion(image, within, NORMAL)


def _train_normals(images: Sequence[PreparedImage]) -> list[PreparedImage]:
    return [i for i in images if i.split == Split.TRAIN and i.label == Label.NORMAL]


def _cut_regions(prepared: Path, regions: Sequence[_TypedRegion]) -> Iterator[Example]:
    """Cut regions, image by image, so that each is read once."""
    last, pixels = "", np.zeros((0, 0, 3), np.uint8)
    for region in sorted(regions, key=lambda r: r.image.file):
        if region.image.file != last:
            last, pixels = region.image.file, read_region(prepared, region.image)
        yield Example(cut_crop(pixels, region.box), region.type, region.image.group)
