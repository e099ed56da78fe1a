"""A folder that a camera writes into: each image is taken once, when it is whole, in the order in which it came."""

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from threading import Event
from typing import NamedTuple

from pipelines.data.layouts.listing import is_image_file

DONE = "done"
_EVERY = 0.1  # seconds between two looks


class Arrival(NamedTuple):
    """An image that is whole: `key` is another one's never, also after a restart; `since` is when it was seen whole."""

    file: Path
    key: str
    since: float


class _State(NamedTuple):
    size: int
    modified: int  # nanoseconds


class FolderSource:
    """Looks at one folder again and again.

    An image is whole once its size and time have stood still for a while: a camera may write it slowly, or move it
    here. Names that begin with a dot are another program's unfinished files. Links are not followed, and folders below
    are not looked into.
    """

    def __init__(self, folder: Path, settle: float, *, move: bool) -> None:
        """Look at a folder.

        Args:
            folder: Must be there, and writable with `move`.
            settle: Seconds that a file must have stood still.
            move: Move images that have their verdict to `done/`; else they stay where they are.
        """
        self._folder, self._settle, self._move = folder, settle, move
        self._seen: dict[str, tuple[_State, float]] = {}
        self._left: set[str] = set()
        self.waiting = 0  # images that the last look saw and that are not finished

    def images(self, stop: Event) -> Iterator[Arrival | None]:
        """Yield what is whole, the oldest first, and None after each look: whoever asks shows that it is alive.

        Args:
            stop: Ends it.

        Yields:
            Images that `finish` was not called for.
        """
        while not stop.is_set():
            for arrival in self._look():
                yield arrival
                if stop.is_set():
                    return
            yield None
            stop.wait(_EVERY)

    def finish(self, arrival: Arrival) -> Path:
        """Put an image away whose verdict is kept.

        Args:
            arrival: As it was yielded. Its file may be gone.

        Returns:
            Where it lies now.
        """
        if not self._move:
            self._left.add(arrival.key)
            return arrival.file
        target = self._folder / DONE / arrival.file.name
        target.parent.mkdir(exist_ok=True)
        if target.exists():
            # A camera that counts anew: neither of the two is overwritten.
            target = target.with_stem(f"{target.stem}-{time.time_ns()}")
        with suppress(FileNotFoundError):
            arrival.file.rename(target)
        return target

    def _look(self) -> list[Arrival]:
        now, found, whole = time.monotonic(), {}, []
        with os.scandir(self._folder) as entries:
            for entry in entries:
                if entry.name.startswith(".") or not is_image_file(Path(entry.path)):
                    continue
                try:
                    if not entry.is_file(follow_symlinks=False):
                        continue
                    stat = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                state = _State(stat.st_size, stat.st_mtime_ns)
                before, since = self._seen.get(entry.name, (None, now))
                found[entry.name] = (state, since if before == state else now)
                key = f"{entry.name}\n{state.size}\n{state.modified}"
                if before == state and now - since >= self._settle and key not in self._left:
                    whole.append((state.modified, entry.name, Arrival(Path(entry.path), key, since)))
        self._seen = found
        self.waiting = sum(
            f"{name}\n{state.size}\n{state.modified}" not in self._left for name, (state, _) in found.items()
        )
        self._left &= {f"{name}\n{state.size}\n{state.modified}" for name, (state, _) in found.items()}
        return [arrival for *_, arrival in sorted(whole)]
