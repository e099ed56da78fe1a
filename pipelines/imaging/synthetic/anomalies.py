"""Add synthetic anomalies to normal images, so that models can be chosen where nobody has labelled defects.

A mixture that is tied to no material: textured blobs, scratches, patches of pasted texture and faint stains. What
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
from pipelines.imaging.synthetic.textures import pasted_texture, stain_colour, textured_tone

SMALLEST, LARGEST = 0.001, 0.04
_VISIBLE = 0.15
_TRIES = 12

Shape = Callable[[np.random.Generator, int, int, float], Floats]
Texture = Callable[[np.random.Generator, Floats], Floats]

KINDS: dict[str, tuple[Shape, Texture]] = {
    "blob": (blob, textured_tone),
    "scratch": (scratch, textured_tone),
    "patch": (patch, pasted_texture),
    "stain": (stain, stain_colour),
}


@dataclass(frozen=True)
class SyntheticAnomaly:
    """An image (H, W, 3) RGB with a synthetic anomaly added to it, and where it was changed (H, W)."""

    image: NDArray[np.uint8]
    mask: NDArray[np.bool_]


def add_synthetic_anomaly(image: NDArray[np.uint8], rng: np.random.Generator) -> SyntheticAnomaly:
    """Add one synthetic anomaly of 0.1 to 4 % of an image's area, from faint to clear.

    The mixture follows CutPaste (Li et al., "CutPaste: self-supervised learning for anomaly detection and
    localization", CVPR 2021) and DRAEM (Zavrtanik et al., "DRAEM - a discriminatively trained reconstruction
    embedding for surface anomaly detection", ICCV 2021). An image without colour gets a defect without: no other would
    be seen by its camera, and any tint would be found.

    Args:
        image: Normal image, RGB, uint8, shape (H, W, 3); not changed.
        rng: Draws the defect; its state decides which.

    Returns:
        The new image and its mask, outside of which it is unchanged.
    """
    names, coloured = tuple(KINDS), has_colour(image)
    for _ in range(_TRIES):
        synthetic = _add_anomaly(image, rng, names[int(rng.integers(len(names)))], coloured)
        if _can_be_seen(image, synthetic):
            return synthetic
    # Nothing shows on, say, a black picture but what is brighter: half of the grey scale away from what is there.
    height, width = image.shape[:2]
    alpha = blob(rng, height, width, LARGEST)
    return _blend(image, np.where(image < 128, 190.0, 60.0).astype(np.float32), alpha)


def _add_anomaly(image: NDArray[np.uint8], rng: np.random.Generator, kind: str, coloured: bool) -> SyntheticAnomaly:
    shape, texture = KINDS[kind]
    height, width = image.shape[:2]
    alpha = shape(rng, height, width, log_uniform(rng, SMALLEST, LARGEST))
    changed = texture(rng, image.astype(np.float32))
    if not coloured:
        changed = cv2.cvtColor(cv2.cvtColor(changed, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    return _blend(image, changed, alpha)


def _blend(image: NDArray[np.uint8], changed: Floats, alpha: Floats) -> SyntheticAnomaly:
    mask = alpha > _VISIBLE
    mixed = image + alpha[..., None] * (changed - image)
    pixels = np.where(mask[..., None], np.clip(mixed + 0.5, 0, 255).astype(np.uint8), image)
    return SyntheticAnomaly(pixels, np.asarray(mask, dtype=np.bool_))


def _can_be_seen(image: NDArray[np.uint8], synthetic: SyntheticAnomaly) -> bool:
    """Tell whether the change is at least a few grey levels in the mean, over at least a few pixels."""
    if synthetic.mask.sum() < 12:
        return False
    change = np.abs(synthetic.image[synthetic.mask].astype(np.float32) - image[synthetic.mask]).max(axis=1)
    return bool(change.mean() >= 5)
