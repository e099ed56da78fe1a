"""The connection to a project's MLflow store, what it was told within a block, and damage that keeps it shut."""

import logging
import os
import socket
import sqlite3
import time
from collections.abc import Callable, Hashable, Iterator
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import mlflow
from filelock import FileLock

from pipelines.core.errors import ToolError, refuse_forbidden
from pipelines.core.paths import Project, database_address

log = logging.getLogger(__name__)


class Connection:
    """A project's MLflow store: the user's own server where MLFLOW_TRACKING_URI says so, else a local database."""

    def __init__(self, project: Project) -> None:
        # MLflow's and alembic's migration lines are of no use to a person who waits for a model.
        for noisy in ("alembic", "mlflow"):
            logging.getLogger(noisy).setLevel(logging.WARNING)
        # It writes a line for each time that it asks a server again; the last one's failure is an error anyhow.
        logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)
        # A bar for each small file that is read would bury the stages' own lines.
        os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
        self._project = project
        home = project.state / "mlflow"
        # MLflow itself writes the variable when an address is set, so its presence alone says nothing.
        self._remembered: dict[Hashable, Any] | None = None
        self.written = False  # whether this object changed what is registered
        self.uri = os.environ.get("MLFLOW_TRACKING_URI") or local_uri(project)
        self._local = self.uri == local_uri(project)
        if self._local:
            refuse_lost(project)
            home.mkdir(parents=True, exist_ok=True)
        else:
            # MLflow itself asks for four minutes, and again for the next thing that it has to tell.
            os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", str(_RETRIES))
            await_server(self.uri, _PATIENCE)
        mlflow.set_tracking_uri(self.uri)
        mlflow.set_registry_uri(self.uri)
        try:
            # Two processes that both make the tables of a new database would fail; the client itself makes them.
            with FileLock(home / "open.lock") if self._local else nullcontext():
                self._client = mlflow.MlflowClient(self.uri, self.uri)
                self._client.search_experiments(max_results=1)
        except Exception as error:
            if self._local:
                refuse_forbidden([home, home / "mlflow.db", home / "open.lock"])
                refuse_damage(home / "mlflow.db")
            remote = "start that server, or unset MLFLOW_TRACKING_URI to use the project's own store"
            local = "end what holds the database, or put it back from a copy; `knotwatch doctor` says what is wrong"
            if any(words in str(error) for words in _OF_ANOTHER):
                local = "another release of MLflow wrote it: `make install` brings the one that this code is pinned to"
            raise ToolError(
                f"MLflow at {self.uri} does not answer: {error}", hint=local if self._local else remote
            ) from error

    @property
    def client(self) -> "mlflow.MlflowClient":
        """MLflow's client, for the other files of this room."""
        return self._client

    @property
    def local(self) -> bool:
        """Tell whether the store is the project's own."""
        return self._local

    def answers(self) -> bool:
        """Tell whether somebody listens where the store is; the project's own is a file."""
        return self._local or _connect(self.uri) is None

    @contextmanager
    def remembering(self) -> Iterator[None]:
        """Ask the registry once for what is read within the block, and again after this object writes to it.

        Not around what takes minutes, nor in threads: what others write meanwhile goes unseen.
        """
        before, self._remembered = self._remembered, {} if self._remembered is None else self._remembered
        try:
            yield
        finally:
            self._remembered = before

    def _ask(self, what: Hashable, ask: "Callable[[], Any]") -> Any:
        if self._remembered is None:
            return ask()
        if what not in self._remembered:
            self._remembered[what] = ask()
        return self._remembered[what]

    def forget(self) -> None:
        """Note that the registry is written to now."""
        self.written = True
        if self._remembered is not None:
            self._remembered.clear()


_BACK = "end what uses it, then put it back from a copy, or restore a backup into a fresh clone (`knotwatch restore`)"


# What alembic and MLflow say of tables that another release has made.
_OF_ANOTHER = ("Can't locate revision", "out-of-date database schema")

_PATIENCE = 60.0  # seconds that a server which is being started may take to listen
_SOON = 3.0  # seconds that one waits for without a word
_RETRIES = 4  # of a request: half a minute, in which a server that is started again comes back


def await_server(uri: str, seconds: float) -> None:
    """Wait until something listens at a server's address: MLflow itself would ask again and again for minutes.

    Args:
        uri: Of an MLflow server; one that is no http(s) address is left to MLflow.
        seconds: To wait at most where the connection is refused. Whatever else goes wrong, MLflow says.

    Raises:
        ToolError: If it is refused to the end.
    """
    began = time.monotonic()
    deadline, said = began + seconds, False
    while isinstance(problem := _connect(uri), ConnectionRefusedError):
        if time.monotonic() > deadline:
            raise ToolError(
                f"MLflow at {_place(uri)} does not answer: nothing listens there",
                hint="start that server, or unset MLFLOW_TRACKING_URI to use the project's own store",
            ) from problem
        if time.monotonic() > began + _SOON and not said:
            log.info("MLflow at %s does not answer yet; waiting for it, up to %.0f s", _place(uri), seconds)
            said = True
        time.sleep(0.5)


def explain_lost_mlflow() -> ToolError | None:
    """Say that the user's own server, which answered before, is gone; None where it listens, or there is none."""
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    problem = _connect(uri)
    if problem is None:
        return None
    return ToolError(
        f"MLflow at {_place(uri)} does not answer any more ({problem.strerror or problem})",
        hint="start that server, then run this again: what is registered is not trained again",
    )


def _place(uri: str) -> str:
    """Return host and port of a server's address without what a person logs in with; empty where it is no http(s)."""
    address = urlsplit(uri)
    if address.scheme not in {"http", "https"} or not address.hostname:
        return ""
    return f"{address.hostname}:{address.port or (443 if address.scheme == 'https' else 80)}"


def _connect(uri: str) -> OSError | None:
    """Return what keeps a server from being reached; None where nothing does, or the address is no http(s) one."""
    host, _, port = _place(uri).rpartition(":")
    if not host:
        return None
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except OSError as error:
        return error
    return None


def refuse_lost(project: Project) -> None:
    """Raise ToolError where versions lie on disk and the project's own database is gone or empty: MLflow would make a
    new one in its place, and say nothing.
    """
    home = project.state / "mlflow"
    database = home / "mlflow.db"
    if database.is_file() and database.stat().st_size:
        return
    models = sum(1 for _ in (home / "artifacts").rglob("model.json"))
    if models:
        lost = "is empty (0 bytes)" if database.is_file() else "is not there"
        raise ToolError(f"{database} {lost}, while {models} models lie in {home / 'artifacts'}", hint=_BACK)


def refuse_damage(database: Path, hint: str = _BACK) -> None:
    """Raise ToolError where an SQLite database cannot be read, or its pages do not fit each other.

    Args:
        database: A file that need not be there; it is neither made nor mended.
        hint: What to do, for the error.

    Raises:
        ToolError: Naming the file, in SQLite's own words.
    """
    if not database.is_file():
        return
    try:
        with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as connection:
            (found,) = connection.execute("pragma quick_check(1)").fetchone()
    except sqlite3.OperationalError as error:
        raise ToolError(f"{database} cannot be read ({error})", hint=hint) from error
    except sqlite3.DatabaseError as error:
        raise ToolError(f"{database} is damaged ({error})", hint=hint) from error
    if found != "ok":
        raise ToolError(f"{database} is damaged ({found})", hint=hint)


def local_uri(project: Project) -> str:
    """Name the project's own tracking database."""
    return database_address(project.state / "mlflow" / "mlflow.db")
