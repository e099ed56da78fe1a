"""`retrain` and `inspect` end to end on drawn boards: the real command, DVC, Prefect, MLflow and anomalib."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from sklearn.metrics import roc_auc_score

from pipelines.core.paths import Project
from pipelines.inspection.showcase import SHOWN
from tests.conftest import run_knotwatch
from tests.flows.projects import Trained, copy_project, copy_trained, lean_on

METRICS = {"image_auroc", "image_ap", "image_f1", "pixel_auroc", "pixel_ap", "aupro", "false_positive_rate"}


@pytest.fixture(scope="module")
def trained(trained_once: Project, prefect: str, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A copy of the trained project and what its retrain answered; what is trained later leans on a Prefect server."""
    found = copy_trained(trained_once, tmp_path_factory.mktemp("retrain") / "project")
    lean_on(found.project, prefect)
    return found


def in_python(folder: Path, code: str) -> str:
    """Run code in a fresh interpreter with `folder` as the current one, as a script of a user's would be."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().splitlines()[-1]


def test_the_answer_says_what_was_trained(trained: Trained) -> None:
    found = trained.result
    (model,) = found["models"]
    assert (found["surface"], found["skipped"], found["validation"]) == (
        *("drawn", False),
        {"images": 81, "quarantined": 0},
    )
    assert model["metrics"].keys() >= METRICS
    assert model["metrics"]["validation_labelled_anomalies"] == 5
    assert 0 <= model["metrics"]["validation_labelled_image_auroc_low"] <= 1
    assert "5 labelled anomalies against normal images" in (trained.project.root / found["report"]).read_text()
    assert model["metrics"]["image_auroc"] > 0.6, "worse than the least that PaDiM gives on drawn boards"
    assert found["champion"] == {"algorithm": "padim", "version": model["version"]}
    assert found["proposed"] == {**found["champion"], "reason": "the only algorithm that was trained"}
    assert model["peak_rss_mb"] < 4000
    assert model["folder_mb"] > 1
    comparison = trained.project.root / found["report"]
    page = comparison.parent.with_name(f"{comparison.parent.name}-padim") / "index.html"
    assert f'href="../{page.parent.name}/index.html"' in comparison.read_text()
    assert "data:image/jpeg" in page.read_text()
    for written in (comparison.read_text(), page.read_text()):
        assert "http" not in written.replace("http-equiv", "").replace("http://www.w3.org/2000/svg", "")


def test_a_second_retrain_trains_nothing(trained: Trained) -> None:
    again = run_knotwatch(trained.project.root, "retrain", "drawn", "--profile", "quick", "--json").json
    assert again["skipped"]
    assert again["models"][0]["run_id"] == trained.result["models"][0]["run_id"]
    assert again["models"][0]["metrics"] == trained.result["models"][0]["metrics"]
    assert (again["proposed"], again["report"]) == (trained.result["proposed"], trained.result["report"])
    listed = run_knotwatch(trained.project.root, "models", "drawn", "--json").json["models"]
    assert [m["version"] for m in listed] == [1]


def test_the_run_carries_what_explains_it(trained: Trained) -> None:
    code = f"""
