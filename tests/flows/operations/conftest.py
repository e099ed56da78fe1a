"""Prefect's client in this process, with the server that the tests share."""

from collections.abc import Iterator

import pytest

from pipelines.core.paths import Project
from tests.flows.projects import lean_on


@pytest.fixture
def served(project: Project, prefect: str) -> Iterator[Project]:
    """An empty project that uses the shared server; the next test finds no setting of this one's."""
    (project.state / "prefect").mkdir(parents=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREFECT_HOME", str(project.state / "prefect"))
        patch.setenv("PREFECT_API_URL", prefect)
        patch.setenv("PREFECT_API_AUTH_STRING", "of-the-tests")
        from prefect.context import refresh_global_settings_context

        refresh_global_settings_context()
        yield lean_on(project, prefect)
    refresh_global_settings_context()
