"""Reducing pictures to a bounded size."""

from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

_Pixel = TypeVar("_Pixel", np.uint8, np.float32)


def shrink(pixels: NDArray[_Pixel], side: int) -> NDArray[_Pixel]:
    """Reduce to a long side of at most `side` by averaging areas; a smaller picture comes back as it is."""
    height, width = pixels.shape[:2]
    scale = side / max(height, width)
    if scale >= 1:
        return pixels
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    reduced: NDArray[_Pixel] = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    return reduced
