"""What Prefect is told of a project before it is imported."""

import os
from pathlib import Path

import psutil
import pytest

from flows.runtime.environment import prepare_environment, running_servers, state_file
from pipelines.core.paths import Project
from tests.flows.projects import lean_on

ADDRESS = "PREFECT_SERVER_DATABASE_CONNECTION_URL"


@pytest.mark.parametrize(
    ("folder", "address"),
    [("plain", None), ("why? 100 %41 #1", "sqlite+aiosqlite:///file:{}/why%3F%20100%20%2541%20%231/{}?uri=true")],
)
def test_prefects_database_lies_in_the_project_whatever_its_folder_is_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str, address: str | None
) -> None:
    """Prefect would make an address of its home, unescaped, and SQLite a file of what stands before the `?`."""
    for name in ("PREFECT_HOME", ADDRESS):
        monkeypatch.delenv(name, raising=False)
    prepare_environment(Project(tmp_path / folder))
    wanted = address and address.format(tmp_path, ".knotwatch/prefect/prefect.db")
    assert os.environ.get(ADDRESS) == wanted


def test_servers_are_found_after_the_clock_was_set_and_a_damaged_note_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine that boots without a clock starts its servers before the network tells it the time."""
    project = lean_on(Project(tmp_path), "http://127.0.0.1:4200/api")
    created, booted = psutil.Process().create_time(), psutil.boot_time()
    monkeypatch.setattr(psutil.Process, "create_time", lambda _: created + 86400)
    monkeypatch.setattr(psutil, "boot_time", lambda: booted + 86400)
    assert running_servers(project) == {"prefect": "http://127.0.0.1:4200/api", "mlflow": ""}
    monkeypatch.setattr(psutil, "boot_time", lambda: booted)
    assert running_servers(project) is None
    state_file(project).write_text('{"pid": 1')
    assert running_servers(project) is None
