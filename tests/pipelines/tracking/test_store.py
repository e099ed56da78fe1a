"""The project's MLflow store, for real: what a run becomes, what is registered, and a project that moves."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import mlflow
import numpy as np
import openvino
import pandas as pd
import pytest
from openvino import opset13 as ops

from pipelines.core.errors import ModelError, ToolError
from pipelines.core.geometry import TilePlan
from pipelines.core.paths import Project, database_file
from pipelines.core.results import CalibratedThreshold
from pipelines.core.surface_settings import RegionSettings
from pipelines.detector.version import VersionInfo
from pipelines.imaging.image_score import ScoreRule
from pipelines.tracking.artifacts import ProjectArtifacts
from pipelines.tracking.registry import ModelVersion
from pipelines.tracking.store import Tracking

pytestmark = [
    # MLflow's own, of its chat types, when mlflow.pyfunc is first imported.
    pytest.mark.filterwarnings("ignore:.*Any type hint is inferred as AnyType:UserWarning"),
    # An image as example would have to be loaded and scored for each version that is logged.
    pytest.mark.filterwarnings("ignore:.*An input example was not provided:UserWarning"),
]

TILE = 32


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tracking]:
    with pytest.MonkeyPatch.context() as patch:
        # MLflow writes these itself: another test's store would be taken for the user's server, and ours by the next.
        for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
            patch.setenv(name, "")
        project = Project(tmp_path_factory.mktemp("tracking") / "first place? 100 %41 #1")
        yield Tracking(project)


@pytest.fixture(scope="module")
def home(store: Tracking) -> Path:
    return _home(store)


def _home(store: Tracking) -> Path:
    file = database_file(store.uri)
    assert file is not None
    return file.parent


def save_model(folder: Path) -> Path:
    """Write a model folder whose map is the tile's mean over the channels."""
    tiles = ops.parameter([-1, TILE, TILE, 3], np.uint8)
    mean = ops.reduce_mean(ops.convert(tiles, "f32"), np.array([3]), keep_dims=False)
    openvino.save_model(openvino.Model([mean], [tiles]), folder / "model.xml")
    calibrated = CalibratedThreshold(threshold=50.0, target_rate=0.01, achieved_rate=0.01, images=99)
    info = VersionInfo(
        surface="oak",
        algorithm="mean",
        data_version="0" * 16,
        region=RegionSettings(rule="none"),
        plan=TilePlan(mode="fit", tile_height=TILE, tile_width=TILE),
        score_rule=ScoreRule(),
        map_divisor=1,
        image_divisor=2,
        image_threshold=calibrated,
        pixel_threshold=calibrated,
    )
    (folder / "model.json").write_text(info.model_dump_json())
    return folder


@pytest.fixture(scope="module")
def versions(store: Tracking, tmp_path_factory: pytest.TempPathFactory) -> list[ModelVersion]:
    """Two versions of one model; the second is the champion after the first was."""
    folder = save_model(tmp_path_factory.mktemp("model"))
    made = []
    for number in (1, 2):
        with store.run("oak", f"retrain {number}", tags={"data_version": f"{number}ab"}) as run:
            made.append(store.register(run, "oak", folder, {"algorithm": "mean"}, "# A card"))
        store.set_alias("oak", "champion", number)
    store.set_alias("oak", "previous", 1)
    return made


@pytest.mark.parametrize(("raised", "status"), [(KeyboardInterrupt, "KILLED"), (ValueError, "FAILED")])
def test_a_run_ends_as_what_it_became(store: Tracking, raised: type[BaseException], status: str) -> None:
    with pytest.raises(raised), store.run("ash", "retrain", tags={"mark": status}) as run:
        raise raised
    found = mlflow.MlflowClient(store.uri).get_run(run.id)
    assert found.info.status == status
    assert found.info.end_time is not None
    assert store.tag_values("ash", "mark", status) == {}
    assert not store.is_finished(run.id)


@pytest.mark.usefixtures("pressed")
def test_a_run_in_which_ctrl_c_became_another_error_was_killed(store: Tracking) -> None:
    with pytest.raises(KeyboardInterrupt), store.run("ash", "retrain", tags={}) as run:
        raise ValueError("Task run is not set")
    assert mlflow.MlflowClient(store.uri).get_run(run.id).info.status == "KILLED"


