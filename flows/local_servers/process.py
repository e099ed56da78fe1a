"""A server in a process of its own, on 127.0.0.1: started, waited for and ended; Prefect's among them."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil

from flows.runtime.secret import prefect_secret
from pipelines.core.errors import BusyError, ToolError
from pipelines.core.paths import Project
from pipelines.tracking.guard import ENDS_WITH_PARENT

HOST = "127.0.0.1"
NEW_DATABASE = "move it away, Prefect makes a new one; then set schedules again with `knotwatch schedule`"
_END = 20_000  # bytes of a log that the last start has written
_START = 120.0  # seconds that a server may take to answer on a slow disk

Process = subprocess.Popen[bytes]


def bind_port(name: str, port: int) -> socket.socket:
    """Return a socket bound to a port of 127.0.0.1.

    Args:
        name: Server that wants it; the error's hint names the option `--NAME-port`.
        port: 0 to 65535; 0 takes any that is free.

    Returns:
        The socket, not listening yet; the caller closes it.

    Raises:
        BusyError: If the port is taken.
    """
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
    except OSError as error:
        listener.close()
        raise BusyError(
            f"port {port} on {HOST}, wanted for {name}, is busy", hint=f"choose another with --{name.lower()}-port"
        ) from error
    return listener


@contextmanager
def prefect_server(project: Project, listener: socket.socket, *, pages: bool = False) -> Iterator[tuple[Process, str]]:
    """Run this project's Prefect server on a bound socket.

    It asks everybody for the project's secret, and ends when this process ends, however that is.

    Args:
        project: Its state folder holds the server's database, secret and log.
        listener: From `bind_port`; closed here once the server has it.
        pages: With its pages and services; a flow's temporary server has neither.

    Yields:
        The server's process, and the address of its API, which answers already.

    Raises:
        ToolError: If it ends at its start, or does not answer within 120 seconds.
    """
    url = f"http://{HOST}:{listener.getsockname()[1]}/api"
    command = [sys.executable, "-m", "flows.local_servers.prefect_app", str(listener.fileno())]
    settings = {"PREFECT_SERVER_API_AUTH_STRING": prefect_secret(project), "KNOTWATCH_PAGES": "1" if pages else ""}
    with ExitStack() as stack:
        try:
            server = run_server(project, "prefect", command, f"{url}/health", settings, listener)
            process = stack.enter_context(server)
        except ToolError:
            from pipelines.tracking.connection import refuse_damage  # loads MLflow, which takes seconds

            database = project.state / "prefect" / "prefect.db"
            refuse_damage(database, NEW_DATABASE)
            _refuse_newer(database, project.state / "logs" / "prefect.log")
            raise
        yield process, url


def _refuse_newer(database: Path, logfile: Path) -> None:
    """Raise ToolError where Prefect's log ends with a state of its database that this version does not know."""
    if "Can't locate revision" in logfile.read_bytes()[-_END:].decode(errors="replace"):
        raise ToolError(
            f"{database} was written by a newer version of Prefect than the one that is installed",
            hint=f"install that version again, or {NEW_DATABASE}",
        )


@contextmanager
def run_server(
    project: Project,
    name: str,
    command: list[str],
    health: str | None,
    settings: Mapping[str, str] | None = None,
    listener: socket.socket | None = None,
) -> Iterator[Process]:
    """Run a server with its output in a log file, until the block ends.

    It can tell by its standard input that this process has ended.

    Args:
        project: The server's working folder; logs are in its state folder.
        name: Of the server in errors, and of its log file, which is added to.
        command: Program and words, as a list for the system and not for a shell.
        health: URL that is asked until it answers, for 120 seconds at most; None does not wait.
        settings: Environment variables besides those of this process, which they replace.
        listener: Bound socket to hand over, closed here once it is; None where the server binds its own.

    Yields:
        The process. It is ended with all that it started, by force after ten seconds.

    Raises:
        ToolError: If it ends at its start, or does not answer in time.
    """
    logs = project.state / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    # MLflow starts a bare `uvicorn`, which must be this environment's.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    with (logs / f"{name}.log").open("ab") as output:
        process = subprocess.Popen(  # noqa: S603 - our own interpreter and fixed words
            command, cwd=project.root, env={**os.environ, **(settings or {}), "PATH": path, ENDS_WITH_PARENT: "1"},
            stdin=subprocess.PIPE, stdout=output, stderr=subprocess.STDOUT,
            start_new_session=True, pass_fds=[listener.fileno()] if listener else [],
        )  # fmt: skip
    try:
        if listener:
            listener.close()
        if health:
            _await(name, process, health, logs / f"{name}.log")
        yield process
    finally:
        _stop(process)
        if process.stdin:
            process.stdin.close()


def _await(name: str, process: Process, url: str, logfile: Path) -> None:
    deadline = time.monotonic() + _START
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise ToolError(f"{name} ended at its start", hint=f"read {logfile}")
        try:
            with urllib.request.urlopen(url, timeout=2):  # noqa: S310 - our own address on 127.0.0.1
                return
        except OSError:
            time.sleep(0.1)
    raise ToolError(f"{name} did not answer within {_START:.0f} s", hint=f"read {logfile}")


def _stop(process: Process) -> None:
    """End a server and what it started, by process id."""
    try:
        family = [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]
    except psutil.NoSuchProcess:
        return
    for member in reversed(family):
        signal_gently(member.terminate)
    _, alive = psutil.wait_procs(family, timeout=10)
    for member in alive:
        signal_gently(member.kill)
    process.wait()


def end_with_parent() -> None:
    """Wait for the parent's end of standard input to close: the kernel does that, too, when it is killed."""
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def signal_gently(act: Callable[[], None]) -> None:
    """Signal a process that may have ended meanwhile."""
    try:
        act()
    except psutil.NoSuchProcess:
        return
