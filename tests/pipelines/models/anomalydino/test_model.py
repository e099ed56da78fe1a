"""AnomalyDINO against anomalib's own, and from tiles to the exported network."""

from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import nn

from pipelines.core.errors import ModelError
from pipelines.core.geometry import TilePlan
from pipelines.core.records import Strategy
from pipelines.imaging.tiling import TileSet
from pipelines.models.anomalydino.algorithm import ANOMALYDINO
from pipelines.models.anomalydino.fit import fit_bank
from pipelines.models.anomalydino.model import TokenBankModel, Tokens
from pipelines.models.anomalydino.settings import AnomalydinoSettings
from pipelines.models.engine.anomalib import AnomalyDINOModel, AnomalyMapGenerator
from pipelines.models.openvino.export import TorchTiles, export_openvino
from pipelines.models.openvino.runtime import TileModel
from pipelines.models.settings import UnlabelledSettings
from pipelines.training.fitting import adapt, fit, fit_unlabelled
from pipelines.training.run_settings import RunSettings
from tests.pipelines.models.boards import draw_board, write_tiles

PLAN = TilePlan(mode="fit", tile_height=96, tile_width=128)
SETTINGS = AnomalydinoSettings(bank=150)


def board(seed: int) -> np.ndarray:
    return draw_board(seed, 96, 128)


def dented(seed: int) -> np.ndarray:
    found = board(seed)
    found[32:64, 64:96] = 250
    return found


def tiles_of(folder: Path, boards: list[np.ndarray], plan: TilePlan = PLAN) -> TileSet:
    return write_tiles(folder, boards, plan)


def map_of(model: nn.Module, picture: np.ndarray) -> np.ndarray:
    return TorchTiles(model).infer(picture[None])[0]


@pytest.mark.parametrize("neighbours", [1, 3])
def test_the_map_is_anomalibs(neighbours: int) -> None:
    tokens = Tokens(SETTINGS)
    pictures = torch.from_numpy(np.stack([board(1), dented(2)])).permute(0, 3, 1, 2).float() / 255
    with torch.no_grad():
        bank = tokens(pictures[:1])[0][0].flatten(1).T
        ours = TokenBankModel(tokens, [bank], neighbours).eval()(pictures).anomaly_map
    theirs = AnomalyDINOModel.__new__(AnomalyDINOModel)
    nn.Module.__init__(theirs)
    theirs.num_neighbours, theirs.masking, theirs.patch_size = neighbours, False, 16
    theirs.register_buffer("memory_bank", bank)
    # anomalib's own repeats the nearest value; the paper enlarges bilinearly.
    maps = AnomalyMapGenerator()
    theirs.anomaly_map_generator = lambda grid, size: maps.smooth_anomaly_map(maps.up_sample(grid, torch.Size(size)))
    theirs.extract_features = lambda tiles: torch.cat(tokens.network(tiles), 1).flatten(2).transpose(1, 2)
    with torch.no_grad():
        wanted = theirs.eval()(pictures).anomaly_map
    torch.testing.assert_close(ours, wanted, rtol=1e-3, atol=1e-5)


def test_a_dent_gets_the_highest_value_at_its_place(tmp_path: Path) -> None:
    fitted = fit_bank(tiles_of(tmp_path, [board(i) for i in range(4)]), SETTINGS)
    found = map_of(fitted.model, dented(9))
    row, column = np.unravel_index(found.argmax(), found.shape)
    assert 28 <= row < 68
    assert 60 <= column < 100
    assert found.max() > 2 * map_of(fitted.model, board(9)).max()
    assert found.min() >= 0
    assert "of 192 tokens" in fitted.notes["bank"]


@pytest.mark.parametrize(
    "settings", [SETTINGS, AnomalydinoSettings(bank=60, neighbours=2, scales=(1.0, 0.75))], ids=["one", "two scales"]
)
def test_the_export_carries_the_bank(settings: AnomalydinoSettings, tmp_path: Path) -> None:
    model = fit_bank(tiles_of(tmp_path / "in", [board(i) for i in range(3)]), settings).model
    export_openvino(model, PLAN.tile_height, PLAN.tile_width, tmp_path / "out")
    pictures = np.stack([board(7), dented(8)])
    wanted = TorchTiles(model).infer(pictures)
    np.testing.assert_allclose(TileModel(tmp_path / "out").infer(pictures), wanted, rtol=0.02, atol=0.002)


