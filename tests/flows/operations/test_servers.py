"""`ui`, `schedule` and the user's own servers: real ones on loopback, stopped by process id."""

import base64
import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from pipelines.core.paths import Project
from pipelines.detector.version import DriftReference
from pipelines.inspection.history import Observation, write_batch
from tests.conftest import make_project, run_knotwatch, set_training
from tests.flows.processes import free_port, stop, until
from tests.flows.projects import copy_project
from tests.flows.started import Ui, start_ui
from tests.flows.web_hook import make_block, web_hook

pytestmark = pytest.mark.slow

ENDED = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
DRAWN = ("--layout", "procedural", "--normal", "24", "--defective", "3", "--size", "128x128")


@pytest.fixture(scope="module")
def ui(added_once: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ui]:
    """A project whose servers and worker run, with a small surface; what it has trained depends on who came before."""
    with start_ui(copy_project(added_once, tmp_path_factory.mktemp("ui") / "project")) as started:
        yield started


def test_a_busy_port_is_reported_by_name(ui: Ui, tmp_path: Path) -> None:
    other = make_project(tmp_path / "other")
    port = ui.mlflow.rsplit(":", 1)[1]
    refused = run_knotwatch(other.root, "ui", "--prefect-port", str(free_port()), "--mlflow-port", port, expect=1)
    assert port in refused.err
    assert "MLflow" in refused.err
    assert "--mlflow-port" in refused.err
    assert "run already" in run_knotwatch(ui.project.root, "ui", expect=1).err
    assert "knotwatch ui" in run_knotwatch(other.root, "ui", "--link", expect=2).err


def test_a_new_link_opens_prefects_pages_more_than_once(ui: Ui) -> None:
    printed = run_knotwatch(ui.project.root, "ui", "--link").out
    door, _, code = printed.split()[1].partition("#")
    for _ in range(2):
        with urllib.request.urlopen(door, code.encode(), timeout=30) as answer:
            assert base64.b64decode(answer.read()).decode() == ui.secret


# From another folder, by the server's address alone.
_LOAD = """
import json, sys, mlflow, pandas as pd
model = mlflow.pyfunc.load_model("models:/drawn@champion")
print(json.dumps(list(model.predict(pd.DataFrame({"image": [open(sys.argv[1], "rb").read()]}))["score"])))
"""


def test_the_worker_retrains_as_scheduled_and_then_looks_for_drift(ui: Ui, tmp_path: Path) -> None:
    retrain_as_scheduled(ui)
    load_from_elsewhere(ui, tmp_path)
    look_as_scheduled(ui)


def load_from_elsewhere(ui: Ui, folder: Path) -> None:
    """Any client that knows the server's address loads what is in use, through the server."""
    image = min((ui.project.surface("drawn").source / "images").iterdir())
    keep = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "PREFECT_"))}
    command = [sys.executable, "-c", _LOAD, str(image)]
    environment = {**keep, "MLFLOW_TRACKING_URI": ui.mlflow}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (score,) = json.loads(done.stdout)
    (inspected,) = run_knotwatch(ui.project.root, "inspect", "drawn", str(image), "--json").json["images"]
    assert score == pytest.approx(inspected["score"], rel=1e-6)


def retrain_as_scheduled(ui: Ui) -> None:
    """The worker runs what is scheduled and shows it."""
    words = ("schedule", "drawn", "--cron", "0 2 * * 1", "--timezone", "Europe/Berlin", "--profile", "quick", "--json")
    (made,) = run_knotwatch(ui.project.root, *words).json["schedules"]
    assert (made["cron"], made["timezone"], made["active"]) == ("0 2 * * 1", "Europe/Berlin", True)
    assert not run_knotwatch(ui.project.root, "schedule", "drawn", "--pause", "--json").json["schedules"][0]["active"]
    assert run_knotwatch(ui.project.root, "schedule", "drawn", "--resume", "--json").json["schedules"][0]["active"]
    assert "cron" in run_knotwatch(ui.project.root, "schedule", "drawn", "--cron", "soon", expect=2).err

    deployment = ui.api("deployments/name/retrain/drawn")
    assert deployment["concurrency_options"]["collision_strategy"] == "ENQUEUE"
    run = ui.api(f"deployments/{deployment['id']}/create_flow_run", {"state": {"type": "SCHEDULED"}})
    until(lambda: ui.api(f"flow_runs/{run['id']}")["state_type"] in ENDED, "the run")
    done = ui.api(f"flow_runs/{run['id']}")
    assert (done["state_type"], done["name"]) == ("COMPLETED", "retrain drawn")
    logs = ui.api("logs/filter", {"logs": {"flow_run_id": {"any_": [run["id"]]}}})
    assert any("train padim" in line["message"] for line in logs), "the page shows no line of the stages"
    found = ui.api("artifacts/filter", {"artifacts": {"flow_run_id": {"any_": [run["id"]]}}})
    assert {"validation-drawn", "models-drawn", "mlflow-drawn-padim"} <= {a["key"] for a in found}
    assert run_knotwatch(ui.project.root, "models", "drawn", "--json").json["models"][0]["aliases"] == ["champion"]


