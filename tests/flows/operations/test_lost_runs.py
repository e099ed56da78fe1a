"""A worker, or all of `knotwatch ui`, that is killed while a scheduled retrain is under way."""

from pathlib import Path
from typing import Any

import psutil
import pytest

from pipelines.core.paths import Project
from tests.conftest import run_knotwatch, set_training
from tests.flows.processes import until
from tests.flows.projects import copy_project
from tests.flows.started import Ui, start_ui

pytestmark = pytest.mark.slow

AT_WORK = 300  # seconds; twenty are enough on a machine that does nothing else


@pytest.fixture
def project(added_once: Project, tmp_path: Path) -> Project:
    made = copy_project(added_once, tmp_path / "project")
    few = {"padim": {"features": 20}, "evaluation": {"bootstrap": 20, "synthetic": 1, "pictures": 1}}
    set_training(made.root, "drawn", algorithms=["padim"], export={"precision": "f32"}, **few)
    run_knotwatch(made.root, "schedule", "drawn", "--cron", "0 3 * * 1", "--profile", "quick")
    return made


def begin_retrain(ui: Ui) -> str:
    """Have the worker begin a scheduled retrain; return the run's id."""
    deployment = ui.api("deployments/name/retrain/drawn")
    run: Any = ui.api(f"deployments/{deployment['id']}/create_flow_run", {"state": {"type": "SCHEDULED"}})
    until(lambda: ui.api(f"flow_runs/{run['id']}")["state_type"] == "RUNNING", "the run")
    return str(run["id"])


def family_of(ui: Ui) -> list[psutil.Process]:
    return psutil.Process(ui.process.pid).children(recursive=True)


def assert_gone(family: list[psutil.Process]) -> None:
    until(
        lambda: not [p for p in family if p.is_running() and p.status() != psutil.STATUS_ZOMBIE],
        f"the end of {family}",
        seconds=AT_WORK,
    )


def test_the_next_worker_completes_what_a_killed_one_had_begun(project: Project) -> None:
    with start_ui(project) as ui:
        run = begin_retrain(ui)
        family = family_of(ui)
        (worker,) = (p for p in family if "flows.operations.worker" in p.cmdline())
        worker.kill()
        assert ui.process.wait(timeout=AT_WORK) == 1
        assert "worker ended by itself" in ui.said
        assert "retrain drawn: its worker ended, it begins again with the next one" in ui.said
        assert "Traceback" not in ui.said
        assert_gone(family)
    with start_ui(project) as ui:
        until(lambda: ui.api(f"flow_runs/{run}")["state_type"] == "COMPLETED", "the run")
    listed = run_knotwatch(project.root, "models", "drawn", "--json").json["models"]
    assert [(model["version"], model["aliases"]) for model in listed] == [(1, ["champion"])]


def test_nothing_is_left_running_where_all_of_ui_is_killed_and_later_runs_are_not_held_up(project: Project) -> None:
    with start_ui(project) as ui:
        run = begin_retrain(ui)
        family = family_of(ui)
        ui.process.kill()
        ui.process.wait()
        assert_gone(family)
    with start_ui(project) as ui:
        states = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
        until(lambda: ui.api(f"flow_runs/{run}")["state_type"] in states, "the first run")
        later = begin_retrain(ui)
        until(lambda: ui.api(f"flow_runs/{later}")["state_type"] == "COMPLETED", "the next run")
