"""An anomaly map made visible over its image: heat, outlines, and strips that a page can hold."""

import base64
import io
from typing import Any, Literal

import cv2
import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from pipelines.core.errors import ImageError
from pipelines.imaging.measures import shrink

RgbImage = NDArray[np.uint8]
AnomalyMap = NDArray[np.float32]
RegionMask = NDArray[np.bool_]
Colour = tuple[int, int, int]

# Dark crimson and light sky blue: rare on wood and metal, and apart in lightness for those who see red and green alike.
FOUND: Colour = (220, 20, 60)
TRUE: Colour = (86, 180, 233)

_MAX_OPACITY = 0.75
_BAND = 2**20  # pixels that are drawn at a time
_GAP = 6

# Stands for a threshold of 0: every score above it is then far above.
_SMALLEST = 1e-30


def _check_same_size(image: RgbImage, other: NDArray[Any], what: str) -> None:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ImageError(
            f"expected an image as (height, width, 3) uint8, found {image.shape} {image.dtype}",
            hint="decode it as 8-bit RGB",
        )
    if other.shape != image.shape[:2]:
        raise ImageError(
            f"expected a {what} of {image.shape[:2]}, the image's size, found {other.shape}",
            hint=f"bring the {what} to the image's size",
        )


def heat_strength(anomaly_map: AnomalyMap, pixel_threshold: float) -> NDArray[np.float32]:
    """Map scores to 0..1 by octaves: half the threshold and less is 0, the threshold 0.5, four times it 1.

    The range is the same for every image, so that colours can be compared across a report. Normal surface may
    reach half the threshold everywhere: it stays clear, or a report of normal boards would be violet.

    Args:
        anomaly_map: Map on the version's scale, float32, shape (H, W).
        pixel_threshold: On the same scale; 0 counts as a number just above it.

    Returns:
        Strength, 0 to 1, float32, shape (H, W).

    >>> heat_strength(np.array([[0.0, 1.0, 2.0, 4.0, 99.0]], dtype=np.float32), 2.0).tolist()
    [[0.0, 0.0, 0.5, 0.75, 1.0]]
    """
    octaves = np.log2(np.clip(anomaly_map / max(pixel_threshold, _SMALLEST), 0.5, 4))
    return np.asarray(0.5 + np.where(octaves < 0, octaves / 2, octaves / 4), dtype=np.float32)


