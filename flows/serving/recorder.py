"""What was asked over REST, on its way into the surface's history."""

import logging
from collections.abc import Sequence
from pathlib import Path
from queue import Empty, Queue
from threading import Thread
from time import monotonic

from pipelines.inspection.history import Observation, write_batch

_ROWS = 1000  # of one batch
_SECONDS = 300.0  # that a batch is waited for: what a killed server loses
_MOST = 50 * _ROWS  # kept while the disk takes none

log = logging.getLogger(__name__)


class Recorder:
    """Writes observations as batches, in the background, so that no request waits for the disk."""

    def __init__(self, history: Path) -> None:
        self._history = history
        self._queue: Queue[Sequence[Observation] | None] = Queue()
        self._thread = Thread(target=self._run, name="history")
        self._thread.start()

    def add(self, observations: Sequence[Observation]) -> None:
        self._queue.put(observations)

    def close(self) -> None:
        """Write what is left, and end."""
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        rows: list[Observation] = []
        due = monotonic() + _SECONDS
        while True:
            try:
                found = self._queue.get(timeout=max(0.0, due - monotonic()))
            except Empty:
                found = ()
            rows += found or ()
            if found is None or len(rows) >= _ROWS or monotonic() >= due:
                rows = self._write(rows)
                due = monotonic() + _SECONDS
            if found is None:
                return

    def _write(self, rows: list[Observation]) -> list[Observation]:
        """Write a batch and return what is left to write: nothing, unless the disk takes none."""
        try:
            write_batch(self._history, rows)
        except OSError as error:
            log.warning("the history in %s cannot be written: %s", self._history, error)
            return rows[-_MOST:]
        return []
