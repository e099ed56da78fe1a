import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pipelines.config import PadimSettings
from pipelines.errors import ModelError
from pipelines.imaging.tiling import TileSet
from pipelines.models.export import export_openvino
from pipelines.models.padim import fit_padim
from pipelines.models.runtime import TileModel
from pipelines.records import TilePlan


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[torch.nn.Module, Path]:
    folder = tmp_path_factory.mktemp("export")
    random = np.random.default_rng(0)
    files = [folder / f"{i}.png" for i in range(6)]
    for file in files:
        Image.fromarray(random.integers(90, 160, (64, 96, 3), dtype=np.uint8)).save(file)
    plan = TilePlan(mode="fit", tile_height=64, tile_width=96)
    model = fit_padim(TileSet(files, plan), PadimSettings(features=40), 0)
    export_openvino(model, 64, 96, folder / "model")
    return model, folder / "model"


def test_the_exported_model_gives_the_maps_of_torch(exported: tuple[torch.nn.Module, Path]) -> None:
    model, folder = exported
    tiles = np.random.default_rng(1).integers(0, 255, (3, 64, 96, 3), dtype=np.uint8)
    with torch.no_grad():
        expected = model(torch.from_numpy(tiles).permute(0, 3, 1, 2).float() / 255).anomaly_map[:, 0].numpy()
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
    code = "import sys, pipelines.models.runtime; sys.exit('torch' in sys.modules or 'anomalib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