def dim_batch(project: Project) -> None:
    """Write a batch into the history that the champion would have made under half the light."""
    kept = next(project.state.glob("mlflow/artifacts/**/calibration.json"))
    reference = DriftReference.model_validate_json(kept.read_bytes())
    time = datetime.now(UTC)
    rows = [
        Observation(
            time=time,
            path=f"/line/{number}.jpg",
            version=1,
            score=reference.scores[number % len(reference.scores)],
            anomalous=False,
            **{name: values[number % len(values)] * 0.5 for name, values in reference.measures.items()},
        )
        for number in range(40)
    ]
    assert write_batch(project.surface("drawn").history, rows)


def look_as_scheduled(ui: Ui) -> None:
    """Looks are scheduled and paused from both sides, and drift is an event."""
    root = ui.project.root
    run_knotwatch(root, "schedule", "--all")
    run_knotwatch(root, "schedule", "drawn", "--pause", "--watch")
    deployment = ui.api("deployments/name/watch/drawn")
    found = {s["flow"]: s["active"] for s in run_knotwatch(root, "schedule", "drawn", "--json").json["schedules"]}
    assert found == {"retrain": True, "watch": False}
    run_knotwatch(root, "schedule", "drawn", "--resume")
    ui.api(f"deployments/{deployment['id']}/pause_deployment", {})
    found = {s["flow"]: s["active"] for s in run_knotwatch(root, "schedule", "drawn", "--json").json["schedules"]}
    assert found == {"retrain": True, "watch": False}
    dim_batch(ui.project)
    run_knotwatch(root, "schedule", "--all", "--resume", "--watch")
    run = ui.api(f"deployments/{deployment['id']}/create_flow_run", {"state": {"type": "SCHEDULED"}})
    until(lambda: ui.api(f"flow_runs/{run['id']}")["state_type"] in ENDED, "the look")
    until(lambda: events(ui, "knotwatch.drift"), "the event")
    assert [e["event"] for e in events(ui, "knotwatch.drift")] == ["knotwatch.drift.lighting"]
    assert events(ui, "knotwatch.drift")[0]["resource"]["prefect.resource.id"] == "knotwatch.surface.drawn"


def events(ui: Ui, prefix: str) -> list[Any]:
    return ui.api("events/filter", {"filter": {"event": {"prefix": [prefix]}}})["events"]


@contextmanager
def telling(project: Project, block: str) -> Iterator[None]:
    """Let a surface tell people, until the block ends."""
    path = project.surface("drawn").settings
    before = path.read_text()
    settings = yaml.safe_load(before)
    settings["policy"]["watch"]["notify"] = [block]
    path.write_text(yaml.safe_dump(settings))
    try:
        yield
    finally:
        path.write_text(before)


def test_people_are_told_of_a_run_that_was_killed(ui: Ui) -> None:
    root = ui.project.root
    with web_hook() as hook, telling(ui.project, "custom-webhook/factory"):
        make_block(root, "factory", hook.url)
        run_knotwatch(root, "schedule", "drawn", "--cron", "0 3 * * 1")
        deployment = ui.api("deployments/name/retrain/drawn")
        parameters = {"surface": "drawn", "profile": "quick", "force": True}
        body = {"state": {"type": "SCHEDULED"}, "parameters": parameters}
        run = ui.api(f"deployments/{deployment['id']}/create_flow_run", body)
        until(lambda: ui.api(f"flow_runs/{run['id']}")["state_type"] == "RUNNING", "the run")
        (process,) = runs_of(ui, run["id"])
        process.kill()
        until(lambda: hook.told, "the news of the crash")
    assert ui.api(f"flow_runs/{run['id']}")["state_type"] == "CRASHED"
    assert hook.told[0]["title"] == "knotwatch, drawn: a run crashed"
    assert "retrain" in hook.told[0]["text"]


def runs_of(ui: Ui, run_id: str) -> list[psutil.Process]:
    """Find the process that runs a flow run: the one whose environment names it."""
    family = psutil.Process(ui.process.pid).children(recursive=True)
    return [
        p for p in family if p.environ().get("PREFECT__FLOW_RUN_ID", "").replace("-", "") == run_id.replace("-", "")
    ]


def test_the_users_own_servers_get_everything(ui: Ui, tmp_path: Path) -> None:
    other = make_project(tmp_path / "other")
    env = {"MLFLOW_TRACKING_URI": ui.mlflow, "PREFECT_API_URL": ui.prefect, "PREFECT_API_AUTH_STRING": ui.secret}
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
    image = next((other.surface("elsewhere").source / "images").iterdir())
    inspected = run_knotwatch(other.root, "inspect", "elsewhere", str(image), "--json", env=env).json
    assert inspected["images"][0]["score"] > 0


def test_stopping_leaves_nothing_behind(added_once: Project, tmp_path: Path) -> None:
    project = copy_project(added_once, tmp_path / "project")
    with start_ui(project) as ui:
        family = psutil.Process(ui.process.pid).children(recursive=True)
        assert len(family) >= 3
        stop(ui.process)
    assert not [p for p in family if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]
    assert not (project.state / "ui.json").exists()
