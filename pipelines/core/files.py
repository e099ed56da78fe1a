"""Writing files whole or not at all, and names of files that anybody can read and any system takes."""

import errno
import hashlib
import os
import stat
import tempfile
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def write_whole(path: Path, data: bytes | str) -> None:
    """Write through a temporary neighbour, so that a killed process leaves the old file or the new one.

    Args:
        path: What is written or replaced; folders that are missing are made.
        data: All that it is to hold; text becomes UTF-8.

    Raises:
        OSError: If the system refuses; the old file is left as it was.
    """
    with whole_file(path) as neighbour:
        neighbour.write_bytes(data.encode() if isinstance(data, str) else data)


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a temporary neighbour to write to, which takes the place of `path` when the block ends well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    neighbour = None
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:40]}.")
        neighbour = Path(name)
        os.close(handle)
        yield neighbour
        # mkstemp makes files for their owner alone; a project's files follow the user's umask.
        mask = os.umask(0)
        os.umask(mask)
        neighbour.chmod(0o666 & ~mask)
        neighbour.replace(path)
    except BaseException as error:
        if neighbour is not None:
            neighbour.unlink(missing_ok=True)
        # The system names none where a write fails, or the neighbour, which nobody knows.
        if isinstance(error, OSError) and (neighbour is None or error.filename in (None, str(neighbour))):
            error.filename, error.filename2 = str(path), None
        raise


def read_at_most(path: Path, most: float) -> bytes:
    """Read a file that anybody may have made: a few kilobytes of an archive become a file of terabytes, all holes.

    Args:
        path: A regular file; a pipe or a device would never end.
        most: Bytes that such a file has at most; infinity for no limit.

    Returns:
        What it holds.

    Raises:
        OSError: If it is larger, no file, or cannot be read; `strerror` says so in words.
    """
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "it is no regular file", str(path))
    if found.st_size > most:
        said = f"it has {found.st_size / 1e6:,.0f} MB, at most {most / 1e6:,.0f} are read"
        raise OSError(errno.EINVAL, said, str(path))
    return path.read_bytes()


# Control characters, bytes that are no UTF-8, and what would break a line.
_UNSHOWN = ("Cc", "Cs", "Zl", "Zp")
# What turns the direction of writing: `b<202E>gnp.exe.png` is read as `bgnp.exe.png` backwards.
_TURNING = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_LONGEST = 255  # bytes of a name, in nearly every file system


def show_name(name: str) -> str:
    r"""Write a file's name so that every terminal, table and page can show it.

    Args:
        name: As the system gave it; bytes that are no UTF-8 are surrogates in it.

    Returns:
        The name, with such bytes and control characters escaped.

    >>> show_name("Br\udcfccke, 1.png"), show_name("two\nlines.png")
    ('Br\\xfccke, 1.png', 'two\\x0alines.png')
    """
    if name.isascii() and name.isprintable():
        return name
    return "".join(_escape(ord(c)) if c in _TURNING or unicodedata.category(c) in _UNSHOWN else c for c in name)


def show_lines(text: str) -> str:
    r"""Write a text of several lines so that no name in it can command the terminal; line breaks and tabs stay.

    Args:
        text: For people, with names from outside in it.

    Returns:
        The text, with what `show_name` escapes.

    >>> show_lines("a\x1b[31m.png\nb.png")
    'a\\x1b[31m.png\nb.png'
    """
    return "\n".join("\t".join(show_name(part) for part in line.split("\t")) for line in text.split("\n"))


def _escape(code: int) -> str:
    byte = code - 0xDC00 if 0xDC80 <= code <= 0xDCFF else code
    return f"\\x{byte:02x}" if byte < 256 else f"\\u{byte:04x}"


def as_utf8(name: str) -> str:
    r"""Escape the bytes of a name that are no UTF-8, as of a Latin-1 name; any other name stays and can be opened.

    >>> as_utf8("Br\udcfccke.png"), as_utf8("Brücke.png")
    ('Br\\xfccke.png', 'Brücke.png')
    """
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def shorten_name(name: str, room: int) -> str:
    """Make a name short enough that something can be put to it; names that differ stay different.

    Args:
        name: One part of a path.
        room: Bytes that are put to it at most.

    Returns:
        The name itself where it is short enough, else its beginning and a hash of it.

    >>> shorten_name("a.png", 10), len(shorten_name("a" * 255, 10))
    ('a.png', 245)
    """
    whole, most = name.encode(), _LONGEST - room
    if len(whole) <= most:
        return name
    mark = f"~{hashlib.sha256(whole).hexdigest()[:12]}"
    return whole[: most - len(mark)].decode(errors="ignore") + mark
