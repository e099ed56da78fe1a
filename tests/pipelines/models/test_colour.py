"""Colour beside what is learnt: what is seen of it, how much it counts, and that it stays with a version."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from pipelines.imaging.tiling import TileSet
from pipelines.models.algorithms import adapt, fit
from pipelines.models.colour import CHANNELS, add_colour, colour_cells, restore_colour
from pipelines.models.export import TorchTiles, export_openvino, load_state, save_state
from pipelines.models.fitted import Fitted
from pipelines.models.padim import fit_padim
from pipelines.models.runtime import TileModel
from pipelines.models.views import as_tensor
from pipelines.records import Algorithm, Strategy, TilePlan
from pipelines.run_settings import PadimSettings, RunSettings

PLAN = TilePlan(mode="fit", tile_height=64, tile_width=96)
PADIM = PadimSettings(features=40)


def draw(seed: int) -> NDArray[np.uint8]:
    """Draw a brown board whose grain and noise are in its brightness alone."""
    noise = np.random.default_rng(seed).normal(1, 0.04, (64, 96, 1))
    grain = 1 + 0.15 * np.sin(np.arange(96) / 4 + seed)[None, :, None]
    return np.clip(grain * noise * [170, 130, 90], 0, 255).astype(np.uint8)


def stain(board: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Turn part of a board a little towards blue, as bright as before."""
    found = board.copy()
    found[24:48, 40:72] = np.clip(found[24:48, 40:72] * [0.94, 1.0, 1.16], 0, 255).astype(np.uint8)
    return found


def tiles(folder: Path, boards: list[NDArray[np.uint8]]) -> TileSet:
    files = [folder / f"{number}.png" for number in range(len(boards))]
    for file, pixels in zip(files, boards, strict=True):
        Image.fromarray(pixels).save(file)
    return TileSet(files, PLAN)


def look(fitted: Fitted, board: NDArray[np.uint8]) -> NDArray[np.float32]:
    return TorchTiles(fitted.model).infer(board[None])[0]


def test_cells_are_what_numpy_makes_of_the_pixels() -> None:
    pixels = np.random.default_rng(0).integers(10, 255, (32, 48, 3)).astype(np.uint8)
    found = colour_cells(as_tensor(pixels))[0].numpy()
    logs = np.log(pixels.reshape(4, 8, 6, 8, 3).mean((1, 3)) / pixels.mean((0, 1)))
    assert found.shape == (CHANNELS, 4, 6)
    hues = np.stack([logs[..., 0] - logs[..., 1], logs[..., 2] - logs[..., 1]])
    np.testing.assert_allclose(found[:2], hues - hues.mean((1, 2), keepdims=True), atol=1e-3)
    padded = np.pad(logs.mean(2), 1, "edge")
    around = np.array([[padded[row : row + 3, column : column + 3].mean() for column in range(6)] for row in range(4)])
    np.testing.assert_allclose(found[2], around - around.mean(), atol=1e-3)


def test_a_tint_of_the_whole_tile_cancels_out() -> None:
    tile = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0)) / 2 + 0.2
    tinted = tile * torch.tensor([1.2, 0.9, 0.8]).reshape(1, 3, 1, 1)
    torch.testing.assert_close(colour_cells(tile), colour_cells(tinted))


def test_what_colour_adds_is_the_share_of_what_is_learnt(tmp_path: Path) -> None:
    ones = Fitted(_Ones().eval())
    boards = [draw(number) for number in range(8)]
    found = add_colour(ones, tiles(tmp_path, boards), 0.3)
    added = np.mean([look(found, board) - 1 for board in boards])
    assert float(added) == pytest.approx(0.3, rel=0.05)
    assert add_colour(ones, tiles(tmp_path, boards), 0) is ones


class _Ones(torch.nn.Module):
    def forward(self, batch: torch.Tensor) -> object:
        from pipelines.models.anomalib_api import InferenceBatch

        found = torch.ones_like(batch[:, :1])
        return InferenceBatch(pred_score=found.amax(dim=(-2, -1)), anomaly_map=found)


def test_a_stain_as_bright_as_the_wood_is_found_at_its_place(tmp_path: Path) -> None:
    sets = tiles(tmp_path, [draw(number) for number in range(8)])
    plain = fit_padim(sets, PADIM, 0)
    rise = [
        look(fitted, stain(draw(50)))[28:44, 44:68].mean() / look(fitted, draw(50))[28:44, 44:68].mean()
        for fitted in (plain, add_colour(plain, sets, 0.1))
    ]
    assert rise[1] > 2 * rise[0]
    row, column = divmod(int(look(add_colour(plain, sets, 0.1), stain(draw(50))).argmax()), 96)
    assert 24 <= row < 48
    assert 40 <= column < 72


@pytest.mark.parametrize("boards", [[np.full((64, 96, 3), 90, np.uint8)] * 2, [draw(0)]], ids=["constant", "one"])
def test_what_does_not_vary_gives_finite_maps(tmp_path: Path, boards: list[NDArray[np.uint8]]) -> None:
    sets = tiles(tmp_path, boards)
    found = look(add_colour(fit_padim(sets, PADIM, 0), sets, 0.1), stain(draw(1)))
    assert np.isfinite(found).all()
    assert found.min() >= 0


def test_a_version_and_what_is_made_of_it_again_see_the_same(tmp_path: Path) -> None:
    sets, none = tiles(tmp_path, [draw(number) for number in range(6)]), TileSet([], PLAN)
    settings = RunSettings(padim=PADIM)
    fitted = fit(Algorithm.PADIM, sets, none, settings)
    expected = look(fitted, stain(draw(9)))
    export_openvino(fitted.model, 64, 96, tmp_path)
    np.testing.assert_allclose(TileModel(tmp_path).infer(stain(draw(9))[None])[0], expected, rtol=1e-2)
    save_state(fitted, tmp_path)
    again = adapt(Algorithm.PADIM, Strategy.REUSE, sets, none, settings, load_state(tmp_path))
    np.testing.assert_allclose(look(again, stain(draw(9))), expected, rtol=1e-3)
    # What was fitted to other boards sees their colours; neighbours see features alone.
    other = tiles(tmp_path, [draw(number)[..., ::-1] for number in range(6)])
    adapted = adapt(Algorithm.PADIM, Strategy.STATISTICS, other, none, settings, fitted.state)
    assert not torch.equal(adapted.state["colour.whitening"], fitted.state["colour.whitening"])
    nearest = adapt(Algorithm.PADIM, Strategy.NEAREST, other, none, settings, fitted.state)
    assert "colour.mean" not in nearest.state
    assert restore_colour(nearest, {}) is nearest
