from pathlib import Path

import numpy as np
import pytest
import torch

from pipelines.core.errors import ModelError
from pipelines.core.geometry import TilePlan
from pipelines.imaging.tiling import TileSet
from pipelines.models.padim.model import draw_channels, fit_padim
from pipelines.models.padim.settings import PadimSettings
from tests.pipelines.models.boards import draw_board, write_tiles

PLAN = TilePlan(mode="fit", tile_height=64, tile_width=96)
SETTINGS = PadimSettings(features=40)


def _board(seed: int) -> np.ndarray:
    return draw_board(seed, 64, 96)


def _tiles(folder: Path, boards: list[np.ndarray]) -> TileSet:
    return write_tiles(folder, boards, PLAN)


def _map(model: torch.nn.Module, board: np.ndarray) -> np.ndarray:
    tile = torch.from_numpy(board).permute(2, 0, 1)[None].float() / 255
    with torch.no_grad():
        found: np.ndarray = model(tile).anomaly_map[0, 0].numpy()
    return found


def test_the_same_seed_gives_the_same_map_and_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiles = _tiles(tmp_path, [_board(i) for i in range(6)])
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    first, again, other = (_map(fit_padim(tiles, SETTINGS, seed).model, _board(99)) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert not list(here.iterdir())


def test_a_synthetic_blob_gets_the_highest_value_at_its_place(tmp_path: Path) -> None:
    model = fit_padim(_tiles(tmp_path, [_board(i) for i in range(8)]), SETTINGS, 0).model
    normal, blob = _map(model, _board(50)), _board(50)
    blob[28:42, 58:74] = 250
    found = _map(model, blob)
    row, column = np.unravel_index(found.argmax(), found.shape)
    assert 20 <= row < 50
    assert 50 <= column < 82
    assert found.max() > 1.5 * normal.max()


@pytest.mark.parametrize("boards", [[_board(0)], [np.full((64, 96, 3), 90, np.uint8)] * 3], ids=["one", "constant"])
def test_degenerate_training_sets_give_finite_maps(tmp_path: Path, boards: list[np.ndarray]) -> None:
    found = _map(fit_padim(_tiles(tmp_path, boards), SETTINGS, 0).model, _board(1))
    assert found.shape == (64, 96)
    assert np.isfinite(found).all()
    assert found.min() >= 0


@pytest.mark.parametrize("layers", [(3,), (2, 1), (0, 4)])
def test_any_layers_make_a_map_of_the_tiles_size(tmp_path: Path, layers: tuple[int, ...]) -> None:
    settings = PadimSettings(layers=layers, features=16)
    assert _map(fit_padim(_tiles(tmp_path, [_board(0), _board(1)]), settings, 0).model, _board(2)).shape == (64, 96)


def test_a_transformer_serves_as_backbone(tmp_path: Path) -> None:
    """All of its maps have stride 16: no finer grid of Gaussians is made of them."""
    settings = PadimSettings(backbone="dinov2", layers=(5, 8), features=20)
    model = fit_padim(_tiles(tmp_path, [_board(i) for i in range(4)]), settings, 0).model
    assert model.stride == 16
    dented = _board(9)
    dented[16:48, 32:64] = 250
    assert _map(model, dented).max() > 1.5 * _map(model, _board(9)).max()


def test_settings_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    tiles = _tiles(tmp_path, [_board(0)])
    with pytest.raises(ModelError, match="177"):
        fit_padim(tiles, PadimSettings(features=177), 0)
    with pytest.raises(ModelError, match="choose other `layers`"):
        fit_padim(tiles, PadimSettings(layers=(9,)), 0)
    with pytest.raises(ModelError, match="no tile"):
        fit_padim(TileSet([], PLAN), SETTINGS, 0)


@pytest.mark.parametrize(
    ("layers", "count", "expected"),
    [([24, 40, 112], 100, [24, 38, 38]), ([24, 40, 112], 176, [24, 40, 112]), ([112, 24], 60, [36, 24])],
)
def test_every_layer_gives_as_many_channels_as_it_has_to_give(
    layers: list[int], count: int, expected: list[int]
) -> None:
    drawn = draw_channels(layers, count, 3)
    assert len(set(drawn.tolist())) == count
    edges = torch.tensor([0, *layers]).cumsum(0)
    assert torch.histogram(drawn.float(), edges.float() - 0.5).hist.tolist() == expected
    assert torch.equal(drawn, draw_channels(layers, count, 3))
    assert count == sum(layers) or not torch.equal(drawn, draw_channels(layers, count, 4))
