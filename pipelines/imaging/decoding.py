"""From the bytes of a file to the image that a person sees, and to the mask that goes with it."""

import io
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageFile, UnidentifiedImageError

from pipelines.core.errors import ImageError
from pipelines.core.files import read_at_most
from pipelines.imaging.depth import depth_of, mask_values, stored_inverted, to_rgb, used_bits

_FORMATS = ("JPEG", "PNG", "TIFF", "BMP", "WEBP", "GIF", "PPM", "JPEG2000", "AVIF")
_HINT = "replace the file with a whole image, or remove it"
_BYTES, _BESIDES = 8, 64e6  # of a file: four samples of 16 bits for each pixel, and whatever else it holds
# Turns and flips that bring a stored image upright, by its EXIF orientation.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIDEWAYS = (5, 6, 7, 8)
_TILE_WIDTH, _TILE_LENGTH = 322, 323
_KIND, _LARGEST_SAMPLE, _DNG_VERSION = 254, 281, 50706
# How files begin that cameras write, and that are no image yet: (offset, bytes).
_CAMERA_FILES = {
    "HEIC": ((4, b"ftyphei"), (4, b"ftyphev"), (4, b"ftypmif1"), (4, b"ftypmsf1")),
    "RAW": (
        *((4, b"ftypcrx "), (6, b"HEAPCCDR"), (8, b"CR\x02\0"), (0, b"FUJIFILMCCD-RAW"), (0, b"FOVb")),
        *((0, b"IIRO\x08"), (0, b"IIRS\x08"), (0, b"IIU\0"), (0, b"\0MRM")),
    ),
}
# A progressive JPEG refines the whole image with each scan; those of cameras and optimisers have up to twenty. A
# few bytes a scan would keep the decoder busy for hours.
_MOST_SCANS = 100
_MOST_FRAMES = 100
# Of colours of 16 bits Pillow keeps the upper 8: those of 12 bits are black.
_DARKEST = 16
_MASK_TILE = 4.2  # megapixels: 2048 x 2048; a mask's tile may be larger than a small image
# Pillow's limit on size and the warnings module's filters are global: one thread at a time may change them.
_GLOBALS = threading.Lock()


@dataclass(frozen=True)
class Decoded:
    """An image as a person sees it, and how it was stored.

    image: uint8, (H, W, 3), RGB. `mode` is Pillow's word for the stored pixels, `stored_size` their (width, height)
    before the EXIF orientation (1 to 8) turned them.
    """

    image: NDArray[np.uint8]
    mode: str
    bit_depth: int
    orientation: int
    stored_size: tuple[int, int]


def decode_image(data: bytes | Path, max_megapixels: float) -> Decoded:
    """Decode an image, upright and as 8-bit RGB.

    Samples of more than 8 bits are scaled by the depth that they use, see `used_bits`. Transparency is laid on white,
    as viewers and paper show it: on black it would look like a hole. Of a multi-picture JPEG (MPO) the first picture is
    the image, the others are its preview or depth; any other file of several frames is refused, since none of them is
    the image.

    Args:
        data: The encoded file's bytes, or its path.
        max_megapixels: Most pixels that are decoded, in millions; infinity for no limit.

    Returns:
        Pixels (H, W, 3) as a person sees them, and how they were stored.

    Raises:
        ImageError: If the file cannot be read, is empty, truncated, no image, HEIC or RAW, too large (checked before
            decoding), of several frames, in LAB colours, of samples without a fixed white, or in colours of 16 bits
            that use 12 at most.
    """
    with _opened(data if isinstance(data, bytes) else read_image_file(data, max_megapixels)) as file:
        _check(file, max_megapixels)
        _check_scans(file)
        mode, bit_depth, inverted = file.mode, depth_of(file), stored_inverted(file)
        image, orientation = _upright(file)
        bit_depth = used_bits(image, bit_depth, getattr(file, "tag_v2", {}).get(_LARGEST_SAMPLE))
        stored = (image.height, image.width) if orientation in _SIDEWAYS else image.size
        pixels = to_rgb(image, bit_depth, inverted=inverted)
        if bit_depth == 16 and image.mode == "RGB" and pixels.max() < _DARKEST:
            raise ImageError("uses at most 12 of its 16 bits: export it with 8 bits a colour", hint=_HINT)
        return Decoded(pixels, mode, bit_depth, orientation, stored)


def read_pixels(data: bytes) -> int:
    """Return how many pixels decoding an image takes, without decoding it.

    Raises:
        ImageError: for a file that is empty or no image.
    """
    with _opened(data) as file:
        return prod(_decoded_sides(file))


def decode_mask(data: bytes | Path, source_image: Decoded) -> NDArray[np.uint8]:
    """Decode a mask to the image's size, its values kept.

    A mask in the stored size of an image that its EXIF orientation turns is turned with it.

    Args:
        data: The encoded file's bytes, or its path.
        source_image: The image that the mask belongs to: its size and orientation decide.

    Returns:
        Mask, uint8, shape (H, W) of the image: 0 normal; of JPEG and AVIF 0 and 255 alone.

    Raises:
        ImageError: If the mask cannot be read, has another size, or holds values other than 0 to 255.
    """
    height, width = source_image.image.shape[:2]
    with _opened(data if isinstance(data, bytes) else read_image_file(data, width * height / 1e6)) as file:
        found = file.size
        if file.width * file.height == width * height:
            # Of the image's size, and still not of its cost: one tile may hold far more.
            _check(file, max(width * height / 1e6, _MASK_TILE))
            _check_scans(file)
            lossy = file.format in {"JPEG", "MPO", "AVIF"}
            image, _ = _upright(file)
            found = image.size
            if found != (width, height) and found == source_image.stored_size:
                image = image.transpose(_TURNS[source_image.orientation])
            if image.size == (width, height):
                return mask_values(image, lossy=lossy)
    raise ImageError(
        f"mask is {found[0]} x {found[1]}, its image {width} x {height}",
        hint="export the mask in the image's size",
    )


