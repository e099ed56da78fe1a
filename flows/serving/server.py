"""`knotwatch serve`: the champions of one surface or several, until Ctrl-C."""

import asyncio
import logging
import math
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from functools import partial
from threading import Event, Lock, Thread
from types import FrameType

import uvicorn

from flows.runtime.ending import bound_interrupts
from flows.runtime.environment import prepare_environment
from flows.serving.access import Access, address_of, bind_listener
from flows.serving.app import Served, Serving, make_app
from flows.serving.champions.holder import Holder, watch
from flows.serving.champions.shelf import Shelf
from flows.serving.connections import BACKLOG, PatientProtocol, Seldom, bound_connections
from flows.serving.line import Line
from flows.serving.metrics import Metrics
from flows.serving.protocol import Limits
from flows.serving.recorder import Recorder
from flows.serving.scoring import Scorer
from pipelines.core.paths import Project
from pipelines.models.openvino.runtime import usable_cores
from pipelines.tracking.store import Tracking

_DRAIN = 2.0  # seconds after SIGTERM in which requests are still taken in: a load balancer sees that it is not ready
_LAST = 4.0  # seconds that requests under way may take after the signal; then they are ended at their next tile
_GRACE = 2.0  # seconds until uvicorn gives up those that do not end
_IDLE = 75  # seconds that a connection may be silent: uvicorn's 5 would cut off a camera just as it sends again

Ready = Callable[[str, Sequence[str]], None]
LOCAL = Access(host="127.0.0.1")

log = logging.getLogger(__name__)


def serve(
    project: Project,
    surfaces: Sequence[str],
    port: int,
    limits: Limits,
    ready: Ready,
    access: Access = LOCAL,
) -> None:
    """Serve surfaces' champions until Ctrl-C or SIGTERM, which end it within ten seconds, whatever is worked on.

    Args:
        project: Project whose registry is looked at every two seconds for other champions.
        surfaces: One or more that have a champion.
        port: 0 to 65535; 0 takes any that is free.
        limits: Of requests, connections, who may wait, and memory.
        ready: Called once requests are taken in, with the server's address and the models' names.
        access: Where it listens, and whether requests need a token.

    Raises:
        BusyError: If the port is taken.
        CallError: If this machine has no such address.
        ModelError: If a surface has no champion, or it does not load and reproduce its reference tiles.
    """
    with bind_listener(port, access.host) as listener:
        address = address_of(listener, access.host)
        serve_on(project, surfaces, limits, listener, lambda names: ready(address, names), access.token)


def serve_on(
    project: Project,
    surfaces: Sequence[str],
    limits: Limits,
    listener: socket.socket,
    ready: Callable[[Sequence[str]], None],
    token: str = "",
) -> None:
    """Serve surfaces' champions on a bound socket until Ctrl-C or SIGTERM, as `serve` does.

    Args:
        project: As in `serve`.
        surfaces: As in `serve`.
        limits: As in `serve`.
        listener: From `bind_listener`; other processes may listen on it too.
        ready: Called with the models' names once requests are taken in.
        token: What each request has to bring; empty for none.

    Raises:
        ModelError: If a surface has no champion, or it does not load and reproduce its reference tiles.
    """
    prepare_environment(project)
    # Where the registry is a server that went away, MLflow would wait for minutes and miss its return.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    previous = signal.signal(signal.SIGTERM, _interrupt)
    try:
        with suppress(KeyboardInterrupt), _open(project, surfaces, limits) as serving:
            # From here on a request waits; before, it would wait for a model that may not load.
            listener.listen()
            ready([one.holder.current.name for one in serving.surfaces.values()])
            _run(serving, listener, token)
        log.info("stopped")
    finally:
        signal.signal(signal.SIGTERM, previous)


@contextmanager
def _open(project: Project, surfaces: Sequence[str], limits: Limits) -> Iterator[Serving]:
    """Load the champions, and write what was seen when the block ends, however it ends."""
    tracking, metrics, turn = Tracking(project), Metrics(), Lock()
    shelf = Shelf(limits.memory, metrics.note_loaded)
    holders = [Holder(project, tracking, surface, shelf, metrics) for surface in surfaces]
    with ExitStack() as stack:
        recorders = [stack.enter_context(closing(Recorder(project.surface(name).history))) for name in surfaces]
        stack.enter_context(bound_interrupts(partial(_close_all, recorders)))
        line = stack.enter_context(closing(Line(usable_cores(), limits.waiting, limits.held)))
        found = zip(holders, recorders, strict=True)
        served = {holder.surface: Served(holder, Scorer(holder, recorder, turn)) for holder, recorder in found}
        yield Serving(served, line, limits, metrics)


def _close_all(recorders: Sequence[Recorder]) -> None:
    for recorder in recorders:
        recorder.close()


def _run(serving: Serving, listener: socket.socket, token: str) -> None:
    stop = Event()
    holders = [one.holder for one in serving.surfaces.values()]
    watcher = Thread(target=watch, args=(holders, stop), name="champions", daemon=True)
    for name in ("asyncio", "uvicorn.error", "flows.serving.connections"):
        logging.getLogger(name).addFilter(Seldom())
    drains = Event()
    config = uvicorn.Config(
        make_app(serving, token, lambda: not drains.is_set()),
        http=bound_connections(serving.limits.connections),
        # Nothing here speaks it, and it would leave the bounds of the connections.
        ws="none",
        # The one whose way to take connections in is known, see replicas/listener.py.
        loop="asyncio",
        backlog=BACKLOG,
        log_level="warning",
        access_log=False,
        lifespan="off",
        timeout_keep_alive=_IDLE,
    )
    watcher.start()
    try:
        _Server(config, serving.line, drains).run(sockets=[listener])
    finally:
        stop.set()
        watcher.join()


class _Server(uvicorn.Server):
    """A server whose end does not wait: neither for bodies that are still arriving, nor for work that takes long.

    After SIGTERM it still takes requests in for a moment, and says that it is not ready: a load balancer sends them
    elsewhere then. Who presses Ctrl-C does not wait for that.
    """

    def __init__(self, config: uvicorn.Config, line: Line, drains: Event) -> None:
        super().__init__(config)
        self._line, self._drains = line, drains
        self._told = self._leaves = math.inf

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - uvicorn's signature
        """Begin the end; uvicorn would raise the signal again afterwards, and that counts as a second one."""
        self._drains.set()
        self._told = time.monotonic()
        self._leaves = self._told + (_DRAIN if sig == signal.SIGTERM else 0)

    async def on_tick(self, counter: int) -> bool:
        self.should_exit = self.should_exit or time.monotonic() >= self._leaves
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for connection in list(self.server_state.connections):
            if isinstance(connection, PatientProtocol) and connection.is_sending:
                connection.drop()
        # All is counted from the signal.
        left = max(0.0, self._told + _LAST - time.monotonic())
        asyncio.get_running_loop().call_later(left, self._line.give_up)
        self.config.timeout_graceful_shutdown = math.ceil(left + _GRACE)
        await super().shutdown(sockets)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt
