"""`knotwatch ui`: Prefect's server, MLflow's server and a worker on 127.0.0.1, started and stopped together."""

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil
import yaml

from flows.deployments import refresh_after_move
from flows.environment import prepare_environment, running_servers, state_file
from flows.pool import LIMIT, POOL, ensure_pool
from pipelines.errors import BusyError, ToolError
from pipelines.files import write_whole
from pipelines.paths import Project

HOST = "127.0.0.1"
_START = 120.0  # seconds that a server may take to answer on a slow disk

log = logging.getLogger(__name__)


def run_ui(project: Project, prefect_port: int, mlflow_port: int | None, ready: Callable[[str, str], None]) -> None:
    """Run both servers and a worker until Ctrl-C or SIGTERM; `ready` is told the addresses.

    Raises:
        BusyError: where a port is taken, or this project's servers run already.
        ToolError: where a server does not start or dies; its log is named.
    """
    port = mlflow_port or int(yaml.safe_load((project.root / "mlflow/server.yaml").read_text("utf-8"))["port"])
    if running_servers(project):
        raise BusyError("this project's servers run already", cure="use them, or end that `knotwatch ui` first")
    for name, number in (("Prefect", prefect_port), ("MLflow", port)):
        _check_port(name, number)
    prefect_url, mlflow_url = f"http://{HOST}:{prefect_port}/api", f"http://{HOST}:{port}"
    prepare_environment(project)
    os.environ["PREFECT_API_URL"] = prefect_url
    previous = signal.signal(signal.SIGTERM, _interrupt)
    try:
        with ExitStack() as stack:
            servers = [
                stack.enter_context(
                    _server(project, "prefect", _prefect_command(prefect_port), f"{prefect_url}/health")
                ),
                stack.enter_context(_server(project, "mlflow", _mlflow_command(project, port), f"{mlflow_url}/health")),
            ]
            _write_state(project, prefect_url, mlflow_url)
            stack.callback(state_file(project).unlink, missing_ok=True)
            ensure_pool(project)
            for surface in refresh_after_move(project):
                log.info("schedule of %s: the project was moved, deployed again", surface)
            servers.append(stack.enter_context(_server(project, "worker", _worker_command(), None)))
            # All are told to end before the first is waited for.
            stack.callback(_terminate_all, servers)
            ready(f"http://{HOST}:{prefect_port}", mlflow_url)
            _watch(project, servers)
    except KeyboardInterrupt:
        log.info("stopped")
    finally:
        signal.signal(signal.SIGTERM, previous)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _prefect_command(port: int) -> list[str]:
    return [sys.executable, "-m", "prefect", "server", "start", "--host", HOST, "--port", str(port)]


def _mlflow_command(project: Project, port: int) -> list[str]:
    settings = yaml.safe_load((project.root / "mlflow/server.yaml").read_text("utf-8"))
    home = project.state / "mlflow"
    home.mkdir(parents=True, exist_ok=True)
    return [
        *(sys.executable, "-m", "mlflow", "server", "--host", HOST, "--port", str(port)),
        *("--workers", str(settings["workers"]), "--backend-store-uri", f"sqlite:///{home / 'mlflow.db'}"),
        # For clients elsewhere, who send their artefacts through the server. This project's own commands store them
        # at `knotwatch:/…`, see pipelines/tracking/artifacts.py.
        *("--artifacts-destination", str(home / "artifacts")),
    ]


def _worker_command() -> list[str]:
    words = ("worker", "start", "--pool", POOL, "--name", "knotwatch", "--limit", str(LIMIT))
    return [sys.executable, "-m", "prefect", *words]


def _check_port(name: str, port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            flag = f"--{name.lower()}-port"
            raise BusyError(
                f"port {port} on {HOST}, wanted for {name}, is busy", cure=f"choose another with {flag}"
            ) from error


@contextmanager
def _server(
    project: Project, name: str, command: list[str], health: str | None
) -> Iterator[tuple[str, "subprocess.Popen[bytes]"]]:
    """Run a server with its output in a log file, until the block ends; wait until `health` answers."""
    logs = project.state / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    # MLflow starts a bare `uvicorn`, which must be this environment's.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    environment = dict(os.environ)
    # Seven idle processes of 240 MB each for jobs that knotwatch does not have.
    environment["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"
    with (logs / f"{name}.log").open("ab") as output:
        process = subprocess.Popen(  # noqa: S603 - our own interpreter and fixed words
            command, cwd=project.root, env={**environment, "PATH": path}, stdin=subprocess.DEVNULL,
            stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    try:
        if health:
            _await(name, process, health, logs / f"{name}.log")
        yield name, process
    finally:
        _stop(process)


def _await(name: str, process: "subprocess.Popen[bytes]", url: str, logfile: Path) -> None:
    deadline = time.monotonic() + _START
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise ToolError(f"{name} ended at its start", cure=f"read {logfile}")
        try:
            with urllib.request.urlopen(url, timeout=2):  # noqa: S310 - our own address on 127.0.0.1
                return
        except OSError:
            time.sleep(0.25)
    raise ToolError(f"{name} did not answer within {_START:.0f} s", cure=f"read {logfile}")


def _stop(process: "subprocess.Popen[bytes]") -> None:
    """End a server and what it started, by process id."""
    try:
        family = [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]
    except psutil.NoSuchProcess:
        return
    for member in reversed(family):
        _signal(member.terminate)
    _, alive = psutil.wait_procs(family, timeout=10)
    for member in alive:
        _signal(member.kill)
    process.wait()


def _terminate_all(servers: list[tuple[str, "subprocess.Popen[bytes]"]]) -> None:
    for _, process in servers:
        _signal(process.terminate)


def _signal(act: Callable[[], None]) -> None:
    try:
        act()
    except psutil.NoSuchProcess:
        return


def _watch(project: Project, servers: list[tuple[str, "subprocess.Popen[bytes]"]]) -> None:
    while True:
        for name, process in servers:
            if process.poll() is not None:
                raise ToolError(f"{name} ended by itself", cure=f"read {project.state / 'logs' / f'{name}.log'}")
        time.sleep(0.5)


def _write_state(project: Project, prefect_url: str, mlflow_url: str) -> None:
    own = psutil.Process()
    note = {"pid": own.pid, "started": own.create_time(), "prefect": prefect_url, "mlflow": mlflow_url}
    write_whole(state_file(project), json.dumps(note))
