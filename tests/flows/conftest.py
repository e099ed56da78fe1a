"""Trained projects and a Prefect server, each made once for the tests that only use them."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.paths import Project
from tests.flows.processes import answers, free_port, stop, until
from tests.flows.projects import SURFACE, add_few, copy_project, make_once, train_boards


@pytest.fixture(scope="session")
def added_once(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with 28 small drawn boards, nothing trained. Tests change copies of it only."""
    return make_once(tmp_path_factory, "added", add_few)


@pytest.fixture(scope="session")
def trained_once(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with 76 drawn boards, trained and promoted once by the real command. Tests change copies of it only."""
    return make_once(tmp_path_factory, "trained", train_boards)


@pytest.fixture(scope="session")
def in_use(trained_once: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A copy of the trained project for tests that put back what they change."""
    return copy_project(trained_once, tmp_path_factory.mktemp("in-use") / "project")


@pytest.fixture
def boards(in_use: Project) -> Path:
    """The folder of the project's 76 boards."""
    return in_use.surface(SURFACE).source / "images"


@pytest.fixture(scope="session")
def prefect(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a Prefect server for tests of what flows do; how flows do without one, others test."""
    home, port = tmp_path_factory.mktemp("prefect"), free_port()
    settings = {"PREFECT_HOME": str(home), "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
    command = [sys.executable, "-m", "prefect", "server", "start", "--no-ui", "--no-services"]
    said = home / "said.log"
    with said.open("wb") as output:
        process = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port)],
            env={**os.environ, **settings},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        until(lambda: answers(f"http://127.0.0.1:{port}/api/health"), "Prefect's server", process)
        yield f"http://127.0.0.1:{port}/api"
    finally:
        stop(process)
