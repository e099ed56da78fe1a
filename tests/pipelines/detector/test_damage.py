"""A registered version whose files were changed is never loaded, whoever loads it."""

import logging
from pathlib import Path

import mlflow
import numpy as np
import openvino
import pandas as pd
import pytest
from openvino import opset13 as opset

from flows.adapting.origins import find_origins
from flows.runtime.champion import load_version
from pipelines.core.errors import ModelError
from pipelines.core.paths import Project
from pipelines.detector.detector import Detector
from pipelines.detector.type_head import Limits, TypeHead, load_head
from pipelines.detector.version import read_drift_reference
from pipelines.models.openvino.runtime import TileModel
from pipelines.registry.checks import reproduce
from pipelines.tracking.store import Tracking
from tests import tiny_version as tiny
from tests.flows.projects import copy_project

pytestmark = [
    # MLflow's own, of its chat types, when mlflow.pyfunc is first imported.
    pytest.mark.filterwarnings("ignore:.*Any type hint is inferred as AnyType:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*An input example was not provided:UserWarning"),
]

ATTACKS: dict[str, tuple[tiny.Attack, str]] = {
    "flipped bits": (tiny.flip_bits, "model.bin was changed"),
    "NaN weights": (tiny.spoil_weights, "model.bin was changed"),
    "NaN divisor": (tiny.no_divisor, "model.json was changed"),
    "raised threshold": (tiny.raise_threshold, "model.json was changed"),
    "swapped files": (tiny.swap_files, r"reference/0\.png was changed, reference/1\.png was changed"),
    "removed file": (lambda folder: (folder / "calibration.json").unlink(), r"calibration\.json is missing"),
    "added file": (lambda folder: (folder / "types").mkdir() or (folder / "types/x").touch(), "types/x was added"),
    "linked folder": (lambda folder: (folder / "types").symlink_to(folder / "reference"), "types was added"),
    "rewritten list": (tiny.and_its_line(tiny.raise_threshold, "model.json"), r"checksums\.json was changed"),
    "removed list": (lambda folder: (folder / "checksums.json").unlink(), r"checksums\.json is missing"),
}


