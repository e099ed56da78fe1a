"""What damages a file: on its way, on a disk, by a program that writes wrongly, or by somebody who means harm."""

import io
import struct
import zlib
from collections.abc import Callable, Mapping
from functools import cache
from typing import NamedTuple

import numpy as np
import tifffile
from PIL import Image

from tests.fuzz.drawn import Drawn, draw_file

_PNG = b"\x89PNG\r\n\x1a\n"
_LARGE = (0, 1, 255, 4097, 30_000, 65_535, 65_536, 10**6, 2**31 - 1, 2**32 - 1)
_ODD_BYTES = (b"\0", b"\xff", b"\x7f", b"\x80", b"\xff\xff", b"\x7f\xff\xff\xff", b"\xff" * 4, b"\0" * 8, b"\xff" * 8)


class Case(NamedTuple):
    """One number's file: how it came about, its bytes, and the (width, height) that was drawn.

    `whole` is what was drawn where nothing was done to it.
    """

    number: int
    steps: str
    data: bytes
    size: tuple[int, int]
    whole: Drawn | None = None


def make_case(seed: int, number: int) -> Case:
    """Make the case of a number; it depends on nothing but seed and number."""
    rng = np.random.default_rng([seed, number])
    if rng.random() < 0.02:
        name = list(_BOMBS)[rng.integers(len(_BOMBS))]
        return Case(number, name, _BOMBS[name](rng), (16, 16))
    drawn = draw_file(rng)
    steps, data = [drawn.kind], drawn.data
    for _ in range(rng.choice(4, p=(0.15, 0.6, 0.2, 0.05))):
        name = list(_MUTATIONS)[rng.integers(len(_MUTATIONS))]
        data = _MUTATIONS[name](data, drawn, rng)
        steps.append(name)
    if data.startswith(_PNG) and len(steps) > 1 and rng.random() < 0.5:
        # What is damaged behind a right checksum gets further.
        data = _heal(data)
        steps.append("checksums")
    whole = drawn if len(steps) == 1 else None
    return Case(number, " + ".join(steps), data, (drawn.width, drawn.height), whole)


def _place(data: bytes, rng: np.random.Generator) -> int:
    """Choose a place, now and then within the head."""
    end = len(data) if rng.random() < 0.7 else min(len(data), 128)
    return int(rng.integers(end + 1))


def _truncate(data: bytes, _: Drawn, rng: np.random.Generator) -> bytes:
    return data[: _place(data, rng)]


def _flip(data: bytes, _: Drawn, rng: np.random.Generator) -> bytes:
    found = bytearray(data)
    for _n in range(rng.choice((1, 2, 8, 40))):
        if (place := _place(data, rng)) < len(found):
            found[place] ^= 1 << int(rng.integers(8))
    return bytes(found)


def _overwrite(data: bytes, _: Drawn, rng: np.random.Generator) -> bytes:
    place, word = _place(data, rng), _ODD_BYTES[rng.integers(len(_ODD_BYTES))]
    return data[:place] + word + data[place + len(word) :]


def _delete(data: bytes, _: Drawn, rng: np.random.Generator) -> bytes:
    place = _place(data, rng)
    return data[:place] + data[place + int(rng.choice((1, 2, 16, 300))) :]


def _repeat(data: bytes, _: Drawn, rng: np.random.Generator) -> bytes:
    place, length = _place(data, rng), int(rng.choice((1, 4, 64, 500)))
    return data[:place] + data[place : place + length] * int(rng.choice((2, 3, 50))) + data[place + length :]


def _zero(data: bytes, _: Drawn, rng: np.random.Generator) -> bytes:
    place, length = _place(data, rng), int(rng.choice((1, 16, 512)))
    return data[:place] + bytes(min(length, len(data) - place)) + data[place + length :]


def _splice(data: bytes, _: Drawn, rng: np.random.Generator) -> bytes:
    """Put the head of one file before the rest of another."""
    other = draw_file(rng).data
    return data[: _place(data, rng)] + other[_place(other, rng) :]


def _insert(data: bytes, _: Drawn, rng: np.random.Generator) -> bytes:
    other, place = draw_file(rng).data, _place(data, rng)
    start = _place(other, rng)
    return data[:place] + other[start : start + 200] + data[place:]


def _dimensions(data: bytes, drawn: Drawn, rng: np.random.Generator) -> bytes:
    """Write another number wherever the head holds the width or the height, in any byte order and length."""
    found, size = data, int(rng.choice(_LARGE))
    for side in (drawn.width, drawn.height):
        for form, most in ((">I", 2**32), ("<I", 2**32), (">H", 2**16), ("<H", 2**16)):
            old, new = struct.pack(form, side), struct.pack(form, size % most)
            place = found[:400].find(old, 8 if found.startswith(_PNG) else 0)
            if place >= 0 and rng.random() < 0.7:
                found = found[:place] + new + found[place + len(old) :]
    if found.startswith((b"P3", b"P4", b"P5", b"P6")):
        found = found.replace(str(drawn.width).encode(), str(size).encode(), 1)
    return _heal(found) if found.startswith(_PNG) else found