def heatmap(image: RgbImage, anomaly_map: AnomalyMap, pixel_threshold: float) -> RgbImage:
    """Lay the map over the image in grey, in inferno, clear where it is low and dense where it is high.

    The image turns grey because wood itself has inferno's colours; brightness rises with the score, which survives a
    print without colours.

    Args:
        image: RGB image, uint8, shape (H, W, 3).
        anomaly_map: Map on the version's scale, float32, shape (H, W).
        pixel_threshold: On the version's scale; it gets the middle of the colour scale.

    Returns:
        RGB picture, uint8, shape (H, W, 3).

    Raises:
        ImageError: If the image is not 8-bit RGB, or the map has another size.
    """
    _check_same_size(image, anomaly_map, "map")
    drawn = np.empty_like(image)
    # In bands: floats of a whole image of 100 megapixels would take 4 GB.
    band = max(1, _BAND // image.shape[1])
    for top in range(0, image.shape[0], band):
        rows = slice(top, top + band)
        drawn[rows] = _lay_over(image[rows], anomaly_map[rows], pixel_threshold)
    return drawn


def _lay_over(image: RgbImage, anomaly_map: AnomalyMap, pixel_threshold: float) -> RgbImage:
    strength = heat_strength(anomaly_map, pixel_threshold)
    levels = np.round(strength * 255).astype(np.uint8)
    colours = cv2.cvtColor(cv2.applyColorMap(levels, cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2RGB).astype(np.float32)
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)[..., np.newaxis]
    opacity = _MAX_OPACITY * np.clip(strength * 2, 0, 1)[..., np.newaxis]
    return np.asarray(np.round(grey * (1 - opacity) + colours * opacity), dtype=np.uint8)


def outline(image: RgbImage, region: RegionMask, colour: Colour = FOUND, width: int = 1) -> RgbImage:
    """Draw the contours of regions, holes included, on a copy.

    Args:
        image: RGB image, uint8, shape (H, W, 3); not changed.
        region: True inside the regions, bool, shape (H, W); may be false everywhere.
        colour: RGB, 0 to 255 each.
        width: Of the line, in pixels, 1 or more.

    Returns:
        RGB picture, uint8, shape (H, W, 3).

    Raises:
        ImageError: If the image is not 8-bit RGB, or `region` has another size.
    """
    _check_same_size(image, region, "region")
    contours, _ = cv2.findContours(region.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    drawn = cv2.drawContours(image.copy(), contours, -1, colour, thickness=width)
    return np.asarray(drawn, dtype=np.uint8)


def strip(
    image: RgbImage,
    anomaly_map: AnomalyMap,
    pixel_threshold: float,
    true_region: RegionMask | None = None,
    max_side: int = 480,
    found: RegionMask | None = None,
) -> RgbImage:
    """Set image, heatmap and outlines beside each other; upright panels in a row, wide ones in a column.

    Lines are drawn so wide before shrinking that they stay visible.

    Args:
        image: RGB image, uint8, shape (H, W, 3); not changed.
        anomaly_map: Map on the version's scale, float32, shape (H, W).
        pixel_threshold: On the version's scale.
        true_region: The labelled regions, outlined in TRUE, bool, shape (H, W); None where there are no labels.
        max_side: Most pixels of each panel's longer side.
        found: Regions that are outlined in FOUND, bool, shape (H, W); None for every pixel above the threshold.

    Returns:
        RGB picture of three panels with white gaps of 6 pixels between them, uint8.

    Raises:
        ImageError: If the image is not 8-bit RGB, or the map or a region has another size.
    """
    line = max(1, round(2 * max(image.shape[:2]) / max_side))
    labelled = image if true_region is None else outline(image, true_region, TRUE, line)
    outlined = outline(labelled, anomaly_map > pixel_threshold if found is None else found, FOUND, line)
    panels = [shrink(p, max_side) for p in (image, heatmap(image, anomaly_map, pixel_threshold), outlined)]
    height, width = panels[0].shape[:2]
    axis = 0 if width > 1.5 * height else 1
    gap = np.full((_GAP, width, 3) if axis == 0 else (height, _GAP, 3), 255, dtype=np.uint8)
    return np.concatenate([panels[0], gap, panels[1], gap, panels[2]], axis=axis)


def encode_picture(picture: RgbImage, kind: Literal["png", "jpeg"] = "jpeg", quality: int = 85) -> bytes:
    """Encode a picture without any metadata.

    Args:
        picture: RGB (H, W, 3) or grey (H, W), uint8.
        kind: "png" is exact, "jpeg" is small.
        quality: Of a JPEG, 1 to 95; a PNG takes no notice of it.

    Returns:
        The file's content.
    """
    buffer = io.BytesIO()
    options: dict[str, Any] = {"quality": quality} if kind == "jpeg" else {"optimize": True}
    Image.fromarray(picture).save(buffer, format=kind.upper(), **options)
    return buffer.getvalue()


def data_uri(encoded: bytes, kind: Literal["png", "jpeg"] = "jpeg") -> str:
    """Write encoded bytes as a data URI that an HTML page can hold.

    Args:
        encoded: A whole picture file, as `encode_picture` returns it.
        kind: The format that it is encoded in; not checked.

    Returns:
        The URI; its base64 takes a third more than the bytes.

    >>> data_uri(b"abc", "png")
    'data:image/png;base64,YWJj'
    """
    return f"data:image/{kind};base64,{base64.b64encode(encoded).decode('ascii')}"


def encode_map(anomaly_map: NDArray[np.float32]) -> bytes:
    """Encode a map (H, W) float32 as a TIFF, exact."""
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, anomaly_map, compression="zlib")
    return buffer.getvalue()
