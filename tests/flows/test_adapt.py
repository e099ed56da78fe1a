"""`adapt` end to end: from drawn boards to drawn fabric, the real command."""

import json
import sqlite3
from contextlib import closing
from typing import Any

import pytest

from pipelines.core.paths import Project
from pipelines.reports.folders import find_folder
from tests.conftest import run_knotwatch, set_training
from tests.flows.projects import SURFACE, copy_project, lean_on

pytestmark = pytest.mark.slow

QUICK: dict[str, Any] = {
    "algorithms": ["padim"],
    "padim": {"features": 40},
    "export": {"precision": "f32"},
    "evaluation": {"bootstrap": 20, "pictures": 1, "synthetic": 2},
    "adapt": {"tested": 10},
}
FABRIC = (
    *("--layout", "procedural", "--material", "fabric", "--normal", "30", "--defective", "8"),
    *("--size", "128x128", "--seed", "3"),
)


@pytest.fixture(scope="module")
def project(trained_once: Project, prefect: str, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with trained boards and fabric that nothing was trained on."""
    made = lean_on(copy_project(trained_once, tmp_path_factory.mktemp("adapt") / "project"), prefect)
    run_knotwatch(made.root, "data", "add", "cloth", *FABRIC)
    set_training(made.root, "cloth", **QUICK)
    return made


# Kills the process instead of trying a fourth strategy.
KILL = """
import os, signal
import flows.adapting.attempts as room
original, tried = room.attempt, []

def attempt(*args):
    tried.append(args)
    return original(*args) if len(tried) < 4 else os.kill(os.getpid(), signal.SIGKILL)

room.attempt = attempt
"""


@pytest.fixture(scope="module")
def adapted(project: Project) -> Any:
    """What an adaptation answers whose first call was killed after three of eight attempts."""
    words = ("adapt", SURFACE, "cloth", "--shots", "8", "--shots", "1", "--profile", "quick", "--json")
    run_knotwatch(project.root, *words, before=KILL, expect=-9)
    return run_knotwatch(project.root, *words).json


def tags_of(project: Project, run: str) -> dict[str, str]:
    with closing(sqlite3.connect(project.state / "mlflow" / "mlflow.db")) as connection:
        return dict(connection.execute("select key, value from tags where run_uuid = ?", (run,)).fetchall())


def count_tested(project: Project, run: str) -> int:
    (file,) = (project.state / "mlflow" / "artifacts" / "cloth" / run).rglob("evaluation.json")
    return len(json.loads(file.read_text())["images"])


def test_the_answer_compares_all_strategies_over_the_shots(project: Project, adapted: Any) -> None:
    assert adapted.keys() >= {"source", "target", "shots", "results", "chosen", "gain_over_scratch", "seconds"}
    assert (adapted["source"], adapted["target"], adapted["shots"]) == (SURFACE, "cloth", 8)
    methods = {(r["strategy"], r["shots"]) for r in adapted["results"]}
    assert methods == {(s, k) for s in ("reuse", "statistics", "scratch", "nearest") for k in (1, 8)}
    for result in adapted["results"]:
        assert 0 <= result["interval"][0] <= result["metrics"]["image_auroc"] <= result["interval"][1] <= 1
        assert ("validation_image_auroc" in result["metrics"]) == (result["shots"] == 8), (
            "of 1 shot nothing is held out"
        )
    assert adapted["chosen"]["strategy"] != "nearest"
    # Two images calibrate: of new normal ones, one in three may lie above both.
    assert "33.3 %" in adapted["guarantee"]
    assert adapted["chosen_with_labels"].startswith("padim")


def test_the_version_names_its_source_and_is_proposed(project: Project, adapted: Any) -> None:
    (version,) = run_knotwatch(project.root, "models", "cloth", "--json").json["models"]
    assert version["version"] == adapted["chosen"]["version"]
    tags = tags_of(project, version["run_id"])
    assert tags["adapted_from"] == f"{SURFACE}/1"
    assert (tags["strategy"], tags["shots"]) == (adapted["chosen"]["strategy"], "8")
    parent = tags["mlflow.parentRunId"]
    assert tags_of(project, parent)["summary"] == adapted["summary"]
    parents = [tags_of(project, r["run_id"])["mlflow.parentRunId"] for r in adapted["results"]]
    assert (parents.count(parent), len(set(parents[:3]))) == (5, 1), "what was finished before was tried again"
    assert not list((project.state / "attempts" / "cloth").glob("*")), "attempts are kept for nobody"
    page = project.root / adapted["report"]
    assert adapted["summary"] in page.read_text()
    assert "<svg" in page.read_text()
    assert "scored on the same 10 of " in page.read_text()
    assert {(r["tested"], count_tested(project, r["run_id"])) for r in adapted["results"]} == {(10, 10)}
    assert count_tested(project, version["run_id"]) > 10, "the version was not tested on all"
    assert (page.parent / "auroc.svg").is_file()
    # Made again to be registered, it says of itself what it was made as.
    folder = find_folder(page.parents[1], version["run_id"])
    assert folder is not None
    assert f'href="../{folder.name}/index.html"' in page.read_text()
    card = (folder / "index.html").read_text()
    assert ("as the source has it" in card) == (tags["strategy"] == "reuse")
    assert ("to the learnt map of normal tiles" in card) == (tags["strategy"] != "reuse")
    assert adapted["decision"]["version"] == version["version"]
    assert not list((project.state / "scratch" / "cloth").iterdir()), "a half-made model was left"


def test_with_nothing_changed_nothing_is_tried_again(project: Project, adapted: Any) -> None:
    words = ("adapt", SURFACE, "cloth", "--shots", "1", "--shots", "8", "--profile", "quick", "--json")
    again = run_knotwatch(project.root, *words).json
    assert again["skipped"]
    assert not adapted["skipped"]
    told = ("results", "chosen", "gain_over_scratch", "summary", "report")
    assert {name: again[name] for name in told} == {name: adapted[name] for name in told}
    (version,) = run_knotwatch(project.root, "models", "cloth", "--json").json["models"]
    assert version["version"] == adapted["chosen"]["version"]


def test_the_version_inspects_like_any_other(project: Project, adapted: Any) -> None:
    # Calibrated on two images it flags many good ones: a person says whether that will do.
    assert (adapted["decision"]["outcome"], adapted["champion"]) == ("proposed", None), adapted["decision"]
    assert adapted["decision"]["flagged_share"] > 0.1
    promoted = run_knotwatch(project.root, "promote", "cloth", "--json").json
    assert promoted["after"] == adapted["chosen"]["version"]
    image = next((project.surface("cloth").source / "images").iterdir())
    found = run_knotwatch(project.root, "inspect", "cloth", str(image), "--json").json
    assert found["model"] == f"cloth/{adapted['chosen']['version']} (padim)"
    assert found["images"][0]["score"] > 0


def test_what_cannot_be_adapted_is_refused_by_name(project: Project, adapted: Any) -> None:
    for words, code, said in (
        ((SURFACE, SURFACE), 2, "itself"),
        (("nothing", "cloth"), 1, "no version of padim"),
        ((SURFACE, "cloth", "--shots", "2", "--strategy", "finetune"), 2, "finetune"),
    ):
        refused = run_knotwatch(project.root, "adapt", *words, "--profile", "quick", "--json", expect=code)
        assert said in json.loads(refused.out)["error"]
        assert "Traceback" not in refused.err


def test_what_is_forced_is_tried_again(project: Project, adapted: Any) -> None:
    words = ("--strategy", "scratch", "--profile", "quick", "--shots", "1", "--json")
    first, again = (
        run_knotwatch(project.root, "adapt", SURFACE, "cloth", *words, *more).json for more in ((), ("--force",))
    )
    assert not again["skipped"]
    assert again["report"] != first["report"]
