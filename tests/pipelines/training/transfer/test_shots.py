import pytest

from pipelines.core.errors import CallError
from pipelines.core.geometry import TilePlan
from pipelines.core.records import Label, Split, Strategy
from pipelines.core.results import Start
from pipelines.data.prepared import PreparedImage
from pipelines.training.run_settings import RunSettings
from pipelines.training.train import choose_tile_plan
from pipelines.training.transfer.shots import (
    draw_shots,
    find_candidates,
    hold_none_out,
    keep_tested,
    relabel,
    usual_size,
)


def _image(number: int, split: Split, label: Label = Label.NORMAL, group: str = "") -> PreparedImage:
    path = f"{number:03}.png"
    place = {"left": 0, "top": 0, "right": 9, "bottom": 9, "width": 9, "height": 9}
    facts = {"path": path, "file": path, "mask": None, "split": split, "label": label, "defects": {}}
    return PreparedImage.model_validate({**place, **facts, "condition": None, "group": group or path, "key": ""})


@pytest.fixture
def images() -> list[PreparedImage]:
    """60 to train on, 10 to select on, 30 to calibrate on, 20 to test on, half of these defective."""
    splits = [Split.TRAIN] * 60 + [Split.VALIDATION] * 10 + [Split.CALIBRATION] * 30 + [Split.TEST] * 20
    labels = [Label.NORMAL] * 110 + [Label.ANOMALOUS] * 10
    return [_image(n, split, label) for n, (split, label) in enumerate(zip(splits, labels, strict=True))]


@pytest.mark.parametrize(
    ("shots", "train", "validation", "calibrate"),
    [(1, 1, 0, 0), (3, 3, 0, 0), (4, 2, 1, 1), (16, 8, 4, 4), (64, 32, 16, 16), (100, 50, 25, 25)],
)
def test_every_image_that_is_used_counts(
    images: list[PreparedImage], shots: int, train: int, validation: int, calibrate: int
) -> None:
    found = relabel(images, draw_shots(images, shots, 0))
    counts = {split: sum(i.split == split for i in found) for split in Split}
    assert counts == {Split.TRAIN: train, Split.VALIDATION: validation, Split.CALIBRATION: calibrate, Split.TEST: 20}
    own = {i.path: i.split for i in images}
    assert all((own[i.path] == Split.TEST) == (i.split == Split.TEST) for i in found)
    assert all(own[i.path] == i.split for i in found if shots <= 16), "an image left its own part without need"


def test_more_shots_are_the_same_ones_and_others_and_a_seed_draws_others(images: list[PreparedImage]) -> None:
    few, more, other = (draw_shots(images, n, seed) for n, seed in ((8, 1), (16, 1), (8, 2)))
    assert few.items() <= more.items()
    assert few.keys() != other.keys()
    assert draw_shots(images[::-1], 8, 1) == few


def test_one_of_a_group_is_drawn_and_no_defect() -> None:
    images = [_image(n, Split.TRAIN, group=f"board-{n % 5}") for n in range(20)]
    images += [_image(99, Split.TRAIN, Label.ANOMALOUS)]
    assert len(find_candidates(images, 0)) == 5
    assert "099.png" not in draw_shots(images, 5, 0)
    with pytest.raises(CallError, match="6 images were requested, 5 can be drawn"):
        draw_shots(images, 6, 0)


def test_neither_a_validation_anomaly_nor_its_near_copy_is_drawn(images: list[PreparedImage]) -> None:
    few = [i for i in images if i.split == Split.VALIDATION]
    labels = enumerate((Label.NORMAL, Label.ANOMALOUS))
    pair = [_image(200 + number, Split.VALIDATION, label, "board") for number, label in labels]
    assert len(find_candidates([*few, *pair], 0)) == len(few)
    assert draw_shots([*images, *pair], 100, 0) == draw_shots(images, 100, 0)


def test_unlabelled_images_calibrate_no_guarantee() -> None:
    found = draw_shots([_image(n, Split.TRAIN, Label.UNKNOWN) for n in range(6)], 6, 0)
    assert sorted(found.values()) == ["train", "train", "train", "train", "train", "validation"]


def test_each_strategy_is_reported_on_the_same_images_normal_and_defective(images: list[PreparedImage]) -> None:
    splits = draw_shots(images, 8, 0)
    found = relabel(images, keep_tested(images, splits, 6))
    tested = [i for i in found if i.split == Split.TEST]
    assert sorted(i.label for i in tested) == [Label.ANOMALOUS] * 3 + [Label.NORMAL] * 3
    assert [i for i in found if i.split != Split.TEST] == [i for i in relabel(images, splits) if i.split != Split.TEST]
    other = relabel(images, keep_tested(images, draw_shots(images, 4, 1), 6))
    assert [i for i in other if i.split == Split.TEST] == tested
    assert keep_tested(images, splits, 20) == splits


def test_rare_defects_are_kept_among_what_is_reported_on() -> None:
    images = [_image(n, Split.TEST, Label.ANOMALOUS if n < 5 else Label.NORMAL) for n in range(1000)]
    found = relabel(images, keep_tested(images, {i.path: Split.TEST for i in images}, 100))
    assert len(found) == 100
    assert sum(i.label == Label.ANOMALOUS for i in found) == 5


def test_what_judges_an_image_without_itself_learns_from_all_of_them(images: list[PreparedImage]) -> None:
    splits = draw_shots(images, 16, 0)
    found = hold_none_out(splits)
    assert found.keys() == splits.keys()
    assert sum(split == Split.TRAIN for split in found.values()) == 16
    assert all(splits[path] == Split.TEST for path, split in found.items() if split == Split.TEST)


def test_one_odd_image_does_not_give_tiles_their_shape(images: list[PreparedImage]) -> None:
    odd = images[0].model_copy(update={"right": 900})
    tested = images[-1].model_copy(update={"bottom": 700})
    assert usual_size([odd, *images[1:-1], tested]) == (9, 9)
    start = Start(strategy=Strategy.SCRATCH, folder="", plan=TilePlan(mode="fit", tile_height=32, tile_width=64))
    settings = RunSettings()
    alone = choose_tile_plan("padim", [odd], settings, start)
    usual = choose_tile_plan("padim", [odd], settings, start.model_copy(update={"size": (9, 9)}))
    assert alone.tile_width > 4 * alone.tile_height
    assert usual.tile_width == usual.tile_height
