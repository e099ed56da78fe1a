"""Loaded champions within one bound of memory: whichever was asked for least recently makes room."""

import logging
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Condition, Lock

import psutil

from flows.runtime.champion import Loaded
from flows.serving.patience import taking_turns

_LOOK = 0.2  # seconds until a request that waits for memory looks whether anybody waits for it

log = logging.getLogger(__name__)

Load = Callable[[], Loaded]


@dataclass
class _Kept:
    loaded: Loaded
    size: int
    users: int = 0


def weigh(load: Load) -> tuple[Loaded, int]:
    """Load a version and say how many bytes it takes: what the process grew by, and no less than its networks' files.

    Memory that another version left may be taken again, and the process then grows by less.
    """
    before = psutil.Process().memory_info().rss
    loaded = load()
    weights = sum(file.stat().st_size for file in loaded.detector.folder.rglob("*.bin"))
    return loaded, max(psutil.Process().memory_info().rss - before, weights)


class Shelf:
    """Keeps loaded versions, one a surface, of `most` bytes together. Threads may share it.

    One that is lent stays. One that takes more than all may is kept alone. While a version takes another's place,
    both are in memory.
    """

    def __init__(
        self,
        most: int | None = None,
        tell: Callable[[int, int], None] = lambda *_: None,
        weigh: Callable[[Load], tuple[Loaded, int]] = weigh,
    ) -> None:
        """Begin empty.

        Args:
            most: Bytes that all versions may take; None for any number.
            tell: Called with the number of versions and their bytes whenever these change.
            weigh: Loads a version, and says how many bytes it takes.
        """
        self._most, self._tell, self._weigh = most, tell, weigh
        self._kept: OrderedDict[str, _Kept] = OrderedDict()  # the least recently used first
        self._known: dict[str, int] = {}
        self._loading = Lock()  # whoever has it may change what is kept
        self._changed = Condition()  # guards what is kept, and is told where a version is given back

    @contextmanager
    def lend(self, surface: str, load: Load, heed: Callable[[], None]) -> Iterator[Loaded]:
        """Lend a surface's version, which is loaded where it is not; it stays until the block ends.

        Args:
            surface: Whose version.
            load: Loads it.
            heed: Called while others have the memory, or load; what it raises ends the waiting.

        Yields:
            The version.
        """
        kept = self._take(surface) or self._fetch(surface, load, heed)
        try:
            yield kept.loaded
        finally:
            with self._changed:
                kept.users -= 1
                self._changed.notify_all()

    def put(self, surface: str, load: Load) -> Loaded:
        """Load a version and put it in the place of the surface's other one, without waiting for those that are lent.

        Args:
            surface: Whose version.
            load: Loads it; where it fails, the other one stays.

        Returns:
            The version.
        """
        with self._loading:
            self._make_room(surface)
            return self._keep(surface, load).loaded

    def _take(self, surface: str) -> _Kept | None:
        with self._changed:
            kept = self._kept.get(surface)
            if kept is not None:
                self._kept.move_to_end(surface)
                kept.users += 1
            return kept

    def _fetch(self, surface: str, load: Load, heed: Callable[[], None]) -> _Kept:
        with taking_turns(self._loading, heed):
            kept = self._take(surface)  # somebody may have loaded it meanwhile
            if kept is not None:
                return kept
            while not self._make_room(surface):
                heed()
                with self._changed:
                    self._changed.wait(_LOOK)
            self._keep(surface, load)
            kept = self._take(surface)
            assert kept is not None  # noqa: S101 - only who has `_loading` takes one away
            return kept

    def _keep(self, surface: str, load: Load) -> _Kept:
        loaded, size = self._weigh(load)
        self._known[surface] = size
        if self._most is not None and size > self._most:
            said = (loaded.name, size / 1e6, self._most / 1e6)
            log.warning("serve: %s alone takes %.0f MB, more than the %.0f MB for all", *said)
        kept = _Kept(loaded, size)
        with self._changed:
            self._kept[surface] = kept
            self._kept.move_to_end(surface)
        self._make_room(surface)
        return kept

    def _make_room(self, surface: str) -> bool:
        """Unload what is not lent, the least recently used first, until a surface's version fits beside the rest.

        Returns:
            Whether it fits now, or is alone.
        """
        with self._changed:
            others = [name for name in self._kept if name != surface]
            for name in others:
                if self._fits(surface):
                    break
                if not self._kept[name].users:
                    log.info("serve %s: %s makes room for %s", name, self._kept.pop(name).loaded.name, surface)
            self._tell(len(self._kept), sum(kept.size for kept in self._kept.values()))
            return self._fits(surface) or not self._kept.keys() - {surface}

    def _fits(self, surface: str) -> bool:
        others = sum(kept.size for name, kept in self._kept.items() if name != surface)
        return self._most is None or others + self._known.get(surface, 0) <= self._most
