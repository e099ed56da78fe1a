"""A project of 0.1.0 under today's code: every command goes on where it stood."""

import base64
import json
import sqlite3
import urllib.request
from contextlib import closing
from pathlib import Path

import pytest

from pipelines.core.paths import Project
from tests.conftest import run_knotwatch
from tests.flows.processes import free_port, until
from tests.flows.started import start, start_ui
from tests.old_store import SURFACE, old_answer, upgrade_old

pytestmark = pytest.mark.slow
ENDED = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
CHECKSUMS = "without checksums"


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """For tests that change nothing of it."""
    return upgrade_old(tmp_path_factory.mktemp("kept") / "project")


@pytest.fixture
def old(tmp_path: Path) -> Project:
    return upgrade_old(tmp_path / "project")


def test_models_and_inspect_answer_as_before(kept: Project) -> None:
    listed = run_knotwatch(kept.root, "models", SURFACE, "--json").json["models"]
    assert [(m["version"], m["algorithm"], m["aliases"]) for m in listed] == [
        (2, "fastflow", []),
        (1, "padim", ["champion"]),
    ]
    before = old_answer("inspect")
    done = run_knotwatch(kept.root, "inspect", SURFACE, *(i["path"] for i in before["images"]), "--json")
    assert done.json["model"] == before["model"]
    for key in ("image_threshold", "pixel_threshold"):
        assert done.json[key] == pytest.approx(before[key], abs=1e-6)
    for now, then in zip(done.json["images"], before["images"], strict=True):
        assert now["score"] == pytest.approx(then["score"], abs=1e-6)
        # What is called otherwise since says the same.
        present = {{"sound": "normal_regions", "foreign": "out_of_distribution"}.get(k, k): v for k, v in then.items()}
        del present["score"]
        assert {key: now[key] for key in present} == present
    assert done.err.count(CHECKSUMS) == 1


def test_serve_answers_with_the_old_champion(kept: Project) -> None:
    port = free_port()
    (first, *_) = old_answer("inspect")["images"]
    image = base64.b64encode((kept.root / first["path"]).read_bytes()).decode()
    body = json.dumps({"dataframe_split": {"columns": ["image"], "data": [[image]]}}).encode()
    with start(kept, kept.root / "serve.log", "serve", SURFACE, "--port", str(port)):
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/invocations", body, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            (found,) = json.load(answer)["predictions"]
    assert found["score"] == pytest.approx(first["score"], abs=1e-6)


def test_the_gate_compares_two_old_versions(kept: Project) -> None:
    done = run_knotwatch(kept.root, "promote", SURFACE, "--version", "2", "--dry-run", "--json", expect=3).json
    assert (done["version"], done["before"], done["after"]) == (2, 1, 1)
    assert "AUPRO" in done["message"], "refused for what was measured, not for what an old version lacks"


def test_a_data_version_of_before_comes_back(old: Project) -> None:
    shown = run_knotwatch(old.root, "data", "show", SURFACE, "--json").json
    board = next((old.surface(SURFACE).source / "images").iterdir())
    content = board.read_bytes()
    board.unlink()
    run_knotwatch(old.root, "data", "checkout", SURFACE, shown["data_version"][:8])
    assert board.read_bytes() == content
    assert run_knotwatch(old.root, "data", "show", SURFACE, "--json").json["data_version"] == shown["data_version"]


def test_an_old_version_is_adapted_from(old: Project) -> None:
    words = (
        "--layout",
        "procedural",
        "--material",
        "fabric",
        "--normal",
        "16",
        "--defective",
        "6",
        "--size",
        "128x128",
    )
    run_knotwatch(old.root, "data", "add", "cloth", *words)
    quick = ("--profile", "quick", "--set", "algorithms=[padim]", "--set", "export.precision=f32")
    done = run_knotwatch(old.root, "adapt", SURFACE, "cloth", "--shots", "4", *quick, "--json").json
    assert {r["strategy"] for r in done["results"]} >= {"reuse", "statistics", "nearest"}
    assert done["failed"] == []


def test_the_old_schedule_is_listed_and_the_worker_runs_it_as_it_was_deployed(old: Project) -> None:
    deployed_from(old)
    (schedule,) = run_knotwatch(old.root, "schedule", "--json").json["schedules"]
    assert (schedule["surface"], schedule["cron"], schedule["active"]) == (SURFACE, "0 2 * * 1", True)
    with start_ui(old) as ui:
        deployment = ui.api(f"deployments/name/retrain/{SURFACE}")
        body = {"state": {"type": "SCHEDULED"}, "parameters": {"surface": SURFACE, "profile": "quick"}}
        run = ui.api(f"deployments/{deployment['id']}/create_flow_run", body)["id"]
        until(lambda: ui.api(f"flow_runs/{run}")["state_type"] in ENDED, "the run", seconds=500)
        state = ui.api(f"flow_runs/{run}")["state"]
    assert state["type"] == "COMPLETED", state
    listed = run_knotwatch(old.root, "models", SURFACE, "--json").json["models"]
    names = {m["version"]: m["algorithm"] for m in listed}
    assert names == {5: "ensemble", 4: "fastflow", 3: "padim", 2: "fastflow", 1: "padim"}


def deployed_from(project: Project) -> None:
    """Let the deployment have been made where the project lies now: one of another folder is deployed anew."""
    with closing(sqlite3.connect(project.state / "prefect/prefect.db")) as database:
        ((variables,),) = database.execute("select infra_overrides from deployment")
        was = json.loads(variables)["working_dir"]
        for column in ("infra_overrides", "pull_steps"):
            database.execute(f"update deployment set {column} = replace({column}, ?, ?)", (was, str(project.root)))  # noqa: S608 - our own words
        database.commit()
