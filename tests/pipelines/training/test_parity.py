"""The exported network stands for the fitted one: what counts as agreement, and which precision is taken."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from pipelines.core.errors import ModelError, ParityError
from pipelines.core.geometry import TilePlan
from pipelines.core.records import Label, Layout, Precision, Split
from pipelines.core.results import Parity, Trained
from pipelines.core.surface_settings import RegionSettings, SourceSettings, SurfaceSettings
from pipelines.data.prepared import PreparedImage
from pipelines.imaging.image_score import ScoreRule
from pipelines.imaging.procedural import draw
from pipelines.imaging.tiling import TileSet
from pipelines.models.engine.anomalib import InferenceBatch
from pipelines.models.openvino.export import TorchTiles, export_openvino
from pipelines.models.openvino.runtime import TileModel
from pipelines.training import precision as room
from pipelines.training.agreeing import calibrate_agreeing
from pipelines.training.parity import ENOUGH, ParityRegion, check_parity, disagreements, draw_regions, score_regions
from pipelines.training.precision import choose_precision, export_agreeing
from pipelines.training.run_settings import ExportSettings, RunSettings

HEIGHT, WIDTH = 64, 96
PLAN = TilePlan(mode="fit", tile_height=HEIGHT, tile_width=WIDTH)
RULE = ScoreRule()
F32, BF16, INT8 = Precision


class Colours(nn.Module):
    """A network of two convolutions whose map is how far a response is from the mean one of normal boards."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Conv2d(3, 8, 5, padding=2), nn.ReLU(), nn.Conv2d(8, 8, 5, padding=2))
        boards = np.stack([draw("wood", number, HEIGHT, WIDTH).image for number in range(10)])
        with torch.no_grad():
            responses = self.layers(torch.from_numpy(boards).permute(0, 3, 1, 2) / 255)
        self.centre = responses.mean((0, 2, 3), keepdim=True)

    def forward(self, tiles: torch.Tensor) -> Any:
        found = (self.layers(tiles) - self.centre).square().sum(1, keepdim=True)
        return InferenceBatch(pred_score=found.amax((-2, -1)), anomaly_map=found)


@pytest.fixture
def images(tmp_path: Path) -> list[PreparedImage]:
    made = []
    for number in range(12):
        split = Split.VALIDATION if number < 5 else Split.TRAIN if number < 10 else Split.TEST
        Image.fromarray(draw("wood", number, HEIGHT, WIDTH).image).save(tmp_path / f"{number}.png")
        place = {"left": 0, "top": 0, "right": WIDTH, "bottom": HEIGHT, "width": WIDTH, "height": HEIGHT}
        facts = {"path": f"{number}.png", "file": f"{number}.png", "mask": None, "split": split, "label": Label.NORMAL}
        rest = {"defects": {}, "condition": None, "group": "", "key": ""}
        made.append(PreparedImage.model_validate({**place, **facts, **rest}))
    return made


@pytest.fixture
def tiles(tmp_path: Path, images: list[PreparedImage]) -> TileSet:
    return TileSet([tmp_path / i.file for i in images if i.split == Split.TRAIN], PLAN)


def _parity(exported: NDArray[np.float64]) -> Parity:
    """Set scores against torch's: 50 normal ones of 0 to 1 and 50 synthetic ones of 0.5 to 1.5."""
    return Parity(torch=tuple(SCORES), exported=tuple(exported), synthetic=(False,) * 50 + (True,) * 50)


SCORES = np.concatenate([np.linspace(0, 1, 50), np.linspace(0.5, 1.5, 50)])


def test_one_verdict_of_a_hundred_may_differ_and_not_two() -> None:
    one, two = SCORES.copy(), SCORES.copy()
    one[49] = 0.98
    two[[48, 49]] = 0.96
    assert disagreements(_parity(one), 0.99) == ()
    assert disagreements(_parity(two), 0.975) == ("2 of 100 verdicts differ",)
    check_parity(_parity(one), 0.99)
    with pytest.raises(ModelError, match="2 of 100 verdicts differ"):
        check_parity(_parity(two), 0.975)


