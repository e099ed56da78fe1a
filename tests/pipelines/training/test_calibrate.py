"""Calibration with a network that is the board's brightness: what sets the scale, the thresholds and the guarantee."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from pipelines.core.errors import ModelError
from pipelines.core.geometry import TilePlan
from pipelines.core.records import Label, Layout, Precision, Split
from pipelines.core.results import Trained
from pipelines.core.surface_settings import PolicySettings, RegionSettings, SourceSettings, SurfaceSettings
from pipelines.data.prepared import PreparedImage
from pipelines.detector.version import SCHEMA, VersionInfo, read_drift_reference, read_info
from pipelines.imaging.components import flagged_share
from pipelines.imaging.image_score import ScoreRule, image_score
from pipelines.models.settings import ScoreSettings
from pipelines.training.calibrate import calibrate

HEIGHT, WIDTH = 32, 64
PLAN = TilePlan(mode="fit", tile_height=HEIGHT, tile_width=WIDTH)
RATE = 0.1
PLAIN = ScoreSettings()


class Brightness:
    """A tile model whose map is the tile's first channel."""

    def __init__(self, folder: Path, precision: Precision, _device: str) -> None:
        assert folder.is_dir()
        assert precision == Precision.F32

    def infer(self, tiles: NDArray[np.uint8]) -> NDArray[np.float32]:
        return tiles[..., 0].astype(np.float32)


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.detector.members.TileModel", Brightness)


def board(level: int) -> NDArray[np.uint8]:
    """Draw a board that rises from dark to `level` along its width."""
    row = np.linspace(0, level, WIDTH).astype(np.uint8)
    return np.broadcast_to(row[None, :, None], (HEIGHT, WIDTH, 3))


class Surface:
    """Prepared boards of known levels, one level each."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.images: list[PreparedImage] = []

    def add(self, split: Split, *levels: int, label: Label = Label.NORMAL) -> "Surface":
        (self.folder / "images").mkdir(parents=True, exist_ok=True)
        for level in levels:
            file = f"images/{len(self.images):03d}.png"
            Image.fromarray(board(level)).save(self.folder / file)
            facts = {
                "path": file,
                "file": file,
                "mask": None,
                "split": split,
                "label": label,
                "key": "k",
                "group": file,
            }
            place = {"left": 0, "top": 0, "right": WIDTH, "bottom": HEIGHT, "width": WIDTH, "height": HEIGHT}
            self.images.append(PreparedImage.model_validate({**facts, **place, "defects": {}, "condition": None}))
        return self

    def calibrate(self, model: Path, score: ScoreSettings = PLAIN, algorithm: str = "padim") -> VersionInfo:
        model.mkdir(exist_ok=True)
        trained = Trained(algorithm=algorithm, folder=str(model), plan=PLAN, tiles=1, seconds=1, peak_rss_mb=1)
        settings = SurfaceSettings(
            source=SourceSettings(layout=Layout.FOLDER),
            region=RegionSettings(rule="box", box=(0, 0, 9, 9)),
            policy=PolicySettings(false_positive_rate=RATE, flagged_area_rate=RATE),
        )
        return calibrate(trained, self.folder, self.images, "oak", settings, score, "0" * 16)


SELECT = (80, 90, 100, 110, 120)
HELD_OUT = tuple(range(60, 136, 4))  # 19 boards


@pytest.fixture
def surface(tmp_path: Path) -> Surface:
    return Surface(tmp_path / "prepared").add(Split.VALIDATION, *SELECT).add(Split.CALIBRATION, *HELD_OUT)


def raw_scores(levels: tuple[int, ...]) -> NDArray[np.float64]:
    return np.array([image_score(board(level)[..., 0].astype(np.float32), ScoreRule()) for level in levels])


def bound(info: VersionInfo, levels: tuple[int, ...], threshold: float) -> float:
    """Compute what conformal risk control bounds: (shares flagged by whole regions + 1) / (images + 1)."""
    maps = [(board(level)[..., 0] / info.map_divisor).astype(np.float32) for level in levels]
    shares = [flagged_share(found, threshold, info.defects) for found in maps]
    return float((sum(shares) + 1) / (len(shares) + 1))


def test_one_is_the_99_percent_quantile_of_the_validation_split(surface: Surface, tmp_path: Path) -> None:
    info = surface.calibrate(tmp_path / "model")
    assert info.image_divisor == pytest.approx(np.quantile(raw_scores(SELECT), 0.99))
    pixels = np.stack([board(level)[..., 0] for level in SELECT])
    assert info.map_divisor == pytest.approx(np.quantile(pixels, 0.99))


def test_of_many_that_were_trained_on_an_even_part_makes_the_scale(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.training.calibrate._MOST_SCALED", 3)
    levels = (80, 130, 90, 100, 110)
    many = Surface(tmp_path / "prepared").add(Split.TRAIN, *levels, label=Label.UNKNOWN)
    assert many.calibrate(tmp_path / "few").image_divisor == pytest.approx(np.quantile(raw_scores(levels[::2]), 0.99))
    # A part that was held out to be looked at is looked at whole.
    validation = Surface(tmp_path / "validation").add(Split.VALIDATION, *levels).add(Split.CALIBRATION, *HELD_OUT)
    assert validation.calibrate(tmp_path / "all").image_divisor == pytest.approx(np.quantile(raw_scores(levels), 0.99))


def test_an_algorithms_own_score_rule_is_used_and_kept(surface: Surface, tmp_path: Path) -> None:
    info = surface.calibrate(tmp_path / "model", ScoreSettings(border_share=0.2, top_share=0))
    assert (info.score_rule.border_share, info.score_rule.top_share) == (0.2, 0)
    border = round(0.2 * HEIGHT)
    highest = [board(level)[:, :-border, 0].max() for level in SELECT]
    assert info.image_divisor == pytest.approx(np.quantile(highest, 0.99))


def test_the_thresholds_keep_their_guarantee_on_the_calibration_split(surface: Surface, tmp_path: Path) -> None:
    info = surface.calibrate(tmp_path / "model")
    image, pixel = info.image_threshold, info.pixel_threshold
    # Of 19 boards and one more, two may exceed: the threshold is the second highest score.
    assert image.threshold == pytest.approx(np.sort(raw_scores(HELD_OUT))[-2] / info.image_divisor)
    assert (image.target_rate, image.achieved_rate, image.images, image.in_sample) == (RATE, RATE, 19, False)
    assert bound(info, HELD_OUT, pixel.threshold) <= RATE < bound(info, HELD_OUT, pixel.threshold * 0.95)
    assert (pixel.target_rate, pixel.achieved_rate, pixel.images, pixel.in_sample) == (RATE, RATE, 19, False)


def test_no_other_split_moves_a_threshold(surface: Surface, tmp_path: Path) -> None:
    alone = surface.calibrate(tmp_path / "alone")
    surface.add(Split.TRAIN, 5, 250).add(Split.TEST, 240).add(Split.TEST, 255, label=Label.ANOMALOUS)
    assert surface.calibrate(tmp_path / "among others") == alone


def test_calibration_never_sees_an_anomaly(surface: Surface, tmp_path: Path) -> None:
    alone = surface.calibrate(tmp_path / "alone")
    seen = (tmp_path / "alone/calibration.json").read_text()
    surface.add(Split.VALIDATION, 250, 251, label=Label.ANOMALOUS)
    # One that a table of images puts there all the same moves nothing either.
    surface.add(Split.CALIBRATION, 252, 253, label=Label.ANOMALOUS)
    # Reference tiles are of the first images of the split.
    surface.images = sorted(surface.images, key=lambda i: i.label != Label.ANOMALOUS)
    assert surface.calibrate(tmp_path / "labelled") == alone
    assert (tmp_path / "labelled/calibration.json").read_text() == seen


def test_with_too_few_boards_the_rate_that_holds_is_said(tmp_path: Path) -> None:
    few = Surface(tmp_path / "prepared").add(Split.VALIDATION, *SELECT).add(Split.CALIBRATION, 90, 100, 95)
    info = few.calibrate(tmp_path / "model")
    assert info.image_threshold.achieved_rate == 0.25
    assert info.image_threshold.threshold == pytest.approx(raw_scores((100,))[0] / info.image_divisor)
    assert (info.pixel_threshold.target_rate, info.pixel_threshold.achieved_rate) == (RATE, 0.25)
    assert not info.image_threshold.in_sample


def test_without_a_calibration_split_thresholds_are_an_in_sample_threshold(tmp_path: Path) -> None:
    levels = tuple(range(50, 150, 5))
    unlabelled = Surface(tmp_path / "prepared").add(Split.TRAIN, *levels, label=Label.UNKNOWN)
    info = unlabelled.calibrate(tmp_path / "model")
    assert info.image_threshold.in_sample
    assert info.pixel_threshold.in_sample
    assert info.image_threshold.images == 20
    assert info.image_divisor == pytest.approx(np.quantile(raw_scores(levels), 0.99))
    assert (raw_scores(levels) / info.image_divisor > info.image_threshold.threshold).mean() == pytest.approx(RATE)


def test_reference_tiles_are_stored_with_what_they_gave(surface: Surface, tmp_path: Path) -> None:
    stale = tmp_path / "model" / "reference" / "stale.png"
    stale.parent.mkdir(parents=True)
    stale.touch()
    info = surface.calibrate(tmp_path / "model")
    assert len(info.references) == 4
    assert {p.name for p in stale.parent.iterdir()} == {r.file for r in info.references}
    for reference, level in zip(info.references, SELECT, strict=False):
        with Image.open(stale.parent / reference.file) as file:
            assert np.array_equal(np.asarray(file), board(level))
        assert reference.mean == pytest.approx(board(level).mean())
        assert reference.peak == level


def test_what_the_calibration_split_looked_like_is_kept_for_drift(surface: Surface, tmp_path: Path) -> None:
    info = surface.calibrate(tmp_path / "model")
    kept = read_drift_reference(tmp_path / "model")
    assert kept is not None
    assert kept.scores == pytest.approx(raw_scores(HELD_OUT) / info.image_divisor)
    assert kept.measures["brightness_mean"] == pytest.approx([board(level).mean() for level in HELD_OUT], abs=0.01)
    assert {len(values) for values in kept.measures.values()} == {len(HELD_OUT)}
    assert read_drift_reference(tmp_path) is None, "an older version has no drift figures"


def test_scores_of_trained_images_are_no_reference(tmp_path: Path) -> None:
    Surface(tmp_path / "prepared").add(Split.TRAIN, *range(50, 150, 5), label=Label.UNKNOWN).calibrate(
        tmp_path / "model"
    )
    kept = read_drift_reference(tmp_path / "model")
    assert kept is not None
    assert kept.scores == ()
    assert len(kept.measures["sharpness"]) == 20


def test_what_was_written_is_read_back(surface: Surface, tmp_path: Path) -> None:
    info = surface.calibrate(tmp_path / "model")
    assert read_info(tmp_path / "model") == info
    assert (info.surface, info.algorithm, info.data_version, info.plan) == ("oak", "padim", "0" * 16, PLAN)
    assert info.region.box == (0, 0, 9, 9)
    again = surface.calibrate(tmp_path / "again")
    assert again == info
    assert (tmp_path / "again/model.json").read_bytes() == (tmp_path / "model/model.json").read_bytes()


@pytest.mark.parametrize(
    "change",
    [
        {"schema_version": SCHEMA + 1},
        {"schema_version": SCHEMA + 1, "second_head": 1},
        {"image_threshold": None},
        {"map_divisor": "many"},
        {"plan": {"mode": "spiral"}},
    ],
)
def test_a_damaged_or_newer_model_is_refused(surface: Surface, tmp_path: Path, change: dict[str, Any]) -> None:
    surface.calibrate(tmp_path / "model")
    path = tmp_path / "model" / "model.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(ModelError, match=rf"not a model of schema {SCHEMA}: \('{next(iter(change))}'"):
        read_info(tmp_path / "model")


def test_half_a_file_or_none_is_refused(surface: Surface, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no model\.json"):
        read_info(tmp_path)
    surface.calibrate(tmp_path / "model")
    path = tmp_path / "model" / "model.json"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ModelError, match="not a model of schema"):
        read_info(tmp_path / "model")


class Bank:
    """A tile model that knows boards by heart: those that rise to the right are nothing new to it."""

    def __init__(self, *_: object) -> None: ...

    def infer(self, tiles: NDArray[np.uint8]) -> NDArray[np.float32]:
        known = tiles[..., 0, 0, :1] < tiles[..., 0, -1, :1]
        return np.where(known[..., None], 1e-6, tiles[..., 0]).astype(np.float32)


def test_what_an_algorithm_knows_by_heart_is_mirrored_to_set_an_in_sample_threshold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.detector.members.TileModel", Bank)
    one = Surface(tmp_path / "prepared").add(Split.TRAIN, 100)
    info = one.calibrate(tmp_path / "model", algorithm="anomalydino")
    assert info.image_divisor * info.image_threshold.threshold == pytest.approx(raw_scores((100,))[0])
    # Where others were held out, these are new as they are.
    one.add(Split.VALIDATION, *SELECT).add(Split.CALIBRATION, *HELD_OUT)
    held_out = one.calibrate(tmp_path / "held out", algorithm="anomalydino")
    assert held_out.image_divisor * held_out.image_threshold.threshold == pytest.approx(1e-6)
