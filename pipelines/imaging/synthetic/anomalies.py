"""Plant synthetic defects into sound photographs, so that models can be chosen where nobody has marked defects.

A mixture that is tied to no material: textured blobs, scratches, patches of foreign texture and faint stains. What
is learnt from it ranks models; it says nothing of how often real defects are found.
"""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from pipelines.imaging.measures import has_colour
from pipelines.imaging.procedural.noise import Floats, log_uniform
from pipelines.imaging.synthetic.shapes import blob, patch, scratch, stain
from pipelines.imaging.synthetic.textures import foreign_texture, stain_colour, textured_tone

SMALLEST, LARGEST = 0.001, 0.04
_VISIBLE = 0.15
_TRIES = 12

Shape = Callable[[np.random.Generator, int, int, float], Floats]
Look = Callable[[np.random.Generator, Floats], Floats]

KINDS: dict[str, tuple[Shape, Look]] = {
    "blob": (blob, textured_tone),
    "scratch": (scratch, textured_tone),
    "patch": (patch, foreign_texture),
    "stain": (stain, stain_colour),
}


@dataclass(frozen=True)
class Planted:
    """A photograph (H, W, 3) RGB with a defect planted into it, and where it was changed (H, W)."""

    image: NDArray[np.uint8]
    mask: NDArray[np.bool_]


def plant_defect(image: NDArray[np.uint8], rng: np.random.Generator) -> Planted:
    """Plant one synthetic defect of 0.1 to 4 % of a photograph's area, from faint to clear.

    The mixture follows CutPaste (Li et al., "CutPaste: self-supervised learning for anomaly detection and
    localization", CVPR 2021) and DRAEM (Zavrtanik et al., "DRAEM - a discriminatively trained reconstruction
    embedding for surface anomaly detection", ICCV 2021). Outside the mask the photograph is unchanged. A photograph
    without colour gets a defect without: no other would be seen by its camera, and any tint would be found.

    Args:
        image: (H, W, 3) RGB.
        rng: draws the defect; its state decides which.
    """
    names, coloured = tuple(KINDS), has_colour(image)
    for _ in range(_TRIES):
        planted = _plant(image, rng, names[int(rng.integers(len(names)))], coloured)
        if _can_be_seen(image, planted):
            return planted
    # Nothing shows on, say, a black picture but what is brighter: half of the grey scale away from what is there.
    height, width = image.shape[:2]
    alpha = blob(rng, height, width, LARGEST)
    return _blend(image, np.where(image < 128, 190.0, 60.0).astype(np.float32), alpha)


def _plant(image: NDArray[np.uint8], rng: np.random.Generator, kind: str, coloured: bool) -> Planted:
    shape, look = KINDS[kind]
    height, width = image.shape[:2]
    alpha = shape(rng, height, width, log_uniform(rng, SMALLEST, LARGEST))
    changed = look(rng, image.astype(np.float32))
    if not coloured:
        changed = cv2.cvtColor(cv2.cvtColor(changed, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    return _blend(image, changed, alpha)


def _blend(image: NDArray[np.uint8], changed: Floats, alpha: Floats) -> Planted:
    mask = alpha > _VISIBLE
    mixed = image + alpha[..., None] * (changed - image)
    pixels = np.where(mask[..., None], np.clip(mixed + 0.5, 0, 255).astype(np.uint8), image)
    return Planted(pixels, np.asarray(mask, dtype=np.bool_))


def _can_be_seen(image: NDArray[np.uint8], planted: Planted) -> bool:
    """Tell whether the change is at least a few grey levels in the mean, over at least a few pixels."""
    if planted.mask.sum() < 12:
        return False
    change = np.abs(planted.image[planted.mask].astype(np.float32) - image[planted.mask]).max(axis=1)
    return bool(change.mean() >= 5)
