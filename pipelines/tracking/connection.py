"""The connection to a project's MLflow store, and what it was told within a block."""

import logging
import os
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import mlflow
from filelock import FileLock

from pipelines.core.errors import ToolError
from pipelines.core.paths import Project, database_address


class Connection:
    """A project's MLflow store: the user's own server where MLFLOW_TRACKING_URI says so, else a local database."""

    def __init__(self, project: Project) -> None:
        # MLflow's and alembic's migration lines are of no use to a person who waits for a model.
        for noisy in ("alembic", "mlflow"):
            logging.getLogger(noisy).setLevel(logging.WARNING)
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
            home.mkdir(parents=True, exist_ok=True)
        mlflow.set_tracking_uri(self.uri)
        mlflow.set_registry_uri(self.uri)
        try:
            self._client = mlflow.MlflowClient(self.uri, self.uri)
            # Two processes that both make the tables of a new database would fail.
            with FileLock(home / "open.lock") if self._local else nullcontext():
                self._client.search_experiments(max_results=1)
        except Exception as error:
            remote = "start that server, or unset MLFLOW_TRACKING_URI to use the project's own store"
            local = "end what holds the database, or put it back from a copy; `knotwatch doctor` says what is wrong"
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


def local_uri(project: Project) -> str:
    """Name the project's own tracking database."""
    return database_address(project.state / "mlflow" / "mlflow.db")
