"""Several algorithms in one retrain: one that fails, one that is stopped, and all three side by side."""

import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from pipelines.core.paths import Project
from pipelines.reports.folders import find_folder, read_note
from tests.conftest import Finished, run_knotwatch, set_training
from tests.flows.projects import copy_project, lean_on

pytestmark = pytest.mark.slow

BUDGETS: dict[str, Any] = {
    "algorithms": ["padim", "fastflow", "efficientad"],
    "padim": {"features": 20, "max_train_tiles": 12},
    "fastflow": {"max_steps": 2, "check_every": 1, "batch": 2, "flow_steps": 2, "max_train_tiles": 8},
    "efficientad": {"max_steps": 2, "check_every": 1, "batch": 1, "max_train_tiles": 8},
    "export": {"precision": "f32"},
    "evaluation": {"bootstrap": 20, "pictures": 1, "synthetic": 2},
}
RETRAIN = ("retrain", "drawn", "--profile", "quick")
# What torch and the export say of a hundred regions takes EfficientAD minutes, and is tested for itself.
FEW_REGIONS = "from pipelines.training import parity; parity._REGIONS, parity._NORMAL = 8, 4"
VALIDATION_FIGURES = {"validation_image_auroc", "validation_aupro", "validation_pixel_auroc"}


class Begun(NamedTuple):
    """A project whose first retrain had one algorithm that cannot work, and whose other one was then promoted."""

    project: Project
    failed: Finished
    promoted: Any


@pytest.fixture(scope="module")
def begun(added_once: Project, prefect: str, tmp_path_factory: pytest.TempPathFactory) -> Begun:
    """A small drawn surface, tiny budgets, and PaDiM as champion. Tests change copies of it only."""
    made = lean_on(copy_project(added_once, tmp_path_factory.mktemp("algorithms") / "project"), prefect)
    set_training(made.root, "drawn", **BUDGETS)
    # What these few images and steps come to would be chance; the gate has tests of its own.
    settings = made.surface("drawn").settings
    policy = {"gate": {"automatic": False, "floors": {"image_auroc": 0, "aupro": 0}, "max_latency_ratio": 1000}}
    settings.write_text(yaml.safe_dump({**yaml.safe_load(settings.read_text()), "policy": policy}))
    words = ("--set", "algorithms=[efficientad, padim]", "--set", "efficientad.teacher=/nowhere", "--json")
    failed = retrain(made, *words, expect=1)
    return Begun(made, failed, run_knotwatch(made.root, "promote", "drawn", "--json").json)


@pytest.fixture
def project(begun: Begun, tmp_path: Path) -> Project:
    """A copy of what was begun: the first version, by PaDiM, is champion."""
    return copy_project(begun.project, tmp_path / "project")


def retrain(project: Project, *words: str, expect: int = 0) -> Finished:
    return run_knotwatch(project.root, *RETRAIN, *words, expect=expect, before=FEW_REGIONS)


def query(project: Project, text: str, *values: str) -> list[tuple[Any, ...]]:
    """Ask MLflow's database; nothing where it is not there yet."""
    database = project.state / "mlflow" / "mlflow.db"
    if not database.is_file():
        return []
    with closing(sqlite3.connect(database)) as connection:
        return connection.execute(text, values).fetchall()


def statuses(project: Project, name: str) -> list[str]:
    return [row[0] for row in query(project, "select status from runs where name = ? order by start_time", name)]


def versions(project: Project) -> dict[int, tuple[str, list[str]]]:
    listed = run_knotwatch(project.root, "models", "drawn", "--json").json["models"]
    return {m["version"]: (m["algorithm"], m["aliases"]) for m in listed}


def test_one_that_fails_does_not_lose_the_other(begun: Begun) -> None:
    project, found = begun.project, begun.failed.json
    assert [(m["algorithm"], m["version"]) for m in found["models"]] == [("padim", 1)]
    assert [f["algorithm"] for f in found["failed"]] == ["efficientad"]
    assert "/nowhere" in found["failed"][0]["problem"]
    assert (found["champion"], found["decision"]["outcome"]) == (None, "proposed")
    assert begun.promoted["after"] == 1
    assert versions(project) == {1: ("padim", ["champion"])}
    assert (found["exit_code"], "/nowhere" in found["error"], bool(found["hint"])) == (1, True, True)
    assert "Traceback" not in begun.failed.err
    assert "efficientad failed" in (project.root / found["report"]).read_text()
    assert (statuses(project, "efficientad"), statuses(project, "padim")) == (["FAILED"], ["FINISHED"])
    assert statuses(project, "retrain quick") == ["FAILED"]
    assert query(project, "select value from tags where key = 'failure' and value like '%/nowhere%'")


def test_what_is_registered_is_not_trained_again(project: Project) -> None:
    words = ("--set", "algorithms=[padim]", "--json")
    again = retrain(project, *words).json
    assert again["skipped"]
    assert [(m["version"], m["reused"]) for m in again["models"]] == [(1, True)]


