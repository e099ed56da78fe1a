"""Open connections: no more than the process has files for, and none that only keeps the server waiting."""

import asyncio
import logging
import resource
import time
from typing import Any, ClassVar

import psutil
from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD = 10.0  # seconds that a request's head may take; uvicorn itself waits for ever
BACKLOG = 64  # connections that asyncio accepts before it looks at the first of them
_SPARE = 64  # files that the process may need besides
_WANTED = 4096
_AGAIN = 60.0  # seconds until the same line is logged again

log = logging.getLogger(__name__)


class PatientProtocol(H11Protocol):
    """HTTP whose clients may not wait for ever; where there are too many, one that waits makes room for a new one."""

    most: ClassVar[int] = 256

    def __init__(self, *words: Any, **options: Any) -> None:
        super().__init__(*words, **options)
        self._head: asyncio.TimerHandle | None = None
        self._since = time.monotonic()
        self._answered = 0

    @property
    def is_idle(self) -> bool:
        """Tell whether no request is in hand."""
        return self.cycle is None or self.cycle.response_complete

    @property
    def is_sending(self) -> bool:
        """Tell whether a request is in hand whose body has not arrived."""
        return not self.is_idle and self.cycle.more_body

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn's
        super().connection_made(transport)
        self._await_head()
        self._make_room()

    def data_received(self, data: bytes) -> None:
        """Take in bytes; those of a head, or of a body whose request was answered already, must end in time."""
        super().data_received(data)
        if not self.is_idle:
            self._forget_head()
        elif self._head is None:
            self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget_head()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        self._answered += 1
        self._since = time.monotonic()
        super().on_response_complete()

    def timeout_keep_alive_handler(self) -> None:
        """Close an idle connection; uvicorn alone would wait for ever for its client to read the last answer."""
        super().timeout_keep_alive_handler()
        self.loop.call_later(HEAD, self.drop)

    def drop(self) -> None:
        """Close the connection at once, with what was not sent yet."""
        self._forget_head()
        self.connections.discard(self)
        self.transport.abort()

    def _await_head(self) -> None:
        self._since = time.monotonic()
        self._head = self.loop.call_later(HEAD, self.drop)

    def _forget_head(self) -> None:
        if self._head is not None:
            self._head.cancel()
            self._head = None

    def _make_room(self) -> None:
        """Drop who keeps the server waiting longest; who was answered before is known to come back, and goes last."""
        while len(self.connections) > self.most:
            found = [c for c in self.connections if isinstance(c, PatientProtocol) and (c.is_idle or c.is_sending)]
            oldest = min(found, key=lambda c: (c._answered > 0, c._since), default=self)
            log.warning("serve: more than %d connections are open: those without a request are closed", self.most)
            oldest.drop()


def bound_connections(wanted: int) -> type[PatientProtocol]:
    """Return a protocol for at most `wanted` connections, or as many as the process may have files for."""
    files = _raise_limit()
    room = files - psutil.Process().num_fds() - _SPARE - BACKLOG

    class Bounded(PatientProtocol):
        most = max(1, min(wanted, room))

    return Bounded


def _raise_limit() -> int:
    """Allow the process more open files where the system lets it, and return how many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _WANTED if hard == resource.RLIM_INFINITY else min(_WANTED, hard)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return _WANTED if soft == resource.RLIM_INFINITY else soft
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (OSError, ValueError):
        return soft
    return wanted


class Seldom(logging.Filter):
    """Lets the same warning through once a minute: what a client can cause, it can cause a thousand times a second.

    Of asyncio's lines errors too: where files run out, it writes one for each connection that it cannot accept.
    """

    def __init__(self) -> None:
        super().__init__()
        self._last: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether a line may be logged."""
        if record.levelno > logging.WARNING and record.name != "asyncio":
            return True
        now = time.monotonic()
        if now - self._last.get(str(record.msg), -_AGAIN) < _AGAIN:
            return False
        self._last[str(record.msg)] = now
        return True
