"""Typing from drawn examples to a named defect: the real network, exported."""

import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from pipelines.core.errors import SourceError
from pipelines.core.geometry import Box
from pipelines.core.records import TYPES, Label, Split
from pipelines.core.surface_settings import DefectSettings
from pipelines.core.wording import types_in_words
from pipelines.data.prepared import PreparedImage, read_region
from pipelines.data.type_examples import prepare_types, take_in_types
from pipelines.detector.type_head import FILE, load_head
from pipelines.detector.types import blank_regions, find_namer
from pipelines.imaging.components import find_defects
from pipelines.imaging.crops import cut_crop
from pipelines.training.types.examples import read_examples
from pipelines.training.types.train import name_types

SIDE = 96


def draw_wood(seed: int, kind: str, side: int = SIDE) -> NDArray[np.uint8]:
    """Draw a square of grain with a knot, a crack, or nothing in it."""
    random = np.random.default_rng(seed)
    grain = 160 + 20 * np.sin(np.linspace(0, 25 * side / SIDE, side) + random.uniform(0, 6))[:, None]
    pixels = (grain + random.normal(0, 6, (side, side)))[..., None] * np.array([1, 0.8, 0.6])
    pixels = np.ascontiguousarray(np.clip(pixels, 0, 255).astype(np.uint8))
    x, y = (int(v) for v in random.integers(35, 60, 2))
    if kind == "knot":
        cv2.circle(pixels, (x, y), 26, (70, 40, 25), -1)
    if kind == "crack":
        cv2.line(pixels, (x - 30, y + 30), (x + 30, y - 30), (15, 10, 5), 2)
    return pixels


