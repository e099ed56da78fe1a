"""Exported networks on another device than the processor; a stand-in for OpenVINO says that there is one."""

from pathlib import Path
from typing import Any

import numpy as np
import openvino
import pytest
from openvino import opset13 as ops
from PIL import Image

from pipelines.core.errors import ModelError
from pipelines.core.geometry import TilePlan
from pipelines.core.records import Precision
from pipelines.core.results import CalibratedThreshold
from pipelines.core.surface_settings import RegionSettings
from pipelines.detector.detector import Detector
from pipelines.detector.version import Reference, VersionInfo
from pipelines.imaging.image_score import ScoreRule
from pipelines.models.openvino import runtime
from pipelines.models.openvino.runtime import TileModel, machine_precisions, named_device

SIDE = 32


class _CoreWithGpu:
    """OpenVINO with a GPU of some capabilities, for which the processor computes."""

    def __init__(self) -> None:
        self._core = openvino.Core()
        self.available_devices = ["CPU", "GPU"]
        self.compiled: list[tuple[str, dict[str, Any]]] = []

    def get_property(self, device: str, name: str) -> Any:
        return ["FP32", "FP16", "INT8"] if device == "GPU" else self._core.get_property(device, name)

    def read_model(self, *files: Path) -> openvino.Model:
        return self._core.read_model(*files)

    def compile_model(self, model: openvino.Model, device: str, properties: dict[str, Any]) -> openvino.CompiledModel:
        self.compiled.append((device, properties))
        return self._core.compile_model(model, "CPU", properties)


@pytest.fixture
def core(monkeypatch: pytest.MonkeyPatch) -> _CoreWithGpu:
    found = _CoreWithGpu()
    monkeypatch.setattr(runtime, "_core", lambda: found)
    return found


@pytest.fixture
def version(tmp_path: Path) -> Path:
    """A version whose map is how bright a tile is, with one reference tile."""
    tiles = ops.parameter([-1, SIDE, SIDE, 3], np.uint8)
    mean = ops.reduce_mean(ops.convert(tiles, "f32"), np.array([3]), keep_dims=False)
    openvino.save_model(openvino.Model([mean], [tiles]), tmp_path / "model.xml", compress_to_fp16=False)
    (tmp_path / "reference").mkdir()
    Image.fromarray(np.full((SIDE, SIDE, 3), 100, np.uint8)).save(tmp_path / "reference" / "0.png")
    _write(tmp_path, peak=100)
    return tmp_path


def _write(folder: Path, peak: float | None) -> None:
    calibrated = CalibratedThreshold(threshold=0.5, target_rate=0.1, achieved_rate=0.1, images=9)
    info = VersionInfo(
        surface="oak",
        algorithm="padim",
        data_version="0" * 16,
        precision=Precision.BF16,
        region=RegionSettings(),
        plan=TilePlan(mode="fit", tile_height=SIDE, tile_width=SIDE),
        score_rule=ScoreRule(),
        map_divisor=255,
        image_divisor=255,
        image_threshold=calibrated,
        pixel_threshold=calibrated,
        references=() if peak is None else (Reference(file="0.png", mean=100, peak=peak),),
    )
    (folder / "model.json").write_text(info.model_dump_json())


@pytest.mark.parametrize(
    ("wanted", "there", "taken"),
    [
        ("", ["CPU", "GPU"], "CPU"),
        ("CPU", ["CPU"], "CPU"),
        ("GPU", ["CPU", "GPU"], "GPU"),
        ("GPU", ["CPU", "GPU.0", "GPU.1"], "GPU.0"),
        ("GPU.1", ["CPU", "GPU.0", "GPU.1"], "GPU.1"),
        ("GPU.0", ["CPU", "GPU"], "GPU"),
        ("G", ["CPU", "GPU"], None),
        ("GPU.2", ["CPU", "GPU.0", "GPU.1"], None),
    ],
)
def test_what_is_named_is_taken_where_it_is_there(
    core: _CoreWithGpu, monkeypatch: pytest.MonkeyPatch, wanted: str, there: list[str], taken: str | None
) -> None:
    core.available_devices = there
    monkeypatch.setenv("KNOTWATCH_DEVICE", wanted)
    if taken is None:
        with pytest.raises(ModelError, match=f"KNOTWATCH_DEVICE is '{wanted}', OpenVINO finds CPU"):
            named_device()
    else:
        assert named_device() == taken


def test_the_processor_takes_the_cores_of_this_process_whatever_is_named(
    core: _CoreWithGpu, version: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KNOTWATCH_DEVICE", "GPU")
    TileModel(version)
    Detector(version)
    assert {(device, p["INFERENCE_NUM_THREADS"]) for device, p in core.compiled} == {("CPU", runtime.usable_cores())}


def test_a_gpu_computes_in_what_it_can(core: _CoreWithGpu, version: Path) -> None:
    assert machine_precisions("GPU") == (Precision.F32, Precision.INT8)
    model = TileModel(version, Precision.BF16, "GPU")
    assert (model.precision, core.compiled) == (
        Precision.F32,
        [("GPU", {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"})],
    )
    assert model.infer(np.full((1, SIDE, SIDE, 3), 7, np.uint8)).max() == 7


@pytest.mark.usefixtures("core")
def test_on_a_gpu_a_version_shows_first_that_it_scores_as_it_did(version: Path) -> None:
    Detector(version, "GPU")
    _write(version, peak=130)
    Detector(version)
    with pytest.raises(ModelError, match=r"on GPU, .*0\.png has a peak of 100, stored was 130") as refused:
        Detector(version, "GPU")
    assert refused.value.hint == "unset KNOTWATCH_DEVICE"
    _write(version, peak=None)
    with pytest.raises(ModelError, match="no reference tiles"):
        Detector(version, "GPU")


def test_a_device_that_cannot_run_a_version_is_told_from_a_broken_version(version: Path) -> None:
    with pytest.raises(ModelError, match=r"model\.xml cannot be loaded for GPU") as refused:
        TileModel(version, device="GPU")
    assert "unset KNOTWATCH_DEVICE" in refused.value.hint