import json, mlflow
mlflow.set_tracking_uri("sqlite:///{trained.project.state}/mlflow/mlflow.db")
client = mlflow.MlflowClient()
run = client.get_run("{trained.result["models"][0]["run_id"]}")
parent = client.get_run(run.data.tags["mlflow.parentRunId"])
version = client.get_model_version_by_alias("drawn", "champion")
files = sorted(f.path for f in client.list_artifacts(run.info.run_id))
kept = mlflow.artifacts.load_text(parent.info.artifact_uri + "/data_version.json")
shown = client.get_experiment_by_name("drawn").tags, client.get_registered_model("drawn").description
told = [run.data.metrics, parent.data.metrics, parent.data.tags, version.tags, *shown]
said = [run.data.tags, run.data.params, files, json.loads(kept), version.description, parent.info.status]
print(json.dumps([*said, *told]))
"""
    tags, params, files, kept, card, status, *shown = json.loads(in_python(trained.project.root, code))
    assert_told_to_strangers(trained, tags, *shown)
    assert tags["data_version"] == trained.result["data_version"] == kept["version"]
    assert tags["prefect_flow_run"]
    assert params["padim.features"] == "40"
    assert not [name for name in params if name.startswith("fastflow")], "another algorithm's settings were logged"
    assert {"index.html", "pictures", "charts", "evaluation.json", "model.json", "summary.json"} <= set(files)
    assert set(kept["lock"]) == {"validate@drawn", "preprocess@drawn"}
    assert "At most" in card
    assert "PaDiM (Defard et al. 2021)" in card
    assert status == "FINISHED"


def assert_told_to_strangers(  # noqa: PLR0917 - all that MLflow's pages show of a run
    trained: Trained,
    tags: dict[str, str],
    metrics: dict[str, float],
    above: dict[str, float],
    parent: dict[str, str],
    version: dict[str, str],
    experiment: dict[str, str],
    model: str,
) -> None:
    """What MLflow's pages show is described, short, and of few figures; nothing that is shown is JSON or no link."""
    answered = trained.result["models"][0]["metrics"]
    assert len(metrics) <= 25
    for name in ("image_auroc", "aupro", "image_recall", "false_positive_rate"):
        assert metrics[f"test/{name}"] == above[f"test/{name}"] == pytest.approx(answered[name], abs=1e-4)
    assert metrics["cost/train_seconds"] > 0
    assert "[Version 1](#/models/drawn/versions/1)" in tags["mlflow.note.content"]
    assert trained.result["decision"]["message"] in parent["mlflow.note.content"]
    assert "`champion`" in experiment["mlflow.note.content"]
    assert trained.result["decision"]["message"] in model
    for shown in (tags, parent, version):
        assert "prefect_page" not in shown, "no server had pages"
        assert not [n for n, text in shown.items() if text.startswith(("{", "[")) and not n.startswith("mlflow.")]


def test_inspect_gives_the_scores_of_mlflow_also_after_a_move(trained: Trained, tmp_path: Path) -> None:
    moved = copy_project(trained.project, tmp_path / "moved")
    hidden = trained.project.root.with_name("not-here")
    trained.project.root.rename(hidden)
    try:
        images = moved.surface("drawn").source / "images"
        words = ("inspect", "drawn", str(images), "--out", "marked", "--maps", "maps", "--json")
        found = run_knotwatch(moved.root, *words).json
        code = f"""
import json, mlflow, pandas as pd
from pathlib import Path
from typing import Any
mlflow.set_tracking_uri("sqlite:///{moved.state}/mlflow/mlflow.db")
files = sorted(Path("{images}").iterdir())
model = mlflow.pyfunc.load_model("models:/drawn@champion")
table = model.predict(pd.DataFrame({{"image": [f.read_bytes() for f in files]}}))
print(json.dumps(dict(zip([f.name for f in files], table["score"]))))
"""
        scores = json.loads(in_python(tmp_path, code))
    finally:
        hidden.rename(trained.project.root)
    assert len(found["images"]) == 81
    assert set(found) >= {"surface", "model", "image_threshold", "pixel_threshold", "images", "seconds"}
    for image in found["images"]:
        name = Path(image["path"]).name
        assert image["score"] == pytest.approx(scores[name], rel=1e-6)
        assert image["anomalous"] == (image["score"] > found["image_threshold"])
        anomaly_map = tifffile.imread(moved.root / image["map"])
        assert Path(image["map"]).stem == Path(name).stem
        assert anomaly_map.dtype == np.float32
        assert anomaly_map.shape == (image["height"], image["width"]) == (128, 192)
        assert np.isfinite(anomaly_map).all()
        assert anomaly_map.min() >= 0
        with Image.open(moved.root / image["overlay"]) as overlay:
            assert overlay.size[0] > 100
        assert bool(image["defects"]) >= image["anomalous"], "an anomalous image shows nothing"
        for defect in image["defects"]:
            left, top, right, bottom = defect["box"]
            assert anomaly_map[top:bottom, left:right].max() == pytest.approx(defect["score"])
    report = (moved.root / found["report"]).read_text(encoding="utf-8")
    assert report.count("<article") == SHOWN
    assert "usual" in report, "the calibration split's measures are not shown"


