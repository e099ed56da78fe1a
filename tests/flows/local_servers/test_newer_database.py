"""A database of Prefect's that a later version of it has written."""

import sqlite3
from contextlib import closing

import pytest

from flows.local_servers.process import bind_port, prefect_server
from pipelines.core.errors import ToolError
from pipelines.core.paths import Project

pytestmark = pytest.mark.services


def test_a_database_of_a_newer_prefect_is_named(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    home = project.state / "prefect"
    home.mkdir(parents=True)
    monkeypatch.setenv("PREFECT_HOME", str(home))
    with closing(sqlite3.connect(home / "prefect.db")) as database:
        database.execute("create table alembic_version (version_num varchar(32) not null)")
        database.execute("insert into alembic_version values ('ffffffffffff')")
        database.commit()
    with (
        pytest.raises(ToolError, match=r"prefect\.db was written by a newer version of Prefect"),
        prefect_server(project, bind_port("Prefect", 0)),
    ):
        pass
