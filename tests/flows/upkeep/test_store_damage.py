"""A tracking database that lost its versions: `doctor` says so, and makes no new one over it."""

import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from pipelines.core.errors import ToolError
from pipelines.core.paths import Project
from pipelines.tracking.store import Tracking
from tests.conftest import call_knotwatch

MODEL = "artifacts/oak/models/m-1/artifacts/data/model/model.json"


def empty(database: Path) -> None:
    database.write_bytes(b"")


def drop(database: Path) -> None:
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("pragma foreign_keys = off")
        connection.execute("drop table model_versions")
        connection.commit()


def truncate(database: Path) -> None:
    os.truncate(database, database.stat().st_size // 3)


def leave(database: Path) -> None:
    """What MLflow makes of an emptied one: all tables, and nothing in them."""
    assert database.stat().st_size


@pytest.fixture(scope="session")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with MLflow's tables, which take seconds to make."""
    project = Project(tmp_path_factory.mktemp("tables"))
    with pytest.MonkeyPatch.context() as patch:
        for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):  # MLflow writes these itself, for the next to find
            patch.setenv(name, "")
        Tracking(project)
    return project.state / "mlflow" / "mlflow.db"


@pytest.fixture
def stored(project: Project, tables: Path) -> Project:
    """A project with MLflow's tables and the files of a model, which no version names."""
    (project.state / "mlflow").mkdir(parents=True)
    shutil.copy2(tables, project.state / "mlflow")
    model = project.state / "mlflow" / MODEL
    model.parent.mkdir(parents=True)
    model.write_text("{}")
    return project


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (empty, "is empty (0 bytes)"),
        (drop, "has no table of versions"),
        (truncate, "is damaged"),
        (leave, "names no version"),
        (Path.unlink, "is not there"),
    ],
)
def test_doctor_names_the_damage_and_touches_nothing(
    stored: Project, capsys: pytest.CaptureFixture[str], damage: Callable[[Path], object], said: str
) -> None:
    database = stored.state / "mlflow" / "mlflow.db"
    damage(database)
    before = database.read_bytes() if database.exists() else None
    checks = call_knotwatch(capsys, "doctor", "--json", expect=1).json["checks"]
    found = next(check for check in checks if check["name"] == "tracking")
    assert not found["good"]
    assert said in found["found"]
    assert "MLFLOW_TRACKING_URI" not in found["found"]
    assert (database.read_bytes() if database.exists() else None) == before


@pytest.mark.parametrize("damage", [Path.unlink, empty, truncate])
def test_no_command_makes_a_new_database_over_a_lost_one(
    stored: Project, monkeypatch: pytest.MonkeyPatch, damage: Callable[[Path], object]
) -> None:
    database = stored.state / "mlflow" / "mlflow.db"
    damage(database)
    before = database.read_bytes() if database.exists() else None
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
        monkeypatch.setenv(name, "")
    with pytest.raises(ToolError, match=r"mlflow\.db (is|cannot)") as refused:
        Tracking(stored)
    assert "restore a backup" in refused.value.hint
    assert (database.read_bytes() if database.exists() else None) == before


def test_a_project_that_trained_nothing_is_well(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    checks = call_knotwatch(capsys, "doctor", "--json").json["checks"]
    assert all(check["good"] for check in checks)
