"""What one surface taught, brought to another: the strategies of all three algorithms on tiny drawn tiles."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pipelines.core.errors import ModelError
from pipelines.core.geometry import TilePlan
from pipelines.core.records import Strategy
from pipelines.imaging.tiling import TileSet
from pipelines.models.efficientad import transfer as adapt_efficientad
from pipelines.models.efficientad.model import TileEfficientAdModel
from pipelines.models.efficientad.settings import EfficientAdSettings
from pipelines.models.efficientad.teacher import save_teacher
from pipelines.models.engine.anomalib import SmallPatchDescriptionNetwork
from pipelines.models.fastflow.settings import FastflowSettings
from pipelines.models.fitted import Fitted
from pipelines.models.moments import Moments
from pipelines.models.openvino.export import load_state, save_state
from pipelines.models.padim import transfer as adapt_padim
from pipelines.models.padim.gaussian import log_density, whiten
from pipelines.models.padim.settings import PadimSettings
from pipelines.models.registry import find_algorithm
from pipelines.training.fitting import adapt, fit, fit_unlabelled
from pipelines.training.run_settings import RunSettings
from pipelines.training.transfer.strategy import find_likelihood_gains

pytestmark = pytest.mark.slow

PLAN = TilePlan(mode="fit", tile_height=96, tile_width=128)
OTHER = TilePlan(mode="fit", tile_height=128, tile_width=96)
SETTINGS = RunSettings(
    padim=PadimSettings(features=24),
    fastflow=FastflowSettings(flow_steps=2, batch=4, max_steps=20, check_every=10),
)


def _wood(seed: int, height: int = 96, width: int = 128) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, 6, (height, width, 3))
    grain = 150 + 20 * np.sin(np.arange(width) / 4 + seed)[None, :, None]
    return np.clip(grain + noise, 0, 255).astype(np.uint8)


def _cloth(seed: int, height: int = 96, width: int = 128) -> np.ndarray:
    y, x = np.mgrid[0:height, 0:width]
    weave = 110 + 30 * np.sin(x / 1.5) * np.sin(y / 1.5)
    noise = np.random.default_rng(1000 + seed).normal(0, 5, (height, width, 3))
    return np.clip(weave[..., None] + noise, 0, 255).astype(np.uint8)


def _noise(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (96, 128, 3), dtype=np.uint8)


def _tiles(folder: Path, pictures: list[np.ndarray], plan: TilePlan = PLAN) -> TileSet:
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"{i}.png" for i in range(len(pictures))]
    for file, picture in zip(files, pictures, strict=True):
        Image.fromarray(picture).save(file)
    return TileSet(files, plan)


def _map(fitted: Fitted, picture: np.ndarray) -> np.ndarray:
    tile = torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255
    with torch.no_grad():
        found: np.ndarray = fitted.model(tile).anomaly_map[0, 0].numpy()
    return found


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, TileSet]:
    folder = tmp_path_factory.mktemp("tiles")
    return {
        "wood": _tiles(folder / "wood", [_wood(i) for i in range(10)]),
        "cloth": _tiles(folder / "cloth", [_cloth(i) for i in range(4)]),
        "held": _tiles(folder / "held", [_cloth(i) for i in range(10, 13)]),
        "tall": _tiles(folder / "tall", [_cloth(i, 128, 96) for i in range(3)], OTHER),
        "none": TileSet([], PLAN),
    }


@pytest.fixture(scope="module", params=["padim", "fastflow"])
def source(request: pytest.FixtureRequest, sets: dict[str, TileSet]) -> tuple[str, Fitted]:
    return request.param, fit(request.param, sets["wood"], sets["wood"], SETTINGS)


def test_reuse_is_the_source_as_it_was(source: tuple[str, Fitted], sets: dict[str, TileSet], tmp_path: Path) -> None:
    algorithm, fitted = source
    save_state(fitted, tmp_path)
    state = load_state(tmp_path)
    again = adapt(algorithm, Strategy.REUSE, sets["cloth"], sets["none"], SETTINGS, state)
    np.testing.assert_allclose(_map(again, _wood(50)), _map(fitted, _wood(50)), rtol=1e-3)


def test_statistics_make_the_target_usual(source: tuple[str, Fitted], sets: dict[str, TileSet]) -> None:
    algorithm, fitted = source
    found = adapt(algorithm, Strategy.STATISTICS, sets["cloth"], sets["held"], SETTINGS, fitted.state)
    assert _map(found, _cloth(60)).mean() < 0.7 * _map(fitted, _cloth(60)).mean()
    blob = _cloth(60)
    blob[40:58, 60:80] = 250
    row, column = np.unravel_index(_map(found, blob).argmax(), (96, 128))
    assert 30 <= row < 68
    assert 50 <= column < 90


@pytest.mark.parametrize("strategy", [s for s in Strategy if s != Strategy.NEAREST])
def test_one_image_and_another_plan_give_finite_maps(
    source: tuple[str, Fitted], sets: dict[str, TileSet], tmp_path: Path, strategy: Strategy
) -> None:
    algorithm, fitted = source
    if strategy not in find_algorithm(algorithm).strategies:
        with pytest.raises(ModelError, match=strategy):
            adapt(algorithm, strategy, sets["tall"], sets["none"], SETTINGS, fitted.state)
        return
    one = _tiles(tmp_path, [_cloth(0, 128, 96)], OTHER)
    found = _map(adapt(algorithm, strategy, one, sets["none"], SETTINGS, fitted.state), _cloth(7, 128, 96))
    assert found.shape == (128, 96)
    assert np.isfinite(found).all()
    assert found.min() >= 0


def test_a_grid_of_tiles_goes_on_from_places_and_places_from_a_grid(sets: dict[str, TileSet], tmp_path: Path) -> None:
    grid = TilePlan(mode="grid", tile_height=96, tile_width=96, stride_height=64, stride_width=64)
    cut = _tiles(tmp_path, [_cloth(i) for i in range(3)], grid)
    padim, none = "padim", sets["none"]
    by_place = fit(padim, sets["wood"], none, SETTINGS)
    shared = adapt(padim, Strategy.STATISTICS, cut, none, SETTINGS, by_place.state)
    assert shared.state["counts"].tolist()[1:] == [1, 1]
    again = adapt(padim, Strategy.STATISTICS, sets["cloth"], none, SETTINGS, shared.state)
    assert again.state["counts"].tolist() == [12, 12, 16]
    assert "another grid" in again.notes["grid"]
    for strategy in (Strategy.REUSE, Strategy.STATISTICS):
        assert np.isfinite(_map(adapt(padim, strategy, sets["cloth"], none, SETTINGS, shared.state), _cloth(3))).all()


def test_a_source_of_other_channels_is_named_with_its_cause(sets: dict[str, TileSet]) -> None:
    state = fit("padim", sets["cloth"], sets["none"], SETTINGS).state
    other = SETTINGS.model_copy(update={"padim": PadimSettings(features=20)})
    with pytest.raises(ModelError, match=r"24 channels up to number .* ask for 20 of 176"):
        adapt("padim", Strategy.STATISTICS, sets["cloth"], sets["none"], other, state)
    shallow = SETTINGS.model_copy(update={"padim": PadimSettings(features=24, layers=(1, 2))})
    with pytest.raises(ModelError, match="ask for 24 of 64"):
        adapt("padim", Strategy.REUSE, sets["cloth"], sets["none"], shallow, state)
    unnamed = {name: value for name, value in state.items() if name != "channels"}
    with pytest.raises(ModelError, match="does not say of which"):
        adapt("padim", Strategy.REUSE, sets["cloth"], sets["none"], SETTINGS, unnamed)


def test_a_source_without_labels_is_a_start_without_its_defects(sets: dict[str, TileSet], tmp_path: Path) -> None:
    grid = TilePlan(mode="grid", tile_height=128, tile_width=128, stride_height=96, stride_width=96)
    normal, spoilt = ([_wood(i, 320, 320) for i in range(6)] for _ in range(2))
    for number, picture in enumerate(spoilt[:4]):  # one of nine tiles
        picture[40:64, 40:64] = np.random.default_rng(number).choice([0, 255], (24, 24, 1))
    clean, dirty = (_tiles(tmp_path / n, p, grid) for n, p in (("clean", normal), ("dirty", spoilt)))

    def spread(state: Mapping[str, torch.Tensor]) -> float:
        moments = Moments.from_tensors(state)
        return float(moments.scatter[0].trace() / moments.images)

    robust, plain = (
        [make(tiles).state for tiles in (clean, dirty)]
        for make in (
            lambda tiles: fit_unlabelled("padim", tiles, sets["none"], SETTINGS),
            lambda tiles: fit("padim", tiles, sets["none"], SETTINGS),
        )
    )
    added = [spread(after) / spread(before) - 1 for before, after in (robust, plain)]
    assert added[0] < 0.5 * added[1], "most of what defects add to plain statistics is left out"
    for strategy in (Strategy.REUSE, Strategy.STATISTICS):
        found = adapt("padim", strategy, sets["cloth"], sets["held"], SETTINGS, robust[1])
        assert np.isfinite(_map(found, _cloth(3))).all()


def test_a_source_of_noise_does_not_count_and_one_of_the_same_kind_does(
    sets: dict[str, TileSet], tmp_path: Path
) -> None:
    """The held-out likelihood decides: noise would spoil it, more of the same cloth steadies the covariances."""
    for pictures, counts in (([_noise(i) for i in range(8)], False), ([_cloth(i) for i in range(40, 60)], True)):
        state = fit("padim", _tiles(tmp_path / str(counts), pictures), sets["none"], SETTINGS).state
        found = adapt("padim", Strategy.STATISTICS, sets["cloth"], sets["held"], SETTINGS, state)
        assert ("does not count" not in found.notes["prior"]) == counts, found.notes["prior"]
        assert len(found.likelihood_gains) == 3
        assert (sum(found.likelihood_gains) > 0) == counts, found.likelihood_gains


def test_a_flow_that_was_taught_the_same_cloth_finds_held_out_tiles_likelier_than_one_that_trains_from_scratch(
    sets: dict[str, TileSet], tmp_path: Path
) -> None:
    state = fit("fastflow", _tiles(tmp_path, [_cloth(i) for i in range(40, 52)]), sets["held"], SETTINGS).state
    cloth, held = sets["cloth"], sets["held"]
    methods = {
        strategy: adapt("fastflow", strategy, cloth, held, SETTINGS, state)
        for strategy in (Strategy.SCRATCH, Strategy.STATISTICS, Strategy.FINETUNE)
    }
    found = find_likelihood_gains(methods)
    assert [len(found[strategy]) for strategy in methods] == [0, 0, 3]
    assert all(gain > 0 for gain in found[Strategy.FINETUNE])
    assert adapt("fastflow", Strategy.SCRATCH, cloth, sets["none"], SETTINGS, state).densities == ()


def test_the_posterior_is_that_of_the_normal_inverse_wishart() -> None:
    """Merged moments against the formula (Gelman et al., section 3.6), for one position."""
    random = np.random.default_rng(0)
    target, source = (adapt_padim.Moments(2, 1, 1) for _ in range(2))
    points = [random.normal(size=(n, 2)) + shift for n, shift in ((5, 0.0), (40, 3.0))]
    for moments, values in zip((target, source), points, strict=True):
        moments.update(torch.from_numpy(values)[:, :, None, None])
    merged = adapt_padim._merge(target, source, adapt_padim._Prior(8, with_means=True), 1)
    (few, many), weight = points, 8
    mean = (5 * few.mean(0) + weight * many.mean(0)) / (5 + weight)
    apart = few.mean(0) - many.mean(0)
    scatter = 5 * np.cov(few.T, bias=True) + weight * np.cov(many.T, bias=True)
    scatter += 5 * weight / (5 + weight) * np.outer(apart, apart)
    np.testing.assert_allclose(merged.mean[0], mean)
    np.testing.assert_allclose(merged.scatter[0], scatter)
    assert target.images == 5, "the target's own moments were changed"


def test_log_density_is_that_of_a_library() -> None:
    random = np.random.default_rng(1)
    mean, root = random.normal(size=3), random.normal(size=(3, 3))
    covariance, points = root @ root.T + np.eye(3), random.normal(size=(3, 7))
    library = torch.distributions.MultivariateNormal(torch.from_numpy(mean), torch.from_numpy(covariance))
    expected = library.log_prob(torch.from_numpy(points.T)).mean() + 1.5 * np.log(2 * np.pi)
    found = log_density(
        torch.from_numpy(points), torch.from_numpy(mean)[None], whiten(torch.from_numpy(covariance)[None])
    )
    assert found * 3 == pytest.approx(float(expected))


def test_finetuning_keeps_the_start_where_no_step_is_better(sets: dict[str, TileSet]) -> None:
    fitted = fit("fastflow", sets["wood"], sets["wood"], SETTINGS)
    by = {s: adapt("fastflow", s, sets["cloth"], sets["held"], SETTINGS, fitted.state) for s in
          (Strategy.STATISTICS, Strategy.FINETUNE)}  # fmt: skip
    assert not np.allclose(_map(by[Strategy.FINETUNE], _cloth(1)), _map(by[Strategy.STATISTICS], _cloth(1)), rtol=1e-3)
    wild = SETTINGS.model_copy(update={"fastflow": SETTINGS.fastflow.model_copy(update={"learning_rate": 1e4})})
    kept = adapt("fastflow", Strategy.FINETUNE, sets["cloth"], sets["held"], wild, fitted.state)
    assert "step 0" in kept.notes["stopped"]
    np.testing.assert_allclose(_map(kept, _cloth(1)), _map(by[Strategy.STATISTICS], _cloth(1)), rtol=1e-3)


def test_efficientad_says_the_same_in_the_target_s_units() -> None:
    torch.manual_seed(0)
    models = [TileEfficientAdModel(SmallPatchDescriptionNetwork(4)).eval() for _ in range(2)]
    source, target = models
    mixed = torch.eye(4) + 0.3 * torch.rand(4, 4)
    source.fold_statistics(torch.tensor([0.1, -0.2, 0.3, 0.0]), mixed @ torch.diag(torch.tensor([2.0, 1.0, 0.5, 1.4])))
    target.fold_statistics(torch.tensor([-0.4, 0.2, 0.0, 0.1]), mixed.T @ torch.diag(torch.tensor([0.7, 3, 1.0, 1.1])))
    adapt_efficientad.take_networks(target, source.state())
    tile = torch.rand(1, 3, 256, 256)
    with torch.no_grad():
        said = [
            torch.einsum(
                "nchw,cd->ndhw",
                torch.cat([m.student(tile)[:, :4], m.student(tile)[:, 4:], m.ae(tile, tile.shape[-2:])]),
                torch.linalg.inv(m.teacher_whitening),
            )
            + m.teacher_mean[:, None, None]
            for m in models
        ]
    torch.testing.assert_close(*said, rtol=1e-3, atol=1e-4)


def test_efficientad_is_made_again_and_adapted(tmp_path: Path) -> None:
    save_teacher(tmp_path / "teacher", SmallPatchDescriptionNetwork(4), {"description": "untrained"})
    own = EfficientAdSettings(teacher=str(tmp_path / "teacher"), max_steps=2, check_every=1)
    settings = RunSettings(efficientad=own)
    plan = TilePlan(mode="fit", tile_height=256, tile_width=256)
    wood = _tiles(tmp_path / "wood", [_wood(i, 256, 256) for i in range(2)], plan)
    cloth = _tiles(
        tmp_path / "cloth", [_cloth(i, 256, 288) for i in range(2)], plan.model_copy(update={"tile_width": 288})
    )
    fitted = fit("efficientad", wood, wood, settings)
    save_state(fitted, tmp_path)
    found = {
        s: adapt("efficientad", s, cloth, cloth, settings, load_state(tmp_path))
        for s in (Strategy.REUSE, Strategy.STATISTICS, Strategy.FINETUNE)
    }
    np.testing.assert_allclose(_map(found[Strategy.REUSE], _wood(9, 256, 256)), _map(fitted, _wood(9, 256, 256)))
    for one in found.values():
        assert np.isfinite(_map(one, _cloth(9, 256, 288))).all()


def test_a_state_that_does_not_fit_is_refused(source: tuple[str, Fitted], sets: dict[str, TileSet]) -> None:
    algorithm, fitted = source
    other = RunSettings(padim=PadimSettings(features=20), fastflow=FastflowSettings(flow_steps=3))
    with pytest.raises(ModelError, match="source") as caught:
        adapt(algorithm, Strategy.REUSE, sets["cloth"], sets["none"], other, fitted.state)
    assert algorithm.partition("_")[0] in caught.value.hint.lower()


def test_neighbours_find_a_blob(sets: dict[str, TileSet]) -> None:
    found = adapt("padim", Strategy.NEAREST, sets["cloth"], sets["none"], SETTINGS, {})
    blob = _cloth(60)
    blob[40:58, 60:80] = 250
    assert _map(found, blob).max() > 1.5 * _map(found, _cloth(60)).max()


def test_a_version_without_a_state_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"state\.safetensors"):
        load_state(tmp_path)
