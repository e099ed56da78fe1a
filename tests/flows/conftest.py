"""Trained projects and a Prefect server, each made once for the tests that only use them."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from flows.local_servers.process import bind_port, prefect_server
from pipelines.core.paths import Project
from tests.flows.projects import SURFACE, add_few, copy_project, give_secret, make_once, train_boards


@pytest.fixture(scope="session")
def added_once(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with 28 small drawn boards, nothing trained. Tests change copies of it only."""
    return make_once(tmp_path_factory, "added", add_few)


@pytest.fixture(scope="session")
def trained_once(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with 81 drawn boards, trained and promoted once by the real command. Tests change copies of it only."""
    return make_once(tmp_path_factory, "trained", train_boards)


@pytest.fixture(scope="session")
def in_use(trained_once: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A copy of the trained project for tests that put back what they change."""
    return copy_project(trained_once, tmp_path_factory.mktemp("in-use") / "project")


@pytest.fixture
def boards(in_use: Project) -> Path:
    """The folder of the project's 81 boards."""
    return in_use.surface(SURFACE).source / "images"


@pytest.fixture(scope="session")
def prefect(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a Prefect server for tests of what flows do; how flows do without one, others test."""
    project = Project(tmp_path_factory.mktemp("prefect"))
    give_secret(project)
    with ExitStack() as stack:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PREFECT_HOME", str(project.state / "prefect"))
            _, url = stack.enter_context(prefect_server(project, bind_port("Prefect", 0)))
        yield url
