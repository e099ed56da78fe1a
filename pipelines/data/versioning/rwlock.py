"""DVC's note of who reads and writes what: what a kill or a full disk leaves torn, and who is at work still."""

import re
from contextlib import suppress
from pathlib import Path

import psutil
from filelock import FileLock, Timeout

from pipelines.core.parsing import MalformedError, parse_json

_LINE = re.compile(r'"pid": ?(\d{1,9})\b')
_PATIENCE = 5.0  # seconds that DVC may take to write it


def drop_torn_note(root: Path) -> None:
    """Remove the note where it is torn: DVC would refuse every command, and writes a new one.

    Args:
        root: The project's folder. A note that is whole, or not there, is left alone.
    """
    note = _note(root)
    if _is_whole(note):
        return
    # DVC writes it with this lock held, and not at once: what is torn under the lock stays torn.
    with suppress(Timeout), FileLock(note.with_name("rwlock.lock"), timeout=_PATIENCE):
        if not _is_whole(note):
            note.unlink(missing_ok=True)


def live_holders(root: Path) -> list[psutil.Process]:
    """Find the DVC processes that the note names and that run still.

    Args:
        root: The project's folder.

    Returns:
        Each once; nothing of a note that is torn, or not there.
    """
    found: dict[int, psutil.Process] = {}
    for line in _LINE.finditer(_text(_note(root))):
        number = int(line[1])
        # A number may have been given to another process since.
        with suppress(psutil.Error, OSError):
            process = psutil.Process(number)
            if "dvc" in " ".join(process.cmdline()) and Path(process.cwd()) == root.resolve():
                found[number] = process
    return list(found.values())


def _note(root: Path) -> Path:
    return root / ".dvc/tmp/rwlock"


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8", errors="replace")
    except OSError:
        return ""


def _is_whole(note: Path) -> bool:
    try:
        return isinstance(parse_json(note.read_bytes()), dict)
    except FileNotFoundError:
        return True
    except MalformedError:
        return False
