"""One thread a sink hands over what the journal keeps for it; a sink that is away holds up nobody else."""

import logging
import time
from threading import Event, Thread

from flows.line.journal import Journal
from flows.line.sinks.sink import AwayError, Sink

_FIRST, _LONGEST = 0.5, 30.0  # seconds between two tries
_LOOK = 0.5  # seconds until new verdicts are looked for unasked

log = logging.getLogger(__name__)


class Delivery:
    """Delivers to one sink, in order, until it is closed. What it has not delivered then waits for the next start."""

    def __init__(self, journal: Journal, sink: Sink) -> None:
        self.sink, self.problem = sink, ""
        self._journal = journal
        self._wake, self._stop = Event(), Event()
        journal.join(sink.name)
        self._thread = Thread(target=self._run, name=f"deliver to {sink.name}", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Say that there is a new verdict."""
        self._wake.set()

    def drain(self, seconds: float) -> bool:
        """Wait until the sink has all.

        Args:
            seconds: At most.

        Returns:
            Whether it has.
        """
        deadline = time.monotonic() + seconds
        while self._journal.next(self.sink.name) is not None:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return True

    def close(self) -> None:
        """End; a verdict that is being handed over just now may take some seconds more, unseen."""
        self._stop.set()
        self._wake.set()
        self._thread.join(1.0)
        self.sink.close()

    def _run(self) -> None:
        pause = _FIRST
        while not self._stop.is_set():
            kept = self._journal.next(self.sink.name)
            if kept is None:
                self._wake.wait(_LOOK)
                self._wake.clear()
                continue
            try:
                self.sink.send(kept)
            except AwayError as error:
                self._tell(error.problem)
                self._stop.wait(pause)
                pause = min(2 * pause, _LONGEST)
                continue
            pause = _FIRST
            self._tell("")
            self._journal.advance(self.sink.name, kept.number)

    def _tell(self, problem: str) -> None:
        """Say once that a sink is away, and once that it is back."""
        if bool(problem) != bool(self.problem):
            if problem:
                log.warning("line: %s; what it misses is kept", problem)
            else:
                log.info("line: %s takes verdicts again", self.sink.name)
        self.problem = problem
