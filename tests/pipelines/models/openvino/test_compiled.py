import gc
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from PIL import Image
from torch import nn

from pipelines.core.errors import ModelError
from pipelines.core.geometry import TilePlan
from pipelines.core.records import Precision
from pipelines.imaging.tiling import TileSet
from pipelines.models.efficientad.teacher import load_teacher
from pipelines.models.fastflow import training as fastflow
from pipelines.models.fastflow.settings import FastflowSettings
from pipelines.models.fastflow.training import fit_fastflow
from pipelines.models.features.backbone import make_features
from pipelines.models.openvino import compiled
from pipelines.models.openvino.compiled import CompiledNetwork, compile_frozen, convert_network
from pipelines.models.outliers import make_views, take_sample
from pipelines.models.padim import model as padim
from pipelines.models.padim.model import fit_padim
from pipelines.models.padim.settings import PadimSettings
from pipelines.models.settings import UnlabelledSettings

PLAN = TilePlan(mode="fit", tile_height=64, tile_width=96)


@pytest.fixture
def tiles(tmp_path: Path) -> TileSet:
    files = [tmp_path / f"{number}.png" for number in range(6)]
    for number, file in enumerate(files):
        Image.fromarray(np.random.default_rng(number).integers(0, 256, (64, 96, 3), np.uint8)).save(file)
    return TileSet(files, PLAN)


def test_gives_what_torch_gives_for_any_number_of_tiles() -> None:
    network = make_features("lite0", (1, 2, 3))
    fast = CompiledNetwork(network, 64, 96)
    for count in (1, 3):
        tiles = torch.rand(count, 3, 64, 96, generator=torch.Generator().manual_seed(count))
        with torch.no_grad():
            wanted = network(tiles)
        found = fast(tiles)
        assert [tuple(layer.shape) for layer in found] == [tuple(layer.shape) for layer in wanted]
        for ours, layer in zip(found, wanted, strict=True):
            torch.testing.assert_close(ours, layer, rtol=1e-4, atol=2e-4)


def test_what_it_gave_stays_when_it_is_asked_again() -> None:
    fast = CompiledNetwork(make_features("lite0", (1,)), 64, 64)
    first = fast(torch.zeros(1, 3, 64, 64))[0]
    before = first.clone()
    fast(torch.ones(1, 3, 64, 64))
    assert torch.equal(first, before)


def test_is_compiled_only_where_tiles_enough_pay_for_it(tiles: TileSet, monkeypatch: pytest.MonkeyPatch) -> None:
    network = make_features("lite0", (1,))
    assert compile_frozen(network, tiles) is None
    monkeypatch.setattr(compiled, "_PAYS_FROM", 6 * 64 * 96)
    assert isinstance(compile_frozen(network, tiles), CompiledNetwork)
    assert compile_frozen(network, tiles, "cuda") is None


def test_both_ways_fit_the_same_statistics(tiles: TileSet, monkeypatch: pytest.MonkeyPatch) -> None:
    requested: list[int] = []
    answer = CompiledNetwork.__call__

    def count(self: CompiledNetwork, batch: torch.Tensor) -> list[torch.Tensor]:
        requested.append(len(batch))
        return answer(self, batch)

    monkeypatch.setattr(CompiledNetwork, "__call__", count)
    for room in (padim, fastflow):
        monkeypatch.setattr(room, "training_device", lambda: "cpu")
    settings = PadimSettings(features=40)
    flow = FastflowSettings(flow_steps=1, batch=2, max_steps=2, check_every=1)
    in_torch = fit_padim(tiles, settings, 0).state, fit_fastflow(tiles, tiles, flow, 0).state
    assert not requested
    monkeypatch.setattr(compiled, "_PAYS_FROM", 0)
    found = fit_padim(tiles, settings, 0).state, fit_fastflow(tiles, tiles, flow, 0).state
    # PaDiM's one batch, and every tile of FastFlow twice: trained on, and held out.
    assert requested == [6] + [1] * 12
    again = fit_padim(tiles, settings, 0).state
    assert all(torch.equal(again[name], tensor) for name, tensor in found[0].items()), "the same seed, the same model"
    for name, tensor in in_torch[0].items():
        torch.testing.assert_close(found[0][name], tensor, rtol=1e-3, atol=1e-3)
    standards = [name for name in in_torch[1] if name.startswith("standards.")]
    assert len(standards) == 2 * len(flow.layers)
    for name in standards:
        torch.testing.assert_close(found[1][name], in_torch[1][name], rtol=1e-3, atol=1e-3)


