"""Projects that several test files start from: made once for all processes that test side by side, and copied."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest
from filelock import FileLock

from flows.runtime.environment import since_boot, state_file
from flows.runtime.secret import secret_file
from pipelines.core.paths import Project
from tests.conftest import make_project, run_knotwatch, set_training

SURFACE = "drawn"


class Trained(NamedTuple):
    """A project, and what the retrain that trained it answered."""

    project: Project
    result: Any


def make_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Project], object]) -> Project:
    """Make a project where no process of this test run has made it yet; it is for copying only."""
    base = factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / f"{name}-once"
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            half = folder.with_suffix(".part")
            shutil.rmtree(half, ignore_errors=True)
            make(make_project(half))
            half.rename(folder)
    return Project(folder)


def copy_project(project: Project, folder: Path) -> Project:
    """Copy a project that no process of its own works in."""
    shutil.copytree(project.root, folder, symlinks=True)
    return Project(folder)


def work_in_copy(project: Project, folder: Path, patch: pytest.MonkeyPatch) -> Project:
    """Copy a project and make it the current folder of this process, with its own MLflow store."""
    copy = copy_project(project, folder)
    # MLflow writes these itself: another test's store would be taken for the user's server.
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
        patch.setenv(name, "")
    patch.chdir(copy.root)
    return copy


def add_few(project: Project) -> None:
    """Add a surface of 28 small drawn boards."""
    words = ("--layout", "procedural", "--normal", "24", "--defective", "4", "--size", "128x128")
    run_knotwatch(project.root, "data", "add", SURFACE, *words)
    set_training(project.root, SURFACE, algorithms=["padim"], export={"precision": "f32"})


def train_boards(project: Project) -> None:
    """Add 81 drawn boards and train and promote PaDiM on them; the answer is kept beside the project's own state.

    Of the 21 defective ones 16 are tested on, 5 chosen on.
    """
    words = ("--layout", "procedural", "--normal", "60", "--defective", "21", "--size", "192x128")
    run_knotwatch(project.root, "data", "add", SURFACE, *words)
    budget = {"padim": {"features": 40}, "evaluation": {"bootstrap": 200, "synthetic": 2, "pictures": 1}}
    set_training(project.root, SURFACE, algorithms=["padim"], export={"precision": "f32"}, **budget)
    answer = run_knotwatch(project.root, "retrain", SURFACE, "--profile", "quick", "--json").json
    _answer(project).write_text(json.dumps(answer))


def copy_trained(trained: Project, folder: Path) -> Trained:
    copy = copy_project(trained, folder)
    return Trained(copy, json.loads(_answer(copy).read_text()))


def _answer(project: Project) -> Path:
    return project.state / "answer-of-retrain.json"


def lean_on(project: Project, prefect: str) -> Project:
    """Let a project's commands use a Prefect server that runs, as they do beside `knotwatch ui`."""
    own = psutil.Process()
    note = {"pid": own.pid, "since_boot": since_boot(own), "prefect": prefect, "mlflow": ""}
    state_file(project).parent.mkdir(parents=True, exist_ok=True)
    state_file(project).write_text(json.dumps(note))
    give_secret(project)
    return project


def give_secret(project: Project) -> None:
    """Give a project the secret that the tests' own server shares with all who lean on it."""
    file = secret_file(project)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("of-the-tests")
