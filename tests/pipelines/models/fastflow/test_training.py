import gc
from dataclasses import replace
from pathlib import Path

import numpy as np
import openvino
import pytest
import torch
from safetensors.torch import load_file

from pipelines.core.errors import ModelError
from pipelines.core.geometry import TilePlan
from pipelines.core.records import Strategy
from pipelines.imaging.tiling import TileSet
from pipelines.models.engine.anomalib import FastflowLoss
from pipelines.models.engine.feature_cache import cache_outputs
from pipelines.models.engine.steps import Stopped, train_in_steps
from pipelines.models.fastflow.model import TileFastflowModel
from pipelines.models.fastflow.settings import FastflowSettings
from pipelines.models.fastflow.training import FastflowTraining, fit_fastflow
from pipelines.models.features.backbone import make_features
from pipelines.models.fitted import Fitted
from pipelines.models.openvino.export import STATE, export_openvino, save_state
from pipelines.models.openvino.runtime import TileModel
from pipelines.training.fitting import adapt, fit
from pipelines.training.run_settings import RunSettings
from tests.pipelines.models.boards import draw_board, write_tiles

PLAN = TilePlan(mode="fit", tile_height=96, tile_width=128)
SETTINGS = FastflowSettings(flow_steps=2, batch=4, max_steps=30, check_every=10)


def _board(seed: int) -> np.ndarray:
    return draw_board(seed, 96, 128)


def _blob(seed: int) -> np.ndarray:
    board = _board(seed)
    board[42:58, 66:82] = 250
    return board


def _tiles(folder: Path, boards: list[np.ndarray]) -> TileSet:
    return write_tiles(folder, boards, PLAN)


def _map(model: torch.nn.Module, board: np.ndarray) -> np.ndarray:
    tile = torch.from_numpy(board).permute(2, 0, 1)[None].float() / 255
    with torch.no_grad():
        found: np.ndarray = model(tile).anomaly_map[0, 0].numpy()
    return found


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> tuple[TileSet, TileSet]:
    folder = tmp_path_factory.mktemp("boards")
    return _tiles(folder / "train", [_board(i) for i in range(10)]), _tiles(
        folder / "validation", [_board(i) for i in range(20, 23)]
    )


@pytest.fixture(scope="module")
def fitted(sets: tuple[TileSet, TileSet]) -> Fitted:
    return fit_fastflow(*sets, SETTINGS, 0)


def test_a_synthetic_blob_gets_the_highest_value_at_its_place(fitted: Fitted) -> None:
    normal, found = _map(fitted.model, _board(50)), _map(fitted.model, _blob(50))
    row, column = np.unravel_index(found.argmax(), found.shape)
    assert 32 <= row < 68
    assert 56 <= column < 92
    assert found.max() > 2 * normal.max()
    assert normal.min() >= 0


def test_the_border_goes_on_as_it_is_beside_it(fitted: Fitted) -> None:
    """A cell of 16 pixels is cut off: beyond the centre of the first cell within, nothing changes."""
    found = _map(fitted.model, _board(51))
    for outer in (found[:16], found[::-1][:16], found.T[:16], found.T[::-1][:16]):
        np.testing.assert_allclose(outer, np.broadcast_to(outer[:1], outer.shape), rtol=1e-5)
    assert found[18:-18, 18:-18].max() >= found.max() * 0.98


def test_training_lowers_the_likelihood_s_loss_and_the_seed_fixes_the_model(
    sets: tuple[TileSet, TileSet], fitted: Fitted
) -> None:
    again, other = (fit_fastflow(*sets, SETTINGS, seed) for seed in (0, 1))
    np.testing.assert_allclose(_map(again.model, _board(60)), _map(fitted.model, _board(60)), rtol=1e-3)
    assert not np.allclose(_map(other.model, _board(60)), _map(fitted.model, _board(60)), rtol=1e-2)
    # Standardised features are at 0.5 before the first step.
    assert float(fitted.notes["stopped"].split("(")[1].rstrip(")")) < 0.5


