"""The champion in use: looked up again every few seconds, and changed without a pause."""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import Event
from typing import NamedTuple

import numpy as np

from flows.runtime.champion import Loaded, find_champion, load_version
from flows.serving.champions.shelf import Shelf
from flows.serving.metrics import Metrics
from pipelines.core.errors import KnotwatchError
from pipelines.core.paths import Project
from pipelines.tracking.registry import ModelVersion
from pipelines.tracking.store import Tracking

EVERY = 2.0  # seconds between two looks at the registry
_AGAIN = 60.0  # seconds until a version that could not be loaded is tried again

log = logging.getLogger(__name__)


class Using(NamedTuple):
    """The version in use, loaded or not: its number, and its name with surface and algorithm."""

    version: int
    name: str


class Holder:
    """Knows a surface's champion; a new one is made ready beside it and takes its place at once.

    What a request began with it ends with: whoever is lent the champion keeps that version. `current` is the one in
    use; `problem` says why the registry's champion is another one, None where it is not.
    """

    def __init__(self, project: Project, tracking: Tracking, surface: str, shelf: Shelf, metrics: Metrics) -> None:
        """Load a surface's champion.

        Args:
            project: Says whether there is such a surface, where the registry knows of no champion.
            tracking: Store whose registry is asked.
            surface: Name.
            shelf: Where the champion is kept, and may be unloaded for others; it has one for each surface.
            metrics: Told which version is in use.

        Raises:
            ModelError: If the surface has no champion, or it does not load and reproduce its reference tiles.
            SettingsError: If there is no such surface.
        """
        self._tracking, self._shelf, self._metrics = tracking, shelf, metrics
        self.surface = surface
        self.problem: str | None = None
        self._failed: tuple[int, float] | None = None
        self._champion = find_champion(project, tracking, surface)
        # Seconds, in which a person would otherwise see nothing.
        log.info("%s: loading version %d and checking it", surface, self._champion.version)
        self.current = self._use(self._champion)

    @contextmanager
    def lend(self, heed: Callable[[], None]) -> Iterator[Loaded]:
        """Lend the champion, loaded; it stays in memory until the block ends.

        Args:
            heed: Called while its memory is waited for; what it raises ends the waiting.

        Yields:
            The version that is in use now.

        Raises:
            ModelError: If it was unloaded and does not load again.
        """
        with self._shelf.lend(self.surface, self._load, heed) as loaded:
            yield loaded

    def check(self) -> None:
        """Take over the registry's champion where it is another one; keep serving the old one whatever happens."""
        try:
            champion = self._tracking.champion(self.surface)
            if champion is None:
                self._report("the registry names no champion")
            elif champion.version == self.current.version:
                self._report(None)
            elif not self._has_just_failed(champion.version):
                self._change(champion)
                self._report(None)
        except Exception as error:  # a registry and a model's files fail in more ways than can be named
            self._report(error.problem if isinstance(error, KnotwatchError) else f"{type(error).__name__}: {error}")

    def _change(self, champion: ModelVersion) -> None:
        started = time.monotonic()
        try:
            ready = self._use(champion)
        except Exception:
            self._failed = (champion.version, time.monotonic())
            raise
        old, self.current = self.current.name, ready
        self._metrics.note_change(self.surface)
        seconds = time.monotonic() - started
        log.info("serve %s: %s takes over from %s, made ready in %.1f s", self.surface, ready.name, old, seconds)

    def _use(self, champion: ModelVersion) -> Using:
        """Load a version, and put it in the place of the one before."""

        def load() -> Loaded:
            ready = self._load(champion)
            # Here, where nobody else loads: what is loaded again from now on is this one.
            self._champion = champion
            return ready

        loaded = self._shelf.put(self.surface, load)
        self._metrics.note_version(self.surface, loaded.version)
        return Using(loaded.version, loaded.name)

    def _load(self, champion: ModelVersion | None = None) -> Loaded:
        loaded = _make_ready(self._tracking, champion or self._champion)
        self._metrics.note_load(self.surface)
        return loaded

    def _has_just_failed(self, version: int) -> bool:
        """Tell a version that would only fail again: loading it takes the cores from the requests."""
        if self._failed is None:
            return False
        failed, when = self._failed
        return failed == version and time.monotonic() - when < _AGAIN

    def _report(self, problem: str | None) -> None:
        # Once, not every two seconds.
        if problem is not None and problem != self.problem:
            log.warning("serve %s: goes on with %s: %s", self.surface, self.current.name, problem)
        self.problem = problem


def watch(holders: Sequence[Holder], stop: Event) -> None:
    """Look at the registry every few seconds.

    Args:
        holders: Checked one after the other.
        stop: Ends it, once it is set.
    """
    while not stop.wait(EVERY):
        for holder in holders:
            if stop.is_set():
                return
            holder.check()


def _make_ready(tracking: Tracking, version: ModelVersion) -> Loaded:
    """Load a version, see that it reproduces its reference tiles, and run it once: the first call is the slowest."""
    loaded = load_version(tracking, version)
    loaded.detector.check_references()
    plan = loaded.detector.info.plan
    loaded.detector.scan_region(np.full((plan.tile_height, plan.tile_width, 3), 128, np.uint8))
    return loaded
