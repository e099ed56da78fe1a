"""What a file takes to be decoded, known from its head: small files can be huge images."""

import io
import struct

import numpy as np
import pytest
import tifffile
from PIL import Image

from pipelines.core.errors import ImageError
from pipelines.imaging.decoding import decode_image, read_pixels


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