@pytest.fixture(scope="module")
def crops(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's folder of crops, seven of each."""
    folder = tmp_path_factory.mktemp("crops")
    for number, kind in enumerate(("knot", "crack", "perfect")):
        (folder / kind).mkdir()
        for seed in range(7):
            Image.fromarray(draw_wood(100 * number + seed, kind)).save(folder / kind / f"{kind} {seed}.png")
    return folder


@pytest.fixture(scope="module")
def version(crops: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A version's folder with what names types."""
    root = tmp_path_factory.mktemp("version")
    assert take_in_types(crops, root / "kept", 10.0).examples == {"crack": 7, "knot": 7, "normal": 7}
    prepare_types(root / "kept", root / "prepared" / TYPES, 10.0)
    figures = name_types(root / "prepared", [], root, 100, 0)
    assert figures is not None
    assert figures.types == ("crack", "knot", "normal")
    assert figures.accuracy.value > 0.8
    return root


def test_a_region_gets_its_type_and_a_normal_one_leaves_the_map(version: Path) -> None:
    namer = find_namer(version)
    assert namer is not None
    image = np.concatenate([draw_wood(900, "knot"), draw_wood(901, "perfect"), draw_wood(902, "crack")], axis=1)
    scores = np.zeros(image.shape[:2], np.float32)
    for place in range(3):
        scores[15:80, SIDE * place + 15 : SIDE * place + 80] = 3 - 0.5 * place
    found = namer.sort(image, find_defects(scores, 1.0, DefectSettings()))
    assert [d.type for d in found.defects] == ["knot", "crack"]
    assert all(d.confidence is not None and 0.3 < d.confidence <= 1 for d in found.defects)
    assert [d.type for d in found.normal_regions] == ["normal"]
    left = blank_regions(scores, found.normal_regions)
    assert left[40, SIDE + 40] == 0
    assert (left[:, :SIDE] == scores[:, :SIDE]).all()


def test_a_knot_that_a_crack_touches_is_both_and_a_knot_alone_is_one(version: Path, tmp_path: Path) -> None:
    shutil.copytree(version / TYPES, tmp_path / TYPES)
    head = load_head(version / TYPES / FILE)
    # Seven drawings of each are too much alike for another one to be near any of them.
    replace(head, limits=head.limits.model_copy(update={"max_distance": 9.0})).save(tmp_path / TYPES / FILE)
    namer = find_namer(tmp_path)
    assert namer is not None
    image = draw_wood(910, "perfect", 300)
    scores = np.zeros(image.shape[:2], np.float32)
    for canvas, crack, knot in ((image, (15, 10, 5), (70, 40, 25)), (scores, 2.0, 1.9)):
        cv2.line(canvas, (88, 172), (152, 108), crack, 2)
        for place in ((80, 180), (240, 60)):
            cv2.circle(canvas, place, 14, knot, -1)
    both, alone = namer.sort(image, find_defects(scores, 1.0, DefectSettings())).defects
    assert {both.type, *both.also} == {"knot", "crack"}
    assert (alone.type, alone.also, alone.types) == ("knot", (), "knot")


def test_what_another_algorithm_of_the_run_learnt_is_taken_as_it_is(version: Path) -> None:
    head = version / TYPES / FILE
    learnt = head.stat().st_mtime_ns
    again = name_types(version / "prepared", [], version, 100, 0)
    assert again is not None
    assert again.types == ("crack", "knot", "normal")
    assert head.stat().st_mtime_ns == learnt


def test_a_surface_without_examples_names_nothing(tmp_path: Path) -> None:
    (tmp_path / "prepared").mkdir()
    assert name_types(tmp_path / "prepared", [], tmp_path, 0, 0) is None
    assert find_namer(tmp_path) is None


def paint_masked(folder: Path) -> list[PreparedImage]:
    """Write four test images with a mask of two types and four normal ones to train on; the region starts at 10."""
    images = []
    for number in range(8):
        normal = number >= 4
        image = draw_wood(number, "perfect" if normal else "knot")
        mask = np.zeros((SIDE + 10, SIDE + 10), np.uint8)  # the image is larger than its region of interest
        mask[10 + 5 : 10 + 15, 10 + 70 : 10 + 90] = 2
        mask[10 + 30 : 10 + 60, 10 + 30 : 10 + 60] = 1
        Image.fromarray(image).save(folder / f"{number}.png")
        Image.fromarray(mask).save(folder / f"m{number}.png")
        images.append(
            PreparedImage(
                path=f"{number}.png",
                file=f"{number}.png",
                mask=None if normal else f"m{number}.png",
                left=10,
                top=10,
                right=SIDE + 10,
                bottom=SIDE + 10,
                width=SIDE + 10,
                height=SIDE + 10,
                split=Split.TRAIN if normal else Split.TEST,
                label=Label.NORMAL if normal else Label.ANOMALOUS,
                defects={} if normal else {1: "knot", 2: "resin"},
                condition=None,
                group=f"g{number}",
                key="",
            )
        )
    return images


def test_masks_give_examples_by_their_value_with_normal_wood_beside(tmp_path: Path) -> None:
    images = paint_masked(tmp_path)
    found = read_examples(tmp_path, images, 0).kept
    kinds = [(e.type, e.group) for e in found]
    assert sorted(kinds[:8]) == sorted((kind, f"g{n}") for n in range(4) for kind in ("knot", "resin"))
    assert {kind for kind, _ in kinds[8:]} == {"normal"}
    assert {group for _, group in kinds[8:]} == {"g4", "g5", "g6", "g7"}
    few = read_examples(tmp_path, images[:2] + images[4:], 0)
    assert (few.kept, few.too_few) == ([], {"knot": 2, "resin": 2}), "two groups of a type cannot be held out"


def test_of_one_type_alone_nothing_is_learnt_which_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    images = [i.model_copy(update={"defects": {1: "defect"} if i.defects else {}}) for i in paint_masked(tmp_path)]
    with caplog.at_level("INFO"):
        for _ in ("padim", "fastflow"):
            assert name_types(tmp_path, images, tmp_path / "run", 0, 0) is None
    assert caplog.text.count("every example is of type 'defect'") == 1


def test_a_type_found_on_too_few_images_is_named(tmp_path: Path) -> None:
    images = paint_masked(tmp_path)
    for number in (1, 2):
        images[number] = images[number].model_copy(update={"defects": {1: "knot"}})
    figures = name_types(tmp_path, images, tmp_path / "run", 0, 0)
    assert figures is not None
    assert (figures.types, figures.too_few) == (("knot", "normal"), {"resin": 2})
    assert "resin 2" in types_in_words(figures)


def test_what_a_reviewer_rejected_on_a_training_normals_is_an_example_of_normal(tmp_path: Path) -> None:
    images = paint_masked(tmp_path)
    before = read_examples(tmp_path, images, 0).kept
    boxes = (Box(20, 20, 40, 40), Box(0, 0, 8, 8))  # the second lies outside the region of interest
    images[3], images[6] = (images[n].model_copy(update={"rejected": boxes}) for n in (3, 6))
    after = read_examples(tmp_path, images, 0).kept
    assert len(after) == len(before) + 1, "an image of the test split must teach nothing"
    expected = cut_crop(read_region(tmp_path, images[6]), Box(10, 10, 30, 30))
    assert [e.group for e in after if e.type == "normal" and np.array_equal(e.crop, expected)] == ["g6"]


def test_what_is_no_example_is_refused_before_anything_is_copied(crops: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    broken = tmp_path / "broken"
    for name in ("knot 0.png", "knot 1.png", "knot 2.png"):
        (broken / "knot").mkdir(parents=True, exist_ok=True)
        (broken / "knot" / name).write_bytes((crops / "knot" / name).read_bytes())
    (broken / "knot" / "knot 2.png").write_bytes(b"no picture")
    with pytest.raises(SourceError, match=r"knot 2\.png"):
        take_in_types(broken, kept, 10.0)
    (broken / "knot" / "knot 2.png").unlink()
    with pytest.raises(SourceError, match="2 crops, expected at least 3"):
        take_in_types(broken, kept, 10.0)
    assert not kept.exists()


def test_taking_in_again_copies_what_changed_and_prunes_on_demand(crops: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    assert take_in_types(crops, kept, 10.0).new == 21
    assert take_in_types(crops, kept, 10.0).new == 0
    Image.fromarray(draw_wood(1, "knot")).save(kept / "knot" / "mine.png")
    assert take_in_types(crops, kept, 10.0).examples["knot"] == 8
    assert take_in_types(crops, kept, 10.0, prune=True).removed == 1
