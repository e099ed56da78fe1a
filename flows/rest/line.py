"""The line that requests stand in: short, so that a busy server says so instead of piling up."""

import asyncio
import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from flows.rest.protocol import RequestError

_Result = TypeVar("_Result")
_MEMORY = 0.1  # of the newest request in the mean time that one takes


class FullError(RequestError):
    """The line is full; `seconds` is when it should have moved on."""

    def __init__(self, inside: int, held: int, seconds: int) -> None:
        super().__init__(
            f"{inside} requests of {held / 1e6:.0f} MB are under way already",
            cure=f"try again in {seconds} s",
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
        self.inside = 0

    @contextmanager
    def place(self, size: int) -> Iterator[None]:
        """Hold a place for a body of `size` bytes, from before it is read: what waits takes memory.

        Raises:
            FullError: where none is free.
        """
        if self.inside >= self._most or (self.inside and self._held + size > self._most_held):
            seconds = max(1, math.ceil(self.inside * self._mean / self._workers))
            raise FullError(self.inside, self._held, seconds)
        self.inside += 1
        self._held += size
        try:
            yield
        finally:
            self.inside -= 1
            self._held -= size

    async def work(self, act: Callable[[], _Result]) -> _Result:
        """Run a request's work in a thread, when its turn comes."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._timed, act)

    def _timed(self, act: Callable[[], _Result]) -> _Result:
        started = time.monotonic()
        try:
            return act()
        finally:
            self._mean += _MEMORY * (time.monotonic() - started - self._mean)

    def close(self) -> None:
        """Wait for what is being worked on."""
        self._pool.shutdown()
