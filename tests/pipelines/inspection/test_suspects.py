"""Suspects: a mislabelled image comes first, and nobody vouches for himself."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pipelines.core.errors import CallError, SourceError
from pipelines.core.geometry import TilePlan
from pipelines.core.records import Label, Split
from pipelines.data.prepared import PreparedImage
from pipelines.imaging.procedural import draw
from pipelines.imaging.tiling import TileSet
from pipelines.inspection.suspects import Unlike, assign_folds, rank_unlike, show_suspects, taken_for_normal
from pipelines.models.held_out import map_held_out

PLAN = TilePlan(mode="fit", tile_height=96, tile_width=192)


def prepare(folder: Path, name: str, pixels: np.ndarray, **facts: object) -> PreparedImage:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    height, width = pixels.shape[:2]
    known = {"path": name, "file": name, "mask": None, "left": 0, "top": 0, "right": width, "bottom": height}
    known |= {"width": width, "height": height, "split": "train", "label": "normal", "defects": {}, "condition": None}
    return PreparedImage.model_validate({**known, "group": name, "key": "", **facts})


def board(seed: int, *defects: str) -> np.ndarray:
    return draw("wood", seed, 96, 192, defects).image


def test_a_mislabelled_image_comes_first_in_whichever_split_it_hides(tmp_path: Path) -> None:
    images = [prepare(tmp_path, f"{n:02d}.png", board(n)) for n in range(12)]
    images.insert(5, prepare(tmp_path, "planted.png", board(50, "dead knot"), split="calibration"))
    first, second, *rest = rank_unlike(tmp_path, images)
    assert first.image.path == "planted.png"
    assert first.score > 1.2 * second.score
    assert len(rest) == 11
    assert np.median([first.score, second.score, *(r.score for r in rest)]) == pytest.approx(1)
    (shown,) = show_suspects([first], tmp_path, 200)
    assert (shown.width, shown.height, len(shown.sha256)) == (192, 96, 64)
    assert shown.defects, "nothing says where to look"


def test_no_image_is_compared_with_its_own_group(tmp_path: Path) -> None:
    odd, copy = (prepare(tmp_path, f"odd {n}.png", board(50, "dead knot")) for n in range(2))
    others = [prepare(tmp_path, f"{n}.png", board(n)) for n in range(4)]

    def maps(images: list[PreparedImage], folds: list[int]) -> np.ndarray:
        return map_held_out(TileSet([tmp_path / i.file for i in images], PLAN), folds, tmp_path)

    alone = maps([odd, *others], [0, 1, 1, 2, 2])
    beside_its_copy = maps([odd, copy, *others], [0, 0, 1, 1, 2, 2])
    assert np.array_equal(alone[0], beside_its_copy[0])
    # The same copy in another fold would have spoken for it.
    assert maps([odd, copy, *others], [0, 1, 1, 1, 2, 2])[0].max() < 0.9 * alone[0].max()


def test_a_group_lies_in_one_fold_and_folds_are_of_one_size() -> None:
    groups = [f"board {n // 3}" for n in range(60)]
    folds = assign_folds(groups)
    assert len({*zip(groups, folds, strict=True)}) == 20
    assert np.bincount(folds).tolist() == [12] * 5
    assert set(assign_folds(["a", "b", "c"])) == {0, 1, 2}
    with pytest.raises(CallError, match="at least two groups"):
        assign_folds(["a", "a"])


def test_only_what_is_taken_for_normal_is_ranked(tmp_path: Path) -> None:
    pixels = board(0)
    images = [
        prepare(tmp_path, f"{split}-{label}.png", pixels, split=split, label=label)
        for split in Split
        for label in Label
    ]
    found = {(i.split, i.label) for i in taken_for_normal(images)}
    assert found == {(s, n) for s in Split if s != Split.TEST for n in (Label.NORMAL, Label.UNKNOWN)}


def test_an_image_that_is_gone_is_named_with_its_cure(tmp_path: Path) -> None:
    image = prepare(tmp_path, "a.png", board(0))
    (tmp_path / "a.png").unlink()
    suspect = Unlike(image, 2.0, torch.ones(3, 6).numpy(), 0.5)
    with pytest.raises(SourceError, match=r"a\.png is gone") as raised:
        show_suspects([suspect], tmp_path, 200)
    assert "dvc checkout" in raised.value.hint
