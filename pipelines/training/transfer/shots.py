"""The few photographs that an adaptation uses, and what each of them is for."""

import hashlib
from collections.abc import Mapping, Sequence
from functools import partial

from pipelines.core.errors import CallError
from pipelines.core.records import Label, Part
from pipelines.data.prepared import PreparedImage

# Of fewer photographs none is held back: what there is is learnt from.
LEAST_HELD_BACK = 4
_SHARE = 4  # every fourth is held back to choose on, every fourth to calibrate on


def find_candidates(images: Sequence[PreparedImage], seed: int) -> list[PreparedImage]:
    """List what may be drawn, in drawing order: no test photograph, none with a defect, one of each group."""
    groups: dict[str, PreparedImage] = {}
    for image in sorted(images, key=lambda i: _place(seed, i.path)):
        if image.part != Part.TEST and image.label != Label.ANOMALOUS:
            groups.setdefault(image.group, image)
    return list(groups.values())


def draw_shots(images: Sequence[PreparedImage], shots: int, seed: int) -> dict[str, Part]:
    """Draw `shots` photographs and say what each is for; photographs of the test part stay what they are.

    Every photograph that is used counts as a shot: half are trained on, a quarter is chosen on and a quarter calibrated
    on; below 4 all are trained on. Unlabelled ones may show defects, so that none calibrates a promise. Photographs
    keep the part that they have in the surface where that is possible, and another seed draws others.

    Raises:
        CallError: where there are not as many.
    """
    waiting = find_candidates(images, seed)
    if not 1 <= shots <= len(waiting):
        raise CallError(
            f"{shots} photographs were asked for, {len(waiting)} can be drawn (not test, no defect, one of a group)",
            cure=f"--shots 1 to {len(waiting)}" if waiting else "add photographs of sound pieces to the surface",
        )
    held = shots // _SHARE if shots >= LEAST_HELD_BACK else 0
    promised = min(held, sum(i.label == Label.NORMAL for i in waiting))
    wanted = {Part.CALIBRATE: promised, Part.SELECT: held, Part.TRAIN: shots - held - promised}
    parts = {image.path: Part.TEST for image in images if image.part == Part.TEST}
    for part, count in wanted.items():
        # Sorting keeps the drawing order among equals, so that more shots are the same ones and others.
        ordered = sorted(waiting, key=partial(_reluctance, part))
        parts |= {image.path: part for image in ordered[:count]}
        waiting = [image for image in waiting if image.path not in parts]
    return parts


def keep_tested(images: Sequence[PreparedImage], parts: Mapping[str, Part], most: int) -> dict[str, Part]:
    """Leave at most `most` photographs in the test part: the same ones every time, as many of each label as there are.

    What one label cannot fill of its share goes to the others: rare defects are kept, for figures rest on them.
    """
    test = sorted((i for i in images if parts.get(i.path) == Part.TEST), key=lambda i: _place(0, i.path))
    by_label = sorted(([i for i in test if i.label == label] for label in Label), key=len)
    kept: set[str] = set()
    for number, some in enumerate(by_label):
        share = (most - len(kept)) // (len(by_label) - number)
        kept |= {image.path for image in some[:share]}
    return {path: part for path, part in parts.items() if part != Part.TEST or path in kept}


def _reluctance(part: Part, image: PreparedImage) -> tuple[bool, bool, bool]:
    """Rank an image for a part: sound ones calibrate, each stays in its own part, and train has most to give."""
    return part == Part.CALIBRATE and image.label != Label.NORMAL, image.part != part, image.part != Part.TRAIN


def relabel(images: Sequence[PreparedImage], parts: Mapping[str, Part]) -> list[PreparedImage]:
    """Return the images that have a part, as of that part."""
    return [image.model_copy(update={"part": parts[image.path]}) for image in images if image.path in parts]


def _place(seed: int, path: str) -> str:
    return hashlib.sha256(f"{seed}/{path}".encode()).hexdigest()
