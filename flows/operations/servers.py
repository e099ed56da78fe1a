"""`knotwatch ui`: Prefect's server, MLflow's server and a worker on 127.0.0.1, started and stopped together."""

import json
import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack

import psutil
import yaml

from flows.local_servers.door import DOOR, make_code
from flows.local_servers.process import HOST, Process, bind_port, prefect_server, run_server, signal_gently
from flows.operations.deployments import refresh_after_move
from flows.operations.lost_runs import resume_lost
from flows.operations.pool import ensure_pool
from flows.runtime.environment import prepare_environment, running_servers, since_boot, state_file, use_secret
from flows.runtime.report_index import update_index
from flows.runtime.secret import prefect_secret
from pipelines.core.errors import BusyError, CallError, ToolError
from pipelines.core.files import write_whole
from pipelines.core.paths import Project

# Seven idle processes of 240 MB each for jobs that knotwatch does not have.
_MLFLOW_SETTINGS = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}

log = logging.getLogger(__name__)


def run_ui(project: Project, prefect_port: int, mlflow_port: int | None, ready: Callable[[str, str], None]) -> None:
    """Run both servers and a worker until Ctrl-C or SIGTERM.

    Args:
        project: One that no other process does this for; schedules of before it was moved are deployed again.
        prefect_port: 1 to 65535.
        mlflow_port: 1 to 65535; None is the port of mlflow/server.yaml.
        ready: Called when both servers answer, with a link that opens Prefect's pages and MLflow's address.

    Raises:
        BusyError: If a port is taken, or this project's servers run already.
        ToolError: If a server does not start or dies; its log is named.
    """
    port = mlflow_port or int(yaml.safe_load((project.root / "mlflow/server.yaml").read_text("utf-8"))["port"])
    if running_servers(project):
        raise BusyError(
            "this project's servers run already",
            hint="`knotwatch ui --link` prints links to them; or end that `knotwatch ui` first",
        )
    log.info("ui: Prefect's server, MLflow's and a worker are starting, which takes 20 to 60 s")
    prepare_environment(project)
    # Its own database, whatever this process was told: what it would ask of another server, it would ask of itself.
    settings = {**_MLFLOW_SETTINGS, "MLFLOW_TRACKING_URI": _mlflow_store(project)}
    mlflow_url = f"http://{HOST}:{port}"
    previous = signal.signal(signal.SIGTERM, _interrupt)
    try:
        with ExitStack() as stack:
            listener = stack.enter_context(bind_port("Prefect", prefect_port))
            bind_port("MLflow", port).close()
            prefect, prefect_url = stack.enter_context(prefect_server(project, listener, pages=True))
            mlflow = stack.enter_context(
                run_server(project, "mlflow", _mlflow_command(project, port), f"{mlflow_url}/health", settings)
            )
            servers = {"prefect": prefect, "mlflow": mlflow}
            os.environ["PREFECT_API_URL"] = prefect_url
            use_secret(project)
            _write_state(project, prefect_url, mlflow_url)
            stack.callback(state_file(project).unlink, missing_ok=True)
            # Its links lead to these ports from now on.
            update_index(project)
            ensure_pool(project)
            for surface in refresh_after_move(project):
                log.info("schedule of %s: the project was moved, deployed again", surface)
            _resume_lost()
            servers["worker"] = stack.enter_context(run_server(project, "worker", _worker_command(), None))
            # All are told to end before the first is waited for.
            stack.callback(_terminate_all, servers)
            ready(_link_in(project, prefect_url), mlflow_url)
            _link_runs(project, f"http://{HOST}:{prefect_port}")
            _watch(project, servers)
    except KeyboardInterrupt:
        log.info("stopped")
    finally:
        signal.signal(signal.SIGTERM, previous)


def find_links(project: Project) -> tuple[str, str]:
    """Make a new link to Prefect's pages of this project's servers, which run.

    Returns:
        The link, which opens them for some minutes, and MLflow's address.

    Raises:
        CallError: If they do not run.
    """
    running = running_servers(project)
    if running is None:
        raise CallError("this project's servers do not run", hint="start them with `knotwatch ui`")
    return _link_in(project, running["prefect"]), running["mlflow"]


def _link_in(project: Project, prefect_url: str) -> str:
    return f"{prefect_url.removesuffix('/api')}{DOOR}#{make_code(prefect_secret(project))}"


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _mlflow_command(project: Project, port: int) -> list[str]:
    settings = yaml.safe_load((project.root / "mlflow/server.yaml").read_text("utf-8"))
    home = project.state / "mlflow"
    home.mkdir(parents=True, exist_ok=True)
    return [
        *(sys.executable, "-m", "mlflow", "server", "--app-name", "knotwatch", "--host", HOST, "--port", str(port)),
        *("--workers", str(settings["workers"]), "--backend-store-uri", _mlflow_store(project)),
        # For clients elsewhere, who send their artefacts through the server. This project's own commands store them
        # at `knotwatch:/…`, see pipelines/tracking/artifacts.py.
        *("--artifacts-destination", str(home / "artifacts")),
    ]


def _link_runs(project: Project, prefect: str) -> None:
    """Link what was made while there were no pages to the flow runs' pages; it never fails the servers."""
    from pipelines.tracking.flow_pages import fill_flow_pages
    from pipelines.tracking.store import Tracking

    try:
        filled = fill_flow_pages(Tracking(project), prefect)
    except Exception as error:
        log.warning("MLflow's runs are not linked to Prefect's pages: %s", error)
    else:
        log.debug("%d runs and versions linked to Prefect's pages", filled)


def _resume_lost() -> None:
    """Say what became of runs that lost their worker; that it fails stops no server: the next start tries again."""
    try:
        for run in resume_lost():
            log.info("%s", run)
    except Exception as error:
        log.warning("runs that lost their worker are as they were: %s", error)


def _mlflow_store(project: Project) -> str:
    from pipelines.tracking.connection import local_uri  # loads MLflow, which takes seconds

    return local_uri(project)


def _worker_command() -> list[str]:
    return [sys.executable, "-m", "flows.operations.worker"]


def _terminate_all(servers: dict[str, Process]) -> None:
    for process in servers.values():
        signal_gently(process.terminate)


def _watch(project: Project, servers: dict[str, Process]) -> None:
    while True:
        for name, process in servers.items():
            if process.poll() is not None:
                if name == "worker":
                    _resume_lost()
                raise ToolError(f"{name} ended by itself", hint=f"read {project.state / 'logs' / f'{name}.log'}")
        time.sleep(0.5)


def _write_state(project: Project, prefect_url: str, mlflow_url: str) -> None:
    own = psutil.Process()
    note = {"pid": own.pid, "since_boot": since_boot(own), "prefect": prefect_url, "mlflow": mlflow_url}
    write_whole(state_file(project), json.dumps(note))
