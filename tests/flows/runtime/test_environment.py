"""What Prefect is told of a project before it is imported."""

import os
from pathlib import Path

import pytest

from flows.runtime.environment import prepare_environment
from pipelines.core.paths import Project

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
