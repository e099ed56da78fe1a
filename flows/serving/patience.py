"""How long a request's work may go on: until its deadline, and only while somebody waits for the answer."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from flows.serving.protocol import RequestError
from pipelines.detector.scan import MapsTiles

GONE = 499  # nginx's word for a client that left; nobody reads it
_LOOK = 0.2  # seconds until a request that waits for its turn looks whether anybody waits for it


class Patience:
    """A request's time. The event loop may end it early; the thread that works heeds it between images and tiles."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._until = time.monotonic() + seconds
        self._ended: RequestError | None = None

    @property
    def left(self) -> float:
        """Seconds until the deadline, none after it."""
        return max(0.0, self._until - time.monotonic())

    def end(self, reason: RequestError) -> None:
        """End it, unless it has ended already."""
        self._ended = self._ended or reason

    def heed(self) -> None:
        """Raise RequestError where the work is to end."""
        if not self.left:
            self.end(self.overdue())
        if self._ended is not None:
            raise self._ended

    def overdue(self) -> RequestError:
        return RequestError(
            f"the answer was not there after {self._seconds:g} s",
            hint="send fewer or smaller images, or start the server with more --seconds",
            status=504,
            code="DEADLINE_EXCEEDED",
        )


class HeedingNetwork:
    """A network that looks at a request's time before each tile."""

    def __init__(self, network: MapsTiles, patience: Patience) -> None:
        self._network = network
        self._patience = patience

    def infer(self, tiles: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the raw maps of tiles; raise RequestError where the request's time is over."""
        self._patience.heed()
        return self._network.infer(tiles)


@contextmanager
def taking_turns(lock: Lock, heed: Callable[[], None]) -> Iterator[None]:
    """Hold a lock within the block.

    Args:
        lock: That others may hold for long.
        heed: Called again and again while it is waited for; what it raises ends the waiting.

    Yields:
        Nothing.
    """
    while not lock.acquire(timeout=_LOOK):
        heed()
    try:
        yield
    finally:
        lock.release()


def gone() -> RequestError:
    return RequestError("the client is gone", hint="wait for the answer", status=GONE, code="CANCELLED")


def stopping() -> RequestError:
    return RequestError(
        "the server stops", hint="send it again when it is back", status=503, code="TEMPORARILY_UNAVAILABLE"
    )
