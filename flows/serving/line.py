"""The line that requests stand in: short, so that a busy server says so instead of piling up."""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

from flows.serving.patience import Patience, gone, stopping
from flows.serving.protocol import RequestError

_Result = TypeVar("_Result")
_MEMORY = 0.1  # of the newest request in the mean time that one takes
_GRACE = 3.0  # seconds until what lets nothing through, such as a decoder, is not waited for any more


class FullError(RequestError):
    """The line is full; `seconds` is when it should have moved on."""

    def __init__(self, inside: int, held: int, seconds: int) -> None:
        super().__init__(
            f"{inside} requests of {held / 1e6:.0f} MB are under way already",
            hint=f"try again in {seconds} s",
            status=503,
            code="TEMPORARILY_UNAVAILABLE",
        )
        self.seconds = seconds


class Line:
    """Lets `workers` requests be worked on and `waiting` more wait, of `held` bytes in all. Belongs to one event loop.

    It is long enough for the second or two in which a new champion is made ready and takes the cores.
    """

    def __init__(self, workers: int, waiting: int, held: int) -> None:
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="scoring")
        self._workers, self._most, self._most_held = workers, workers + waiting, held
        self._held = 0
        self._mean = 0.0
        self._open: set[Patience] = set()
        self._stops = False
        self.inside = 0

    @contextmanager
    def arriving(self) -> Iterator[Callable[[int], None]]:
        """Count the bytes of a body while it arrives, with what is yielded: it takes memory, and no place yet.

        Raises:
            FullError: where there is no place for it, or no memory left for its next bytes.
        """
        if self.inside >= self._most:
            raise self._full()
        size = 0

        def grow(more: int) -> None:
            nonlocal size
            if self._held > size and self._held + more > self._most_held:
                raise self._full()
            size += more
            self._held += more

        try:
            yield grow
        finally:
            self._held -= size

    @contextmanager
    def place(self, size: int) -> Iterator[None]:
        """Hold a place for a body of `size` bytes that has arrived.

        Raises:
            FullError: where none is free.
        """
        if self.inside >= self._most or (self.inside and self._held + size > self._most_held):
            raise self._full()
        self.inside += 1
        self._held += size
        try:
            yield
        finally:
            self.inside -= 1
            self._held -= size

    def _full(self) -> FullError:
        seconds = max(1, math.ceil(self.inside * self._mean / self._workers))
        return FullError(self.inside, self._held, seconds)

    async def work(
        self, act: Callable[[], _Result], patience: Patience, leaves: Callable[[], Awaitable[object]]
    ) -> _Result:
        """Run a request's work in a thread, when its turn comes; end it where its time is over or its client leaves.

        Args:
            act: The work. It must heed `patience`: a thread cannot be ended from outside.
            patience: The request's time, which is ended here as soon as nobody waits for the answer.
            leaves: Returns when the client is gone; cancelled afterwards.

        Returns:
            What `act` returned.

        Raises:
            RequestError: If the work was ended, whether it had begun or not. Errors of `act` come as they are.
        """
        if self._stops:
            raise stopping()
        submitted = self._pool.submit(self._timed, act)
        result, left = asyncio.wrap_future(submitted), asyncio.ensure_future(leaves())
        waited: set[asyncio.Future[Any]] = {result, left}
        self._open.add(patience)
        try:
            await asyncio.wait(waited, timeout=patience.left, return_when=asyncio.FIRST_COMPLETED)
            if not result.done():
                patience.end(gone() if left.done() else patience.overdue())
                if not submitted.cancel():
                    await asyncio.wait({result}, timeout=_GRACE)
            if result.done() and not result.cancelled():
                return result.result()
            patience.heed()
            raise stopping()
        finally:
            self._open.discard(patience)
            left.cancel()
            if not result.done():
                result.add_done_callback(_forget)

    def _timed(self, act: Callable[[], _Result]) -> _Result:
        started = time.monotonic()
        try:
            return act()
        finally:
            self._mean += _MEMORY * (time.monotonic() - started - self._mean)

    def give_up(self) -> None:
        """End what is worked on and what waits, and take nothing more."""
        self._stops = True
        for patience in self._open:
            patience.end(stopping())
        self._pool.shutdown(wait=False, cancel_futures=True)

    def close(self) -> None:
        """Wait for what is being worked on."""
        self._pool.shutdown()


def _forget(result: "asyncio.Future[Any]") -> None:
    """Look at how work ended that nobody waits for: asyncio would report an error that nobody looked at."""
    if not result.cancelled():
        result.exception()
