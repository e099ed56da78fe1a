from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pipelines.core.errors import ModelError
from pipelines.core.geometry import TilePlan
from pipelines.imaging.procedural import draw
from pipelines.imaging.tiling import TileSet
from pipelines.models.efficientad.model import TileEfficientAdModel, fit_efficientad
from pipelines.models.efficientad.settings import EfficientAdSettings
from pipelines.models.efficientad.teacher import load_teacher, save_teacher
from pipelines.models.efficientad.whitening import as_points, whiten, whitening_of
from pipelines.models.engine.anomalib import EfficientAdModel, SmallPatchDescriptionNetwork
from pipelines.models.moments import Moments
from pipelines.models.openvino.export import export_openvino
from pipelines.models.openvino.runtime import TileModel

PLAN = TilePlan(mode="fit", tile_height=256, tile_width=288)
CHANNELS = 8


@pytest.fixture
def pair() -> tuple[TileEfficientAdModel, EfficientAdModel]:
    """Our model and anomalib's with the same weights and statistics."""
    torch.manual_seed(0)
    theirs = EfficientAdModel(teacher_out_channels=CHANNELS)
    ours = TileEfficientAdModel(SmallPatchDescriptionNetwork(CHANNELS))
    for name in ("teacher", "student", "ae"):
        getattr(ours, name).load_state_dict(getattr(theirs, name).state_dict())
    mean, std = torch.linspace(-0.1, 0.1, CHANNELS), torch.linspace(0.05, 0.2, CHANNELS)
    theirs.mean_std.update({"mean": mean[None, :, None, None], "std": std[None, :, None, None]})
    with torch.no_grad():
        ours.fold_statistics(mean, torch.diag(1 / std))
    return ours, theirs


def test_the_map_is_anomalibs_without_quantiles_but_for_its_rim(
    pair: tuple[TileEfficientAdModel, EfficientAdModel],
) -> None:
    ours, theirs = (model.eval() for model in pair)
    # With these quantiles anomalib takes half of each distance as it is.
    for name in ("st", "ae"):
        theirs.quantiles.update({f"qa_{name}": torch.tensor(0.0), f"qb_{name}": torch.tensor(0.1)})
    tile = torch.rand(1, 3, 256, 288)
    with torch.no_grad():
        found, wanted = ours(tile).anomaly_map, theirs(tile).anomaly_map
    torch.testing.assert_close(found[:, :, 20:-20, 20:-20], wanted[:, :, 20:-20, 20:-20], rtol=1e-3, atol=1e-4)
    assert found.min() >= 0


def test_the_folded_teacher_says_what_whitening_its_features_says() -> None:
    torch.manual_seed(0)
    model = TileEfficientAdModel(SmallPatchDescriptionNetwork(4)).eval()
    tile = torch.rand(1, 3, 256, 288)
    with torch.no_grad():
        bare = model.teacher(tile)
        points = Moments(4, 1, 1)
        points.update(as_points(bare[0]))
        mean, whitening = whitening_of(points)
        model.fold_statistics(mean, whitening)
        folded = model.teacher(tile)
    torch.testing.assert_close(folded, whiten(bare, mean, whitening), rtol=1e-3, atol=1e-3)
    found = np.cov(folded[0].flatten(1).numpy())
    assert folded.mean((0, 2, 3)).abs().max() < 1e-3
    assert np.trace(found) == pytest.approx(4, rel=1e-3)
    # The ridge takes something of each direction: what had the variance v among correlations has v / (v + 0.1), scaled.
    values = np.linalg.eigvalsh(np.corrcoef(bare[0].flatten(1).numpy()))
    shares = values / (values + 0.1)
    np.testing.assert_allclose(np.linalg.eigvalsh(found), np.sort(4 * shares / shares.sum()), rtol=1e-2)


def test_the_losses_are_anomalibs_where_the_light_does_not_change(
    pair: tuple[TileEfficientAdModel, EfficientAdModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = pair
    monkeypatch.setattr(theirs, "choose_random_aug_image", lambda image: image)
    theirs.train()
    ours.train().ae.load_state_dict(theirs.ae.state_dict())
    for model in (ours, theirs):
        model.ae.eval()  # dropout would draw differently
    tile, penalty = torch.rand(1, 3, 256, 288), torch.rand(1, 3, 128, 128)
    with torch.no_grad():
        expected = sum(float(loss) for loss in theirs(tile, penalty))
        found = float(ours.losses(tile, ours.teacher(tile), penalty))
    assert found == pytest.approx(expected, rel=0.02)


def _tiles(folder: Path, pictures: list[np.ndarray]) -> TileSet:
    folder.mkdir(exist_ok=True)
    files = [folder / f"{i}.png" for i in range(len(pictures))]
    for file, picture in zip(files, pictures, strict=True):
        Image.fromarray(picture).save(file)
    return TileSet(files, PLAN)


def _board(seed: int) -> np.ndarray:
    return draw("wood", seed, 256, 288, scale=9.0).image


@pytest.mark.slow
def test_the_bundled_teacher_finds_a_synthetic_blob_and_its_export_agrees(tmp_path: Path) -> None:
    train, validation = (
        _tiles(tmp_path / n, [_board(s) for s in seeds]) for n, seeds in (("t", range(6)), ("s", (7, 8)))
    )
    fitted = fit_efficientad(train, validation, EfficientAdSettings(batch=1, max_steps=16, check_every=8), 0)
    assert "distilled" in fitted.notes["teacher"]
    assert "student.conv4.weight" in fitted.state
    blob = _board(50)
    blob[150:182, 170:204] = (40, 60, 160)
    tile = torch.from_numpy(blob).permute(2, 0, 1)[None].float() / 255
    with torch.no_grad():
        found = fitted.model(tile).anomaly_map[0, 0].numpy()
    row, column = np.unravel_index(found.argmax(), found.shape)
    assert 134 <= row < 198
    assert 154 <= column < 220
    export_openvino(fitted.model, 256, 288, tmp_path / "model")
    exported = TileModel(tmp_path / "model").infer(blob[None])[0]
    np.testing.assert_allclose(exported, found, rtol=2e-2, atol=2e-3 * found.max())


@pytest.mark.slow
@pytest.mark.parametrize("pictures", [[_board(0)], [np.full((256, 288, 3), 90, np.uint8)] * 2], ids=["one", "constant"])
@pytest.mark.parametrize("validation", ["same", "none"])
def test_one_tile_or_constant_tiles_give_finite_maps_and_the_same_twice(
    pictures: list[np.ndarray], validation: str, tmp_path: Path
) -> None:
    save_teacher(tmp_path / "teacher", SmallPatchDescriptionNetwork(CHANNELS), {"description": "untrained"})
    settings = EfficientAdSettings(teacher=str(tmp_path / "teacher"), batch=1, max_steps=2, check_every=1)
    tiles = _tiles(tmp_path / "tiles", pictures)
    tile = torch.rand(1, 3, 256, 288)
    held_out = tiles if validation == "same" else tiles.subset([])
    models = [fit_efficientad(tiles, held_out, settings, 3).model for _ in range(2)]
    with torch.no_grad():
        maps = [model(tile) for model in models]
    assert torch.isfinite(maps[0].anomaly_map).all()
    assert torch.equal(maps[0].anomaly_map, maps[1].anomaly_map)


def test_a_missing_teacher_is_named_with_its_hint(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no teacher in") as caught:
        load_teacher(str(tmp_path))
    assert "efficientad.teacher" in str(caught.value.hint)
