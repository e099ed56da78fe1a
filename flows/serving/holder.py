"""The champion in use: looked up again every few seconds, and changed without a pause."""

import logging
import time
from threading import Event

import numpy as np

from flows.runtime.champion import Loaded, find_champion, load_version
from pipelines.core.errors import KnotwatchError
from pipelines.core.paths import Project
from pipelines.tracking.registry import ModelVersion
from pipelines.tracking.store import Tracking

EVERY = 2.0  # seconds between two looks at the registry
_AGAIN = 60.0  # seconds until a version that could not be loaded is tried again

log = logging.getLogger(__name__)


class Holder:
    """Holds a surface's champion, loaded and warm; a new one is made ready beside it and takes its place at once.

    What a request began with it ends with: whoever takes `current` keeps that version alive. `problem` says why the
    registry's champion is not the one in use, None where it is.
    """

    def __init__(self, project: Project, tracking: Tracking, surface: str) -> None:
        self._tracking = tracking
        self.surface = surface
        self.current = _make_ready(tracking, find_champion(project, tracking, surface))
        self.problem: str | None = None
        self._failed: tuple[int, float] | None = None

    def watch(self, stop: Event) -> None:
        """Look at the registry every few seconds until `stop` is set."""
        while not stop.wait(EVERY):
            self.check()

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
            ready = _make_ready(self._tracking, champion)
        except Exception:
            self._failed = (champion.version, time.monotonic())
            raise
        old, self.current = self.current.name, ready
        seconds = time.monotonic() - started
        log.info("serve %s: %s takes over from %s, made ready in %.1f s", self.surface, ready.name, old, seconds)

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


def _make_ready(tracking: Tracking, version: ModelVersion) -> Loaded:
    """Load a version, see that it reproduces its reference tiles, and run it once: the first call is the slowest."""
    loaded = load_version(tracking, version)
    loaded.detector.check_references()
    plan = loaded.detector.info.plan
    loaded.detector.scan_region(np.full((plan.tile_height, plan.tile_width, 3), 128, np.uint8))
    return loaded
