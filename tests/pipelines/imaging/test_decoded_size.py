"""What a file takes to be decoded, known from its head: small files can be huge images."""

import io
import struct

import numpy as np
import pytest
import tifffile
from PIL import Image

from pipelines.core.errors import ImageError
from pipelines.imaging.decoding import Decoded, decode_image, decode_mask, read_pixels


def save(image: Image.Image, form: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def tiff(values: "np.typing.NDArray[np.generic]", **options: object) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, values, **options)
    return file.getvalue()


@pytest.mark.parametrize(
    ("data", "pixels"),
    [
        (save(Image.new("1", (14_000, 14_000)), "PNG"), 196_000_000),
        (save(Image.new("L", (70, 50)), "JPEG"), 3500),
        (tiff(np.zeros((40, 60), np.uint16)), 2400),
        (tiff(np.zeros((9, 20, 30), np.uint8), photometric="minisblack"), 600),
        # One tile is decoded whole, however little of it is the image.
        (tiff(np.zeros((40, 60), np.uint8), tile=(2048, 4096), compression="zlib"), 2048 * 4096),
    ],
)
def test_it_is_known_without_decoding(data: bytes, pixels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda _: pytest.fail("it was decoded"))
    assert read_pixels(data) == pixels


def test_a_tile_that_is_larger_than_its_image_is_named_and_not_decoded_in_a_mask_either() -> None:
    """The message told the image's own, small size; a mask was as large as its tile said, whatever that was."""
    data = tiff(np.zeros((40, 60), np.uint8), tile=(2048, 4096), compression="zlib")
    with pytest.raises(ImageError, match="tile of 4096 x 2048 pixels are more than 1 megapixels"):
        decode_image(data, 1)
    image = Decoded(np.zeros((40, 60, 3), np.uint8), "RGB", 8, 1, (60, 40))
    with pytest.raises(ImageError, match="tile of 4096 x 2048"):
        decode_mask(data, image)
    small = tiff(np.full((40, 60), 7, np.uint8), tile=(1024, 1024), compression="zlib")
    assert decode_mask(small, image).max() == 7


def test_a_mask_of_endless_refinements_is_refused() -> None:
    whole = save(Image.new("L", (640, 480), 200), "JPEG", progressive=True)
    scan = b"\xff\xda" + struct.pack(">HBBBBBB", 8, 1, 1, 0, 0, 0, 0x10) + b"\x00" * 4
    image = Decoded(np.zeros((480, 640, 3), np.uint8), "RGB", 8, 1, (640, 480))
    with pytest.raises(ImageError, match="more than 100"):
        decode_mask(whole[:-2] + scan * 200 + whole[-2:], image)


def test_what_is_no_image_has_none() -> None:
    with pytest.raises(ImageError, match="not an image"):
        read_pixels(b"no image")


def test_a_jpeg_of_endless_refinements_is_refused() -> None:
    """Each scan of a few bytes has the decoder walk over the whole image once more."""
    whole = save(Image.new("L", (640, 480), 200), "JPEG", progressive=True)
    assert decode_image(whole, 1).image.shape == (480, 640, 3)
    # Refines nothing of the first coefficient: "one component, its first coefficients, from bit 1 to 0".
    scan = b"\xff\xda" + struct.pack(">HBBBBBB", 8, 1, 1, 0, 0, 0, 0x10) + b"\x00" * 4
    with pytest.raises(ImageError, match="more than 100"):
        decode_image(whole[:-2] + scan * 200 + whole[-2:], 1)


def test_a_tiff_of_endless_pages_is_refused_after_some_of_them() -> None:
    page = save(Image.new("L", (8, 8)), "TIFF")
    start = struct.unpack("<I", page[4:8])[0]
    tags = page[start : start + 2 + 12 * struct.unpack("<H", page[start : start + 2])[0]]
    # Directories that each name the next one, and all the same pixels.
    step = len(tags) + 4
    chain = b"".join(tags + struct.pack("<I", len(page) + (n + 1) * step) for n in range(20_000))
    endless = page[:4] + struct.pack("<I", len(page)) + page[8:] + chain[:-4] + bytes(4)
    with pytest.raises(ImageError, match="holds 100 frames"):
        decode_image(endless, 1)
