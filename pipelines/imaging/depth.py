"""Stored pixels of any mode and depth, as 8-bit RGB or as mask values."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

from pipelines.core.errors import ImageError

# TIFF 6.0, pages 29 and 37.
_BITS_PER_SAMPLE = 258
_PHOTOMETRIC = 262
_WHITE_IS_ZERO = 0
_WHITE_16, _DARK = 2**16 - 1, 2**8 - 1


def depth_of(file: ImageFile.ImageFile) -> int:
    """Say how many bits a stored sample has.

    Raises:
        ImageError: for 32-bit and floating-point samples, which name no white.
    """
    tags = getattr(file, "tag_v2", {})
    if file.format == "TIFF" and _BITS_PER_SAMPLE in tags:
        stored = tags[_BITS_PER_SAMPLE]
        bits = int(max(stored)) if isinstance(stored, tuple) else int(stored)
    elif file.format == "PNG":
        bits = _png_depth(file)
    else:
        bits = {"1": 1, "I": 16, "F": 32}.get(file.mode, 16 if file.mode.startswith("I;16") else 8)
    if file.mode == "LAB":
        raise ImageError("LAB colours are not supported", hint="export the image as RGB")
    if file.mode == "F" or bits > 16:
        raise ImageError(
            "32-bit or floating-point samples have no fixed white", hint="export the image with 8 or 16 bits"
        )
    return bits


def _png_depth(file: ImageFile.ImageFile) -> int:
    """Read the bit depth from IHDR, which Pillow does not hand on for RGB (PNG 1.2, 11.2.2: the 25th byte)."""
    if file.fp is None:
        return 8
    place = file.fp.tell()
    file.fp.seek(24)
    depth = file.fp.read(1)[0]
    file.fp.seek(place)
    return depth


def used_bits(image: Image.Image, stored: int, stated: object = None) -> int:
    """Say how many bits of its samples an image uses: cameras put 10 or 12 into 16, where white is then nearly black.

    Args:
        image: Decoded; only grey of 16 bits is looked at.
        stored: Bits of a stored sample.
        stated: The largest value that a sample can have, where the file states one (TIFF's MaxSampleValue).

    Returns:
        The bits that hold what is stated, unless a sample is larger; else 10 or 12, where no sample needs more; else
        `stored`. What 8 bits would hold is a black frame, and stays one.
    """
    if stored != 16 or not (image.mode == "I" or image.mode.startswith("I;16")):
        return stored
    most = int(np.asarray(image).max())
    stated = stated[0] if isinstance(stated, tuple) and stated else stated
    if isinstance(stated, int) and most <= stated < _WHITE_16 and stated > _DARK:
        return stated.bit_length()
    return next((bits for bits in (10, 12) if _DARK < most < 2**bits), stored)


def stored_inverted(file: ImageFile.ImageFile) -> bool:
    """Tell pixels that Pillow hands on as their negative.

    It takes every CMYK JPEG for one of Adobe's, which are stored inverted, and leaves 16-bit TIFFs whose zero is white.
    """
    if file.format == "TIFF":
        return file.mode.startswith("I;16") and getattr(file, "tag_v2", {}).get(_PHOTOMETRIC) == _WHITE_IS_ZERO
    return file.mode == "CMYK" and file.format in {"JPEG", "MPO"} and "adobe" not in file.info


def to_rgb(image: Image.Image, bit_depth: int, *, inverted: bool) -> NDArray[np.uint8]:
    """Convert stored pixels to 8-bit RGB; transparency is laid on white.

    Args:
        image: Decoded and upright, of any mode but LAB and floating-point; see `depth_of`.
        bit_depth: Bits of a stored sample, 1 to 16; grey of more than 8 bits is scaled by it.
        inverted: Whether Pillow hands the pixels on as their negative; see `stored_inverted`.

    Returns:
        RGB image, uint8, shape (H, W, 3).
    """
    if image.mode == "I" or image.mode.startswith("I;16"):
        grey = np.asarray(image).astype(np.float64) * (255.0 / (2**bit_depth - 1))
        eight = np.rint(np.clip(grey, 0, 255)).astype(np.uint8)
        return np.repeat((255 - eight if inverted else eight)[:, :, None], 3, axis=2)
    if inverted:
        image = Image.eval(image, lambda value: 255 - value)
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    return np.array(image.convert("RGB"))


def mask_values(image: Image.Image, *, lossy: bool) -> NDArray[np.uint8]:
    """Read a mask's values: indices of a palette, 0 and 1 of one bit, the largest of several channels.

    Args:
        image: Decoded and upright; what is fully transparent counts as 0.
        lossy: Whether the format smears values, as JPEG does: only dark (0) and bright (255) are then told apart.

    Returns:
        Values, uint8, shape (H, W).

    Raises:
        ImageError: If there are values below 0, above 255 or between whole numbers.
    """
    if image.mode in {"CMYK", "YCbCr", "LAB", "HSV"}:
        image = image.convert("RGB")
    values = np.asarray(image)
    if image.mode in {"LA", "RGBA", "PA", "La", "RGBa"}:
        values = np.where(values[..., -1:] > 0, values[..., :-1], 0)
    if values.ndim == 3:
        values = values.max(axis=2)
    if lossy:
        values = np.where(values < 128, 0, 255)
    kept: NDArray[np.uint8] = np.clip(values, 0, 255).astype(np.uint8)
    if not np.array_equal(kept, values):
        raise ImageError("mask holds values other than 0 to 255", hint="number the defect types from 1, normal is 0")
    return kept