def test_a_run_that_failed_says_why_and_may_go_on_until_its_end(store: Tracking) -> None:
    with store.run("ash", "retrain", tags={}) as run:
        run.fail("fastflow: no tile")
        run.tags({"proposed": "padim"})
    with pytest.raises(ValueError, match="x"), store.run("ash", "padim", parent=run.id, tags={}) as child:
        raise ValueError("x" * 9000)
    found = mlflow.MlflowClient(store.uri).get_run(run.id)
    assert (found.info.status, found.data.tags["failure"]) == ("FAILED", "fastflow: no tile")
    assert found.data.tags["proposed"] == "padim"
    assert mlflow.MlflowClient(store.uri).get_run(child.id).data.tags["failure"].startswith("ValueError: xxx")
    assert (store.parent(child.id), store.parent(run.id)) == (run.id, None)


def test_a_text_is_read_without_a_trace_and_one_that_is_gone_is_named(
    store: Tracking, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with store.run("ash", "retrain", tags={}) as run:
        run.text("{}", "kept.json")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert store.read_text(run.id, "kept.json") == "{}"
    with pytest.raises(ModelError, match=r"lost\.json"):
        store.read_text(run.id, "lost.json")
    assert not list(tmp_path.iterdir())


def test_a_child_run_hangs_below_its_parent_and_both_finish(store: Tracking) -> None:
    with (
        store.run("ash", "retrain", tags={"a": "b"}) as parent,
        store.run("ash", "padim", parent=parent.id, tags={}) as child,
    ):
        child.params({"padim.features": 100})
        store.log_input(child, pd.DataFrame({"path": ["a.png"]}), "ash", "5" * 64, "training")
    found = mlflow.MlflowClient(store.uri).get_run(child.id)
    assert (found.info.status, found.data.tags["mlflow.parentRunId"]) == ("FINISHED", parent.id)
    assert found.data.params == {"padim.features": "100"}
    assert found.inputs.dataset_inputs[0].dataset.digest == "5" * 36


def test_a_metric_may_have_any_name_that_a_user_gives_a_defect(store: Tracking) -> None:
    with store.run("ash", "retrain", tags={}) as run:
        run.metrics({"Astlücke (groß)/aupro": 0.5, "a:b*c'd": 1.0, "image_auroc": 0.9})
    assert store.metrics(run.id) == {"Astlücke _groß_/aupro": 0.5, "a_b_c_d": 1.0, "image_auroc": 0.9}


def test_finished_runs_are_found_by_their_tags(store: Tracking) -> None:
    runs = []
    for _ in range(2):
        with store.run("elm", "retrain", tags={"fingerprint": "00ff", "data_version": "abcd1234"}) as run:
            runs.append(run.id)
            run.text("what it said", "note.txt")
    with store.run("elm", "retrain", tags={"data_version": "abef"}):
        pass
    assert store.tag_values("elm", "fingerprint", "00") == {"00ff": runs[1]}, "the newest counts"
    assert store.tag_values("elm", "data_version", "ab").keys() == {"abcd1234", "abef"}
    assert store.tag_values("elm", "data_version", "ff") == {}
    assert store.tag_values("nosuch", "fingerprint", "00ff") == {}
    assert store.read_text(runs[0], "note.txt") == "what it said"
    assert store.is_finished(runs[0])
    assert not store.is_finished("0" * 32)


@pytest.mark.parametrize("value", ["00ff' OR tags.a = 'b", "", "a%", 'a"', "a\n"])
def test_a_value_that_could_end_its_quotes_is_refused(store: Tracking, value: str) -> None:
    store.experiment("elm")
    with pytest.raises(ToolError, match="cannot be searched for"):
        store.tag_values("elm", "fingerprint", value)


def test_versions_are_listed_with_their_aliases(store: Tracking, versions: list[ModelVersion]) -> None:
    assert [(v.version, v.aliases) for v in store.versions("oak")] == [(2, ("champion",)), (1, ("previous",))]
    champion = store.champion("oak")
    assert champion is not None
    assert (champion.version, champion.algorithm, champion.run_id) == (2, "mean", versions[1].run_id)
    assert store.champion("nosuch") is None
    with pytest.raises(ModelError, match="no version 9"):
        store.version("oak", 9)


def test_a_registered_model_is_data_only_and_lies_in_the_project(
    store: Tracking, versions: list[ModelVersion], home: Path
) -> None:
    folder = store.folder("oak", 2)
    assert folder.is_relative_to(home / "artifacts" / "oak")
    assert json.loads((folder / "model.json").read_text())["surface"] == "oak"
    kept = [p for p in (home / "artifacts" / "oak").rglob("*") if p.is_file()]
    assert {p.suffix for p in kept} <= {".json", ".xml", ".bin", ".txt", ".yaml", ""}, (
        "code or a pickle is in the model"
    )


@pytest.mark.parametrize(
    "uri", ["knotwatch:/../x", "knotwatch:/oak/../../../x", "knotwatch:/%2e%2e/x", "knotwatch:/.."]
)
def test_an_artefact_location_that_leaves_the_folder_is_refused(store: Tracking, home: Path, uri: str) -> None:
    with pytest.raises(ToolError, match="leaves"):
        ProjectArtifacts(uri, tracking_uri=store.uri)
    client = mlflow.MlflowClient(store.uri)
    place = client.create_experiment(f"leaves {uri}", artifact_location=uri)
    with pytest.raises(ToolError, match="leaves"):
        client.log_text(client.create_run(place).info.run_id, "text", "escaped.txt")
    assert not list(home.parents[2].rglob("escaped.txt"))


def test_an_artefact_location_is_beside_the_database(store: Tracking, home: Path) -> None:
    found = ProjectArtifacts("knotwatch:/oak/a%20run", tracking_uri=store.uri)
    assert Path(found.artifact_dir) == home / "artifacts" / "oak" / "a run"


PLAIN = """
import io, json, sys
import mlflow, numpy as np, pandas as pd
from PIL import Image

mlflow.set_tracking_uri(sys.argv[1])
model = mlflow.pyfunc.load_model("models:/oak@champion")
file = io.BytesIO()
Image.fromarray(np.full((40, 50, 3), 120, np.uint8)).save(file, "PNG")
answer = model.predict(pd.DataFrame({"image": [file.getvalue()]})).to_dict(orient="records")
local = mlflow.artifacts.download_artifacts("models:/oak/1")

from pathlib import Path
from pipelines.core.paths import Project
from pipelines.tracking.store import Tracking

ours = Tracking(Project(Path(sys.argv[2]))).folder("oak", 2)
print(json.dumps({"answer": answer, "local": local, "ours": str(ours)}))
"""


@pytest.mark.services
def test_plain_mlflow_loads_a_model_after_the_project_was_moved(
    store: Tracking, versions: list[ModelVersion], home: Path, tmp_path: Path
) -> None:
    first = home.parents[1]
    moved = first.rename(first.with_name("second place"))
    try:
        uri = f"sqlite:///{moved}/.knotwatch/mlflow/mlflow.db"
        command = [sys.executable, "-W", "ignore", "-c", PLAIN, uri, str(moved)]
        plain = {k: v for k, v in os.environ.items() if not k.startswith("MLFLOW_")}
        done = subprocess.run(command, cwd=tmp_path, env=plain, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
        found = json.loads(done.stdout.splitlines()[-1])
        assert Path(found["local"]).is_relative_to(moved)
        assert (Path(found["ours"]) / "model.json").is_file()
        assert Path(found["ours"]).is_relative_to(moved)
        assert not first.exists(), "something was written where the project had been"
    finally:
        shutil.rmtree(first, ignore_errors=True)
        moved.rename(first)
    assert found["answer"] == [{"score": 60.0, "anomalous": True}]


def test_a_server_that_does_not_answer_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = mlflow.get_tracking_uri(), mlflow.get_registry_uri()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setattr("pipelines.tracking.connection._PATIENCE", 0.0)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    try:
        with pytest.raises(ToolError, match=r"127\.0\.0\.1:9 does not answer"):
            Tracking(Project(tmp_path))
    finally:
        mlflow.set_tracking_uri(before[0])
        mlflow.set_registry_uri(before[1])
    assert not (tmp_path / ".knotwatch").exists(), "a local store was made for a user who has a server"


@pytest.mark.usefixtures("versions")
def test_a_version_says_what_became_of_it_above_its_card(store: Tracking) -> None:
    for said in ("**Not in use** since", "**In use** since"):
        store.describe_version("oak", 2, said)
    found = mlflow.MlflowClient(store.uri).get_model_version("oak", "2").description
    assert found.startswith("**In use** since"), "the last word alone"
    assert found.endswith("# A card")
    assert "Not in use" not in found


def test_a_run_whose_making_was_stopped_is_closed(store: Tracking, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C between MLflow's commit and its answer left a run open until the next retrain."""
    make = store.client.create_run

    def stopped(*words: object, **options: object) -> None:
        make(*words, **options)
        raise KeyboardInterrupt

    with store.run("stopped", "other", tags={}) as other:
        monkeypatch.setattr(store.client, "create_run", stopped)
        with pytest.raises(KeyboardInterrupt), store.run("stopped", "retrain", tags={}):
            pytest.fail("it was opened")
        experiment = store.client.get_experiment_by_name("stopped")
        assert experiment is not None
        found = {run.info.run_name: run.info.status for run in store.client.search_runs([experiment.experiment_id])}
        assert found == {"retrain": "KILLED", "other": "RUNNING"}
        assert other.id
