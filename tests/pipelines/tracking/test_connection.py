"""A store that is not there, or not yet: a server of the user's own, or the project's database."""

import socket
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from threading import Timer

import pytest
from filelock import FileLock

from pipelines.core.errors import ToolError
from pipelines.core.paths import Project
from pipelines.tracking.connection import Connection, await_server
from tests.conftest import run_knotwatch


def test_a_server_that_is_not_there_is_named_soon_and_one_that_is_late_is_waited_for() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{listener.getsockname()[1]}"
        started = time.monotonic()
        with pytest.raises(ToolError, match=f"MLflow at {place} does not answer"):
            await_server(f"http://me:secret@{place}", 0.0)
        assert time.monotonic() - started < 5
        late = Timer(0.3, listener.listen)
        late.start()
        await_server(f"http://{place}/mlflow", 30.0)
        late.join()
    await_server("databricks", 0.0)


@pytest.mark.services
def test_a_new_database_is_made_by_one_process_while_others_wait(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Connection(Project(tmp_path / "other"))  # MLflow is loaded then, and the next one takes half a second
    monkeypatch.delenv("MLFLOW_TRACKING_URI")  # which MLflow has set
    home = project.state / "mlflow"
    home.mkdir(parents=True)
    with ThreadPoolExecutor(1) as pool:
        with FileLock(home / "open.lock"):
            opening = pool.submit(Connection, project)
            time.sleep(3)
            assert not (home / "mlflow.db").exists(), "nobody else makes its tables meanwhile"
        assert opening.result(timeout=120).local
    assert (home / "mlflow.db").exists()


def test_a_database_of_another_release_of_mlflow_is_named(project: Project) -> None:
    Connection(project)
    with closing(sqlite3.connect(project.state / "mlflow" / "mlflow.db")) as database, database:
        database.execute("update alembic_version set version_num = 'ffffffffffff'")
    # In a process of its own: MLflow keeps the store that this one has opened.
    said = run_knotwatch(project.root, "models", "oak", expect=1).err
    assert "another release of MLflow wrote it: `make install`" in said