@contextmanager
def _opened(content: bytes) -> Iterator[ImageFile.ImageFile]:
    """Open an image without decoding it; every way to fail becomes an ImageError, and Pillow stays as it was."""
    if not content:
        raise ImageError("file is empty (0 bytes)", hint=_HINT)
    _refuse_camera_file(content)
    with _GLOBALS, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        limit, lenient = Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES
        # Ours is checked instead, against the surface's own setting; a truncated image is never good enough.
        Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES = None, False
        try:
            with Image.open(io.BytesIO(content), formats=_FORMATS) as file:
                _refuse_preview(file)
                yield file
        except ImageError:
            raise
        except UnidentifiedImageError as error:
            raise ImageError("not an image", hint=_HINT) from error
        except Exception as error:  # Pillow's decoders raise a dozen kinds for damaged files
            raise ImageError(_reason(error), hint=_HINT) from error
        finally:
            Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES = limit, lenient


def _refuse_camera_file(content: bytes) -> None:
    for name, starts in _CAMERA_FILES.items():
        # An AVIF may begin as a HEIC does, and names itself after that.
        if any(content.startswith(begin, at) for at, begin in starts) and b"avif" not in content[:64]:
            raise _export(name)


def _refuse_preview(file: ImageFile.ImageFile) -> None:
    """Refuse what begins with a small preview of itself: raw files that are TIFF, such as NEF, ARW and DNG."""
    tags = getattr(file, "tag_v2", {})
    kind = tags.get(_KIND, 0)
    if _DNG_VERSION in tags or (isinstance(kind, int) and kind & 1):
        raise _export("RAW")


def _export(name: str) -> ImageError:
    return ImageError(f"a camera's {name} file: export it as JPEG or PNG", hint="replace the file with what you export")


def read_image_file(path: Path, max_megapixels: float) -> bytes:
    """Read the file of an image, unless it is larger than one of so many pixels could be.

    Args:
        path: The encoded file.
        max_megapixels: Most pixels that are decoded, in millions; infinity for no limit.

    Returns:
        The file's bytes.

    Raises:
        ImageError: If the file cannot be read, or has more than 8 bytes a pixel and 64 MB besides.
    """
    try:
        return read_at_most(path, _BESIDES + _BYTES * max_megapixels * 1e6)
    except OSError as error:
        raise ImageError(f"file cannot be read: {error.strerror}", hint=_HINT) from error


def _reason(error: Exception) -> str:
    text = str(error).lower()
    if isinstance(error, EOFError) or any(word in text for word in ("truncated", "unexpected end", "not enough data")):
        return "file is truncated"
    return f"file is damaged ({type(error).__name__})"


def _decoded_sides(file: ImageFile.ImageFile) -> tuple[int, int]:
    """Return width and height of a file or, where that is more, of one tile of a TIFF: it is decoded whole, however
    little of it is the image."""
    tags = getattr(file, "tag_v2", {})
    tile = tuple(tags.get(number, 0) for number in (_TILE_WIDTH, _TILE_LENGTH))
    sides = [file.size, *([tile] if all(isinstance(side, int) for side in tile) else [])]
    return max(sides, key=prod)


def _check(file: ImageFile.ImageFile, max_megapixels: float) -> None:
    sides = _decoded_sides(file)
    if prod(sides) > max_megapixels * 1e6:
        what = "" if sides == file.size else "a TIFF's tile of "
        raise ImageError(
            f"{what}{sides[0]} x {sides[1]} pixels are more than {max_megapixels:g} megapixels",
            hint="raise `validation.max_megapixels` in the surface's settings if it is an image",
        )
    frames = _count_frames(file)
    if frames > 1 and file.format != "MPO":
        raise ImageError(f"holds {frames} frames, not one image", hint="export each frame as a file of its own")


def _count_frames(file: ImageFile.ImageFile) -> int:
    """Count a file's frames, of a TIFF at most a hundred: for each, Pillow looks through all that came before."""
    if file.format != "TIFF":
        return int(getattr(file, "n_frames", 1))
    count = 1
    with suppress(EOFError):
        while getattr(file, "is_animated", False) and count < _MOST_FRAMES:
            file.seek(count)
            count += 1
    file.seek(0)
    return count


def _check_scans(file: ImageFile.ImageFile) -> None:
    if file.format not in {"JPEG", "MPO"} or file.fp is None:
        return
    file.fp.seek(0)
    scans = file.fp.read().count(b"\xff\xda")
    if scans > _MOST_SCANS:
        raise ImageError(f"holds {scans} scans, more than {_MOST_SCANS}", hint="save it again as a plain JPEG")


def _upright(file: ImageFile.ImageFile) -> tuple[Image.Image, int]:
    """Decode, turn, and say by which EXIF orientation (1 where there is none, or none that can be read)."""
    if file.format == "TIFF":
        # Pillow turns a TIFF while loading it, and forgets the tag.
        orientation = int(getattr(file, "tag_v2", {}).get(ExifTags.Base.Orientation, 1))
        file.load()
        return file, orientation if orientation in _TURNS else 1
    # Before getexif: of a PNG that decodes too, and would hide why it failed.
    file.load()
    try:
        orientation = file.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # damaged EXIF says nothing of the pixels
        orientation = 1
    if orientation not in _TURNS:
        return file, 1
    return file.transpose(_TURNS[orientation]), orientation