@pytest.mark.parametrize(("half", "tolerance"), [(False, 1e-4), (True, 1e-2)], ids=["f32", "f16 constants"])
def test_the_exported_model_gives_the_maps_of_torch(
    fitted: Fitted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, half: bool, tolerance: float
) -> None:
    """OpenVINO once left the beta of a softplus away: with exact constants nothing must be lost."""
    save = openvino.save_model
    monkeypatch.setattr(openvino, "save_model", lambda model, path, **_: save(model, path, compress_to_fp16=half))
    export_openvino(fitted.model, 96, 128, tmp_path)
    boards = np.stack([_board(71), _blob(72)])
    expected = np.stack([_map(fitted.model, board) for board in boards])
    np.testing.assert_allclose(TileModel(tmp_path).infer(boards), expected, rtol=tolerance)


def test_flows_stand_on_a_transformer_beside_convolutions(sets: tuple[TileSet, TileSet], tmp_path: Path) -> None:
    """Three layers and two blocks have five flows, which all count."""
    own = SETTINGS.model_copy(update={"auxiliary": RunSettings().fastflow_dinov2.auxiliary})
    settings = RunSettings(fastflow_dinov2=own, colour=0)
    fitted = fit("fastflow_dinov2", *sets, settings)
    assert fitted.notes["features"] == "lite0 (layers 1, 2, 3) and dinov2 (layers 5, 8)"
    model = fitted.model
    assert len(model.fast_flow_blocks) == 5
    normal, found = _map(model, _board(50)), _map(model, _blob(50))
    row, column = np.unravel_index(found.argmax(), found.shape)
    assert 32 <= row < 68
    assert 56 <= column < 92
    assert found.max() > 1.5 * normal.max()
    export_openvino(model, 96, 128, tmp_path)
    # Weights are kept as float16.
    np.testing.assert_allclose(TileModel(tmp_path).infer(np.stack([_board(50), _blob(50)])), [normal, found], rtol=0.05)
    again = adapt("fastflow_dinov2", Strategy.REUSE, *sets, settings, fitted.state).model.eval()
    np.testing.assert_array_equal(_map(again, _blob(50)), found)
    with torch.no_grad():
        model.standards[4].scale.mul_(2)
    assert (_map(model, _board(50)) > normal).mean() > 0.9


def test_the_state_makes_the_same_model_again(fitted: Fitted, tmp_path: Path) -> None:
    save_state(fitted, tmp_path)
    fresh = TileFastflowModel(make_features("lite0", SETTINGS.layers), SETTINGS, 96, 128).eval()
    missing, unexpected = fresh.load_state_dict(load_file(tmp_path / STATE), strict=False)
    assert not unexpected
    assert all(name.startswith("feature_extractor.") for name in missing)
    np.testing.assert_array_equal(_map(fresh, _blob(73)), _map(fitted.model, _blob(73)))


