"""Small images drawn in memory, in every form that cameras, scanners and programs write, and files that are none."""

import gzip
import io
import struct
import zipfile
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import cv2
import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageCms, ImageOps

# (height, width): a pixel, a line, an odd size, and some that fill several blocks of a JPEG and tiles of a TIFF.
_SIZES = ((1, 1), (1, 70), (3, 2), *((33, 47), (64, 48), (90, 131)) * 3)
_PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
_NO_EXIF = {"BMP", "GIF", "PPM", "JPEG2000"}


class Drawn(NamedTuple):
    """A file, whether and how it is to be read, and its stored size.

    `seen` is the RGB image (H, W, 3) that a person sees; None where the file has to be refused, as `refused` says.
    `lossy` files come near to `seen`.
    """

    kind: str
    data: bytes
    width: int
    height: int
    seen: NDArray[np.uint8] | None = None
    lossy: bool = False
    refused: str = ""


class _Form(NamedTuple):
    form: str
    mode: str
    options: Mapping[str, Any] = {}
    refused: str = ""
    frames: int = 1


_FORMS = (
    *(_Form("PNG", mode) for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")),
    _Form("PNG", "RGB", {"icc_profile": _PROFILE}),
    _Form("PNG", "RGBA", {"save_all": True}, "frames", 3),
    *(_Form("JPEG", mode, {"quality": 95}) for mode in ("L", "RGB", "CMYK")),
    _Form("JPEG", "RGB", {"progressive": True, "quality": 95, "icc_profile": _PROFILE}),
    _Form("MPO", "RGB", {"save_all": True, "quality": 95}, "", 2),
    *(_Form("TIFF", mode) for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16")),
    _Form("TIFF", "LAB", refused="LAB"),
    *(_Form("TIFF", mode, refused="no fixed white") for mode in ("F", "I")),
    *(_Form("TIFF", "1", {"compression": name}) for name in ("group3", "group4")),
    *(_Form("TIFF", "RGB", {"compression": f"tiff_{name}"}) for name in ("lzw", "deflate")),
    _Form("TIFF", "L", {"compression": "packbits"}),
    _Form("TIFF", "RGB", {"compression": "jpeg", "quality": 95}),
    _Form("TIFF", "L", {"save_all": True}, "frames", 3),
    *(_Form("BMP", mode) for mode in ("1", "L", "P", "RGB", "RGBA")),
    *(_Form("WEBP", mode, {"lossless": True, "exact": True}) for mode in ("RGB", "RGBA")),
    _Form("WEBP", "RGB", {"quality": 95}),
    _Form("WEBP", "RGB", {"save_all": True}, "frames", 3),
    *(_Form("GIF", mode) for mode in ("L", "P")),
    _Form("GIF", "L", {"save_all": True}, "frames", 3),
    *(_Form("PPM", mode) for mode in ("1", "L", "RGB", "I;16")),
    *(_Form("JPEG2000", mode) for mode in ("L", "RGB", "RGBA", "I;16")),
    *(_Form("AVIF", mode, {"quality": 95, "speed": 10}) for mode in ("RGB", "RGBA")),
)
_LOSSY = {"JPEG", "MPO", "AVIF"}


def draw_file(rng: np.random.Generator) -> Drawn:
    """Draw an image, write it in one of the forms, or make a file that is none."""
    height, width = _SIZES[rng.integers(len(_SIZES))]
    picture = _picture(rng, height, width)
    kind = int(rng.integers(len(_FORMS) + len(_ODD)))
    if rng.random() < 0.08:
        name = list(_ALIEN)[kind % len(_ALIEN)]
        data = _ALIEN[name](Image.fromarray(picture), rng)
        return Drawn(name, data, width, height, refused="not an image|0 bytes|HEIC")
    if kind < len(_FORMS):
        return _save(_FORMS[kind], picture, rng)
    name = list(_ODD)[kind - len(_FORMS)]
    data, seen = _ODD[name](picture)
    return Drawn(name, data, width, height, seen, refused="" if seen is not None else "no fixed white|not an image")


def _picture(rng: np.random.Generator, height: int, width: int) -> NDArray[np.uint8]:
    """Draw a board: a slope of light, without any symmetry, and a knot."""
    y, x = np.mgrid[:height, :width]
    tint = rng.integers(70, 160, 3)
    light = 60 * x / max(width - 1, 1) + 30 * y / max(height - 1, 1)
    knot = np.hypot(x - width / 3, y - height / 2) < min(height, width) / 5
    lit: NDArray[np.uint8] = np.clip(tint + light[..., None] - 50 * knot[..., None], 0, 255).astype(np.uint8)
    return lit


def _save(form: _Form, picture: NDArray[np.uint8], rng: np.random.Generator) -> Drawn:
    image = _in_mode(picture, form.mode)
    options = dict(form.options)
    orientation = int(rng.integers(1, 9))
    if form.form not in _NO_EXIF and rng.random() < 0.3:
        options["exif"] = _exif(orientation)
    if form.frames > 1:
        # Of equal frames the writers keep one.
        options["append_images"] = [ImageOps.invert(_in_mode(picture, "RGB")).convert(image.mode)] * (form.frames - 1)
        options["append_images"] = [
            Image.eval(frame, lambda v, n=n: (v + 9 * n) % 256) for n, frame in enumerate(options["append_images"])
        ]
    file = io.BytesIO()
    image.save(file, form.form, **options)
    words = [form.form.lower(), form.mode, *(str(v) for k, v in options.items() if k == "compression")]
    more = [*(["frames"] if form.frames > 1 else []), *(["exif"] if "exif" in options else [])]
    # The fourth byte of a BMP's pixel is nobody's: viewers show it opaque.
    shown = image.convert("RGB") if form.form == "BMP" else image
    seen = None if form.refused else _as_seen(shown, orientation if "exif" in options else 1)
    lossy = form.form in _LOSSY or form.options.get("compression") == "jpeg" or dict(form.options) == {"quality": 95}
    return Drawn(
        " ".join([*words, *more]), file.getvalue(), image.width, image.height, seen, lossy=lossy, refused=form.refused
    )


def _in_mode(picture: NDArray[np.uint8], mode: str) -> Image.Image:
    image = Image.fromarray(picture)
    if mode == "I;16":
        return Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    if mode == "LAB":
        return image.convert("RGB")._new(Image.new("LAB", image.size).im)
    if mode in {"LA", "RGBA"}:
        image.putalpha(Image.fromarray(np.broadcast_to(picture[..., :1] // 2 + 100, picture[..., :1].shape)[..., 0]))
    return image.convert(mode)


def _exif(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    exif[ExifTags.Base.Make] = "a camera"
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.MakerNote] = bytes(range(64))
    return exif


def _as_seen(image: Image.Image, orientation: int) -> NDArray[np.uint8]:
    if image.mode == "I;16":
        image = Image.fromarray((np.asarray(image) // 257).astype(np.uint8))
    if image.mode in {"LA", "RGBA"}:
        layer = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    turned = image.convert("RGB")
    turned.getexif()[ExifTags.Base.Orientation] = orientation
    return np.asarray(ImageOps.exif_transpose(turned))


def _tiff(values: NDArray[Any], **options: Any) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, values, **options)
    return file.getvalue()


def _png_16(picture: NDArray[np.uint8]) -> bytes:
    return bytes(cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR).astype(np.uint16) * 257)[1])


def _plain_ppm(picture: NDArray[np.uint8]) -> bytes:
    head = f"P3\n# drawn\n{picture.shape[1]} {picture.shape[0]}\n255\n"
    return head.encode() + " ".join(map(str, picture.ravel().tolist())).encode()


def _grey(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(Image.fromarray(picture).convert("L"))


def _three(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.repeat(grey[..., None], 3, axis=2)


# Forms that Pillow does not write: data, and what is seen, or None for what has to be refused.
_ODD: Mapping[str, Callable[[NDArray[np.uint8]], tuple[bytes, NDArray[np.uint8] | None]]] = {
    "png 16-bit rgb": lambda p: (_png_16(p), p),
    "ppm plain": lambda p: (_plain_ppm(p), p),
    "tiff 16-bit rgb": lambda p: (_tiff(p.astype(np.uint16) * 257, photometric="rgb"), p),
    "tiff 16-bit rgb, big endian": lambda p: (
        _tiff(p.astype(np.uint16) * 257, photometric="rgb", byteorder=">"),
        p,
    ),
    "tiff tiles": lambda p: (_tiff(p, photometric="rgb", tile=(16, 16), compression="zlib"), p),
    "tiff big": lambda p: (_tiff(p, photometric="rgb", bigtiff=True), p),
    "tiff white is zero": lambda p: (_tiff(255 - _grey(p), photometric="miniswhite"), _three(_grey(p))),
    "tiff half floats": lambda p: (_tiff(_grey(p).astype(np.float16), photometric="minisblack"), None),
    "tiff doubles": lambda p: (_tiff(_grey(p).astype(np.float64), photometric="minisblack"), None),
    "tiff 32-bit": lambda p: (_tiff(_grey(p).astype(np.uint32), photometric="minisblack"), None),
}


def _pillow(form: str) -> Callable[[Image.Image, np.random.Generator], bytes]:
    def save(image: Image.Image, _: np.random.Generator) -> bytes:
        file = io.BytesIO()
        image.save(file, form)
        return file.getvalue()

    return save


def _archive(image: Image.Image, _: np.random.Generator) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.png", _pillow("PNG")(image, _))
    return file.getvalue()


# What people rename to .png, or pick by mistake.
_ALIEN: Mapping[str, Callable[[Image.Image, np.random.Generator], bytes]] = {
    **{form.lower(): _pillow(form) for form in ("PDF", "EPS", "ICO", "PCX", "TGA", "DDS", "SGI")},
    "empty": lambda *_: b"",
    "zero bytes": lambda *_: bytes(4000),
    "noise": lambda _, rng: rng.bytes(2000),
    "text": lambda *_: b"these are not pixels\n" * 40,
    "text, utf-16": lambda *_: ("not pixels\n" * 40).encode("utf-16"),
    "html": lambda *_: b"<!DOCTYPE html><html><body>404 Not Found</body></html>",
    "svg": lambda *_: b'<svg xmlns="http://www.w3.org/2000/svg"><rect width="9" height="9"/></svg>',
    "zip": _archive,
    "gzip": lambda image, rng: gzip.compress(_pillow("PNG")(image, rng), mtime=0),
    "heic": lambda *_: b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(400),
    "avi": lambda *_: b"RIFF" + struct.pack("<I", 400) + b"AVI LIST" + bytes(392),
    "program": lambda *_: b"\x7fELF\x02\x01\x01" + bytes(400),
}
