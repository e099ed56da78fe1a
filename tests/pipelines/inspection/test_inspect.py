"""Inspection: which files are looked at, and what is left of each."""

import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from pipelines.core.errors import CallError, ImageError
from pipelines.core.geometry import Box
from pipelines.core.results import Inspected
from pipelines.core.surface_settings import DefectSettings
from pipelines.detector.detector import Scan
from pipelines.imaging.components import find_defects
from pipelines.inspection.batch import Terms, open_batch
from pipelines.inspection.exports import Exports
from pipelines.inspection.inputs import find_images
from pipelines.inspection.inspect import inspect_images
from pipelines.inspection.showcase import Showcase, draw_at_random


class Fake:
    """A detector whose map is the image's darkness, and whose score is its highest."""

    info = SimpleNamespace(pixel_threshold=SimpleNamespace(threshold=0.5), surface="oak", max_megapixels=200)

    def scan(self, image: NDArray[np.uint8]) -> Scan:
        if image.shape[1] < 20:
            raise ImageError("the region of interest holds no pixel", hint="correct region.box")
        found = (1 - image[..., 0].astype(np.float32) / 255).astype(np.float32)
        height, width = found.shape
        defects = find_defects(found, 0.5, DefectSettings())
        return Scan(found, float(found.max()), bool(found.max() > 0.9), Box(0, 0, width, height), defects)


def draw(path: Path, height: int = 40, width: int = 30, *, knot: bool = False, orientation: int = 1) -> Path:
    pixels = np.full((height, width, 3), 200, np.uint8)
    if knot:
        pixels[5:15, 5:12] = 10
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(path, exif=exif)
    return path


def inspect(paths: list[Path], out: Path | None, maps: Path | None) -> list[Inspected]:
    detector: Any = Fake()
    return [looked.inspected for looked in inspect_images(detector, 3, find_images(paths), out, maps)]


def test_a_map_and_a_picture_are_left_under_the_images_own_name(tmp_path: Path) -> None:
    draw(tmp_path / "in/line 1/board.a.png", knot=True)
    draw(tmp_path / "in/sound.tif", 50, 70)
    found = inspect([tmp_path / "in"], tmp_path / "out", tmp_path / "maps")
    assert [(r.anomalous, r.height, r.width, r.error) for r in found] == [(True, 40, 30, None), (False, 50, 70, None)]
    files = {p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.is_file()}
    assert files == {
        *("in/line 1/board.a.png", "maps/line 1/board.a.tiff", "out/line 1/board.a.jpg"),
        *("in/sound.tif", "maps/sound.tiff", "out/sound.jpg"),
    }
    assert found[0].map is not None
    stored = tifffile.imread(found[0].map)
    assert (stored.dtype, stored.shape) == (np.float32, (40, 30))
    assert np.array_equal(stored[5:15, 5:12], np.full((10, 7), 1 - np.float32(10) / 255, np.float32))
    assert found[0].score == pytest.approx(float(stored.max()))
    assert found[0].overlay is not None
    with Image.open(found[0].overlay) as picture:
        assert picture.format == "JPEG"
        assert picture.height == 40
        red, green, _ = np.asarray(picture).astype(int)[3:17, -30:].transpose(2, 0, 1)
    assert (red - green).max() > 80, "the defect is not outlined on the last panel"