def test_scores_beside_the_threshold_that_are_the_same_are_no_disagreement() -> None:
    beside = SCORES.copy()
    beside[[30, 31, 32]] = 0.69  # all three flagged by torch; the next lower score is farther away than 1 %
    torch = SCORES.copy()
    torch[[30, 31, 32]] = 0.692
    both = _parity(beside).model_copy(update={"torch": tuple(torch)})
    assert disagreements(both, 0.691) == ()
    apart = both.model_copy(update={"exported": tuple(np.where(np.arange(100) // 3 == 10, 0.66, torch))})
    assert disagreements(apart, 0.691) == ("3 of 100 verdicts differ",)


def test_another_ranking_disagrees_even_where_verdicts_do_not() -> None:
    shuffled = SCORES.copy()
    shuffled[:50] = SCORES[:50] * 0.2 + 0.6
    assert disagreements(_parity(shuffled), 9.0)[0].startswith("AUROC")
    assert disagreements(_parity(np.full(100, np.nan)), 9.0) == ("scores are not finite",)


def test_of_few_regions_one_pair_may_change_places() -> None:
    torch = tuple(float(n) for n in range(24))
    few = Parity(torch=torch, exported=torch, synthetic=tuple(n > 11 for n in range(24)))
    one = few.model_copy(update={"exported": (*torch[:11], 12.0, 11.0, *torch[13:])})
    assert disagreements(one, 99.0) == ()
    two = few.model_copy(update={"exported": (*torch[:11], 13.5, *torch[12:])})
    assert disagreements(two, 99.0) == ("AUROC 0.986 instead of 1.000",)


def test_the_fastest_that_agrees_is_taken_and_f32_where_none_does() -> None:
    times = {F32: 3.0, BF16: 2.0, INT8: 1.0}

    def choose(times: dict[Precision, float], *wrong: Precision) -> tuple[Precision, list[Precision], list[Precision]]:
        requested: list[Precision] = []
        chosen, refused = choose_precision(times, lambda p: requested.append(p) or (("differs",) if p in wrong else ()))
        return chosen, list(refused), requested

    assert choose(times) == (INT8, [], [INT8]), "what is not run was set against torch"
    assert choose(times, INT8) == (BF16, [INT8], [INT8, BF16])
    assert choose(times, *Precision) == (F32, [INT8, BF16, F32], [INT8, BF16, F32])
    alike = {F32: 11.0, BF16: 10.0, INT8: 10.5}
    assert choose(alike)[0] == F32, "a breath of the machine decided"


def test_regions_come_of_normal_images_outside_the_test_split(tmp_path: Path, images: list[PreparedImage]) -> None:
    test_part = images[-1].model_copy(update={"file": "not there.png"})
    bad = images[0].model_copy(update={"label": Label.ANOMALOUS, "file": "nor there.png"})
    regions = list(draw_regions(tmp_path, [*images[:10], test_part, bad], PLAN, 0))
    assert (len(regions), sum(r.synthetic for r in regions)) == (100, 90)
    again = list(draw_regions(tmp_path, images[:10], PLAN, 0))
    assert all(np.array_equal(a.image, b.image) for a, b in zip(regions, again, strict=True))
    assert not any(np.array_equal(a.image, b.image) for a, b in zip(regions[10:], regions[20:], strict=False))
    grid = TilePlan(mode="grid", tile_height=32, tile_width=32, scale=0.7, stride_height=24, stride_width=24)
    assert {r.image.shape for r in draw_regions(tmp_path, images, grid, 0)} == {(45, 45, 3)}


@pytest.fixture
def regions(tmp_path: Path, images: list[PreparedImage]) -> list[ParityRegion]:
    return list(draw_regions(tmp_path, images, PLAN, 0))


def test_an_export_with_changed_weights_is_refused(tmp_path: Path, regions: list[ParityRegion]) -> None:
    model, damaged = Colours(), Colours()
    with torch.no_grad():
        damaged.layers[0].weight[:, :, 2] *= 1.3  # type: ignore[operator] - a convolution's weight is a tensor
    for folder, network in (("as fitted", model), ("damaged", damaged)):
        export_openvino(network.eval(), HEIGHT, WIDTH, tmp_path / folder)
        networks = TorchTiles(model), TileModel(tmp_path / folder)
        (scores, synthetic), exported = (score_regions(m, PLAN, RULE, regions) for m in networks)
        found = Parity(torch=scores, exported=exported.scores, synthetic=synthetic)
        threshold = float(np.quantile([s for s, p in zip(scores, synthetic, strict=True) if not p], 0.99))
        if network is model:
            check_parity(found, threshold)
            continue
        with pytest.raises(ModelError, match="does not judge as the fitted one"):
            check_parity(found, threshold)


@pytest.fixture
def speeds(monkeypatch: pytest.MonkeyPatch) -> dict[Precision, float]:
    """Times that decide, so that the machine's load does not."""
    times = {F32: 3.0, BF16: 2.0, INT8: 1.0}
    monkeypatch.setattr(room, "time_models", lambda models, _: {p: times[p] for p in models})
    monkeypatch.setattr(room, "machine_precisions", lambda: (F32, INT8))
    return times


def _export(tiles: TileSet, regions: list[ParityRegion], requested: str, folder: Path) -> room.Exported:
    export = ExportSettings(precision=requested)
    return export_agreeing("padim", Colours().eval(), tiles, lambda: regions, RULE, export, folder)


def _burn(region: ParityRegion) -> ParityRegion:
    """Make a defect that no precision can miss."""
    image = region.image.copy()
    image[20:40, 30:50] = 0
    return ParityRegion(image, True)


def test_beside_int8_the_network_in_float32_waits_for_calibration(
    tmp_path: Path, tiles: TileSet, regions: list[ParityRegion], speeds: dict[Precision, float]
) -> None:
    clear = [r if not r.synthetic else _burn(r) for r in regions]
    plain = _export(tiles, clear, "f32", tmp_path / "f32")
    chosen = _export(tiles, clear, "auto", tmp_path / "auto")
    assert (plain.precision, chosen.precision) == (F32, INT8)
    assert chosen.message == "int8, 1.0 ms a tile (f32 3.0)"
    assert sorted(p.name for p in (tmp_path / "f32").iterdir()) == ["model.bin", "model.xml"]
    assert sorted(p.name for p in (tmp_path / "auto").iterdir()) == ["model.bin", "model.xml", room.UNROUNDED]
    tile = regions[0].image[None]
    exact, int8 = TileModel(tmp_path / "f32").infer(tile), TileModel(tmp_path / "auto", INT8).infer(tile)
    assert not np.array_equal(exact, int8)
    np.testing.assert_allclose(int8, exact, atol=0.05 * exact.max())


def test_a_forced_precision_that_disagrees_or_is_not_there_is_refused(
    tmp_path: Path,
    tiles: TileSet,
    regions: list[ParityRegion],
    speeds: dict[Precision, float],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(ModelError, match="does not compute in bf16"):
        _export(tiles, regions, "bf16", tmp_path / "bf16")
    monkeypatch.setattr(room, "quantisation_tiles", lambda _: [np.full((HEIGHT, WIDTH, 3), 128, np.uint8)])
    with pytest.raises(ModelError, match="padim in int8 does not agree"):
        _export(tiles, regions, "int8", tmp_path / "int8")
    kept = _export(tiles, regions, "auto", tmp_path / "auto")
    assert kept.precision == F32
    monkeypatch.setattr("pipelines.models.openvino.quantize.quantise", pytest.fail)
    assert _export(tiles, regions, "float", tmp_path / "float").message == "f32, 3.0 ms a tile"
    assert "int8 1.0, disagrees: " in kept.message


def _calibrate(folder: Path, images: list[PreparedImage], exported: room.Exported, requested: str) -> tuple[Any, Any]:
    """Calibrate an export that is said to have judged every defect to be nothing."""
    assert exported.parity is not None
    blind = tuple(0.01 * s if s > np.median(exported.parity.torch) else s for s in exported.parity.torch)
    parity = exported.parity.model_copy(update={"exported": blind})
    cost = {"tiles": 1, "seconds": 1, "peak_rss_mb": 1}
    trained = Trained(
        algorithm="padim", folder=str(folder), plan=PLAN, precision=exported.precision, parity=parity, **cost
    )
    own = SurfaceSettings(source=SourceSettings(layout=Layout.FOLDER), region=RegionSettings(rule="none"))
    settings = RunSettings(export=ExportSettings(precision=requested))
    return calibrate_agreeing(trained, folder.parent, images, "oak", own, settings, "0" * 16)


def test_what_disagrees_at_its_own_threshold_goes_on_in_the_next_safer_precision(
    tmp_path: Path,
    images: list[PreparedImage],
    tiles: TileSet,
    regions: list[ParityRegion],
    speeds: dict[Precision, float],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("pipelines.training.agreeing.machine_precisions", lambda: (F32, INT8))
    monkeypatch.setattr("pipelines.training.agreeing.draw_regions", lambda *_: iter(clear))
    clear = [r if not r.synthetic else _burn(r) for r in regions]
    plain = _export(tiles, clear, "f32", tmp_path / "f32")
    chosen = _export(tiles, clear, "auto", tmp_path / "auto")
    trained, info = _calibrate(tmp_path / "auto", images, chosen, "auto")
    assert (chosen.precision, trained.precision, info.precision) == (INT8, F32, F32)
    assert trained.parity is not None
    assert plain.parity is not None
    assert (len(plain.parity.torch), len(trained.parity.torch)) == (ENOUGH, 100), "what is not rounded is known soon"
    assert trained.parity.exported[:ENOUGH] == plain.parity.exported
    assert (tmp_path / "auto/model.bin").read_bytes() == (tmp_path / "f32/model.bin").read_bytes()
    assert not (tmp_path / "auto" / room.UNROUNDED).exists()
    forced = _export(tiles, clear, "int8", tmp_path / "int8")
    with pytest.raises(ParityError, match="verdicts differ"):
        _calibrate(tmp_path / "int8", images, forced, "int8")
