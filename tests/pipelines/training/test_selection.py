from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from pipelines.core.records import Label, Split
from pipelines.data.prepared import PreparedImage
from pipelines.detector.scan import RegionScan
from pipelines.training.selection import score_selection


class Differences:
    """A detector that knows each normal region: its map is how far a region is from the flat grey that it was."""

    info = SimpleNamespace(algorithm="differences")
    network = None

    def scan_region(self, region: np.ndarray, network: object = None) -> RegionScan:  # noqa: ARG002 - a detector's
        found = np.abs(region.astype(np.float32) - 128).max(axis=2)
        return RegionScan(found, float(found.max()))


class Blind(Differences):
    def scan_region(self, region: np.ndarray, network: object = None) -> RegionScan:  # noqa: ARG002 - a detector's
        return RegionScan(np.ones(region.shape[:2], np.float32), 1.0)


def _prepare(folder: Path, split: Split, number: int, label: Label = Label.NORMAL) -> PreparedImage:
    file = f"{split}-{number}.png"
    Image.fromarray(np.full((64, 96, 3), 128, np.uint8)).save(folder / file)
    place = {"left": 0, "top": 0, "right": 96, "bottom": 64, "width": 96, "height": 64}
    facts = {"path": file, "file": file, "mask": None, "split": split, "label": label, "defects": {}}
    return PreparedImage.model_validate({**place, **facts, "condition": None, "group": file, "key": ""})


@pytest.fixture
def images(tmp_path: Path) -> list[PreparedImage]:
    return [_prepare(tmp_path, split, number) for split in Split for number in range(3)]


def test_a_detector_that_sees_changes_is_told_from_one_that_sees_nothing(
    tmp_path: Path, images: list[PreparedImage]
) -> None:
    seeing = score_selection(Differences(), tmp_path, images, 4, 0)  # type: ignore[arg-type] - a stand-in
    blind = score_selection(Blind(), tmp_path, images, 4, 0)  # type: ignore[arg-type] - a stand-in
    assert (seeing.images, seeing.synthetic) == (3, 12)
    assert seeing.metrics["image_auroc"] == 1
    assert seeing.metrics["pixel_auroc"] > 0.95
    assert blind.metrics["image_auroc"] == blind.metrics["pixel_auroc"] == 0.5


def test_only_normal_select_images_count_and_the_same_seed_adds_the_same(
    tmp_path: Path, images: list[PreparedImage]
) -> None:
    bad = _prepare(tmp_path, Split.VALIDATION, 9, Label.ANOMALOUS)
    first, again = (
        score_selection(Differences(), tmp_path, order, 2, 5)  # type: ignore[arg-type] - a stand-in
        for order in ([*images, bad], images[::-1])
    )
    assert first.metrics == again.metrics
    none = score_selection(Differences(), tmp_path, [bad], 2, 5)  # type: ignore[arg-type] - a stand-in
    assert (none.images, none.metrics) == (0, {})
