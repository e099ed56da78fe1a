"""Writing files whole or not at all."""

import os
import tempfile
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
