"""Colour beside what is learnt: what is seen of it, how much it counts, and that it stays with a version."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from pipelines.core.errors import ModelError
from pipelines.core.geometry import TilePlan
from pipelines.core.records import Precision, Strategy
from pipelines.imaging.measures import has_colour
from pipelines.imaging.tiling import TileSet
from pipelines.models.colour import add_colour, colour_cells, colour_map
from pipelines.models.engine.augment import as_tensor
from pipelines.models.fitted import Fitted
from pipelines.models.openvino.export import TorchTiles, export_openvino, load_state, save_state
from pipelines.models.openvino.quantize import quantise
from pipelines.models.openvino.runtime import TileModel, machine_precisions
from pipelines.models.padim.model import fit_padim
from pipelines.models.padim.settings import PadimSettings
from pipelines.training.fitting import adapt, fit
from pipelines.training.run_settings import RunSettings

PLAN = TilePlan(mode="fit", tile_height=64, tile_width=96)
PADIM = PadimSettings(features=40)


def draw(seed: int) -> NDArray[np.uint8]:
    """Draw a brown board whose grain and noise are in its brightness alone."""
    noise = np.random.default_rng(seed).normal(1, 0.04, (64, 96, 1))
    grain = 1 + 0.15 * np.sin(np.arange(96) / 4 + seed)[None, :, None]
    return np.clip(grain * noise * [170, 130, 90], 0, 255).astype(np.uint8)


def stain(board: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Turn part of a board a little towards blue, about as bright as before."""
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
    pixels[8:16, 8:16, 2] = 0  # darker than a ratio can be taken of
    found = colour_cells(as_tensor(pixels))[0].numpy()
    logs = np.log(np.maximum(pixels.reshape(4, 8, 6, 8, 3).mean((1, 3)) / 255, 0.02))
    hues = np.stack([logs[..., 0] - logs[..., 1], logs[..., 2] - logs[..., 1]])
    np.testing.assert_allclose(found[:2], hues - hues.mean((1, 2), keepdims=True), atol=1e-5)
    padded = np.pad(logs.mean(2), 1, "edge")
    around = np.array([[padded[row : row + 3, column : column + 3].mean() for column in range(6)] for row in range(4)])
    np.testing.assert_allclose(found[2], around - around.mean(), atol=1e-5)


def test_a_tint_of_the_whole_tile_cancels_out() -> None:
    tile = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0)) / 2 + 0.2
    tinted = tile * torch.tensor([1.2, 0.9, 0.8]).reshape(1, 3, 1, 1)
    torch.testing.assert_close(colour_cells(tile), colour_cells(tinted))


