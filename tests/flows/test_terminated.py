"""A command that is told to stop by SIGTERM: the end of Ctrl-C, in time, whatever it waits for."""

import json
import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any, NamedTuple

import psutil
import pytest

from flows.runtime.leftovers import find_lost_servers
from pipelines.core.paths import Project
from tests.conftest import run_knotwatch, set_training, start_knotwatch
from tests.flows.processes import until
from tests.flows.projects import copy_project
from tests.forked import Forked

pytestmark = pytest.mark.slow

# Runs the real command, and waits where a function is called until the file `go` is there, or for ever.
DRIVER = """
import sys, time
from importlib import import_module
from pathlib import Path
from flows.runtime.environment import prepare_environment
from pipelines.core.paths import find_project

place, *words = sys.argv[1:]
prepare_environment(find_project())
module, name = place.split(":")
original = getattr(import_module(module), name)

def waiting(*args, **options):
    print("here", file=sys.stderr, flush=True)
    while not Path("go").exists():
        time.sleep(0.05)
    Path("go").unlink()
    return original(*args, **options)

setattr(import_module(module), name, waiting)
sys.argv[1:] = words
from flows.cli import main
main()
"""
RETRAIN = ("retrain", "drawn", "--profile", "quick")
SOON = 25  # seconds; ten are guaranteed on a machine that does nothing else


class Started(NamedTuple):
    """A retrain that has come to a place, and all processes that it started."""

    project: Project
    process: "subprocess.Popen[bytes] | Forked"
    family: list[psutil.Process]

    def end(self) -> str:
        """Tell it to stop, and see that it does, with all that it started; return what it said."""
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(timeout=SOON) == 143, self.said()
        assert [child for child in self.family if _lives(child)] == []
        assert find_lost_servers(self.project) == []
        return self.said()

    def said(self) -> str:
        return (self.project.root / "said.log").read_text()

    def statuses(self) -> list[str]:
        return sorted(row[0] for row in _ask(self.project, "mlflow/mlflow.db", "select status from runs"))


def _lives(child: psutil.Process) -> bool:
    try:
        return child.is_running() and child.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _ask(project: Project, name: str, text: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(project.state / name)) as connection:
        return connection.execute(text).fetchall()


@pytest.fixture(scope="module")
def project(added_once: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    made = copy_project(added_once, tmp_path_factory.mktemp("terminated") / "project")
    few = {"padim": {"features": 20}, "evaluation": {"bootstrap": 20, "synthetic": 1, "pictures": 1}}
    set_training(made.root, "drawn", algorithms=["padim"], export={"precision": "f32"}, **few)
    return made


@contextmanager
def retraining(project: Project, place: str) -> Iterator[Started]:
    process = start_knotwatch(project.root, place, *RETRAIN, driver=DRIVER)
    family: list[psutil.Process] = []
    try:
        until(lambda: "\nhere\n" in f"\n{(project.root / 'said.log').read_text()}", place, process)
        family = psutil.Process(process.pid).children(recursive=True)
        yield Started(project, process, family)
    finally:
        process.kill()
        process.wait()
        for child in filter(_lives, family):
            child.kill()


@contextmanager
def locked(project: Project) -> Iterator[None]:
    with closing(sqlite3.connect(project.state / "mlflow" / "mlflow.db", timeout=60)) as connection:
        connection.execute("begin exclusive")
        yield
        connection.rollback()


def test_in_training_its_runs_are_closed_and_its_lock_and_servers_are_gone(project: Project) -> None:
    with retraining(project, "flows.steps.tasks:train") as started:
        assert started.family, "Prefect's temporary server is one of them"
        said = started.end()
    assert "stopped; nothing is left half written" in said
    assert "Traceback" not in said
    assert started.statuses() == ["KILLED", "KILLED"]
    states = "select state_type from flow_run where name = 'retrain drawn' order by created desc limit 1"
    assert _ask(project, "prefect/prefect.db", states) == [("CANCELLED",)]
    note = json.loads((project.state / "locks" / "drawn.json").read_text())
    assert note["pid"] == started.process.pid
    # The lock is free: it gets past it, to the first thing that it does with it.
    refused = run_knotwatch(project.root, "promote", "drawn", "--version", "1", expect=1)
    assert "holds this" not in refused.err


def test_while_others_hold_the_database_it_ends_in_time_and_the_next_closes_its_runs(project: Project) -> None:
    with retraining(project, "flows.steps.tasks:train") as started, locked(project):
        said = started.end()
    assert "the next retrain closes it" in said
    assert "RUNNING" in started.statuses()
    with retraining(project, "flows.runtime.leftovers:end_orphans") as started, locked(project):
        (project.root / "go").touch()
        until(lambda: not (project.root / "go").exists(), "the call of MLflow", started.process)
        started.end()
    run_knotwatch(project.root, *RETRAIN, "--set", "padim.features=10")
    assert set(started.statuses()) == {"KILLED", "FINISHED"}
