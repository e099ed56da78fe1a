"""Looks of synthetic anomalies: what the image would show if the defect were everywhere.

All take and return (H, W, 3) RGB on 0 to 255.
"""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pipelines.imaging.procedural.noise import Floats, fractal_noise, log_uniform


def _in_range(image: NDArray[Any]) -> Floats:
    return np.asarray(np.clip(image, 0, 255), dtype=np.float32)


def textured_tone(rng: np.random.Generator, image: Floats) -> Floats:
    """Darken or brighten by 15 to 120 grey levels, tinted and with a texture of its own.

    Args:
        rng: Draws strength, tint, texture and how much of the image is covered.
        image: RGB on 0 to 255, float32, shape (H, W, 3); not changed.

    Returns:
        The image as it would look if the defect were everywhere, RGB on 0 to 255, float32, shape (H, W, 3).
    """
    height, width = image.shape[:2]
    sign = -1.0 if rng.random() < 0.65 else 1.0
    strength = log_uniform(rng, 15, 120)
    tint = 1 + 0.12 * rng.standard_normal(3)
    cell = log_uniform(rng, 1.5, 12)
    texture = 1 + rng.uniform(0.05, 0.3) * fractal_noise(rng, height, width, (cell, cell), 2)
    # Some defects cover what is below, others let it show.
    cover = rng.uniform(0, 0.8)
    under = (1 - cover) * image + cover * image.mean(axis=(0, 1))
    return _in_range(under + sign * strength * texture[..., None] * tint)


def stain_colour(rng: np.random.Generator, image: Floats) -> Floats:
    """Shift the colour by 8 to 40 grey levels, as dirt, oil or water do; the texture shows through.

    Args:
        rng: Draws the shift of each channel, more often to the dark.
        image: RGB on 0 to 255, float32, shape (H, W, 3); not changed.

    Returns:
        The image as it would look if the stain were everywhere, RGB on 0 to 255, float32, shape (H, W, 3).
    """
    shift = rng.standard_normal(3)
    shift = shift / np.abs(shift).max() * log_uniform(rng, 8, 40)
    if rng.random() < 0.7:
        shift = shift - np.abs(shift).max() * 0.5
    return _in_range(image + shift)


def pasted_texture(rng: np.random.Generator, image: Floats) -> Floats:
    """Show another part of the same image, turned, scaled and recoloured (after CutPaste).

    Args:
        rng: Draws the part, the turn, the scale, the colours and how much shows through.
        image: RGB on 0 to 255, float32, shape (H, W, 3); not changed.

    Returns:
        The image as it would look with that part everywhere, RGB on 0 to 255, float32, shape (H, W, 3).
    """
    height, width = image.shape[:2]
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), rng.uniform(30, 330), rng.uniform(0.7, 1.6))
    turn[:, 2] += rng.uniform(-0.4, 0.4, 2) * (width, height)
    other = cv2.warpAffine(image, turn, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    middle = other.mean(axis=(0, 1))
    contrast = rng.uniform(0.7, 1.8)
    recoloured = middle + contrast * (other - middle) + rng.normal(0, 14) + rng.normal(0, 6, 3)
    opaque = rng.uniform(0.5, 1.0)
    return _in_range(opaque * recoloured + (1 - opaque) * image)