def test_the_map_is_the_mahalanobis_distance_enlarged_bilinearly() -> None:
    batch = torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(1)) / 2 + 0.3
    factor = torch.tensor([[30.0, 0, 0], [4.0, 20.0, 0], [1.0, -3.0, 9.0]])
    cells = colour_cells(batch).double().numpy()
    precision = (factor @ factor.T).double().numpy()
    squares = np.einsum("nchw,cd,ndhw->nhw", cells, precision, cells).astype(np.float32)
    expected = [cv2.resize(one, (96, 64), interpolation=cv2.INTER_LINEAR) for one in squares]
    np.testing.assert_allclose(colour_map(batch, factor)[:, 0].numpy(), np.stack(expected), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("held_out", [0, 3])
def test_what_colour_adds_is_the_share_of_what_is_learnt(tmp_path: Path, held_out: int) -> None:
    sets, boards = tiles(tmp_path, [draw(number) for number in range(8)]), [draw(number) for number in range(20, 23)]
    (tmp_path / "held").mkdir()
    validation = tiles(tmp_path / "held", boards[:held_out])
    found = add_colour(Fitted(_Twos().eval()), sets, validation, 0.3)
    seen = boards if held_out else [draw(number) for number in range(8)]
    assert float(np.mean([look(found, board) - 2 for board in seen])) == pytest.approx(0.6, rel=0.01)
    assert found.notes["colour"] == "adds 30 % to the learnt map of normal tiles"


class _Twos(torch.nn.Module):
    def forward(self, batch: torch.Tensor) -> object:
        from pipelines.models.engine.anomalib import InferenceBatch

        found = torch.full_like(batch[:, :1], 2)
        return InferenceBatch(pred_score=found.amax(dim=(-2, -1)), anomaly_map=found)


def test_a_stain_as_bright_as_the_wood_is_found_at_its_place(tmp_path: Path) -> None:
    sets = tiles(tmp_path, [draw(number) for number in range(8)])
    plain = fit_padim(sets, PADIM, 0)
    coloured = add_colour(plain, sets, TileSet([], PLAN), 0.1)
    rise = [
        look(fitted, stain(draw(50)))[28:44, 44:68].mean() / look(fitted, draw(50))[28:44, 44:68].mean()
        for fitted in (plain, coloured)
    ]
    assert rise[1] > 2 * rise[0]
    row, column = divmod(int(look(coloured, stain(draw(50))).argmax()), 96)
    assert 24 <= row < 48
    assert 40 <= column < 72


def test_images_without_colour_are_seen_without(tmp_path: Path) -> None:
    (tmp_path / "grey").mkdir()
    greys = [np.repeat(draw(number)[..., 1:2], 3, axis=2) for number in range(6)]
    sets, none = tiles(tmp_path / "grey", greys), TileSet([], PLAN)
    settings = RunSettings(padim=PADIM)
    fitted = fit("padim", sets, none, settings)
    np.testing.assert_array_equal(look(fitted, greys[0]), look(fit_padim(sets, PADIM, 0), greys[0]))
    assert (fitted.notes["colour"], "colour.weight" in fitted.state) == ("these images have none", False)
    source = fit("padim", tiles(tmp_path, [draw(number) for number in range(6)]), none, settings)
    assert "colour.weight" in source.state
    for strategy in (Strategy.REUSE, Strategy.STATISTICS):
        adapted = adapt("padim", strategy, sets, none, settings, source.state)
        assert "colour.weight" not in adapted.state, "what wood's colours are says nothing of a grey image"
        unseen = adapt("padim", strategy, tiles(tmp_path, [draw(8)]), none, settings, fitted.state)
        assert ("colour.weight" in unseen.state) == (strategy == Strategy.STATISTICS)


def test_a_stamp_or_rounding_is_no_colour_and_a_tint_is() -> None:
    grey = np.repeat(draw(0)[..., 1:2], 3, axis=2)
    stamped, rounded, tinted = grey.copy(), grey.copy(), grey.copy()
    stamped[:8, :16, 0] = 255
    rounded[::2, :, 2] = np.minimum(rounded[::2, :, 2], 250) + 2
    tinted[..., 2] = tinted[..., 2] // 8 * 7
    assert [has_colour(found) for found in (grey, stamped, rounded, tinted)] == [False, False, False, True]


@pytest.mark.parametrize(
    "boards", [[np.full((64, 96, 3), [99, 90, 80], np.uint8)] * 2, [draw(0)]], ids=["constant", "one"]
)
def test_what_does_not_vary_gives_maps_in_bounds(tmp_path: Path, boards: list[NDArray[np.uint8]]) -> None:
    sets = tiles(tmp_path, boards)
    plain = fit_padim(sets, PADIM, 0)
    coloured = add_colour(plain, sets, TileSet([], PLAN), 0.1)
    added = look(coloured, boards[0]) - look(plain, boards[0])
    assert np.isfinite(look(coloured, stain(draw(1)))).all()
    assert added.min() >= -1e-4
    assert added.mean() <= 0.11 * look(plain, boards[0]).mean()


@pytest.mark.parametrize("precision", list(Precision))
def test_an_export_sees_the_same_colours_in_every_precision(tmp_path: Path, precision: Precision) -> None:
    """Of a network that learnt nothing: what differs would be colour's own rounding."""
    if precision not in machine_precisions():
        pytest.skip(f"this processor does not compute in {precision}")
    sets = tiles(tmp_path, [draw(number) for number in range(6)])
    fitted = add_colour(Fitted(_Blurred().eval()), sets, TileSet([], PLAN), 5)
    folder = tmp_path / "float"
    export_openvino(fitted.model, 64, 96, folder)
    if precision == Precision.INT8:
        quantise(folder, [sets[0], stain(draw(3))], tmp_path / "int8")
        folder = tmp_path / "int8"
    dark = stain(draw(9))
    dark[:24] = dark[:24] // 6
    batch = np.stack([stain(draw(8)), dark, np.zeros_like(dark)])
    found, expected = TileModel(folder, precision).infer(batch), TorchTiles(fitted.model).infer(batch)
    # The convolution beside it, which gives a tenth of a normal tile's map, may be rounded.
    np.testing.assert_allclose(found, expected, rtol=0.005, atol=0.01)


class _Blurred(torch.nn.Module):
    """A convolution, so that there is something to compute in 8 or 16 bits."""

    def __init__(self) -> None:
        super().__init__()
        self.blur = torch.nn.Conv2d(3, 1, 3, padding=1)
        torch.nn.init.constant_(self.blur.weight, 0.02)
        torch.nn.init.zeros_(self.blur.bias)

    def forward(self, batch: torch.Tensor) -> object:
        from pipelines.models.engine.anomalib import InferenceBatch

        found = self.blur(batch)
        return InferenceBatch(pred_score=found.amax(dim=(-2, -1)), anomaly_map=found)


def test_what_is_made_of_a_version_again_sees_its_colours_or_those_of_the_target(tmp_path: Path) -> None:
    sets, none = tiles(tmp_path, [draw(number) for number in range(6)]), TileSet([], PLAN)
    settings = RunSettings(padim=PADIM)
    fitted = fit("padim", sets, none, settings)
    save_state(fitted, tmp_path)
    again = adapt("padim", Strategy.REUSE, sets, none, settings, load_state(tmp_path))
    np.testing.assert_allclose(look(again, stain(draw(9))), look(fitted, stain(draw(9))), rtol=1e-3)
    # Boards whose hues vary much: a little blue is nothing there.
    (tmp_path / "other").mkdir()
    other = tiles(tmp_path / "other", [stain(stain(stain(draw(number)))) for number in range(6)])
    adapted = adapt("padim", Strategy.STATISTICS, other, none, settings, fitted.state)
    plain = settings.model_copy(update={"colour": 0.0})
    without = adapt("padim", Strategy.STATISTICS, other, none, plain, fitted.state)
    stained = stain(draw(9))
    added = (look(adapted, stained) - look(without, stained)).max()
    assert added < 0.5 * (look(again, stained) - look(fit_padim(sets, PADIM, 0), stained)).max()
    assert not any(name.startswith("colour.") for name in without.state)
    spoilt = {**fitted.state, "colour.whitening": torch.eye(5)}
    with pytest.raises(ModelError, match="other parts of colour"):
        adapt("padim", Strategy.REUSE, sets, none, settings, spoilt)
