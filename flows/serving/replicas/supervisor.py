"""`knotwatch serve --replicas N`: several processes on one listening socket, started, watched and ended by this one."""

import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from tempfile import TemporaryDirectory
from typing import Any

from prometheus_client.multiprocess import mark_process_dead

from flows.runtime.ending import bound_interrupts
from flows.serving.access import Access, address_of, bind_listener
from flows.serving.metrics import SHARED
from flows.serving.protocol import Limits
from pipelines.core.errors import CallError, ModelError
from pipelines.core.parsing import MalformedError, parse_json
from pipelines.core.paths import Project
from pipelines.core.records import Record

_LOOK = 0.2  # seconds between two looks at the replicas
_STEADY = 60.0  # seconds; what ends sooner is started again after a while only
_LONGEST = 30.0  # seconds of that while, at most
_END = 9.0  # seconds until replicas that do not end are killed; each ends itself before that

log = logging.getLogger(__name__)


class Told(Record):
    """What a replica is told; `listener` is the file descriptor that it inherits."""

    surfaces: tuple[str, ...]
    limits: Limits
    token: str
    listener: int
    number: int
    replicas: int


def supervise(
    project: Project,
    surfaces: Sequence[str],
    port: int,
    limits: Limits,
    ready: Callable[[str, Sequence[str]], None],
    access: Access,
    replicas: int,
) -> None:
    """Serve by several processes until Ctrl-C or SIGTERM, which end them all within ten seconds.

    A replica that dies is started again. The socket stays open here: what connects meanwhile waits, or is taken in by
    another replica.

    Args:
        project: As `serve` has it.
        surfaces: As `serve` has it.
        port: 0 to 65535; 0 takes any that is free.
        limits: Of each replica; only the memory is of all together.
        ready: Called once all replicas take requests in, with the server's address and the models' names.
        access: Where it listens, and whether requests need a token.
        replicas: How many processes.

    Raises:
        BusyError: If the port is taken.
        CallError: If this machine has no such address, or there is no such surface.
        ModelError: If a surface has no champion, or it does not load and reproduce its reference tiles.
    """
    own = limits.model_copy(update={"memory": limits.memory and max(1, limits.memory // replicas)})
    with (
        TemporaryDirectory(prefix="knotwatch-metrics-") as figures,
        bind_listener(port, access.host) as listener,
        bound_interrupts(lambda: None),
    ):
        told = [
            Told(
                surfaces=tuple(surfaces), limits=own, token=access.token, listener=listener.fileno(), number=number,
                replicas=replicas,
            )
            for number in range(replicas)
        ]  # fmt: skip
        environment = {**os.environ, SHARED: figures, "KNOTWATCH_PROJECT": str(project.root)}
        herd = _Herd([_Replica(one, environment, listener) for one in told], figures)
        address = address_of(listener, access.host)
        herd.run(lambda names: ready(address, names))
    log.info("stopped")


class _Replica:
    """One process, and what is known of it."""

    def __init__(self, told: Told, environment: dict[str, str], listener: socket.socket) -> None:
        self._told, self._environment, self._listener = told, environment, listener
        self._process: subprocess.Popen[bytes] | None = None
        self._started = self._due = 0.0
        self._wait = 1.0
        self.said: dict[str, Any] | None = None  # its one line, once it is there

    @property
    def name(self) -> str:
        return f"replica {self._told.number}"

    @property
    def pid(self) -> int:
        return self._process.pid if self._process else 0

    def start(self) -> None:
        self.said, self._started = None, time.monotonic()
        command = [sys.executable, "-m", "flows.serving.replicas.replica"]
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and fixed words
            command, env=self._environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            # Ctrl-C is for the supervisor, which hands it on once.
            start_new_session=True, pass_fds=[self._listener.fileno()],
        )  # fmt: skip
        assert self._process.stdin is not None  # noqa: S101 - a pipe
        assert self._process.stdout is not None  # noqa: S101 - a pipe
        # Kept open: by its end a replica knows that the supervisor is gone, however that went.
        self._process.stdin.write(self._told.model_dump_json().encode() + b"\n")
        self._process.stdin.flush()
        os.set_blocking(self._process.stdout.fileno(), False)

    def look(self) -> int | None:
        """Take in its line where that is there, and return its exit code where it has ended."""
        if self._process is None:
            return None
        code = self._process.poll()
        pipe = self._process.stdout
        if self.said is None and pipe and not pipe.closed and (line := pipe.readline()):
            self.said = _read(line)
        return code

    def start_again(self, code: int) -> None:
        """Start another in the place of one that has ended; of those that end at once, not many a minute."""
        now = time.monotonic()
        if not self._due:
            self._wait = 1.0 if now - self._started > _STEADY else min(2 * self._wait, _LONGEST)
            self._due = now + self._wait
            why = f": {self.said['problem']}" if self.said and "problem" in self.said else ""
            log.warning("serve: %s (process %d) ended with %d%s; another starts", self.name, self.pid, code, why)
            self.close()
        if now >= self._due:
            self._due = 0.0
            self.start()

    def signal(self, number: int) -> None:
        if self._process and self._process.poll() is None:
            self._process.send_signal(number)

    def wait(self, seconds: float) -> None:
        """Wait for its end, and bring that about where it does not come."""
        if self._process:
            try:
                self._process.wait(seconds)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self.close()

    def close(self) -> None:
        for pipe in (self._process.stdin, self._process.stdout) if self._process else ():
            if pipe:
                pipe.close()


class _Herd:
    """All replicas of a server."""

    def __init__(self, replicas: Sequence[_Replica], figures: str) -> None:
        self._replicas, self._figures = replicas, figures
        self._told = 0  # the signal to end, once it came

    def run(self, ready: Callable[[Sequence[str]], None]) -> None:
        numbers = (signal.SIGINT, signal.SIGTERM)
        before = {number: signal.signal(number, self._end) for number in numbers}
        try:
            for replica in self._replicas:
                if not self._told:
                    replica.start()
            self._await(ready)
            while not self._told:
                self._look()
                time.sleep(_LOOK)
        finally:
            self._stop()
            for number, handler in before.items():
                signal.signal(number, handler)

    def _await(self, ready: Callable[[Sequence[str]], None]) -> None:
        """Wait until all replicas take requests in; raise what one of them says against it."""
        while not self._told:
            codes = [replica.look() for replica in self._replicas]
            said = [replica.said for replica in self._replicas]
            for replica, code in zip(self._replicas, codes, strict=True):
                if code is not None and not self._told:
                    raise _explain(replica, code)
            if all(one and "names" in one for one in said):
                ready((said[0] or {})["names"])
                return
            time.sleep(_LOOK)

    def _look(self) -> None:
        for replica in self._replicas:
            code = replica.look()
            if code is not None:
                mark_process_dead(replica.pid, self._figures)  # type: ignore[no-untyped-call] # as the library has it
                replica.start_again(code)

    def _end(self, number: int, _frame: object) -> None:
        self._told = number
        for replica in self._replicas:
            replica.signal(number)

    def _stop(self) -> None:
        if not self._told:
            self._end(signal.SIGTERM, None)
        deadline = time.monotonic() + _END
        for replica in self._replicas:
            replica.wait(max(0.0, deadline - time.monotonic()))


def _read(line: bytes) -> dict[str, Any]:
    """Read what a replica says; what is no object says nothing."""
    with suppress(MalformedError):
        found = parse_json(line)
        if isinstance(found, dict):
            return found
    return {}


def _explain(replica: _Replica, code: int) -> ModelError | CallError:
    said = replica.said or {}
    if "problem" not in said:
        return ModelError(f"{replica.name} ended with {code} at its start", hint="read its lines above")
    kind = CallError if said.get("exit_code") == CallError.exit_code else ModelError
    return kind(str(said["problem"]), hint=str(said["hint"]))
