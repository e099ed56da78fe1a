"""The command line itself: a damaged champion, and Ctrl-C."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from flows.steps.algorithm import describe_failure
from pipelines.core.paths import Project
from tests.conftest import run_knotwatch
from tests.flows.projects import SURFACE, copy_project


def test_doctor_finds_a_champion_that_was_tampered_with(trained_once: Project, tmp_path: Path) -> None:
    project = copy_project(trained_once, tmp_path / "project")
    assert all(c["good"] for c in run_knotwatch(project.root, "doctor", "--json").json["checks"])
    (weights,) = (project.state / "mlflow").rglob("data/model/model.bin")
    data = bytearray(weights.read_bytes())
    data[len(data) // 2 :: 97] = bytes(len(data[len(data) // 2 :: 97]))
    weights.write_bytes(bytes(data))
    (bad,) = (c for c in run_knotwatch(project.root, "doctor", "--json", expect=1).json["checks"] if not c["good"])
    assert bad["name"] == "champions"
    assert "model.bin was changed" in bad["found"]


def test_ctrl_c_closes_the_runs(added_once: Project, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    project = copy_project(added_once, tmp_path / "project")
    process = subprocess.Popen(
        [sys.executable, "-c", "from flows.cli import main; main()", "retrain", SURFACE],
        cwd=project.root,
        stderr=subprocess.PIPE,
        text=True,
        # A shell starts background commands deaf to Ctrl-C, and pytest may be one of them.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # noqa: PLW1509 - no threads yet
    )
    request.addfinalizer(process.kill)
    database = project.state / "mlflow" / "mlflow.db"
    deadline = time.monotonic() + 120
    while "RUNNING" not in _statuses(database):
        assert time.monotonic() < deadline
        assert process.poll() is None, process.stderr.read() if process.stderr else ""
        time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130, said
    assert "stopped; nothing is left half written; the same command goes on" in said
    assert set(_statuses(database)) == {"KILLED"}
    reports = project.root / "data/reports"
    assert "not finished: stopped; to go on: <code>knotwatch retrain drawn" in (reports / "index.html").read_text()
    (page,) = (reports / SURFACE).glob("*-retrain-*/index.html")
    assert "No version yet" in page.read_text()
    done = run_knotwatch(project.root, "retrain", SURFACE, "--profile", "quick", "--json").json
    assert done["report"] != str(page.relative_to(project.root))
    assert done["champion"]["version"] == 1


@pytest.mark.usefixtures("pressed")
def test_an_algorithm_that_ctrl_c_stopped_has_not_failed() -> None:
    with pytest.raises(KeyboardInterrupt):
        describe_failure("padim", ValueError("Task run is not set"))


def _statuses(database: Path) -> list[str]:
    import sqlite3
    from contextlib import closing

    if not database.is_file():
        return []
    with closing(sqlite3.connect(database)) as connection:
        try:
            return [row[0] for row in connection.execute("select status from runs")]
        except sqlite3.OperationalError:
            return []
