"""DVC's note of who reads and writes what, which a kill or a full disk leaves torn: DVC refuses every command then."""

from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

from pipelines.core.parsing import MalformedError, parse_json

_PATIENCE = 5.0  # seconds that DVC may take to write it


def drop_torn_note(root: Path) -> None:
    """Remove the note where it is torn; DVC writes a new one.

    Args:
        root: The project's folder. A note that is whole, or not there, is left alone.
    """
    note = root / ".dvc/tmp/rwlock"
    if _is_whole(note):
        return
    # DVC writes it with this lock held, and not at once: what is torn under the lock stays torn.
    with suppress(Timeout), FileLock(note.with_name("rwlock.lock"), timeout=_PATIENCE):
        if not _is_whole(note):
            note.unlink(missing_ok=True)


def _is_whole(note: Path) -> bool:
    try:
        return isinstance(parse_json(note.read_bytes()), dict)
    except FileNotFoundError:
        return True
    except MalformedError:
        return False
