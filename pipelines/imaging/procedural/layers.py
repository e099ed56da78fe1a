"""Layers: what a defect lays over a surface, and the mask that belongs to the same field."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.imaging.procedural.noise import Floats

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Layer:
    """A colour (H, W, 3) or (3,) on 0 to 255, how much of it shows (H, W) 0 to 1, and where it counts as a defect."""

    colour: Floats
    alpha: Floats
    mask: Mask


def mix(under: NDArray[Any], over: NDArray[Any], share: NDArray[Any]) -> Floats:
    """Blend two colours, (3,) or (H, W, 3), by a share (H, W) of `over`."""
    under32, over32 = under.astype(np.float32, copy=False), over.astype(np.float32, copy=False)
    return np.asarray(under32 + share.astype(np.float32, copy=False)[..., None] * (over32 - under32), dtype=np.float32)


def lay(surface: Floats, layer: Layer) -> Floats:
    """Lay a layer over a surface (H, W, 3)."""
    return mix(surface, layer.colour, layer.alpha)


@dataclass(frozen=True)
class Painted:
    """A surface (H, W, 3) in even light on 0 to 255, and its mask (H, W): 0 = sound, k = the defect's number."""

    surface: Floats
    mask: NDArray[np.uint8]