def _metadata(data: bytes, _: Drawn, rng: np.random.Generator) -> bytes:
    """Damage EXIF or a colour profile where there is one; put a damaged one into a JPEG or PNG where there is none."""
    for sign in (b"Exif\0\0", b"eXIf", b"EXIF", b"ICC_PROFILE", b"iCCP", b"acsp", b"MM\0*", b"II*\0"):
        place = data.find(sign, 1)
        if place >= 0:
            at = place + len(sign) + int(rng.integers(60))
            return data[:at] + rng.bytes(int(rng.integers(1, 12))) + data[at + 4 :]
    block = b"II*\0\x08\0\0\0" + struct.pack("<HHHII", 2, 274, 3, 1, int(rng.integers(2**32))) + rng.bytes(40)
    if data.startswith(b"\xff\xd8"):
        body = b"Exif\0\0" + block
        return data[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + data[2:]
    return data[:33] + _chunk(b"eXIf", block) + data[33:] if data.startswith(_PNG) else _flip(data, _, rng)


_MUTATIONS: Mapping[str, Callable[[bytes, Drawn, np.random.Generator], bytes]] = {
    "truncate": _truncate,
    "flip bits": _flip,
    "overwrite": _overwrite,
    "delete": _delete,
    "repeat": _repeat,
    "zero": _zero,
    "splice": _splice,
    "insert": _insert,
    "dimensions": _dimensions,
    "metadata": _metadata,
}


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def _heal(data: bytes) -> bytes:
    """Write the checksums of a PNG's chunks anew."""
    found, at = bytearray(data), 8
    while at + 12 <= len(found):
        end = at + 8 + int.from_bytes(found[at : at + 4], "big")
        if end + 4 > len(found):
            break
        found[end : end + 4] = struct.pack(">I", zlib.crc32(bytes(found[at + 4 : end])))
        at = end + 4
    return bytes(found)


def _png(width: int, height: int, *chunks: tuple[bytes, bytes], depth: int = 8, colour: int = 2) -> bytes:
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return _PNG + b"".join(_chunk(*chunk) for chunk in ((b"IHDR", head), *chunks, (b"IEND", b"")))


@cache
def _zeros(megabytes: int) -> bytes:
    """Compress so many megabytes of zeros into a thousandth."""
    packer = zlib.compressobj(9)
    return b"".join([*(packer.compress(bytes(10**6)) for _ in range(megabytes)), packer.flush()])


@cache
def _blank(mode: str, side: int, colour: int | tuple[int, ...], form: str, **options: object) -> bytes:
    return _saved(Image.new(mode, (side, side), colour), form, **options)


def _saved(image: Image.Image, form: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


@cache
def _tiled(side: int) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, np.zeros((16, 16), np.uint8), tile=(side, side), compression="zlib")
    return file.getvalue()


def _strips(rows: int) -> bytes:
    data = _saved(Image.new("L", (40, 30), 9), "TIFF", compression="tiff_deflate")
    place = data.find(struct.pack("<HHI", 278, 4, 1))
    place = place if place >= 0 else data.find(struct.pack("<HHI", 278, 3, 1))
    return data[: place + 8] + struct.pack("<I", rows) + data[place + 12 :]


@cache
def _scans(count: int) -> bytes:
    whole = _saved(Image.new("L", (640, 480), 200), "JPEG", progressive=True)
    scan = b"\xff\xda" + struct.pack(">HBBBBBB", 8, 1, 1, 0, 0, 0, 0x10) + b"\0" * 4
    return whole[:-2] + scan * count + whole[-2:]


@cache
def _frames(form: str, count: int) -> bytes:
    frames = [Image.new("L", (16, 16), n % 256) for n in range(count)]
    return _saved(frames[0], form, save_all=True, append_images=frames[1:])


# Small files that are large, or slow, once somebody begins to read them.
_BOMBS: Mapping[str, Callable[[np.random.Generator], bytes]] = {
    "bomb: png of 3,600 megapixels": lambda _: _png(60_000, 60_000, (b"IDAT", zlib.compress(b"\0"))),
    "bomb: png of 196 megapixels": lambda _: _blank("1", 14_000, 0, "PNG"),
    "bomb: png with 100 MB behind its last row": lambda _: _png(8, 8, (b"IDAT", _zeros(100))),
    "bomb: png, text": lambda _: _png(8, 8, (b"zTXt", b"a\0\0" + _zeros(100)), (b"IDAT", _zeros(1))),
    "bomb: png, profile": lambda _: _png(8, 8, (b"iCCP", b"a\0\0" + _zeros(100)), (b"IDAT", _zeros(1))),
    "bomb: png, many chunks": lambda _: _png(8, 8, *[(b"tEXt", b"a\0b")] * 40_000, (b"IDAT", _zeros(1))),
    "bomb: just within the limit": lambda _: _blank("RGBA", 1000, (1, 2, 3, 4), "PNG"),
    "bomb: just within the limit, 16 bits": lambda _: _blank("I;16", 1000, 9, "PNG"),
    "bomb: webp": lambda _: _blank("RGB", 5000, 0, "WEBP", lossless=True, method=0),
    "bomb: jpeg": lambda _: _blank("L", 6000, 0, "JPEG"),
    "bomb: jpeg 2000": lambda _: _blank("L", 3000, 0, "JPEG2000"),
    "bomb: gif": lambda _: _blank("L", 5000, 0, "GIF"),
    "bomb: tiff": lambda _: _blank("L", 6000, 0, "TIFF", compression="tiff_deflate"),
    "bomb: one tile of a tiff": lambda rng: _tiled(int(rng.choice((1024, 12_000)))),
    "bomb: rows in a strip": lambda rng: _strips(int(rng.choice((10**5, 10**7, 2**31 - 1, 2**32 - 1)))),
    "bomb: scans": lambda rng: _scans(int(rng.choice((90, 101, 5000)))),
    "bomb: gif of many frames": lambda rng: _frames("GIF", int(rng.choice((50, 300)))),
    "bomb: tiff of many pages": lambda rng: _frames("TIFF", int(rng.choice((50, 300)))),
    "bomb: png of many frames": lambda rng: _frames("PNG", int(rng.choice((50, 300)))),
}
