"""The few images that an adaptation uses, and what each of them is for."""

import hashlib
from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np

from pipelines.core.errors import CallError
from pipelines.core.records import Label, Split
from pipelines.data.prepared import PreparedImage

# Of fewer images none is held out: what there is is learnt from.
LEAST_HELD_OUT = 4
_SHARE = 4  # every fourth is held out to choose on, every fourth to calibrate on


def find_candidates(images: Sequence[PreparedImage], seed: int) -> list[PreparedImage]:
    """List what may be drawn: no test image, none with a defect or of its group, one of each group.

    Args:
        images: All prepared images of the surface, in any order.
        seed: Decides the drawing order, and which image stands for its group.

    Returns:
        Images in drawing order; may be empty.
    """
    groups: dict[str, PreparedImage] = {}
    # What a near copy of an anomaly shows may be the defect: it must not calibrate.
    anomalous = {image.group for image in images if image.label == Label.ANOMALOUS and image.split != Split.TEST}
    for image in sorted(images, key=lambda i: _place(seed, i.path)):
        if image.split != Split.TEST and image.group not in anomalous:
            groups.setdefault(image.group, image)
    return list(groups.values())


def draw_shots(images: Sequence[PreparedImage], shots: int, seed: int) -> dict[str, Split]:
    """Draw a few images and say what each is for; images of the test split stay what they are.

    Every image that is used counts as a shot: half are trained on, a quarter is chosen on and a quarter calibrated
    on; below 4 all are trained on. Unlabelled ones may show defects, so that none calibrates a guarantee. Images
    keep the split that they have in the surface where that is possible.

    Args:
        images: All prepared images of the surface, in any order.
        shots: How many to draw, 1 to the number of candidates.
        seed: Decides which; more shots with the same seed are the same images and others.

    Returns:
        Splits by path, of the drawn images and of every test image; all others have none.

    Raises:
        CallError: If there are not as many.
    """
    waiting = find_candidates(images, seed)
    if not 1 <= shots <= len(waiting):
        raise CallError(
            f"{shots} images were requested, {len(waiting)} can be drawn (not test, no defect, one of a group)",
            hint=f"--shots 1 to {len(waiting)}" if waiting else "add images of normal pieces to the surface",
        )
    held = shots // _SHARE if shots >= LEAST_HELD_OUT else 0
    calibrated = min(held, sum(i.label == Label.NORMAL for i in waiting))
    wanted = {Split.CALIBRATION: calibrated, Split.VALIDATION: held, Split.TRAIN: shots - held - calibrated}
    splits = {image.path: Split.TEST for image in images if image.split == Split.TEST}
    for split, count in wanted.items():
        # Sorting keeps the drawing order among equals, so that more shots are the same ones and others.
        ordered = sorted(waiting, key=partial(_reluctance, split))
        splits |= {image.path: split for image in ordered[:count]}
        waiting = [image for image in waiting if image.path not in splits]
    return splits


def hold_none_out(splits: Mapping[str, Split]) -> dict[str, Split]:
    """Give all that is held out to training, for what can judge an image without itself.

    Args:
        splits: Splits by path, as `draw_shots` returns them; not changed.

    Returns:
        The same images: those of the test split as they are, all others in training.
    """
    return {path: split if split == Split.TEST else Split.TRAIN for path, split in splits.items()}


def keep_tested(images: Sequence[PreparedImage], splits: Mapping[str, Split], most: int) -> dict[str, Split]:
    """Leave only some images in the test split: the same ones every time, as many of each label as there are.

    What one label cannot fill of its share goes to the others: rare defects are kept, for figures rest on them.

    Args:
        images: All prepared images of the surface, in any order.
        splits: Splits by path, as `draw_shots` returns them; not changed.
        most: Largest number of test images that stay, at least 0.

    Returns:
        The splits of `splits` without those of surplus test images.
    """
    test = sorted((i for i in images if splits.get(i.path) == Split.TEST), key=lambda i: _place(0, i.path))
    by_label = sorted(([i for i in test if i.label == label] for label in Label), key=len)
    kept: set[str] = set()
    for number, some in enumerate(by_label):
        share = (most - len(kept)) // (len(by_label) - number)
        kept |= {image.path for image in some[:share]}
    return {path: split for path, split in splits.items() if split != Split.TEST or path in kept}


def _reluctance(split: Split, image: PreparedImage) -> tuple[bool, bool, bool]:
    """Rank an image for a split: normal ones calibrate, each stays in its own split, and train has most to give."""
    return split == Split.CALIBRATION and image.label != Label.NORMAL, image.split != split, image.split != Split.TRAIN


def usual_size(images: Sequence[PreparedImage]) -> tuple[int, int]:
    """Return the median height and width of regions outside the test split, in pixels.

    Of a few images the median may be that of an odd one, and all others would be squeezed to its shape.

    Args:
        images: All prepared images of the surface, at least one of them outside the test split; labels do not count.

    Returns:
        (height, width), each rounded.
    """
    sizes = [(i.box.height, i.box.width) for i in images if i.split != Split.TEST]
    height, width = np.median(np.asarray(sizes), axis=0)
    return round(float(height)), round(float(width))


def relabel(images: Sequence[PreparedImage], splits: Mapping[str, Split]) -> list[PreparedImage]:
    """Return the images that have a split, as of that split.

    Args:
        images: Prepared images of the surface; not changed.
        splits: Splits by path, as `draw_shots` returns them.

    Returns:
        Copies in the order of `images`; those whose path has no split are left out.
    """
    return [image.model_copy(update={"split": splits[image.path]}) for image in images if image.path in splits]


def _place(seed: int, path: str) -> str:
    return hashlib.sha256(f"{seed}/{path}".encode()).hexdigest()
