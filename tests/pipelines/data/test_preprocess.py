"""Prepared images: the same bytes whichever way they came about, and nothing half written."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from PIL import Image

from pipelines.core.errors import GateError, ToolError
from pipelines.core.records import Label, Layout, Split
from pipelines.core.results import Quarantined, ValidationReport
from pipelines.core.surface_settings import RegionSettings, SplitSettings, ValidationSettings
from pipelines.data.layouts import read_source
from pipelines.data.manifest import assign_groups, assign_splits, measure_rows
from pipelines.data.prepared import PreparedImage, read_index, read_mask, read_region
from pipelines.data.preprocess import Preprocessed, preprocess

REGION = RegionSettings(rule="box", box=(4, 2, 40, 30))
WHOLE = RegionSettings(rule="none")
WIDTH, HEIGHT = 48, 32


def draw(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)).save(path)


def draw_mask(path: Path, *values: int) -> NDArray[np.uint8]:
    """Set one corner block of the mask for each value, beginning at the upper left."""
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    for number, value in enumerate(values):
        mask[4 * number : 4 * number + 3, 6 * number : 6 * number + 5] = value
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(mask).save(path)
    return mask


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    for number in range(6):
        draw(folder / f"good/{number}.png", number)
    draw(folder / "bad/dent/d 1.png", 50)
    draw(folder / "bad/dent/d 2.png", 51)
    draw_mask(folder / "masks/dent/d 1.png", 255)
    return folder


def manifest(source: Path, layout: Layout = Layout.FOLDER) -> pd.DataFrame:
    frame = measure_rows(read_source(layout, source), source, ValidationSettings())
    return assign_splits(assign_groups(frame, 0), SplitSettings())


def accept(frame: pd.DataFrame, **left_out: tuple[Quarantined, ...]) -> ValidationReport:
    return ValidationReport.model_validate({"accepted": True, "images": len(frame), "usable": len(frame), **left_out})


def run(source: Path, out: Path, region: RegionSettings = REGION, layout: Layout = Layout.FOLDER) -> Preprocessed:
    frame = manifest(source, layout)
    return preprocess(frame, accept(frame), source, region, 1.0, out)


def tree(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def by_path(out: Path) -> dict[str, PreparedImage]:
    return {image.path: image for image in read_index(out)}


def change_everything(source: Path) -> None:
    """Add, remove and change images, masks and labels."""
    draw(source / "good/new.png", 70)
    draw(source / "good/1.png", 71)
    (source / "good/0.png").unlink()
    (source / "good/2.png").rename(source / "bad/2.png")
    draw_mask(source / "masks/dent/d 1.png", 0, 255)
    draw_mask(source / "masks/dent/d 2.png", 255)


def test_an_update_equals_a_clean_run_byte_for_byte(source: Path, tmp_path: Path) -> None:
    out, clean = tmp_path / "out", tmp_path / "clean"
    assert run(source, out).prepared == 8
    untouched = (out / "images/good/3.png.png").stat().st_mtime_ns
    change_everything(source)
    updated = run(source, out)
    run(source, clean)
    assert tree(out) == tree(clean)
    assert (out / "images/good/3.png.png").stat().st_mtime_ns == untouched
    # New, changed, moved, and two with another mask; removed are the old places of the moved and the deleted one.
    assert (updated.images, updated.prepared, updated.removed) == (8, 5, 2)
    again = run(source, out)
    assert (again.prepared, again.removed) == (0, 0)
    run(source, out, WHOLE)
    assert by_path(out)["good/3.png"].box == (0, 0, WIDTH, HEIGHT)


def test_another_split_is_taken_over_without_preparing_again(source: Path, tmp_path: Path) -> None:
    out, clean = tmp_path / "out", tmp_path / "clean"
    run(source, out)
    frame = manifest(source).assign(split=Split.VALIDATION.value, condition="line 2")
    again = preprocess(frame, accept(frame), source, REGION, 1.0, out)
    preprocess(frame, accept(frame), source, REGION, 1.0, clean)
    assert tree(out) == tree(clean)
    assert again.prepared == 0
    assert {image.split for image in read_index(out)} == {Split.VALIDATION}


def test_what_nobody_names_or_somebody_deleted_is_put_right(source: Path, tmp_path: Path) -> None:
    out, clean = tmp_path / "out", tmp_path / "clean"
    run(source, out)
    (out / "images/good/stray.png").write_bytes(b"stray")
    (out / "images/good/3.png.png").unlink()
    (out / "masks/bad/dent/d 1.png.png").unlink()
    mended = run(source, out)
    run(source, clean)
    assert tree(out) == tree(clean)
    assert (mended.prepared, mended.removed) == (2, 1)


def test_the_region_is_cut_and_the_mask_keeps_the_images_size(source: Path, tmp_path: Path) -> None:
    run(source, tmp_path / "out")
    image = by_path(tmp_path / "out")["bad/dent/d 1.png"]
    assert (image.box, image.width, image.height) == ((4, 2, 40, 30), WIDTH, HEIGHT)
    assert (image.label, image.split, image.defects) == (Label.ANOMALOUS, Split.TEST, {1: "dent"})
    with Image.open(source / "bad/dent/d 1.png") as file:
        assert np.array_equal(read_region(tmp_path / "out", image), np.asarray(file)[2:30, 4:40])
    binary = read_mask(tmp_path / "out", image)
    assert np.array_equal(binary, draw_mask(tmp_path / "same.png", 1)), "a binary mask is 1 where the file is 255"
    plain = by_path(tmp_path / "out")["good/3.png"]
    assert plain.mask is None
    assert read_mask(tmp_path / "out", plain).shape == (HEIGHT, WIDTH)


def test_a_typed_mask_keeps_its_values(tmp_path: Path) -> None:
    source = tmp_path / "vsb"
    draw(source / "images/a.png", 1)
    draw(source / "images/b.png", 2)
    wanted = draw_mask(source / "masks/a.png", 5, 2)
    (source / "labels.csv").write_text("image,mask,location,defects\na.png,a.png,3,2 5\nb.png,,4,\n")
    run(source, tmp_path / "out", layout=Layout.VSB)
    image = by_path(tmp_path / "out")["images/a.png"]
    assert image.defects == {2: "dead knot", 5: "resin"}
    assert image.condition == "3"
    assert np.array_equal(read_mask(tmp_path / "out", image), wanted)


@pytest.mark.parametrize("orientation", [6, 7])
def test_a_mask_in_the_stored_size_is_turned_with_its_image(source: Path, tmp_path: Path, orientation: int) -> None:
    stored = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    stored[draw_mask(source / "masks/turned.png", 255, 255) > 0] = 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(stored).save(source / "bad/turned.png", exif=exif)
    run(source, tmp_path / "out", WHOLE)
    image = by_path(tmp_path / "out")["bad/turned.png"]
    assert (image.height, image.width) == (WIDTH, HEIGHT)
    region = read_region(tmp_path / "out", image)
    assert region.any()
    assert np.array_equal(read_mask(tmp_path / "out", image) > 0, region[..., 0] > 0)


def test_quarantined_and_duplicate_images_are_left_out(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(source, out)
    shutil.copy2(source / "good/3.png", source / "good/3 copy.png")
    (source / "good/4.png").write_bytes(b"no photograph")
    frame = manifest(source)
    verdict = accept(
        frame,
        quarantined=(Quarantined(path="good/4.png", reason="not an image"),),
        duplicates=(Quarantined(path="good/3 copy.png", reason="copy of good/3.png"),),
    )
    done = preprocess(frame, verdict, source, REGION, 1.0, out)
    assert (done.images, done.prepared, done.removed) == (7, 0, 1)
    assert not {"good/4.png", "good/3 copy.png"} & set(by_path(out))
    assert not (out / "images/good/4.png.png").exists()


def test_a_bad_verdict_stops_before_anything_is_written(source: Path, tmp_path: Path) -> None:
    bad = ValidationReport(accepted=False, images=8, usable=1, reasons=("7 of 8 images are bad",))
    with pytest.raises(GateError, match="7 of 8 images are bad"):
        preprocess(manifest(source), bad, source, REGION, 1.0, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with pytest.raises(ToolError, match="no prepared images"):
        read_index(tmp_path / "out")


def die_at(write: int) -> Callable[..., int]:
    """Make a stand-in for Path.write_bytes whose `write`-th file gets half, then the process is interrupted."""
    count = iter(range(1, 1000))
    real = Path.write_bytes

    def write_bytes(path: Path, data: bytes) -> int:
        if next(count) != write:
            return real(path, data)
        real(path, data[: len(data) // 2])
        raise KeyboardInterrupt

    return write_bytes


@pytest.mark.parametrize("write", [1, 2, 5, 8, 9])
def test_an_interrupted_run_leaves_no_half_file_and_no_false_index(
    source: Path, tmp_path: Path, write: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, clean, before = tmp_path / "out", tmp_path / "clean", tmp_path / "before"
    run(source, out)
    shutil.copytree(source, before)
    wanted = tree(out)
    change_everything(source)
    with monkeypatch.context() as patch:
        patch.setattr("pipelines.core.files.Path.write_bytes", die_at(write))
        with pytest.raises(KeyboardInterrupt):
            run(source, out)
    assert all((out / image.file).is_file() for image in read_index(out)), "the index names a file that is lost"
    left = [p for p in out.rglob("*") if p.is_file() and p.name != "index.csv"]
    assert all(p.suffix == ".png" and not p.name.startswith(".") for p in left)
    for path in left:
        with Image.open(path) as file:
            file.load()
    shutil.rmtree(source)
    shutil.copytree(before, source)
    run(source, out)
    assert tree(out) == wanted, "after the change was taken back, files of the interrupted run were taken for the old"
    change_everything(source)
    run(source, out)
    run(source, clean)
    assert tree(out) == tree(clean)
