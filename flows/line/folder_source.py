"""A folder that a camera writes into: each image is taken once, when it is whole, in the order in which it came."""

import logging
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from threading import Event
from typing import NamedTuple

from flows.line.source import Arrival
from pipelines.core.files import as_utf8, read_at_most, shorten_name
from pipelines.data.layouts.listing import is_image_file

DONE = "done"
_EVERY = 0.1  # seconds between two looks
_LARGEST = 2e9  # bytes of an image

log = logging.getLogger(__name__)


class _State(NamedTuple):
    size: int
    modified: int  # nanoseconds


def _key(name: str, state: _State) -> str:
    """Write what tells an image from all others; bytes of a name that are no UTF-8 cannot be kept in a database."""
    return f"{as_utf8(name)}\n{state.size}\n{state.modified}"


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
        self._files: dict[str, Path] = {}  # of the last look, by key
        self.problem, self.dropped, self.waiting = "", 0, 0

    def images(self, stop: Event) -> Iterator[Arrival | None]:
        while not stop.is_set():
            for arrival in self._look():
                yield arrival
                if stop.is_set():
                    return
            yield None
            stop.wait(_EVERY)

    def finish(self, arrival: Arrival) -> Path | None:
        file = self._files.get(arrival.key)
        if file is None or not self._move:
            self._left.add(arrival.key)
            return file
        target = self._folder / DONE / file.name
        target.parent.mkdir(exist_ok=True)
        if target.exists():
            # A camera that counts anew: neither of the two is overwritten.
            again = f"-{time.time_ns()}{target.suffix}"
            target = target.with_name(shorten_name(as_utf8(target.stem), len(again.encode())) + again)
        with suppress(FileNotFoundError):
            file.rename(target)
        return target

    def _look(self) -> list[Arrival]:
        now = time.monotonic()
        try:
            states = dict(self._states())
        except OSError as error:
            self._report(f"{self._folder} cannot be looked at ({error.strerror})")
            return []
        self._report("")
        before, self._seen, self._files = self._seen, {}, {}
        whole = []
        for name, state in states.items():
            known, since = before.get(name, (None, now))
            self._seen[name] = (state, since if known == state else now)
            key = _key(name, state)
            self._files[key] = file = self._folder / name
            if known == state and now - since >= self._settle and key not in self._left:
                read = partial(read_at_most, file, _LARGEST)
                whole.append((state.modified, name, Arrival(key, as_utf8(name), since, read)))
        self._left &= self._files.keys()
        self.waiting = len(self._files) - len(self._left)
        return [arrival for *_, arrival in sorted(whole, key=lambda found: found[:2])]

    def _states(self) -> Iterator[tuple[str, _State]]:
        with os.scandir(self._folder) as entries:
            for entry in entries:
                if entry.name.startswith(".") or not is_image_file(Path(entry.path)):
                    continue
                # A camera may have taken it back, or another program it away.
                with suppress(FileNotFoundError):
                    if entry.is_file(follow_symlinks=False):
                        stat = entry.stat(follow_symlinks=False)
                        yield entry.name, _State(stat.st_size, stat.st_mtime_ns)

    def _report(self, problem: str) -> None:
        if problem and not self.problem:
            log.warning("line: %s; it is tried again", problem)
        if self.problem and not problem:
            log.info("line: %s is back", self._folder)
        self.problem = problem
