"""What Prefect must be told before it is imported: where it keeps its things, and which server is ours."""

import logging
import os
import re
import sys
from pathlib import Path

import psutil

from flows.runtime.secret import prefect_secret
from pipelines.core.files import show_lines
from pipelines.core.parsing import parse_json
from pipelines.core.paths import Project, database_address

_DATABASE = ("PREFECT_SERVER_DATABASE_CONNECTION_URL", "PREFECT_API_DATABASE_CONNECTION_URL")
LOGGERS = ("flows", "pipelines")
# Set where Prefect's server has no pages: the links that Prefect itself makes then lead nowhere.
NO_PAGES = "KNOTWATCH_NO_PREFECT_PAGES"
_APART = 0.5  # seconds; a later process of the same number started later


def prepare_environment(project: Project) -> None:
    """Set Prefect's home inside the project and its log format; the user's own settings win.

    A server that `knotwatch ui` started for this project is used while it runs. Otherwise each process that needs one
    brings its own (`ensure_server`), on the same database, so that its runs are on the page later.
    """
    defaults = {
        "PREFECT_HOME": str(project.state / "prefect"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        # What a flow returns is read from Prefect by nobody; if it ever is kept, then as JSON.
        "PREFECT_RESULTS_DEFAULT_SERIALIZER": "json",
        # Else it pickles what each task is given, open networks among it, for a key that nothing is looked up by.
        "PREFECT_TASKS_DEFAULT_NO_CACHE": "true",
        "PREFECT_LOGGING_EXTRA_LOGGERS": ",".join(LOGGERS),
        "PREFECT_LOGGING_LEVEL": "WARNING",
        "PREFECT_SERVER_LOGGING_LEVEL": "ERROR",
        "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
        "PREFECT_CLI_PROMPT": "false",
        # The one that Prefect starts by itself asks nobody for a secret: see local_servers/temporary.py.
        "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false",
    }
    # Prefect makes its database's address of PREFECT_HOME, unescaped.
    database = database_address(project.state / "prefect" / "prefect.db", "aiosqlite")
    if "?uri=true" in database and not any(os.environ.get(name) for name in _DATABASE):
        defaults[_DATABASE[0]] = database
    for name, value in defaults.items():
        os.environ.setdefault(name, value)
    running = running_servers(project)
    # MLflow's database is used directly, beside its server: artefacts keep locations that move with the folder.
    if running and os.environ.setdefault("PREFECT_API_URL", running["prefect"]) == running["prefect"]:
        use_secret(project)
    (project.state / "prefect").mkdir(parents=True, exist_ok=True)


def use_secret(project: Project) -> None:
    """Have this process and those it starts send the project's secret; to a server of this project alone."""
    os.environ["PREFECT_API_AUTH_STRING"] = prefect_secret(project)


def running_servers(project: Project) -> dict[str, str] | None:
    """Return the addresses of the servers that `knotwatch ui` runs for this project, or None."""
    try:
        found = parse_json(state_file(project).read_bytes())
        alive = abs(since_boot(psutil.Process(int(found["pid"]))) - float(found["since_boot"])) < _APART
        return {"prefect": str(found["prefect"]), "mlflow": str(found["mlflow"])} if alive else None
    except (FileNotFoundError, psutil.NoSuchProcess, ValueError, TypeError, KeyError):
        return None


def since_boot(process: psutil.Process) -> float:
    """Return the seconds between the machine's start and a process's, which no change of the clock changes."""
    return process.create_time() - psutil.boot_time()


def mlflow_address(project: Project) -> str:
    """Return where MLflow's pages are: the user's own server, else that of `knotwatch ui` while it runs, else empty."""
    own = os.environ.get("MLFLOW_TRACKING_URI", "")
    running = running_servers(project) or {"mlflow": ""}
    return plain_address(own if own.startswith("http") else running["mlflow"])


def plain_address(address: str) -> str:
    """Leave out what a person may log in with: pages and answers may be shown to others."""
    return re.sub(r"^(\w+://)[^/]*@", r"\1", address).rstrip("/")


def flow_page(url: str | None) -> str:
    """Return the address of a flow run's page, empty where the server that it runs on shows none."""
    return url if url and os.environ.get(NO_PAGES) != "1" and url.startswith("http") else ""


def state_file(project: Project) -> Path:
    return project.state / "ui.json"


class _Plain(logging.Formatter):
    """Writes lines in which no name from outside can command the terminal."""

    def format(self, record: logging.LogRecord) -> str:
        return show_lines(super().format(record))


def log_to_terminal() -> None:
    """Write one line a stage to standard error; standard output is for results."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Plain("%(asctime)s %(message)s", "%H:%M:%S"))
    for name in LOGGERS:
        logging.getLogger(name).handlers = [handler]
        logging.getLogger(name).propagate = False
    log_stages()


def log_stages() -> None:
    """Let the stages' own lines through, to the terminal and to Prefect's page, while Prefect's stay out.

    Prefect adds its handler to these loggers when it is imported, and resets their level.
    """
    for name in LOGGERS:
        logging.getLogger(name).setLevel(logging.INFO)
