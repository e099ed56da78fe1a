from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from pipelines.core.records import Label, Split
from pipelines.data.prepared import PreparedImage
from pipelines.detector.scan import RegionScan
from pipelines.training.choosing.selection import score_selection


class Differences:
    """A detector that knows each normal region: its map is how far a region is from the flat grey that it was."""

    info = SimpleNamespace(algorithm="differences", image_threshold=SimpleNamespace(threshold=10), members=())
    network = None

    def is_anomalous(self, score: float) -> bool:
        return score > self.info.image_threshold.threshold

    def scan_region(self, region: np.ndarray, wrap: object = None, **_: bool) -> RegionScan:  # noqa: ARG002 - a detector's
        found = np.abs(region.astype(np.float32) - 128).max(axis=2)
        return RegionScan(found, float(found.max()))


class Blind(Differences):
    def scan_region(self, region: np.ndarray, wrap: object = None, **_: bool) -> RegionScan:  # noqa: ARG002 - a detector's
        return RegionScan(np.ones(region.shape[:2], np.float32), 1.0)


def _prepare(
    folder: Path, split: Split, number: int, label: Label = Label.NORMAL, stain: int = 0, mask: str | None = None
) -> PreparedImage:
    """Write a flat grey image, with a stain of that brightness more where there is one."""
    file = f"{split}-{number}.png"
    pixels = np.full((64, 96, 3), 128, np.uint8)
    pixels[10:30, 20:50] += np.uint8(stain)
    Image.fromarray(pixels).save(folder / file)
    place = {"left": 0, "top": 0, "right": 96, "bottom": 64, "width": 96, "height": 64}
    defects = {1: "stain"} if mask else {}
    facts = {"path": file, "file": file, "mask": mask, "split": split, "label": label, "defects": defects}
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


def test_labelled_anomalies_are_set_against_the_normal_images_alone(
    tmp_path: Path, images: list[PreparedImage]
) -> None:
    drawn = np.zeros((64, 96), np.uint8)
    drawn[10:30, 20:50] = 1
    Image.fromarray(drawn).save(tmp_path / "mask.png")
    bad = [_prepare(tmp_path, Split.VALIDATION, 10 + n, Label.ANOMALOUS, 8 + n, "mask.png") for n in range(6)]
    tested = [_prepare(tmp_path, Split.TEST, 10 + n, Label.ANOMALOUS) for n in range(4)]
    unlabelled = _prepare(tmp_path, Split.VALIDATION, 20, Label.UNKNOWN, 90)
    plain = score_selection(Differences(), tmp_path, images, 2, 5)  # type: ignore[arg-type] - a stand-in
    found = score_selection(
        *(Differences(), tmp_path, [*images, *bad, *tested], 2, 5),  # type: ignore[arg-type] - a stand-in
        resamples=50,
    )
    assert (found.images, found.synthetic, found.labelled) == (3, 6, 6)
    assert (found.metrics, found.scores) == (plain.metrics, plain.scores), "an anomaly was taken for a normal image"
    figures = found.labelled_metrics
    assert {"image_auroc", "image_ap", "image_recall", "pixel_auroc", "pixel_ap", "aupro"} == set(figures)
    assert figures["image_auroc"].model_dump() == {"value": 1, "low": 1, "high": 1}
    assert figures["image_recall"].value == 0.5, "of stains of 8 to 13 grey levels three lie above 10"
    # Without synthetic ones they are scored all the same, and nobody's word makes no normal image.
    alone = score_selection(
        *(Differences(), tmp_path, [*images, *bad, unlabelled], 0, 5),  # type: ignore[arg-type] - a stand-in
        resamples=50,
    )
    assert (alone.synthetic, alone.metrics, alone.labelled_metrics) == (0, {}, figures)
    for some in ([*images, unlabelled], bad):
        none = score_selection(Differences(), tmp_path, some, 0, 5)  # type: ignore[arg-type] - a stand-in
        assert none.labelled_metrics == {}