def test_views_show_the_tile_without_what_was_mirrored() -> None:
    teacher, _ = load_teacher("bundled")
    settings = PadimSettings(features=24)
    close, small, far = make_views(settings, 0, teacher)
    tile = torch.rand(1, 3, 128, 192, generator=torch.Generator().manual_seed(0))
    assert close(tile).shape[-2:] == (32, 48)
    assert far(tile).shape[-2:] == (8, 12)
    # Without padding, what is seen inside hangs on nothing outside.
    torch.testing.assert_close(small(tile)[..., 4:-4, 4:-4], teacher(tile), rtol=1e-3, atol=1e-3)
    mirrored = torch.nn.functional.pad(tile, (32,) * 4, mode="reflect")
    torch.testing.assert_close(close(tile), close.features(mirrored)[..., 8:-8, 8:-8])


@pytest.mark.parametrize("plan", [PLAN, TilePlan(mode="grid", tile_height=128, tile_width=192)], ids=["small", "large"])
def test_unlabelled_tiles_look_the_same_both_ways(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plan: TilePlan
) -> None:
    """Half of the larger tile has room for a mirrored margin, of the smaller not."""
    files = [tmp_path / f"{number}.png" for number in range(4)]
    for number, file in enumerate(files):
        pixels = np.random.default_rng(number).integers(0, 256, (plan.tile_height, plan.tile_width, 3), np.uint8)
        Image.fromarray(pixels).save(file)
    views = make_views(PadimSettings(features=24), 0, load_teacher("bundled")[0])
    samples = []
    for pays_from in (10**9, 0):
        monkeypatch.setattr(compiled, "_PAYS_FROM", pays_from)
        samples.append(take_sample(views, TileSet(files, plan), UnlabelledSettings(), 0))
    tolerances = [0.03 if view.precision == Precision.BF16 else 0.001 for view in views]
    for in_torch, found, tolerance in zip(samples[0].cells, samples[1].cells, tolerances, strict=True):
        apart = np.abs(found.astype(float) - in_torch.astype(float)).mean()
        assert apart < tolerance * in_torch.astype(float).std(), "other cells are as far apart as features vary"


def test_conversions_leave_no_weights_behind() -> None:
    def convert() -> int:
        convert_network(nn.Conv2d(3, 1365, 64), (3, 64, 64), torch.float32)  # 64 MB
        gc.collect()
        return int(psutil.Process().memory_info().rss)

    before = convert()
    assert max(convert() for _ in range(4)) - before < 100 * 2**20


def test_a_network_that_cannot_be_compiled_is_told_of() -> None:
    class Odd(nn.Module):
        def forward(self, tiles: torch.Tensor) -> torch.Tensor:
            raise RuntimeError(f"{tuple(tiles.shape)} does not fit")

    with pytest.raises(ModelError, match="64 x 96") as error:
        CompiledNetwork(Odd(), 64, 96)
    assert "backbone" in error.value.hint


def test_what_is_converted_leaves_no_memory_behind() -> None:
    """Each retrain in one process held 23 MB more: torch keeps the weights of what it traced."""
    process, found = psutil.Process(), []
    for _ in range(6):
        convert_network(make_features("lite0", [1, 2, 3]), (3, 64, 96), torch.float32)
        gc.collect()
        found.append(process.memory_info().rss / 1e6)
    assert found[-1] - found[1] < 15, f"resident MB after each: {found}"
