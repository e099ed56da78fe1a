"""Trials on drawn boards: cut off by a kill, gone on with, and written into the surface's YAML."""

import signal
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import mlflow
import pytest
import yaml

from pipelines.core.paths import Project
from tests.conftest import run_knotwatch, start_knotwatch
from tests.flows.processes import until
from tests.flows.projects import SURFACE, copy_project
from tests.flows.serving.served import registry_of

TUNE = ("tune", SURFACE, "--profile", "quick")
RUN = "from flows.cli import main\nmain()"


@pytest.fixture
def project(added_once: Project, tmp_path: Path) -> Project:
    """28 drawn boards, of whose settings a person has written something down."""
    made = copy_project(added_once, tmp_path / "project")
    path = made.surface(SURFACE).settings
    path.write_text(path.read_text() + "# PaDiM is enough for these\n")
    return made


def count_ended(project: Project) -> int:
    file = project.state / "tuning" / f"{SURFACE}.db"
    if not file.is_file():
        return 0
    with closing(sqlite3.connect(file)) as opened:
        try:
            return int(opened.execute("select count(*) from trials where state != 'RUNNING'").fetchone()[0])
        except sqlite3.OperationalError:
            return 0


def test_trials_go_on_after_a_kill_and_the_best_come_into_the_yaml(project: Project) -> None:
    killed = start_knotwatch(project.root, *TUNE, "--trials", "40", driver=RUN)
    try:
        until(lambda: count_ended(project) >= 2, "a trial beside the settings as they are", killed)
    finally:
        killed.send_signal(signal.SIGKILL)
        killed.wait(timeout=30)
    before, text = count_ended(project), project.surface(SURFACE).settings.read_text()
    assert before < 41

    number = before + 1
    found = run_knotwatch(project.root, *TUNE, "--trials", str(number), "--json")
    told = found.json
    assert f"goes on after {before - 1} of {number} trials" in found.err
    assert f"trial {number} of {number}" in found.err
    assert [trial["number"] for trial in told["tried"]] == list(range(number + 1))
    assert told["algorithm"] == "padim"
    assert told["told_by"] == "synthetic anomalies of the validation split"
    assert project.surface(SURFACE).settings.read_text() == text, "nothing is written unasked"
    check_runs(project, told)

    done = run_knotwatch(project.root, *TUNE, "--trials", str(number), "--apply", "--json").json
    assert done["tried"] == told["tried"], "nothing is tried again"
    changed = project.surface(SURFACE).settings.read_text()
    assert "# PaDiM is enough for these" in changed
    if done["lines"]:
        assert done["applied"]
        wanted = yaml.safe_load(done["lines"])["train"]["padim"]
        have = yaml.safe_load(changed)["train"]
        assert {key: have["padim"][key] for key in wanted} == wanted
        assert have["algorithms"] == ["padim"]
    else:
        assert (done["best"]["number"], changed) == (0, text)


def check_runs(project: Project, told: Any) -> None:
    """Each trial is a run below one parent, and none has figures of the test split."""
    client = registry_of(project)
    experiment = client.get_experiment_by_name(SURFACE)
    runs = client.search_runs([experiment.experiment_id])
    parents = [run for run in runs if run.info.run_name == "tune padim"]
    assert [(run.info.run_id, run.info.status) for run in parents] == [(told["run_id"], "FINISHED")]
    trials = [run for run in runs if run.data.tags.get("mlflow.parentRunId") == told["run_id"]]
    finished = [run for run in trials if run.info.status == "FINISHED"]
    assert len(finished) >= sum(trial["worth"] is not None for trial in told["tried"]) - 1
    assert all("validation/image_auroc" in run.data.metrics for run in finished)
    assert not any(name.startswith(("test/", "threshold/")) for run in trials for name in run.data.metrics)
    assert client.search_registered_models() == []
    mlflow.set_tracking_uri("")


def test_what_cannot_be_tuned_is_refused_before_anything_is_tried(project: Project) -> None:
    done = run_knotwatch(project.root, *TUNE, "--algorithm", "padimm", expect=2)
    assert "did you mean 'padim'" in done.err
    assert count_ended(project) == 0
