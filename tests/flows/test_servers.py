"""`ui`, `schedule` and the user's own servers: real ones on loopback, stopped by process id."""

import json
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest

from pipelines.paths import Project
from tests.conftest import make_project, run_knotwatch, set_training

DRAWN = ("--layout", "procedural", "--normal", "24", "--defective", "3", "--size", "128x128")


class Ui(NamedTuple):
    project: Project
    process: "subprocess.Popen[bytes]"
    prefect: str
    mlflow: str

    def api(self, path: str, body: dict[str, Any] | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            f"{self.prefect}/{path}", data=data, headers={"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def ui(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ui]:
    """A project whose servers and worker run, with a small surface."""
    project = make_project(tmp_path_factory.mktemp("ui") / "project")
    run_knotwatch(project.root, "data", "add", "drawn", *DRAWN)
    set_training(project.root, "drawn", algorithms=["padim"], export={"precision": "f32"})
    ports = free_port(), free_port()
    words = ("ui", "--prefect-port", str(ports[0]), "--mlflow-port", str(ports[1]))
    log = project.root / "ui.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", "from flows.cli import main; main()", *words],
            cwd=project.root,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        until(lambda: "Ctrl-C" in log.read_text(), "the servers", process)
        yield Ui(project, process, f"http://127.0.0.1:{ports[0]}/api", f"http://127.0.0.1:{ports[1]}")
    finally:
        stop(process)


def until(test: Any, what: str, process: "subprocess.Popen[bytes] | None" = None, seconds: float = 240) -> None:
    """Wait for something that other processes bring about."""
    deadline = time.monotonic() + seconds
    while not test():
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s"
        assert process is None or process.poll() is None, f"{what}: the process ended"
        time.sleep(0.3)


def stop(process: "subprocess.Popen[bytes]") -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)


def test_a_busy_port_is_reported_by_name(ui: Ui, tmp_path: Path) -> None:
    other = make_project(tmp_path / "other")
    port = ui.mlflow.rsplit(":", 1)[1]
    refused = run_knotwatch(other.root, "ui", "--prefect-port", str(free_port()), "--mlflow-port", port, expect=1)
    assert port in refused.err
    assert "MLflow" in refused.err
    assert "--mlflow-port" in refused.err
    assert "run already" in run_knotwatch(ui.project.root, "ui", expect=1).err


def test_the_worker_runs_what_is_scheduled_and_shows_it(ui: Ui) -> None:
    words = ("schedule", "drawn", "--cron", "0 2 * * 1", "--timezone", "Europe/Berlin", "--profile", "quick", "--json")
    (made,) = run_knotwatch(ui.project.root, *words).json["schedules"]
    assert (made["cron"], made["timezone"], made["active"]) == ("0 2 * * 1", "Europe/Berlin", True)
    assert not run_knotwatch(ui.project.root, "schedule", "drawn", "--pause", "--json").json["schedules"][0]["active"]
    assert run_knotwatch(ui.project.root, "schedule", "drawn", "--resume", "--json").json["schedules"][0]["active"]
    assert "cron" in run_knotwatch(ui.project.root, "schedule", "drawn", "--cron", "soon", expect=2).err

    deployment = ui.api("deployments/name/retrain/drawn")
    assert deployment["concurrency_options"]["collision_strategy"] == "ENQUEUE"
    run = ui.api(f"deployments/{deployment['id']}/create_flow_run", {"state": {"type": "SCHEDULED"}})
    until(lambda: ui.api(f"flow_runs/{run['id']}")["state_type"] in ("COMPLETED", "FAILED", "CRASHED"), "the run")
    done = ui.api(f"flow_runs/{run['id']}")
    assert (done["state_type"], done["name"]) == ("COMPLETED", "retrain drawn")
    logs = ui.api("logs/filter", {"logs": {"flow_run_id": {"any_": [run["id"]]}}})
    assert any("train padim" in line["message"] for line in logs), "the page shows no line of the stages"
    found = ui.api("artifacts/filter", {"artifacts": {"flow_run_id": {"any_": [run["id"]]}}})
    assert {"validation-drawn", "models-drawn", "mlflow-drawn-padim"} <= {a["key"] for a in found}
    assert run_knotwatch(ui.project.root, "models", "drawn", "--json").json["models"][0]["aliases"] == ["champion"]


def test_the_users_own_servers_get_everything(ui: Ui, tmp_path: Path) -> None:
    other = make_project(tmp_path / "other")
    env = {"MLFLOW_TRACKING_URI": ui.mlflow, "PREFECT_API_URL": ui.prefect}
    run_knotwatch(other.root, "data", "add", "elsewhere", *DRAWN, env=env)
    set_training(other.root, "elsewhere", algorithms=["padim"], export={"precision": "f32"})
    done = run_knotwatch(other.root, "retrain", "elsewhere", "--profile", "quick", "--json", env=env).json
    assert done["champion"]["version"] == 1
    assert not (other.state / "mlflow").exists()
    runs = ui.api("flow_runs/filter", {"flow_runs": {"name": {"any_": ["retrain elsewhere"]}}})
    assert [run["state_type"] for run in runs] == ["COMPLETED"]
    stored = [
        p for p in (ui.project.state / "mlflow/artifacts").rglob("model.json") if done["models"][0]["run_id"] in str(p)
    ]
    assert stored, "the run's files are not on the server"
    photograph = next((other.surface("elsewhere").source / "images").iterdir())
    inspected = run_knotwatch(other.root, "inspect", "elsewhere", str(photograph), "--json", env=env).json
    assert inspected["images"][0]["score"] > 0


def test_stopping_leaves_nothing_behind(ui: Ui) -> None:
    family = psutil.Process(ui.process.pid).children(recursive=True)
    assert len(family) >= 3
    stop(ui.process)
    assert not [p for p in family if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]
    assert not (ui.project.state / "ui.json").exists()