def test_reported_figures_follow_from_the_scores(trained: Trained) -> None:
    """Inspect the test images' own files and compute the image AUROC again."""
    root = trained.project.root
    table = (trained.project.surface("drawn").prepared / "index.csv").read_text().splitlines()
    head = table[0].split(",")
    rows = [dict(zip(head, line.split(","), strict=False)) for line in table[1:]]
    test = [trained.project.surface("drawn").source / r["path"] for r in rows if ",test," in table[1 + rows.index(r)]]
    found = run_knotwatch(root, "inspect", "drawn", *map(str, test), "--out", "again", "--json").json
    scores = [i["score"] for i in found["images"]]
    anomalous = ["defect" in Path(i["path"]).name for i in found["images"]]
    wanted = trained.result["models"][0]["metrics"]
    assert roc_auc_score(anomalous, scores) == pytest.approx(wanted["image_auroc"], abs=1e-9)
    flagged = [i["anomalous"] for i, a in zip(found["images"], anomalous, strict=True) if not a]
    assert np.mean(flagged) == pytest.approx(wanted["false_positive_rate"])


@pytest.fixture(scope="module")
def tried(trained_once: Project, prefect: str, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A copy of its own and what a trial answered, on data that changed since the retrain."""
    project = lean_on(copy_project(trained_once, tmp_path_factory.mktemp("tried") / "project"), prefect)
    (project.surface("drawn").source / "images" / "wood-0040.png").write_bytes(b"broken since")
    add = (sys.executable, "-m", "dvc", "add", "-q", "data/raw/drawn/source")
    subprocess.run(add, cwd=project.root, check=True)
    words = ("--profile", "quick", "--trial", "fewer", "--set", "padim.features=20", "--json")
    return Trained(project, run_knotwatch(project.root, "retrain", "drawn", *words).json)


def test_a_trial_is_tracked_and_never_registered(tried: Trained) -> None:
    assert tried.result["models"][0]["version"] is None
    assert tried.result["champion"]["version"] == 1
    listed = run_knotwatch(tried.project.root, "models", "drawn", "--json").json["models"]
    assert [m["version"] for m in listed] == [1]


def test_a_data_version_comes_back_from_what_mlflow_keeps(trained: Trained, tried: Trained) -> None:
    """The project forgot its versions, and the data changed since."""
    project, version = tried.project, trained.result["data_version"]
    assert tried.result["data_version"] != version
    shutil.rmtree(project.state / "versions")
    assert version in run_knotwatch(project.root, "data", "checkout", "drawn", version[:8]).out
    again = run_knotwatch(project.root, "retrain", "drawn", "--profile", "quick", "--json").json
    assert (again["data_version"], again["skipped"]) == (version, True)
    anew = run_knotwatch(project.root, "retrain", "drawn", "--profile", "quick", "--trial", "anew", "--json").json
    figures = [
        [(model["algorithm"], model["metrics"]) for model in found["models"]] for found in (trained.result, anew)
    ]
    assert figures[0] == figures[1], "the same data and settings gave other metrics"
    assert "no data version" in run_knotwatch(project.root, "data", "checkout", "drawn", "0000", expect=2).err


def test_wrong_settings_stop_before_anything_starts(trained: Trained) -> None:
    for words, said in (
        (("--set", "padim.featurs=3"), "featurs"),
        (("--profile", "fast"), "quick"),
        (("--set", "nonsense"), "KEY=VALUE"),
    ):
        assert said in run_knotwatch(trained.project.root, "retrain", "drawn", *words, expect=2).err


def test_bad_data_stops_the_run_before_training(trained_once: Project, prefect: str, tmp_path: Path) -> None:
    project = lean_on(copy_project(trained_once, tmp_path / "project"), prefect)
    source = project.surface("drawn").source / "images"
    for name in (f"wood-{number:04d}.png" for number in range(1, 6)):
        (source / name).write_bytes(b"not an image")
    subprocess.run([sys.executable, "-m", "dvc", "add", "-q", "data/raw/drawn/source"], cwd=project.root, check=True)
    refused = run_knotwatch(project.root, "retrain", "drawn", "--profile", "quick", "--json", expect=3)
    assert json.loads(refused.out)["exit_code"] == 3
    assert "wood-0002.png" in refused.err
    assert "Traceback" not in refused.err
    listed = run_knotwatch(project.root, "models", "drawn", "--json").json["models"]
    assert [m["version"] for m in listed] == [1], "something was trained on refused data"
