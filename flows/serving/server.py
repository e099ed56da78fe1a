"""`knotwatch serve`: one surface's champion, until Ctrl-C."""

import asyncio
import logging
import os
import signal
import socket
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from threading import Event, Thread
from types import FrameType

import uvicorn

from flows.runtime.ending import bound_interrupts
from flows.runtime.environment import prepare_environment
from flows.serving.access import Access, bind_listener
from flows.serving.app import make_app
from flows.serving.connections import BACKLOG, PatientProtocol, Seldom, bound_connections
from flows.serving.holder import Holder
from flows.serving.line import Line
from flows.serving.protocol import Limits
from flows.serving.recorder import Recorder
from flows.serving.scoring import Scorer
from pipelines.core.paths import Project
from pipelines.models.openvino.runtime import usable_cores
from pipelines.tracking.store import Tracking

_LAST = 4  # seconds that requests under way may take after Ctrl-C; then they are ended at their next tile
_GRACE = 2  # seconds until uvicorn gives up those that do not end
_IDLE = 75  # seconds that a connection may be silent: uvicorn's 5 would cut off a camera just as it sends again

LOCAL = Access(host="127.0.0.1")

log = logging.getLogger(__name__)


def serve(
    project: Project,
    surface: str,
    port: int,
    limits: Limits,
    ready: Callable[[str, str], None],
    access: Access = LOCAL,
) -> None:
    """Serve a surface's champion until Ctrl-C or SIGTERM, which end it within ten seconds, whatever is worked on.

    Args:
        project: Project whose registry is looked at every two seconds for another champion.
        surface: Surface that has a champion.
        port: 0 to 65535; 0 takes any that is free.
        limits: Of requests, connections and who may wait.
        ready: Called once requests are taken in, with the server's address and the model's name.
        access: Where it listens, and whether requests need a token.

    Raises:
        BusyError: If the port is taken.
        CallError: If this machine has no such address.
        ModelError: If the surface has no champion, or it does not load and reproduce its reference tiles.
    """
    prepare_environment(project)
    # Where the registry is a server that went away, MLflow would wait for minutes and miss its return.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    previous = signal.signal(signal.SIGTERM, _interrupt)
    try:
        with suppress(KeyboardInterrupt), bind_listener(port, access.host) as listener:
            holder = Holder(project, Tracking(project), surface)
            # From here on a request waits; before, it would wait for a model that may not load.
            listener.listen()
            host = f"[{access.host}]" if ":" in access.host else access.host
            ready(f"http://{host}:{listener.getsockname()[1]}", holder.current.name)
            _run(holder, project.surface(surface).history, limits, listener, access.token)
        log.info("stopped")
    finally:
        signal.signal(signal.SIGTERM, previous)


def _run(holder: Holder, history: Path, limits: Limits, listener: socket.socket, token: str) -> None:
    stop = Event()
    watcher = Thread(target=holder.watch, args=(stop,), name="champion", daemon=True)
    for name in ("asyncio", "uvicorn.error", "flows.serving.connections"):
        logging.getLogger(name).addFilter(Seldom())
    with (
        closing(Recorder(history)) as recorder,
        bound_interrupts(recorder.close),
        closing(Line(usable_cores(), limits.waiting, limits.held)) as line,
    ):
        app = make_app(holder, Scorer(holder, recorder), line, limits, token)
        config = uvicorn.Config(
            app,
            http=bound_connections(limits.connections),
            # Nothing here speaks it, and it would leave the bounds of the connections.
            ws="none",
            backlog=BACKLOG,
            log_level="warning",
            access_log=False,
            lifespan="off",
            timeout_keep_alive=_IDLE,
            timeout_graceful_shutdown=_LAST + _GRACE,
        )
        watcher.start()
        try:
            _Server(config, line).run(sockets=[listener])
        finally:
            stop.set()
            watcher.join()


class _Server(uvicorn.Server):
    """A server whose end does not wait: neither for bodies that are still arriving, nor for work that takes long."""

    def __init__(self, config: uvicorn.Config, line: Line) -> None:
        super().__init__(config)
        self._line = line

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - uvicorn's signature
        """Begin the end; uvicorn would raise the signal again afterwards, and that counts as a second one."""
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for connection in list(self.server_state.connections):
            if isinstance(connection, PatientProtocol) and connection.is_sending:
                connection.drop()
        asyncio.get_running_loop().call_later(_LAST, self._line.give_up)
        await super().shutdown(sockets)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt
