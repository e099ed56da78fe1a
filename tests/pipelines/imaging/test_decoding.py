"""Every kind of file that a camera, a scanner or a drawing program leaves."""

import io
import struct
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageFile, ImageOps

from pipelines.core.errors import ImageError
from pipelines.imaging.decoding import Decoded, decode_image, decode_mask


def _ramp(height: int = 24, width: int = 40) -> NDArray[np.uint8]:
    """Draw a picture without any symmetry."""
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 6, y * 10, (x + y) * 3], axis=2).astype(np.uint8)


def _bytes(image: Image.Image, form: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def _exif(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    return exif


def _png_bomb(width: int, height: int) -> bytes:
    """Make a PNG of a few bytes that claims many pixels."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"\0")), (b"IEND", b"")]
    body = b"".join(struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in chunks)
    return b"\x89PNG\r\n\x1a\n" + body


def _see(data: bytes | Path) -> Decoded:
    return decode_image(data, max_megapixels=1)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["PNG", "TIFF", "WEBP"])
def test_orientation_is_applied(form: str, orientation: int) -> None:
    stored = Image.fromarray(_ramp())
    data = _bytes(stored, form, exif=_exif(orientation), **({"lossless": True} if form == "WEBP" else {}))
    tagged = stored.copy()
    tagged.getexif()[ExifTags.Base.Orientation] = orientation
    seen = _see(data)
    np.testing.assert_array_equal(seen.image, np.asarray(ImageOps.exif_transpose(tagged)))
    assert (seen.orientation, seen.stored_size) == (orientation, (40, 24))


def test_orientation_of_a_jpeg_and_of_a_path(tmp_path: Path) -> None:
    path = tmp_path / "à turn.jpg"
    path.write_bytes(_bytes(Image.fromarray(_ramp()), "JPEG", exif=_exif(6), quality=95))
    seen = _see(path)
    assert seen.image.shape == (40, 24, 3)
    # Turned clockwise: what was at the left is at the top.
    assert np.abs(seen.image.astype(int) - np.rot90(_ramp(), -1)).mean() < 6


@pytest.mark.parametrize(
    ("mode", "form"),
    [(m, f) for m in ("1", "L", "P", "RGB") for f in ("PNG", "TIFF")] + [("CMYK", "TIFF")],
)
def test_opaque_modes_look_as_they_were_drawn(mode: str, form: str) -> None:
    image = Image.fromarray(_ramp()).convert(mode)
    seen = _see(_bytes(image, form))
    np.testing.assert_array_equal(seen.image, np.asarray(image.convert("RGB")))
    assert seen.mode == mode
    assert seen.bit_depth == (1 if mode == "1" else 8)


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_transparency_is_laid_on_white(mode: str) -> None:
    image = Image.new(mode, (8, 8), (100, 255) if mode == "LA" else (100, 100, 100, 255))
    image.putpixel((0, 0), (0, 0) if mode == "LA" else (0, 0, 0, 0))
    seen = _see(_bytes(image, "PNG")).image
    assert seen[0, 0].tolist() == [255, 255, 255]
    assert seen[4, 4].tolist() == [100, 100, 100]


def test_transparent_palette_and_colour_key() -> None:
    palette = Image.new("P", (8, 8), 1)
    palette.putpalette([0, 0, 0, 200, 100, 50])
    palette.putpixel((0, 0), 0)
    key = Image.new("RGB", (8, 8), (200, 100, 50))
    key.putpixel((0, 0), (0, 0, 0))
    for data in (_bytes(palette, "PNG", transparency=0), _bytes(key, "PNG", transparency=(0, 0, 0))):
        seen = _see(data).image
        assert seen[0, 0].tolist() == [255, 255, 255]
        assert seen[4, 4].tolist() == [200, 100, 50]


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_16_bit_grey_is_scaled_not_clipped(form: str) -> None:
    deep = np.linspace(0, 65535, 24 * 40).reshape(24, 40).astype(np.uint16)
    seen = _see(_bytes(Image.fromarray(deep), form))
    assert seen.bit_depth == 16
    np.testing.assert_array_equal(seen.image[..., 1], np.rint(deep / 257.0).astype(np.uint8))


@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_16_bit_colour_and_inverted_grey_tiff(byteorder: Any) -> None:
    deep = _ramp().astype(np.uint16) * 257
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, deep, photometric="rgb", byteorder=byteorder)
    seen = _see(buffer.getvalue())
    assert seen.bit_depth == 16
    assert np.abs(seen.image.astype(int) - _ramp()).max() <= 1
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, 65535 - deep[..., 0], photometric="miniswhite", byteorder=byteorder)
    if byteorder == "<":  # Pillow reads no other
        assert np.abs(_see(buffer.getvalue()).image[..., 0].astype(int) - _ramp()[..., 0]).max() <= 1


def test_12_bit_tiff_is_scaled_by_its_own_depth() -> None:
    rows = np.array([[0, 4095], [2048, 1024]], np.uint16)
    packed = bytes(b for a, c in rows.tolist() for b in ((a >> 4), ((a & 15) << 4) | (c >> 8), c & 255))
    entries = [(256, 3, 2), (257, 3, 2), (258, 3, 12), (259, 3, 1), (262, 3, 1), (277, 3, 1), (278, 3, 2), (279, 4, 6)]
    entries.append((273, 4, 8 + 2 + 12 * 9 + 4))
    ifd = struct.pack("<H", 9) + b"".join(struct.pack("<HHII", t, k, 1, v) for t, k, v in sorted(entries))
    seen = _see(b"II*\0\x08\0\0\0" + ifd + b"\0\0\0\0" + packed)
    assert seen.bit_depth == 12
    np.testing.assert_array_equal(seen.image[..., 0], [[0, 255], [128, 64]])


@pytest.mark.parametrize(("bits", "form"), [(10, "PNG"), (12, "PNG"), (12, "TIFF")])
def test_10_and_12_bits_in_16_are_stretched_by_what_they_use(bits: int, form: str) -> None:
    deep = np.linspace(0, 2**bits - 1, 24 * 40).reshape(24, 40).astype(np.uint16)
    seen = _see(_bytes(Image.fromarray(deep), form))
    assert (seen.bit_depth, seen.image.max()) == (bits, 255)
    np.testing.assert_array_equal(seen.image[..., 0], np.rint(deep * 255.0 / (2**bits - 1)).astype(np.uint8))
    # A black frame with noise stays one.
    dark = _see(_bytes(Image.fromarray((deep // 2 ** (bits - 6)).astype(np.uint16)), form))
    assert (dark.bit_depth, dark.image.max()) == (16, 0)


def test_a_tiff_that_states_its_largest_sample_is_stretched_by_that() -> None:
    deep = np.linspace(0, 900, 24 * 40).reshape(24, 40).astype(np.uint16)
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, deep, photometric="minisblack", extratags=[(281, 3, 1, 4095, True)])
    seen = _see(buffer.getvalue())
    assert (seen.bit_depth, seen.image.max()) == (12, 56)


def test_cmyk_jpeg_with_and_without_adobes_inversion() -> None:
    ink = Image.new("CMYK", (16, 16), (0, 128, 255, 0))
    orange = np.asarray(ink.convert("RGB"))[0, 0].astype(int)
    adobe = _bytes(ink, "JPEG", quality=100)
    start = adobe.index(b"\xff\xee")
    length = 2 + int.from_bytes(adobe[start + 2 : start + 4], "big")
    plain_ink = _bytes(Image.eval(ink, lambda v: 255 - v), "JPEG", quality=100)
    plain = plain_ink[:start] + plain_ink[start + length :]
    for data in (adobe, plain):
        assert np.abs(_see(data).image[8, 8].astype(int) - orange).max() <= 4


def _tiff(pixels: NDArray[Any], **options: Any) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, pixels, **options)
    return buffer.getvalue()


def _gif() -> bytes:
    frames = [Image.new("L", (8, 8), value) for value in (0, 255)]
    return _bytes(frames[0], "GIF", save_all=True, append_images=frames[1:])


_PNG = _bytes(Image.fromarray(_ramp()), "PNG")
_JPEG = _bytes(Image.fromarray(_ramp(200, 200)), "JPEG")
_UNUSABLE = {
    "empty": (b"", "0 bytes"),
    "text": (b"these are not pixels", "not an image"),
    "truncated jpeg": (_JPEG[: len(_JPEG) // 2], "truncated"),
    "truncated png": (_PNG[: len(_PNG) // 2], "truncated"),
    "truncated tiff": (_bytes(Image.fromarray(_ramp()), "TIFF")[:1500], "truncated"),
    "header alone": (_PNG[:20], "damaged|truncated|not an image"),
    "bomb": (_png_bomb(60000, 60000), "more than 1 megapixels"),
    "animation": (_gif(), "2 frames"),
    "pages": (
        _bytes(Image.new("L", (8, 8)), "TIFF", save_all=True, append_images=[Image.new("L", (8, 8))]),
        "2 frames",
    ),
    "floating point": (_bytes(Image.new("F", (8, 8)), "TIFF"), "no fixed white"),
    "12 bits of colour": (_tiff(_ramp().astype(np.uint16) * 16, photometric="rgb"), "at most 12 of its 16 bits"),
    "heic": (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "a camera's HEIC file: export it as JPEG or PNG"),
    "canon": (b"II*\0\x10\0\0\0CR\x02\0", "a camera's RAW file: export it as JPEG or PNG"),
    "nikon": (_tiff(_ramp(), photometric="rgb", subfiletype=1), "a camera's RAW file"),
    "postscript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image"),
}


def test_first_picture_of_a_phones_jpeg_is_the_image() -> None:
    preview = Image.new("RGB", (8, 8))
    seen = _see(_bytes(Image.fromarray(_ramp()), "MPO", save_all=True, append_images=[preview]))
    assert seen.image.shape == (24, 40, 3)


@pytest.mark.parametrize(("data", "reason"), _UNUSABLE.values(), ids=_UNUSABLE.keys())
def test_unusable_files_say_why(data: bytes, reason: str) -> None:
    with pytest.raises(ImageError, match=reason):
        _see(data)


def test_missing_file_says_why(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="cannot be read"):
        _see(tmp_path / "gone.png")


def test_large_image_neither_warns_nor_changes_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    filters = list(warnings.filters)
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        assert _see(_PNG).image.shape == (24, 40, 3)
    with pytest.raises(ImageError):
        _see(_JPEG[:300])
    assert not heard
    assert (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES) == (100, True)
    assert warnings.filters == filters


def _mask(height: int = 24, width: int = 40) -> NDArray[np.uint8]:
    mask = np.zeros((height, width), np.uint8)
    mask[2:6, 3:30] = 3
    mask[10, 39] = 10
    return mask


def test_mask_keeps_its_values() -> None:
    source_image = _see(_PNG)
    palette = Image.fromarray(_mask(), "L").convert("P")
    palette.putdata(_mask().ravel())
    palette.putpalette([200, 0, 0] * 256)
    coloured = np.stack([np.zeros_like(_mask()), _mask(), _mask() // 2], axis=2)
    clear = np.dstack([np.full((24, 40, 3), 7, np.uint8), (_mask() > 0) * np.uint8(255)])
    for image, expected in (
        (Image.fromarray(_mask()), _mask()),
        (palette, _mask()),
        (Image.fromarray(_mask() > 0), _mask() > 0),
        (Image.fromarray(_mask().astype(np.uint16)), _mask()),
        (Image.fromarray(coloured), _mask()),
        (Image.fromarray(clear), (_mask() > 0) * 7),
    ):
        values = decode_mask(_bytes(image, "PNG"), source_image)
        assert values.dtype == np.uint8
        np.testing.assert_array_equal(values, expected)


def test_lossy_mask_is_cleaned() -> None:
    drawn = _bytes(Image.fromarray((_mask() > 0) * np.uint8(255)), "JPEG", quality=60)
    assert set(np.unique(decode_mask(drawn, _see(_PNG)))) == {0, 255}


def test_mask_of_a_turned_image() -> None:
    turned = _see(_bytes(Image.fromarray(_ramp()), "PNG", exif=_exif(6)))
    expected = np.rot90(_mask(), -1)
    for mask in (_mask(), expected):
        np.testing.assert_array_equal(decode_mask(_bytes(Image.fromarray(mask), "PNG"), turned), expected)
    # A mask that carries the same turn itself is turned once.
    own = _bytes(Image.fromarray(_mask()), "PNG", exif=_exif(6))
    np.testing.assert_array_equal(decode_mask(own, turned), expected)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (_bytes(Image.new("L", (39, 24)), "PNG"), "mask is 39 x 24, its image 40 x 24"),
        (_png_bomb(60000, 60000), "mask is 60000"),
        (_bytes(Image.fromarray(np.full((24, 40), 300, np.uint16)), "PNG"), "other than 0 to 255"),
        (_bytes(Image.new("L", (40, 24)), "PNG")[:50], "truncated|damaged"),
    ],
    ids=["size", "bomb", "values", "truncated"],
)
def test_unusable_masks_say_why(data: bytes, reason: str) -> None:
    with pytest.raises(ImageError, match=reason):
        decode_mask(data, _see(_PNG))