def test_log_determinants_stay_float32_where_the_couplings_are_bf16() -> None:
    model = TileFastflowModel(make_features("lite0", SETTINGS.layers), SETTINGS, 96, 128).train()
    features = [torch.randn(2, c, 64 // s, 96 // s) for c, s in zip((24, 40, 112), (4, 8, 16), strict=True)]
    exact = model.flow(features)
    model.use_bf16(True)
    with torch.autocast("cpu", torch.bfloat16):
        rough = model.flow(features)
    for latent, jacobian, latent32, jacobian32 in zip(*rough, *exact, strict=True):
        assert latent.dtype == jacobian.dtype == torch.float32
        assert not torch.equal(latent, latent32)
        torch.testing.assert_close(latent, latent32, rtol=0.02, atol=0.02)
        torch.testing.assert_close(jacobian, jacobian32, rtol=0.02, atol=2)


@pytest.mark.parametrize("boards", [[_board(0)], [np.full((96, 128, 3), 90, np.uint8)] * 3], ids=["one", "constant"])
@pytest.mark.parametrize("validation", ["same", "none"])
def test_degenerate_training_sets_give_finite_maps(tmp_path: Path, boards: list[np.ndarray], validation: str) -> None:
    tiles = _tiles(tmp_path, boards)
    few = SETTINGS.model_copy(update={"max_steps": 3})
    model = fit_fastflow(tiles, tiles if validation == "same" else TileSet([], PLAN), few, 0).model
    found = _map(model, np.random.default_rng(0).integers(0, 255, (96, 128, 3), dtype=np.uint8))
    assert found.shape == (96, 128)
    assert np.isfinite(found).all()
    assert found.min() >= 0


def test_a_border_wider_than_the_tile_leaves_a_place(sets: tuple[TileSet, TileSet]) -> None:
    settings = SETTINGS.model_copy(update={"border": 99, "layers": (3, 2), "max_steps": 2})
    assert np.isfinite(_map(fit_fastflow(*sets, settings, 0).model, _board(0))).all()


def test_what_cannot_be_fitted_is_refused(sets: tuple[TileSet, TileSet]) -> None:
    with pytest.raises(ModelError, match="no tile"):
        fit_fastflow(TileSet([], PLAN), sets[1], SETTINGS, 0)
    with pytest.raises(ModelError, match="choose other `layers`"):
        fit_fastflow(*sets, SETTINGS.model_copy(update={"layers": (9,)}), 0)
    with pytest.raises(ModelError, match="learning_rate"):
        fit_fastflow(*sets, SETTINGS.model_copy(update={"learning_rate": 1e9}), 0)


def test_training_stops_where_nothing_gets_better_and_keeps_the_best_weights() -> None:
    model = TileFastflowModel(make_features("lite0", (3,)), SETTINGS, 96, 128)
    seen: list[torch.Tensor] = []

    def look() -> float:
        assert not model.training
        assert not torch.is_grad_enabled()
        seen.append(model.state()["fast_flow_blocks.0.module_list.0.subnet.0.weight"].clone())
        return (3.0, 1.0, 2.0, 1.5)[len(seen) - 1]

    settings = SETTINGS.model_copy(update={"check_every": 2, "patience": 2})
    with cache_outputs(5, lambda row: [torch.full((112, 4, 6), float(row))], "rows") as kept:
        found = train_in_steps(FastflowTraining(model, kept, 1e-3), 5, settings, 0, look)
    assert replace(found, curves={}) == Stopped(best_step=4, best_value=1.0, steps=8)
    assert found.curves["validation"] == ((2, 3.0), (4, 1.0), (6, 2.0), (8, 1.5))
    assert [step for step, _ in found.curves["training loss"]] == [2, 4, 6, 8]
    assert torch.equal(model.state()["fast_flow_blocks.0.module_list.0.subnet.0.weight"], seen[1])
    assert not torch.equal(seen[1], seen[3])


def test_gradients_taken_layer_by_layer_are_those_of_the_whole_loss() -> None:
    model = TileFastflowModel(make_features("lite0", (2, 3)), SETTINGS, 96, 128).train()
    draws = [[torch.randn(40, 8, 12), torch.randn(112, 4, 6)] for _ in range(3)]
    with cache_outputs(3, lambda row: draws[row], "rows") as kept:
        module = FastflowTraining(model, kept, 1e-3)
        loss = module.take_gradients([0, 2])
        layers = kept.get([0, 2])
    found = {name: value.grad.clone() for name, value in model.named_parameters() if value.grad is not None}
    module.zero_grad()
    whole = FastflowLoss()(*model.flow(layers)) / sum(layer[0].numel() for layer in layers)
    whole.backward()
    torch.testing.assert_close(loss, whole.detach())
    expected = {name: value.grad for name, value in model.named_parameters() if value.grad is not None}
    torch.testing.assert_close(found, expected)
    assert len({name.split(".")[1] for name in found}) == 2, "both layers learn"


def test_kept_outputs_come_back_by_row_within_float16(tmp_path: Path) -> None:
    rows = [[torch.randn(3, 4, generator=torch.manual_seed(i)), torch.full((2,), 1e6 * i)] for i in range(5)]
    with cache_outputs(5, lambda row: rows[row], "rows", tmp_path) as kept:
        assert len(kept) == 5
        first, second = kept.get([4, 1])
        torch.testing.assert_close(first, torch.stack([rows[4][0], rows[1][0]]), rtol=1e-3, atol=1e-3)
        assert second.tolist() == [[65504, 65504]] * 2
        assert not list(tmp_path.iterdir())


def test_kept_outputs_are_closed_where_computing_fails() -> None:
    """A file left open would be a warning, and with that an error, once it is collected."""
    with pytest.raises(ZeroDivisionError):
        cache_outputs(2, lambda row: [torch.ones(1 // (1 - row))], "rows")
    gc.collect()