def test_names_of_any_bytes_and_of_255_bytes_get_every_result(tmp_path: Path) -> None:
    latin = draw(tmp_path / "in" / os.fsdecode(b"Br\xfccke.png"), knot=True)
    long = [draw(tmp_path / "in" / f"{'ä' * 125}{end}.png", knot=True) for end in "b1"]
    history, table = tmp_path / "history", tmp_path / "all.parquet"
    results = Exports(coco=tmp_path / "c.json", csv=tmp_path / "d.csv", masks=tmp_path / "m", crops=tmp_path / "p")
    images = find_images([tmp_path / "in"])
    showcase = Showcase(0.5, draw_at_random([image.stem for image in images], 2))
    sinks = [*results.open("oak 3"), showcase]
    detector: Any = Fake()
    terms = Terms(surface="oak", version=3, results={})
    with open_batch(table, terms, images, history) as batch:
        for found in inspect_images(detector, 3, batch.left, tmp_path / "out", tmp_path / "maps", sinks):
            batch.add(found.inspected, found.observation)
        assert batch.finish(history).anomalous == 3
    paths = pd.read_parquet(table)["path"].tolist()
    assert paths == [str(tmp_path / "in" / r"Br\xfccke.png"), *sorted(map(str, long))]
    assert [len(list((tmp_path / name).iterdir())) for name in ("out", "maps", "m", "p")] == [3, 3, 3, 3]
    assert (tmp_path / "out" / r"Br\xfccke.jpg").is_file()
    assert latin.is_file()
    assert r"Br\xfccke.png" in {image["file_name"] for image in json.loads((tmp_path / "c.json").read_text())["images"]}
    assert len(showcase.shown()) == 3


def test_the_map_is_as_a_person_sees_the_image(tmp_path: Path) -> None:
    turned = draw(tmp_path / "turned.jpg", 40, 30, orientation=6)
    found = inspect([turned], None, tmp_path / "maps")[0]
    assert (found.height, found.width, found.overlay) == (30, 40, None)
    assert tifffile.imread(str(found.map)).shape == (30, 40)


def test_an_unreadable_file_is_reported_and_stops_nothing(tmp_path: Path) -> None:
    whole = draw(tmp_path / "in/b.png").read_bytes()
    (tmp_path / "in/a.png").write_bytes(whole[:60])
    (tmp_path / "in/c.png").write_bytes(b"")
    draw(tmp_path / "in/d.png", width=10)
    found = inspect([tmp_path / "in"], tmp_path / "out", tmp_path / "maps")
    assert [r.error is None for r in found] == [False, True, False, False]
    assert found[3].error == "the region of interest holds no pixel"
    assert found[2].error == "file is empty (0 bytes)"
    assert (found[0].score, found[0].anomalous, found[0].map, found[0].overlay) == (None, None, None, None)
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["b.jpg"]
    assert [p.name for p in (tmp_path / "maps").iterdir()] == ["b.tiff"]


def test_an_interrupted_map_leaves_no_half_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write_half(file: Any, *_: object, **__: object) -> None:
        with file.open("wb") if isinstance(file, Path) else file as target:
            target.write(b"II*")
        raise KeyboardInterrupt

    draw(tmp_path / "a.png")
    monkeypatch.setattr("pipelines.imaging.overlay.tifffile.imwrite", write_half)
    with pytest.raises(KeyboardInterrupt):
        inspect([tmp_path / "a.png"], None, tmp_path / "maps")
    assert not list(tmp_path.glob("maps/*"))


def test_no_result_is_written_over_an_image(tmp_path: Path) -> None:
    images = [draw(tmp_path / "in/b.jpg"), draw(tmp_path / "in/c.tiff")]
    before = [p.read_bytes() for p in images]
    for paths, out, maps in (
        (images, tmp_path / "in", None),
        ([tmp_path / "in"], tmp_path / "in", None),
        (images, None, tmp_path / "x/../in"),
    ):
        with pytest.raises(CallError, match="over an image"):
            inspect(paths, out, maps)
    assert [p.read_bytes() for p in images] == before


def test_the_history_gets_the_score_and_how_the_region_measures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw(tmp_path / "a.png", knot=True)
    (tmp_path / "b.png").touch()
    scan = Fake.scan
    monkeypatch.setattr(Fake, "scan", lambda self, p: scan(self, p)._replace(region=Box(0, 20, 30, 40)))
    detector: Any = Fake()
    found, unread = inspect_images(detector, 3, find_images([tmp_path]), None, None)
    seen = found.observation
    assert (seen.path, seen.version, seen.score) == (str(tmp_path / "a.png"), 3, found.inspected.score)
    assert (seen.brightness_mean, seen.brightness_std) == (200, 0), "the knot lies above the region"
    assert (unread.observation.error, unread.observation.brightness_mean) == ("file is empty (0 bytes)", None)
