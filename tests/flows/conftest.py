"""One trained project for the tests that only use its champion."""

from pathlib import Path

import pytest

from pipelines.paths import Project
from tests.conftest import make_project, run_knotwatch, set_training


@pytest.fixture(scope="session")
def in_use(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with a champion of 50 small drawn boards. Tests put back what they change."""
    project = make_project(tmp_path_factory.mktemp("in-use") / "project")
    words = ("--layout", "procedural", "--normal", "40", "--defective", "10", "--size", "128x128")
    run_knotwatch(project.root, "data", "add", "drawn", *words)
    set_training(project.root, "drawn", algorithms=["padim"], export={"precision": "f32"})
    run_knotwatch(project.root, "retrain", "drawn", "--profile", "quick")
    return project


@pytest.fixture
def boards(in_use: Project) -> Path:
    """The folder of the project's 50 boards."""
    return in_use.surface("drawn").source / "images"