def test_a_later_proposal_waits_as_challenger_and_all_are_trained_compared_and_combined(project: Project) -> None:
    """The first version of PaDiM is as wanted still, and is compared and combined without being trained again."""
    propose_another(project)
    found = retrain(project, "--json").json
    assert [m["algorithm"] for m in found["models"]] == ["padim", "fastflow", "efficientad", "ensemble"]
    assert [m["reused"] for m in found["models"]] == [True, False, False, False]
    assert [m["version"] for m in found["models"]] == [1, 3, 4, 5]
    for model in found["models"]:
        assert model["metrics"].keys() >= {"image_auroc", "aupro", "false_positive_rate", *VALIDATION_FIGURES}
    assert (found["proposed"]["algorithm"], found["proposed"]["version"]) == ("ensemble", 5)
    aliases = {number: names for number, (_, names) in versions(project).items() if names}
    assert aliases == {1: ["champion"], 5: ["challenger"]}
    page = project.root / found["report"]
    pages = {model["algorithm"]: find_folder(page.parents[1], model["run_id"]) for model in found["models"]}
    for folder in pages.values():
        assert folder is not None
        assert f"../{folder.name}/index.html" in page.read_text()
    assert page.read_text().count("<figure>") == 2 * len(pages), "an anomalous image and a normal one by each"
    note = read_note(page.parent)
    assert note is not None
    assert query(project, "select 1 from tags where key = 'proposed_reason' and run_uuid = ?", note.run_id)
    again = retrain(project, "--json").json
    assert (again["skipped"], again["proposed"]["reason"]) == (True, found["proposed"]["reason"])
    assert found["proposed"]["reason"] in page.read_text()
    check_ensemble(project, pages["ensemble"])


_DESCRIPTION = """select d.value from tags d join tags a on a.run_uuid = d.run_uuid
    where d.key = 'mlflow.note.content' and a.key = 'algorithm' and a.value = 'ensemble'"""


def check_ensemble(project: Project, report: Path | None) -> None:
    """See that it stores no network twice, says what its members are, and outlives them."""
    places = {info.parent for info in project.root.glob(".knotwatch/mlflow/artifacts/**/members/*/model.json")}
    names = {place.name for place in places}
    assert names
    assert report is not None
    page = report / "index.html"
    for place in places:
        assert f"{place.name} (version" in page.read_text()
        assert (place / "model.bin").stat().st_nlink > 1, f"{place.name} is stored twice"
    image = next((project.root / "data/raw/drawn/source").rglob("*.png"))
    promoted = run_knotwatch(project.root, "promote", "drawn", "--version", "5", "--json").json
    assert promoted["after"] == 5
    before = run_knotwatch(project.root, "inspect", "drawn", str(image), "--json").json
    assert before["model"] == "drawn/5 (ensemble)"
    with closing(sqlite3.connect(project.state / "mlflow" / "mlflow.db")) as connection, connection:
        (said,) = connection.execute(_DESCRIPTION).fetchone()
        assert "ensemble, the mean of the anomaly maps of other versions of the same run" in said
        connection.execute("delete from model_versions where version in (3, 4)")
    after = run_knotwatch(project.root, "inspect", "drawn", str(image), "--json").json
    assert after["images"][0]["score"] == before["images"][0]["score"]
    assert run_knotwatch(project.root, "rollback", "drawn", "--json").json["after"] == 1


def propose_another(project: Project) -> None:
    """Train PaDiM with fewer features: it is proposed, and may not be promoted."""
    words = ("--set", "algorithms=[padim]", "--set", "padim.features=10", "--json")
    found = retrain(project, *words).json
    assert (found["proposed"]["version"], found["champion"]["version"]) == (2, 1)
    assert (found["decision"]["version"], found["decision"]["outcome"]) == (2, "proposed")
    assert versions(project) == {1: ("padim", ["champion"]), 2: ("padim", ["challenger"])}
    page = (project.root / found["report"]).read_text()
    assert "policy.gate.automatic is false" in page


def test_ctrl_c_in_the_second_keeps_the_first(project: Project, request: pytest.FixtureRequest) -> None:
    words = ("--set", "algorithms=[padim, fastflow]", "--set", "seed=7")
    endless = ("--set", "fastflow.max_steps=100000", "--set", "fastflow.patience=100000")
    before = statuses(project, "fastflow")
    process = subprocess.Popen(
        [sys.executable, "-c", "from flows.cli import main; main()", *RETRAIN, *words, *endless],
        cwd=project.root,
        stderr=subprocess.PIPE,
        text=True,
        # A shell starts background commands deaf to Ctrl-C, and pytest may be one of them.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # noqa: PLW1509 - no threads yet
    )
    request.addfinalizer(process.kill)
    wait_for(process, lambda: len(statuses(project, "fastflow")) > len(before))
    time.sleep(5)  # into its steps, where a training loop of another's could swallow the interrupt
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130, said
    assert statuses(project, "fastflow")[-1] == "KILLED"
    assert statuses(project, "padim")[-1] == "FINISHED"
    assert not list((project.state / "scratch" / "drawn").iterdir()), "a half-made model was left"
    only = ("--set", "algorithms=[padim]", "--json")
    again = retrain(project, *only, "--set", "seed=7").json
    assert [model["reused"] for model in again["models"]] == [True], "what the stopped run registered was trained again"


def wait_for(process: "subprocess.Popen[str]", test: Any) -> None:
    deadline = time.monotonic() + 240
    while not test():
        assert time.monotonic() < deadline
        assert process.poll() is None, process.stderr.read() if process.stderr else ""
        time.sleep(0.3)


def test_a_misspelt_algorithm_stops_before_anything_starts(project: Project) -> None:
    before = statuses(project, "padim")
    refused = run_knotwatch(project.root, "retrain", "drawn", "--set", "algorithms=[padin]", expect=2)
    assert "padim, fastflow, efficientad, fastflow_dinov2" in refused.err
    assert statuses(project, "padim") == before
