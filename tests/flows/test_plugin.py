"""docs/extending.md's example, as another package would bring it: installed, trained by the command, registered."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.core.paths import Project
from tests.conftest import ROOT, run_knotwatch, set_training
from tests.flows.projects import copy_project, lean_on

pytestmark = pytest.mark.slow

EXAMPLE = ROOT / "docs/examples/patchcore"


def test_the_example_of_another_package_trains_and_is_registered(
    added_once: Project, prefect: str, tmp_path: Path
) -> None:
    lines = (EXAMPLE / "knotwatch_patchcore.py").read_text("utf-8").splitlines()
    assert len(lines) < 80
    source, place = tmp_path / "patchcore", tmp_path / "site"
    shutil.copytree(EXAMPLE, source)  # building leaves files beside the sources
    words = ("install", "-q", "--no-deps", "--no-build-isolation", "--target", str(place), str(source))
    subprocess.run([sys.executable, "-m", "pip", *words], check=True, capture_output=True)
    project = lean_on(copy_project(added_once, tmp_path / "project"), prefect)
    set_training(project.root, "drawn", evaluation={"bootstrap": 20, "pictures": 1, "synthetic": 2})
    env = {"PYTHONPATH": os.pathsep.join([str(place), os.environ.get("PYTHONPATH", "")])}
    chosen = ("--set", "algorithms=[patchcore]", "--set", "patchcore.coreset=0.2", "--set", "export.precision=f32")
    done = run_knotwatch(project.root, "retrain", "drawn", "--profile", "quick", *chosen, "--json", env=env).json
    (model,) = done["models"]
    assert model["algorithm"] == "patchcore"
    assert model["metrics"]["image_auroc"] > 0.5
    (listed,) = run_knotwatch(project.root, "models", "drawn", "--json").json["models"]
    assert listed["algorithm"] == "patchcore", "a version is listed also where its package is not installed"
    again = run_knotwatch(project.root, "retrain", "drawn", "--profile", "quick", *chosen, "--json", env=env).json
    assert again["skipped"], "nothing changed"
