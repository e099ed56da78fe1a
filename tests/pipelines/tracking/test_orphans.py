"""Runs that a killed process left open are ended; those of a living one, and of other machines, are not."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.core.paths import Project
from pipelines.tracking.orphans import end_orphans
from pipelines.tracking.runs import PROCESS
from pipelines.tracking.store import Tracking

# Opens a run, says its number, and is killed inside of it.
DYING = """
import os, signal, sys
from pathlib import Path
from pipelines.core.paths import Project
from pipelines.tracking.store import Tracking
with Tracking(Project(Path(sys.argv[1]))).run("oak", "retrain", tags={}) as run:
    print(run.id, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    with pytest.MonkeyPatch.context() as patch:
        # MLflow writes these itself: another test's store would be taken for the user's server, and ours by the next.
        for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
            patch.setenv(name, "")
        yield Project(tmp_path / "project")


@pytest.mark.services
def test_only_runs_of_processes_that_are_gone_are_ended(project: Project) -> None:
    tracking = Tracking(project)
    assert end_orphans(tracking, "oak") == 0
    command = [sys.executable, "-W", "ignore", "-c", DYING, str(project.root)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    dead = done.stdout.strip()
    assert dead, done.stderr
    with tracking.run("oak", "mine", tags={}) as mine:
        out_of_distribution = tracking.client.create_run(
            tracking.experiment("oak"), tags={PROCESS: "elsewhere 1 2.0"}
        ).info.run_id
        shared = Tracking(project)
        shared._local = False  # as with a server that other machines use, too
        assert end_orphans(shared, "oak") == 1
        assert [tracking.client.get_run(r).info.status for r in (dead, out_of_distribution, mine.id)] == [
            *("KILLED", "RUNNING", "RUNNING")
        ]
        assert end_orphans(tracking, "oak") == 1, (
            "in the project's own store, a run of another host is of an earlier name"
        )
        assert tracking.client.get_run(out_of_distribution).info.status == "KILLED"
    assert tracking.is_finished(mine.id)
