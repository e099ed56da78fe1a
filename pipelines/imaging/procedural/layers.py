"""Layers: what a defect lays over a surface, and the mask that belongs to the same field."""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pipelines.imaging.procedural.noise import Floats, value_noise

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Layer:
    """A colour (H, W, 3) or (3,) on 0 to 255, how much of it shows (H, W) 0 to 1, and where it counts as a defect."""

    colour: Floats
    alpha: Floats
    mask: Mask


def mix(under: NDArray[Any], over: NDArray[Any], share: NDArray[Any]) -> Floats:
    """Blend two colours.

    Args:
        under: RGB on 0 to 255, shape (3,) or (H, W, 3).
        over: The same, of either shape.
        share: How much of `over` shows, 0 to 1, shape (H, W).

    Returns:
        RGB on 0 to 255, float32, shape (H, W, 3).

    >>> mix(np.zeros(3), np.array([200.0, 100.0, 50.0]), np.array([[0.5]])).tolist()
    [[[100.0, 50.0, 25.0]]]
    """
    under32, over32 = under.astype(np.float32, copy=False), over.astype(np.float32, copy=False)
    return np.asarray(under32 + share.astype(np.float32, copy=False)[..., None] * (over32 - under32), dtype=np.float32)


def lay(surface: Floats, layer: Layer) -> Floats:
    """Lay a layer over a surface.

    Args:
        surface: RGB on 0 to 255, float32, shape (H, W, 3); not changed.
        layer: Of the same height and width.

    Returns:
        The new surface, float32, shape (H, W, 3).
    """
    return mix(surface, layer.colour, layer.alpha)


@dataclass(frozen=True)
class Painted:
    """A surface (H, W, 3) in even light on 0 to 255, and its mask (H, W): 0 = normal, k = the defect's number."""

    surface: Floats
    mask: NDArray[np.uint8]


LIGHTS = {"even light": 0.04, "side light": 0.16}


def choose_light(rng: np.random.Generator) -> str:
    """Choose the light of an image: two in three are lit evenly."""
    return "even light" if rng.random() < 2 / 3 else "side light"


def take_photo(rng: np.random.Generator, painted: Floats, light: str) -> NDArray[np.uint8]:
    """Light a painted surface from one side, blur it as a lens does and add the sensor's noise.

    Args:
        rng: Draws the direction of the light and the noise.
        painted: RGB on 0 to 255 in even light, float32, shape (H, W, 3); not changed.
        light: A key of LIGHTS, which says how steep the light falls off.

    Returns:
        RGB image, uint8, shape (H, W, 3).
    """
    height, width = painted.shape[:2]
    angle = rng.uniform(0, 2 * np.pi)
    slope = LIGHTS[light] * rng.uniform(0.5, 1.5)
    x = np.linspace(-0.5, 0.5, width, dtype=np.float32)[None, :]
    y = np.linspace(-0.5, 0.5, height, dtype=np.float32)[:, None]
    gain = 1 + slope * (np.cos(angle) * x + np.sin(angle) * y) - 0.1 * rng.random() * (x**2 + y**2)
    gain += 0.012 * value_noise(rng, height, width, (0.6 * height, 0.6 * width))
    gain *= rng.normal(1, 0.02)
    lit = cv2.GaussianBlur(painted * gain[..., None].astype(np.float32), (0, 0), 0.55)
    noise = rng.standard_normal((height, width, 1), dtype=np.float32) * np.float32(1.6)
    noise = noise + rng.standard_normal((height, width, 3), dtype=np.float32) * np.float32(0.8)
    return np.asarray(np.clip(lit + noise + 0.5, 0, 255), dtype=np.uint8)