def test_a_version_is_reused_and_extended_without_its_images(tmp_path: Path) -> None:
    """A bank that holds the source's images and then the target's is that of both, filled at once."""
    first, second = [board(i) for i in range(3)], [np.rot90(board(i)[:, :96]).repeat(1, 0) for i in range(3)]
    plan = TilePlan(mode="fit", tile_height=96, tile_width=96)
    one, two = tiles_of(tmp_path / "a", [b[:, :96] for b in first], plan), tiles_of(tmp_path / "b", second, plan)
    both = tiles_of(tmp_path / "c", [*(b[:, :96] for b in first), *second], plan)
    settings = RunSettings(anomalydino=SETTINGS, colour=0)
    source = fit("anomalydino", one, one, settings)
    reused = adapt("anomalydino", Strategy.REUSE, two, two, settings, source.state)
    extended = adapt("anomalydino", Strategy.STATISTICS, two, two, settings, source.state)
    at_once = fit("anomalydino", both, both, settings)
    np.testing.assert_array_equal(map_of(reused.model, first[0][:, :96]), map_of(source.model, first[0][:, :96]))
    for name, tensor in at_once.state.items():
        torch.testing.assert_close(extended.state[name], tensor, msg=name)
    assert map_of(extended.model, second[0]).max() < 0.5 * map_of(reused.model, second[0]).max()


def test_where_orientation_is_free_a_turned_board_is_normal(tmp_path: Path) -> None:
    plan = TilePlan(mode="fit", tile_height=96, tile_width=96)
    tiles = tiles_of(tmp_path, [board(i)[:, :96] for i in range(3)], plan)
    turned = np.ascontiguousarray(np.rot90(board(0)[:, :96]))
    fixed, free = (fit_bank(tiles, AnomalydinoSettings(bank=1000, orientation=o)).model for o in ("fixed", "free"))
    assert map_of(free, turned).max() < 0.5 * map_of(fixed, turned).max()


def test_without_labels_a_dent_in_the_training_images_is_found(tmp_path: Path) -> None:
    tiles = tiles_of(tmp_path, [dented(0), *(board(i) for i in range(1, 5))])
    settings = RunSettings(
        anomalydino=AnomalydinoSettings(bank=1000), colour=0, unlabelled=UnlabelledSettings(contamination=0.2)
    )
    trusting = fit("anomalydino", tiles, tiles, settings)
    doubting = fit_unlabelled("anomalydino", tiles, tiles, settings)
    assert map_of(trusting.model, dented(0)).max() < 0.01
    found = map_of(doubting.model, dented(0))
    row, column = np.unravel_index(found.argmax(), found.shape)
    assert (28 <= row < 68, 60 <= column < 100) == (True, True)
    assert "20 %" in doubting.notes["unlabelled"]


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    tiles = tiles_of(tmp_path, [board(0)])
    with pytest.raises(ModelError, match="strides"):
        fit_bank(tiles, AnomalydinoSettings(backbone="lite0", layers=(1, 2)))
    with pytest.raises(ModelError, match="no tile"):
        fit_bank(TileSet([], PLAN), SETTINGS)
    source = fit_bank(tiles, SETTINGS)
    other = RunSettings(anomalydino=AnomalydinoSettings(layers=(8,)))
    with pytest.raises(ModelError, match="384"):
        adapt("anomalydino", Strategy.STATISTICS, tiles, tiles, other, source.state)


@pytest.mark.parametrize("scale", [-1.0, 0.0001, 1000.0, float("nan")])
def test_a_scale_that_no_machine_or_tile_has_room_for_is_refused(scale: float) -> None:
    with pytest.raises(ValidationError, match=r"scales\.1"):
        AnomalydinoSettings(scales=(1.0, scale))


def test_the_cost_is_that_of_the_bank() -> None:
    cost = ANOMALYDINO.estimate_cost(PLAN, AnomalydinoSettings(bank=5000))
    assert cost.what == "5,000 tokens of 768 channels"
    assert 15 < cost.version_mb < 16
    assert cost.memory_mb < 120
