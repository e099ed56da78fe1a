"""A bank's own images are judged by banks that each lack some of them, as if these had never been there."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from pipelines.core.geometry import TilePlan
from pipelines.core.records import Label, Layout, Split, Strategy
from pipelines.core.results import Trained
from pipelines.core.surface_settings import RegionSettings, SourceSettings, SurfaceSettings
from pipelines.data.prepared import PreparedImage
from pipelines.detector.cache import RunCache
from pipelines.detector.detector import Detector
from pipelines.detector.scan import scan_region
from pipelines.imaging.image_score import ScoreRule
from pipelines.imaging.tiling import TileSet
from pipelines.models.anomalydino.settings import AnomalydinoSettings
from pipelines.models.openvino.export import TorchTiles
from pipelines.training import cross_fit
from pipelines.training.calibrate import calibrate
from pipelines.training.choosing.selection import score_selection
from pipelines.training.cross_fit import fit_folds, fit_without, forget_folds, open_folds
from pipelines.training.fitting import adapt, fit
from pipelines.training.run_settings import ExportSettings, RunSettings
from pipelines.training.train import train
from tests.pipelines.models.boards import draw_board

SETTINGS = RunSettings(anomalydino=AnomalydinoSettings(bank=1000), colour=0, export=ExportSettings(precision="f32"))
OWN = SurfaceSettings(source=SourceSettings(layout=Layout.FOLDER), region=RegionSettings(rule="none"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("boards")


@pytest.fixture(scope="module")
def images(folder: Path) -> list[PreparedImage]:
    """Five boards, all to be trained on."""
    found = []
    for number in range(5):
        file = f"{number}.png"
        Image.fromarray(draw_board(number, 96, 128)).save(folder / file)
        place = {"left": 0, "top": 0, "right": 128, "bottom": 96, "width": 128, "height": 96}
        facts = {"path": file, "file": file, "mask": None, "split": Split.TRAIN, "label": Label.NORMAL}
        rest = {"defects": {}, "condition": None, "group": file, "key": ""}
        found.append(PreparedImage.model_validate({**place, **facts, **rest}))
    return found


@pytest.fixture(scope="module")
def trained(folder: Path, images: list[PreparedImage]) -> Trained:
    return train("anomalydino", folder, images, SETTINGS, folder / "model", checked=False)


def score_without(folder: Path, plan: TilePlan, images: list[PreparedImage], left_out: int) -> float:
    """Fill a bank with all images but one, and score that one."""
    tiles = TileSet([folder / image.file for number, image in enumerate(images) if number != left_out], plan)
    model = fit("anomalydino", tiles, tiles, SETTINGS).model
    score = SETTINGS.anomalydino.score
    rule = ScoreRule(border_share=score.border_share, top_share=score.top_share)
    return scan_region(TorchTiles(model), plan, rule, np.asarray(Image.open(folder / images[left_out].file))).score


@pytest.mark.parametrize("strategy", [Strategy.SCRATCH, Strategy.STATISTICS])
def test_a_fold_is_what_all_other_images_give(strategy: Strategy, folder: Path, trained: Trained) -> None:
    plan = trained.plan
    source = fit("anomalydino", TileSet([folder / "4.png"], plan), TileSet([], plan), SETTINGS).state
    tiles, folds = TileSet([folder / f"{number}.png" for number in range(4)], plan), [0, 1, 0, 1]
    whole = adapt("anomalydino", strategy, tiles, tiles, SETTINGS, source)
    found = fit_without("anomalydino", whole, strategy, tiles, folds, SETTINGS, source)
    for fold in (0, 1):
        rest = tiles.subset([number for number in range(4) if folds[number] != fold])
        wanted = adapt("anomalydino", strategy, rest, rest, SETTINGS, source).state
        assert found[fold].keys() == wanted.keys()
        for name, tensor in wanted.items():
            torch.testing.assert_close(found[fold][name], tensor, msg=name)


def test_thresholds_are_set_on_what_each_image_comes_to_without_itself(
    folder: Path, trained: Trained, images: list[PreparedImage]
) -> None:
    judge = open_folds(trained, SETTINGS)
    info = calibrate(trained, folder, images, "oak", OWN, SETTINGS.anomalydino.score, "0" * 16, judge)
    alone = [score_without(folder, trained.plan, images, number) for number in range(5)]
    threshold = info.image_threshold
    assert (threshold.in_sample, threshold.images, threshold.achieved_rate) == (False, 5, pytest.approx(1 / 6))
    assert threshold.threshold * info.image_divisor == pytest.approx(max(alone), rel=1e-3)
    detector = Detector(folder / "model")
    known = [detector.scan_region(np.asarray(Image.open(folder / image.file))).score for image in images]
    assert max(known) < 0.1 * threshold.threshold, "the version itself knows them by heart"
    selection = score_selection(detector, folder, images, 1, 0, wrap=judge)
    assert selection.scores[::2] == pytest.approx([score / info.image_divisor for score in alone], rel=1e-3)
    unlabelled = [image.model_copy(update={"label": Label.UNKNOWN}) for image in images]
    doubted = calibrate(trained, folder, unlabelled, "oak", OWN, SETTINGS.anomalydino.score, "0" * 16, judge)
    assert doubted.image_threshold.in_sample, "an image without a label may show a defect"
    assert doubted.image_threshold.threshold == pytest.approx(threshold.threshold, rel=0.05)


def test_the_same_folds_elsewhere_know_their_maps(
    folder: Path, trained: Trained, images: list[PreparedImage], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What an adaptation chose is made again in another folder."""
    moved = trained.model_copy(update={"folder": str(shutil.copytree(trained.folder, tmp_path / "model"))})
    cache, computed = RunCache(tmp_path / "maps"), []
    infer = TorchTiles.infer

    def count(network: TorchTiles, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        computed.append(len(pixels))
        return infer(network, pixels)

    monkeypatch.setattr(TorchTiles, "infer", count)
    for first, one in ((True, trained), (False, moved)):
        judge = open_folds(one, SETTINGS, cache.wrap)
        calibrate(one, folder, images, "oak", OWN, SETTINGS.anomalydino.score, "0" * 16, judge)
        assert sum(computed) == len(images), "once for each image" if first else "none again"
    other = SETTINGS.model_copy(update={"anomalydino": AnomalydinoSettings(bank=1001)})
    calibrate(
        moved, folder, images, "oak", OWN, SETTINGS.anomalydino.score, "0" * 16, open_folds(moved, other, cache.wrap)
    )
    assert sum(computed) == 2 * len(images), "by other settings it is another network"


def test_many_images_share_few_folds_and_what_was_held_out_needs_none(
    folder: Path, trained: Trained, images: list[PreparedImage], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cross_fit, "MOST_FOLDS", 2)
    tiles = TileSet([folder / image.file for image in images], trained.plan)
    fitted = fit("anomalydino", tiles, tiles, SETTINGS)
    shared = fit_folds("anomalydino", fitted, folder, images, tiles, SETTINGS, tmp_path)
    assert list(shared.values()) == [0, 1, 0, 1, 0]
    assert len(list((tmp_path / "folds").iterdir())) == 2
    forget_folds(tmp_path)
    held = [*images[:4], images[4].model_copy(update={"split": Split.CALIBRATION})]
    for some, algorithm in ((held, "anomalydino"), (images[:1], "anomalydino"), (images, "padim")):
        assert fit_folds(algorithm, fitted, folder, some, tiles, SETTINGS, tmp_path) == {}
    assert list(tmp_path.iterdir()) == []
    assert open_folds(trained.model_copy(update={"folds": {}}), SETTINGS) is None
