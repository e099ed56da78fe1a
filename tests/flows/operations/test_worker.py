"""The worker starts what this project deployed, whoever asks: real runs, with commands that would leave a file."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipelines.core.paths import Project
from tests.conftest import run_knotwatch
from tests.flows.processes import until
from tests.flows.projects import SURFACE, copy_project
from tests.flows.started import Ui, start_ui

pytestmark = pytest.mark.slow

ENDED = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}


@pytest.fixture(scope="module")
def ui(added_once: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ui]:
    with start_ui(copy_project(added_once, tmp_path_factory.mktemp("worker") / "project")) as started:
        run_knotwatch(started.project.root, "schedule", SURFACE, "--cron", "0 2 * * 1", "--profile", "quick")
        yield started


def deploy(ui: Ui, name: str, **changes: Any) -> Any:
    """Write a deployment that is the project's own but for some changes."""
    own = ui.api(f"deployments/name/retrain/{SURFACE}")
    kept = ("flow_id", "work_pool_name", "entrypoint", "path", "pull_steps", "job_variables")
    return ui.api("deployments/", {"name": name, **{key: own[key] for key in kept}, **changes})


def run(ui: Ui, deployment: Any, **options: Any) -> Any:
    body = {"state": {"type": "SCHEDULED"}, "parameters": {"surface": "none"}, **options}
    return ui.api(f"deployments/{deployment['id']}/create_flow_run", body)["id"]


def test_foreign_steps_code_and_commands_are_not_run(ui: Ui, tmp_path: Path) -> None:
    files = {name: tmp_path / name for name in ("step", "code", "script", "command", "asked", "env")}
    script = tmp_path / "evil.py"
    script.write_text(f"from pathlib import Path\nPath({str(files['code'])!r}).touch()\n")
    (tmp_path / "sitecustomize.py").write_text(f"from pathlib import Path\nPath({str(files['env'])!r}).touch()\n")
    shell = {"prefect.deployments.steps.run_shell_script": {"script": f"touch {files['step']}"}}
    own = ui.api(f"deployments/name/retrain/{SURFACE}")
    variables = {**own["job_variables"], "command": f"touch {files['command']}"}
    runs = {
        "pull steps": run(ui, deploy(ui, "steps", pull_steps=[*own["pull_steps"], shell])),
        "entry point": run(ui, deploy(ui, "code", entrypoint=f"{script}:main")),
        "job variables": run(ui, deploy(ui, "command", job_variables=variables)),
        "command": run(ui, own, job_variables={"command": f"touch {files['asked']}"}),
        "env": run(ui, own, job_variables={"env": {"PYTHONPATH": str(tmp_path)}}),
    }
    for name, number in runs.items():
        until(lambda number=number: ui.api(f"flow_runs/{number}")["state_type"] in ENDED, name)
    assert not [file.name for file in files.values() if file.exists()]
    for name, number in runs.items():
        state = ui.api(f"flow_runs/{number}")["state"]
        assert state["type"] == "CRASHED", (name, state)
        assert "not as `knotwatch schedule` writes it" in state["message"], (name, state)
        assert name in state["message"], (name, state)
