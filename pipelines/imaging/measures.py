"""What an image measures: light, sharpness, and a hash of what it shows."""

from dataclasses import dataclass
from typing import TypeVar

import cv2
import imagehash
import numpy as np
from numpy.typing import NDArray
from PIL import Image

_Pixel = TypeVar("_Pixel", np.uint8, np.float32)


def shrink(pixels: NDArray[_Pixel], side: int) -> NDArray[_Pixel]:
    """Reduce a picture to a long side of at most `side` by averaging areas.

    Args:
        pixels: Image or map, uint8 or float32, shape (H, W) or (H, W, C).
        side: Most pixels of the longer side, 1 or more.

    Returns:
        The reduced picture, its shape in proportion; a picture that is small enough comes back as it is, not copied.

    >>> shrink(np.zeros((50, 200, 3), np.uint8), 100).shape
    (25, 100, 3)
    """
    height, width = pixels.shape[:2]
    scale = side / max(height, width)
    if scale >= 1:
        return pixels
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    reduced: NDArray[_Pixel] = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    return reduced


# Sharpness depends on the scale that it is measured at; a large image's noise is not sharpness.
_WORKING_SIDE = 1024
# 256 bits. With 64, boards of one camera position come as near to each other (4 of 64) as copies do.
HASH_SIDE = 16
# Grey levels that the channels of an image differ by where its camera saw colour, not rounding alone, and the share
# of pixels that do: a stamp in a corner is no colour of the surface.
_COLOUR, _COLOURED = 3, 0.05
# The figures of `Measures` that tell how an image was taken; the hash tells what it shows.
MEASURES = ("brightness_mean", "brightness_std", "sharpness", "saturated_share")


@dataclass(frozen=True)
class Measures:
    """Figures of one image, rounded so that they are stable as text.

    Brightness is grey on 0 to 255, `sharpness` the variance of its Laplacian at a long side of at most 1024,
    `saturated_share` the share of pixels of at least 250 in all channels, `phash` 64 hexadecimal digits.
    """

    brightness_mean: float
    brightness_std: float
    sharpness: float
    saturated_share: float
    phash: str


def measure_image(rgb: NDArray[np.uint8]) -> Measures:
    """Measure an image, (H, W, 3) RGB as a person sees it.

    Sharpness: Pech-Pacheco et al., "Diatom autofocusing in brightfield microscopy" (2000). Hash: Zauner,
    "Implementation and benchmarking of perceptual image hash functions" (2010), by the imagehash library.
    """
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    small = shrink(grey, _WORKING_SIDE)
    return Measures(
        brightness_mean=round(float(grey.mean()), 2),
        brightness_std=round(float(grey.std()), 2),
        sharpness=round(float(cv2.Laplacian(small, cv2.CV_64F).var()), 2),
        saturated_share=round(float(np.mean(rgb.min(axis=2) >= 250)), 4),
        phash=str(imagehash.phash(Image.fromarray(grey), hash_size=HASH_SIDE)),
    )


def has_colour(rgb: NDArray[np.uint8]) -> bool:
    """Tell whether the camera of an image (H, W, 3) saw colour.

    >>> has_colour(np.full((4, 4, 3), 90, np.uint8)), has_colour(np.full((4, 4, 3), [90, 80, 70], np.uint8))
    (False, True)
    """
    return float(np.mean(np.ptp(rgb, axis=2) >= _COLOUR)) >= _COLOURED
