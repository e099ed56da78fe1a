"""Images that nobody labelled, through training and calibration to a verdict: drawn wood of two kinds."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from pipelines.core.geometry import TilePlan
from pipelines.core.records import Label, Layout, Split
from pipelines.core.surface_settings import SourceSettings, SurfaceSettings
from pipelines.data.prepared import PreparedImage
from pipelines.detector.detector import Detector
from pipelines.imaging.tiling import TileSet, choose_plan
from pipelines.models.fastflow.settings import FastflowSettings
from pipelines.models.outliers import keep_normal
from pipelines.models.settings import UnlabelledSettings
from pipelines.training import parity
from pipelines.training.calibrate import calibrate
from pipelines.training.fitting import fit_unlabelled
from pipelines.training.run_settings import RunSettings
from pipelines.training.train import tile_settings, train

pytestmark = pytest.mark.slow

SIDE = 384
BROWN, PALE, STRANGE = (120, 80, 60), (225, 200, 165), (60, 90, 160)
SETTINGS = RunSettings.model_validate(
    {
        "tiles": {"mode": "grid", "tile": 128},
        "padim": {"features": 24, "max_train_tiles": 200},
        "unlabelled": {"max_side": SIDE, "contamination": 0.2},  # three of 24 tiles hold a knot
        "export": {"precision": "f32"},
    }
)


def draw(seed: int, colour: tuple[int, int, int], grain: float, *, knot: bool = False) -> NDArray[np.uint8]:
    random = np.random.default_rng(seed)
    waves = np.sin(np.arange(SIDE)[:, None] * grain + random.uniform(0, 6) + np.linspace(0, 2, SIDE))
    pixels = np.asarray(colour) + 14 * waves[..., None] + random.normal(0, 5, (SIDE, SIDE, 1))
    image = np.ascontiguousarray(np.clip(pixels, 0, 255).astype(np.uint8))
    if knot:
        cv2.circle(image, (100, 260), 20, (25, 15, 10), -1)
    return image


@pytest.fixture(scope="module")
def drawn_images(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[PreparedImage]]:
    """Five brown and one pale image; two brown ones and the pale one hold a knot."""
    folder = tmp_path_factory.mktemp("prepared")
    images = []
    for number in range(6):
        kind = (PALE, 0.9) if number == 5 else (BROWN, 0.3)
        name = f"{number}.png"
        Image.fromarray(draw(number, *kind, knot=number in (1, 3, 5))).save(folder / name)
        place = {"left": 0, "top": 0, "right": SIDE, "bottom": SIDE, "width": SIDE, "height": SIDE}
        facts = {
            "split": Split.TRAIN,
            "label": Label.UNKNOWN,
            "defects": {},
            "condition": None,
            "group": name,
            "key": "",
        }
        images.append(PreparedImage.model_validate({"path": name, "file": name, "mask": None, **place, **facts}))
    return folder, images


@pytest.fixture(scope="module")
def detector(drawn_images: tuple[Path, list[PreparedImage]], tmp_path_factory: pytest.TempPathFactory) -> Detector:
    folder = tmp_path_factory.mktemp("model") / "padim"
    with pytest.MonkeyPatch.context() as patch:
        # A hundred regions in torch take longer than all the rest; a disagreement shows in twenty.
        patch.setattr(parity, "_REGIONS", 20)
        patch.setattr(parity, "_NORMAL", 10)
        trained = train("padim", *drawn_images, SETTINGS, folder)
    assert "clusters of surfaces found: 2" in trained.notes["gaussian"]
    assert "distilled" in trained.notes["teacher"]
    surface = SurfaceSettings(source=SourceSettings(layout=Layout.UNLABELLED))
    info = calibrate(trained, *drawn_images, "slices", surface, SETTINGS.padim.score, "v")
    assert info.image_threshold.in_sample
    assert info.pixel_threshold.in_sample
    assert 0 < info.pixel_threshold.achieved_rate < 0.1, "the share of area that is flagged"
    return Detector(folder)


def test_a_knot_that_was_trained_on_is_found_and_its_kind_is_not_an_anomaly(detector: Detector) -> None:
    for seed, kind in ((1, (BROWN, 0.3)), (5, (PALE, 0.9))):
        scan = detector.scan(draw(seed, *kind, knot=True))
        knot, threshold = scan.map[245:275, 85:115], detector.info.pixel_threshold.threshold
        assert np.mean(knot > threshold) > 0.5
        assert np.mean(scan.map > threshold) < 0.2, "more than the knot and what sees it"
        assert scan.anomalous
        assert not scan.out_of_distribution
    assert not detector.scan(draw(0, BROWN, 0.3)).anomalous


def test_an_image_of_no_known_kind_is_told(detector: Detector) -> None:
    assert detector.scan(draw(50, STRANGE, 1.7)).out_of_distribution
    assert not detector.scan(draw(51, BROWN, 0.3)).out_of_distribution


def test_other_algorithms_train_on_what_is_left_of_each_kind(drawn_images: tuple[Path, list[PreparedImage]]) -> None:
    folder, images = drawn_images
    plan = choose_plan(tile_settings("fastflow", SETTINGS, unlabelled=True), [(SIDE, SIDE)])
    tiles = TileSet([folder / i.file for i in images], plan)
    kept = keep_normal(tiles, UnlabelledSettings(contamination=0.1), 0, SETTINGS.padim)
    owners = np.asarray(tiles.owners)
    assert len(kept) == pytest.approx(0.9 * len(tiles), abs=2)
    assert 5 in owners[kept], "the rarer kind stays"
    left_out = sorted(set(range(len(tiles))) - set(kept))
    assert set(owners[left_out]) <= {1, 3, 5}, "what goes is where the knots are"
    assert len(tiles.subset(kept)) == len(kept)
    few = SETTINGS.model_copy(update={"fastflow": FastflowSettings(flow_steps=2, batch=4, max_steps=2)})
    fitted = fit_unlabelled("fastflow", tiles, TileSet([], plan), few)
    assert "colour" not in fitted.notes, "in a grid, what is left may be all stain"
    assert (tiles.subset(kept)[0] == tiles[kept[0]]).all()


def test_images_that_are_one_tile_each_are_trained_on_with_nothing_held_out(
    drawn_images: tuple[Path, list[PreparedImage]],
) -> None:
    folder, images = drawn_images
    plan = TilePlan(mode="fit", tile_height=64, tile_width=64, scale=64 / SIDE)
    tiles = TileSet([folder / i.file for i in images], plan)
    fitted = fit_unlabelled("padim", tiles, TileSet([], plan), SETTINGS)
    assert "left out as the most unusual" in fitted.notes["unlabelled"]
    assert "7 %" in fitted.notes["colour"], "what is shown whole has one colour to be set against"


def test_labelled_images_are_cut_as_before() -> None:
    assert tile_settings("padim", SETTINGS, unlabelled=False) == SETTINGS.tiles
    assert tile_settings("padim", SETTINGS, unlabelled=True).tile == 256
