"""Several surfaces in one process: each with its own champion, in memory that does not hold both."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from pipelines.core.paths import Project
from pipelines.inspection.history import read_history
from tests.flows.processes import stop
from tests.flows.projects import SURFACE, copy_project
from tests.flows.serving.served import Served, add_version, encode, put_in_use, serving

OTHER = "other"


@pytest.fixture
def served(trained_once: Project, tmp_path: Path) -> Iterator[Served]:
    """A server of two surfaces with room for one champion."""
    project = copy_project(trained_once, tmp_path / "project")
    put_in_use(project, add_version(project, OTHER), OTHER)
    with serving(project, tmp_path / "said", OTHER, "--memory", "1") as found:
        yield found


def test_champions_take_turns_in_memory_and_all_requests_are_answered(served: Served) -> None:
    boards = sorted((served.project.surface(SURFACE).source / "images").iterdir())[:3]

    def ask(number: int) -> Any:
        surface = (SURFACE, OTHER)[number % 2]
        body = {"dataframe_records": [{"image": encode(boards[number % 3])}]}
        return number % 3, served.ask(body, f"{surface}/invocations")[0]

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(ask, range(24)))
    assert {answer["model"] for _, answer in answers} == {"drawn/1 (padim)", "other/1 (padim)"}
    for board in range(3):
        assert len({answer["score"] for found, answer in answers if found == board}) == 1, "both hold the same network"
    assert served.get("")["surfaces"].keys() == {SURFACE, OTHER}
    stop(served.process)
    said = served.said.read_text()
    assert "makes room for" in said
    assert f"/{OTHER}/invocations" in said
    for surface in (SURFACE, OTHER):
        paths = read_history(served.project.surface(surface).history)["path"]
        assert paths.str.startswith("rest:").sum() == 12, "each surface's history has its own"