@pytest.fixture(scope="module")
def registered(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A registry with two versions, of other images; the second is the champion. Tests change copies."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
            patch.setenv(name, "")
        project = Project(tmp_path_factory.mktemp("registered"))
        made = Tracking(project)
        for brightness in (100.0, 180.0):
            folder = tmp_path_factory.mktemp("made")
            with made.run("oak", "retrain", tags={}) as run:
                made.register(run, "oak", tiny.save_version(folder, brightness), {"algorithm": "padim"}, "")
        made.set_alias("oak", "champion", 2)
    return project


@pytest.fixture
def store(registered: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tracking:
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
        monkeypatch.setenv(name, "")
    return Tracking(copy_project(registered, tmp_path / "a project? 100 %41 #1"))


@pytest.mark.parametrize("name", ATTACKS)
def test_a_damaged_version_is_loaded_by_nobody(store: Tracking, name: str) -> None:
    attack, said = ATTACKS[name]
    version, folder = store.version("oak", 2), store.folder("oak", 2)
    assert load_version(store, version).version == 2
    attack(folder)
    with pytest.raises(ModelError, match=f"is damaged: {said}"):
        load_version(store, version)
    with pytest.raises(ModelError, match=said):
        find_origins(store, "oak", ["padim"], "pine")


@pytest.mark.parametrize(
    ("limits", "types"), [({}, ("a",)), ({"temperature": 0.0}, ("a", "b")), ({"max_distance": np.nan}, ("a", "b"))]
)
def test_a_head_of_types_whose_parts_do_not_fit_is_refused_by_name(
    limits: dict[str, float], types: tuple[str, ...], tmp_path: Path
) -> None:
    ones = np.ones((2, 4), np.float32)
    found = {"temperature": 1.0, "max_distance": 1.0, "drop_above": 1.0, **limits}
    head = TypeHead(Limits(types=types, **found), ones[0], ones[0], ones, ones[:, 0], ones)
    head.save(tmp_path / "head.safetensors")
    with pytest.raises(ModelError, match=r"head\.safetensors holds no head for types"):
        load_head(tmp_path / "head.safetensors")


@pytest.mark.parametrize(
    ("shapes", "kind"),
    [(([-1],), "u8"), (([-1, -1, -1, 3],), "u8"), (([-1, 8, 8, 3],), "f32"), (([-1, 8, 8, 3], [1]), "u8"), ((), "u8")],
    ids=["a vector", "of no size", "of floats", "two inputs", "no input"],
)
def test_a_network_that_takes_anything_but_tiles_is_refused_by_name(
    shapes: tuple[list[int], ...], kind: str, tmp_path: Path
) -> None:
    inputs = [opset.parameter(shape, {"u8": np.uint8, "f32": np.float32}[kind]) for shape in shapes]
    found = [opset.convert(one, "f32") for one in inputs] or [opset.constant(np.zeros(3, np.float32))]
    made = found[0] if len(found) < 2 else opset.add(*found)
    openvino.save_model(openvino.Model([made], inputs), tmp_path / "model.xml")
    (tmp_path / "model.bin").touch()
    with pytest.raises(ModelError, match=r"model\.xml cannot be loaded"):
        TileModel(tmp_path)


def test_another_version_s_calibration_is_no_reference_for_drift(store: Tracking) -> None:
    folder = store.folder("oak", 2)
    assert read_drift_reference(folder) is not None
    tiny.take_calibration_of(store.folder("oak", 1))(folder)
    with pytest.raises(ModelError, match=r"calibration\.json was changed"):
        read_drift_reference(folder)


def test_a_plain_mlflow_client_loads_no_damaged_version(store: Tracking) -> None:
    tile = (store.folder("oak", 2) / "reference/0.png").read_bytes()
    assert store.load_pyfunc("oak", 2).predict(pd.DataFrame({"image": [tile]}))["score"][0] == pytest.approx(0.5, 0.02)
    tiny.raise_threshold(store.folder("oak", 2))
    with pytest.raises(ModelError, match=r"model\.json was changed"):
        store.load_pyfunc("oak", 2)


@pytest.mark.parametrize(
    ("line", "instead"),
    [
        ("loader_module: pipelines.loader", "loader_module: planted"),
        ("code: null", "code: planted"),
        ("data: data/", "data: ../data/"),
    ],
)
def test_no_module_is_imported_that_mlflow_s_own_file_names(
    store: Tracking, monkeypatch: pytest.MonkeyPatch, line: str, instead: str
) -> None:
    """MLmodel lies outside of the checksums: whoever runs a shared server, or writes there, can change it."""
    local = store.folder("oak", 2).parents[1]
    (local / "planted").mkdir()
    (local / "planted/planted.py").write_text("raise SystemExit('code of somebody else ran')")
    monkeypatch.syspath_prepend(local / "planted")
    text = (local / "MLmodel").read_text()
    assert line in text
    (local / "MLmodel").write_text(text.replace(line, instead))
    with pytest.raises(ModelError, match="oak version 2"):
        store.load_pyfunc("oak", 2)


@pytest.mark.parametrize("name", ["raised threshold", "rewritten list"])
def test_a_fresh_process_knows_what_the_registry_knows(store: Tracking, name: str) -> None:
    attack, said = ATTACKS[name]
    folder, registered = store.folder("oak", 2), store.version("oak", 2).tags["checksums_sha256"]
    assert reproduce(folder, registered).ok
    attack(folder)
    found = reproduce(folder, registered)
    assert not found.ok
    assert said.replace("\\", "") in found.message


def test_a_version_of_before_there_were_checksums_loads_with_one_warning(
    store: Tracking, caplog: pytest.LogCaptureFixture
) -> None:
    (store.folder("oak", 1) / "checksums.json").unlink()
    mlflow.MlflowClient(store.uri).delete_model_version_tag("oak", "1", "checksums_sha256")
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            Detector(store.folder("oak", 1)).check_references()
    assert [record.getMessage().partition(":")[0] for record in caplog.records] == [
        "oak version 1 was registered without checksums"
    ]
