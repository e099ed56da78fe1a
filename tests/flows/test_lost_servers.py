"""Prefect's or MLflow's server is killed while a retrain is under way, or is started after it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from pipelines.core.paths import Project
from tests.conftest import run_knotwatch, set_training, start_knotwatch
from tests.flows.processes import free_port, until
from tests.flows.projects import copy_project
from tests.flows.test_terminated import DRIVER, RETRAIN, Started

pytestmark = pytest.mark.slow

# Nothing is started again.
GIVE_UP = f"from flows.local_servers import temporary; temporary._AGAIN = 0\n{DRIVER}"
LONG = 300  # seconds that a retrain may take on a busy machine


@pytest.fixture
def project(added_once: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    # As commands set them, which the driver is before.
    for name in ("PREFECT_LOGGING_LEVEL", "PREFECT_SERVER_LOGGING_LEVEL"):
        monkeypatch.setenv(name, "CRITICAL")
    made = copy_project(added_once, tmp_path / "project")
    few = {"padim": {"features": 20}, "evaluation": {"bootstrap": 20, "synthetic": 1, "pictures": 1}}
    set_training(made.root, "drawn", algorithms=["padim"], export={"precision": "f32"}, **few)
    return made


@contextmanager
def in_training(project: Project, driver: str = DRIVER) -> Iterator[Started]:
    """A retrain that trains for as long as the block lasts; afterwards it goes on, and is waited for."""
    process = start_knotwatch(project.root, "flows.steps.tasks:train", *RETRAIN, driver=driver)
    family: list[psutil.Process] = []
    try:
        until(lambda: "\nhere\n" in (project.root / "said.log").read_text(), "training", process)
        family = psutil.Process(process.pid).children(recursive=True)
        yield Started(project, process, family)
        (project.root / "go").touch()
        process.wait(timeout=LONG)
    finally:
        process.kill()
        process.wait()


def find_server(started: Started) -> psutil.Process:
    (server,) = (child for child in started.family if "flows.local_servers.prefect_app" in child.cmdline())
    return server


def test_the_temporary_server_is_started_again_and_the_retrain_comes_to_its_end(project: Project) -> None:
    with in_training(project) as started:
        find_server(started).kill()
    said = started.said()
    assert started.process.returncode == 0, said
    assert "Prefect's temporary server ended by itself; it is started again" in said
    assert "Traceback" not in said
    assert started.statuses() == ["FINISHED", "FINISHED"]
    assert not [p for p in psutil.process_iter(["cwd"]) if p.info["cwd"] == str(project.root)]


def test_a_temporary_server_that_is_gone_for_good_ends_the_retrain_in_a_sentence(project: Project) -> None:
    with in_training(project, GIVE_UP) as started:
        find_server(started).kill()
        began = time.monotonic()
    said = started.said()
    assert started.process.returncode == 1, said
    assert time.monotonic() - began < LONG / 3
    assert "Prefect's server does not answer any more" in said
    assert "run this again" in said
    assert not [word for word in ("Traceback", "prefect.", "EventsWorker", "---") if word in said], said
    assert run_knotwatch(project.root, *RETRAIN, "--json").json["champion"]["version"] == 1


@contextmanager
def mlflow_server(folder: Path, port: int) -> Iterator["subprocess.Popen[bytes]"]:
    """An MLflow server of the user's own; it is waited for by nobody."""
    folder.mkdir(exist_ok=True)
    words = ("--host", "127.0.0.1", "--port", str(port), "--workers", "1")
    store = ("--backend-store-uri", f"sqlite:///{folder}/own.db", "--artifacts-destination", str(folder / "artifacts"))
    with (folder / "server.log").open("ab") as log:
        command = [sys.executable, "-m", "mlflow", "server", *words, *store]
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, start_new_session=True)
    try:
        yield process
    finally:
        kill_all(process)


def kill_all(server: "subprocess.Popen[bytes]") -> None:
    if server.poll() is None:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def test_an_mlflow_server_that_is_killed_is_named_and_one_that_comes_late_completes_it(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
    with mlflow_server(tmp_path / "own", port) as server, in_training(project) as started:
        kill_all(server)
    said = started.said()
    assert started.process.returncode == 1, said
    assert f"MLflow at 127.0.0.1:{port} does not answer any more" in said
    assert "run this again" in said
    assert not [word for word in ("Traceback", "urllib3", "Max retries") if word in said], said
    again = start_knotwatch(project.root, *RETRAIN, driver="from flows.cli import main; main()")
    time.sleep(1)
    with mlflow_server(tmp_path / "own", port):
        assert again.wait(timeout=LONG) == 0, started.said()
        listed = run_knotwatch(project.root, "models", "drawn", "--json").json["models"]
    assert [(model["version"], model["aliases"]) for model in listed] == [(1, ["champion"])]
    assert not (project.state / "mlflow").exists()
