import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pipelines.core.errors import ModelError
from pipelines.core.geometry import TilePlan
from pipelines.core.records import Precision
from pipelines.imaging.tiling import TileSet
from pipelines.models.openvino.export import TorchTiles, export_openvino
from pipelines.models.openvino.quantize import quantise
from pipelines.models.openvino.runtime import BIN, TileModel, machine_precisions
from pipelines.models.padim.model import fit_padim
from pipelines.models.padim.settings import PadimSettings


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[torch.nn.Module, Path]:
    folder = tmp_path_factory.mktemp("export")
    random = np.random.default_rng(0)
    files = [folder / f"{i}.png" for i in range(6)]
    for file in files:
        Image.fromarray(random.integers(90, 160, (64, 96, 3), dtype=np.uint8)).save(file)
    plan = TilePlan(mode="fit", tile_height=64, tile_width=96)
    model = fit_padim(TileSet(files, plan), PadimSettings(features=40), 0).model
    export_openvino(model, 64, 96, folder / "model")
    return model, folder / "model"


def test_the_exported_model_gives_the_maps_of_torch(exported: tuple[torch.nn.Module, Path]) -> None:
    model, folder = exported
    tiles = np.random.default_rng(1).integers(0, 255, (3, 64, 96, 3), dtype=np.uint8)
    with torch.no_grad():
        expected = model(torch.from_numpy(tiles).permute(0, 3, 1, 2).float() / 255).anomaly_map[:, 0].numpy()
    np.testing.assert_array_equal(TorchTiles(model).infer(tiles), expected)
    found = TileModel(folder).infer(tiles)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=0.01)
    assert found.min() >= 0
    assert sorted(p.name for p in folder.iterdir()) == ["model.bin", "model.xml"]


def test_a_tile_scores_the_same_alone_and_in_a_batch(exported: tuple[torch.nn.Module, Path]) -> None:
    runtime = TileModel(exported[1])
    tiles = np.random.default_rng(2).integers(0, 255, (4, 64, 96, 3), dtype=np.uint8)
    batch = runtime.infer(tiles)
    np.testing.assert_allclose(np.concatenate([runtime.infer(t[None]) for t in tiles]), batch, rtol=1e-4)
    np.testing.assert_array_equal(batch, runtime.infer(tiles))


def test_int8_takes_the_same_tiles_and_keeps_to_what_it_was_shown(
    exported: tuple[torch.nn.Module, Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    random = np.random.default_rng(3)
    tiles = random.integers(60, 200, (8, 64, 96, 3), dtype=np.uint8)
    tiles[4:, 20:40, 30:60] = 255
    quantise(exported[1], list(tiles), tmp_path / "int8")
    assert capfd.readouterr().out == ""
    assert sorted(p.name for p in (tmp_path / "int8").iterdir()) == ["model.bin", "model.xml"]
    exact = TileModel(exported[1]).infer(tiles)
    found = TileModel(tmp_path / "int8", Precision.INT8).infer(tiles)
    assert found.shape == exact.shape
    assert np.abs(found - exact).max() < 0.25 * exact.max()
    assert not np.array_equal(found, exact)
    # Convolution weights are what is stored as single bytes.
    assert (tmp_path / "int8" / BIN).stat().st_size < (exported[1] / BIN).stat().st_size
    with pytest.raises(ModelError, match="no tile"):
        quantise(exported[1], [], tmp_path / "none")


def test_a_processor_without_a_precision_computes_in_f32(
    exported: tuple[torch.nn.Module, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert machine_precisions()[0] == Precision.F32
    tiles = np.full((1, 64, 96, 3), 120, np.uint8)
    exact = TileModel(exported[1]).infer(tiles)
    monkeypatch.setattr("pipelines.models.openvino.runtime.machine_precisions", lambda _: (Precision.F32,))
    fallen_back = TileModel(exported[1], Precision.BF16)
    assert fallen_back.precision == Precision.F32
    np.testing.assert_array_equal(fallen_back.infer(tiles), exact)


def test_wrong_tiles_and_missing_files_are_named(exported: tuple[torch.nn.Module, Path], tmp_path: Path) -> None:
    runtime = TileModel(exported[1])
    with pytest.raises(ModelError, match="64, 96, 3"):
        runtime.infer(np.zeros((1, 96, 64, 3), np.uint8))
    with pytest.raises(ModelError, match=r"model\.xml"):
        TileModel(tmp_path)
    (tmp_path / "model.xml").write_text("<net/>")
    (tmp_path / "model.bin").write_bytes(b"")
    with pytest.raises(ModelError, match="cannot be loaded"):
        TileModel(tmp_path)


def test_the_runtime_starts_without_torch() -> None:
    code = (
        "import sys, pipelines.models.openvino.runtime; sys.exit('torch' in sys.modules or 'anomalib' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
