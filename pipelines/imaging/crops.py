"""Square crops around boxes: what is shown to the network that names types."""

import cv2
import numpy as np
from numpy.typing import NDArray

from pipelines.core.geometry import Box

# What a crop is resized to. A region's own texture matters, not its last pixel: 128 named types as well as 256.
CROP_SIDE = 128
_CONTEXT = 0.25  # of the box's longer side, on every side
_LEAST = 24  # a crop of fewer pixels would show nothing but interpolation


def cut_crop(image: NDArray[np.uint8], box: Box) -> NDArray[np.uint8]:
    """Cut a square with some context around a box and resize it.

    Near the image's border the square is moved inwards; where the image is too narrow for it, it is not square before
    it is resized.

    Args:
        image: RGB image, uint8, shape (H, W, 3).
        box: In pixels of `image`; its longer side makes two thirds of the square's, which has at least 24 pixels.

    Returns:
        RGB crop, uint8, shape (128, 128, 3).

    >>> cut_crop(np.zeros((40, 60, 3), np.uint8), Box(0, 0, 10, 4)).shape
    (128, 128, 3)
    """
    side = max(_LEAST, round((1 + 2 * _CONTEXT) * max(box.width, box.height)))
    top, bottom = _place((box.top + box.bottom) / 2, side, image.shape[0])
    left, right = _place((box.left + box.right) / 2, side, image.shape[1])
    return resize_crop(image[top:bottom, left:right])


def resize_crop(crop: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Bring a crop of any size to (128, 128, 3)."""
    shrinks = crop.shape[0] * crop.shape[1] > CROP_SIDE**2
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    resized: NDArray[np.uint8] = cv2.resize(crop, (CROP_SIDE, CROP_SIDE), interpolation=method)
    return resized


def flip_views(crop: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a crop as it is, mirrored, upside down, and both: (4, H, W, 3). Wood knows no left and no top."""
    return np.stack([crop, crop[:, ::-1], crop[::-1], crop[::-1, ::-1]])


def _place(centre: float, side: int, length: int) -> tuple[int, int]:
    kept = min(side, length)
    start = int(np.clip(round(centre - kept / 2), 0, length - kept))
    return start, start + kept
