"""Evaluation on drawn boards against scikit-learn on whole images."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

from pipelines.core.geometry import Box, Defect
from pipelines.core.records import Label, Split
from pipelines.core.results import Evaluation
from pipelines.core.surface_settings import DefectSettings
from pipelines.data.prepared import PreparedImage
from pipelines.detector.scan import RegionScan, Wrap
from pipelines.detector.version import DriftReference
from pipelines.imaging.components import find_defects
from pipelines.training.evaluate import evaluate
from pipelines.training.run_settings import EvaluationSettings

HEIGHT, WIDTH = 40, 60
BOX = Box(6, 4, 50, 34)
# One block inside the region of interest, one across its upper edge, one wholly outside.
INSIDE, ACROSS, OUTSIDE = (slice(10, 18), slice(12, 20)), (slice(1, 9), slice(30, 34)), (slice(0, 3), slice(52, 58))
PIXEL = ("pixel_auroc", "pixel_ap", "aupro")


class Fake:
    """A detector whose map is the board's brightness in sixteen levels, and whose score is its mean."""

    def __init__(self, threshold: float = 1.0, folder: Path = Path("nowhere")) -> None:
        self.folder = folder
        self.info: Any = SimpleNamespace(
            image_threshold=SimpleNamespace(threshold=threshold), algorithm="fake", members=()
        )

    def scan_region(self, region: NDArray[np.uint8], wrap: Wrap | None, *, leave_out: bool) -> RegionScan:
        assert not leave_out, "it has no members"
        assert wrap is None
        found = (region[..., 0] / 128).astype(np.float32)
        return RegionScan(found, float(found.mean()))

    def find_regions(self, region_map: NDArray[np.float32], *, anomalous: bool) -> tuple[Defect, ...]:
        return find_defects(region_map, 0.9, DefectSettings(min_area=1)) if anomalous else ()

    def trim_regions(
        self, _map: NDArray[np.float32], defects: tuple[Defect, ...], *, anomalous: bool
    ) -> tuple[Defect, ...]:
        return defects if anomalous else ()

    def is_anomalous(self, score: float) -> bool:
        return score > float(self.info.image_threshold.threshold)


class Boards:
    """Prepared boards, with the whole images' maps and masks that an independent computation needs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.images: list[PreparedImage] = []
        self.maps: list[NDArray[np.float32]] = []
        self.types: list[NDArray[np.object_]] = []

    def add(self, label: Label, *defects: tuple[Any, str], split: Split = Split.TEST, **facts: Any) -> None:
        """Draw a board; each defect is a place and a type, numbered in the mask from 1 in this image's own order."""
        number = len(self.images)
        levels = np.random.default_rng(number).integers(0, 11, (HEIGHT, WIDTH)).astype(np.uint8)
        mask, types = np.zeros((HEIGHT, WIDTH), np.uint8), np.full((HEIGHT, WIDTH), "", object)
        for value, (place, kind) in enumerate(defects, 1):
            mask[place], types[place] = value, kind
            levels[place] += np.uint8(value + 1)
        file, mask_file = f"images/{number}.png", f"masks/{number}.png" if defects else None
        region = levels[BOX.top : BOX.bottom, BOX.left : BOX.right] * np.uint8(16)
        for name, pixels in ((file, np.stack([region] * 3, axis=-1)), (mask_file, mask)):
            if name:
                (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(self.folder / name)
        placed = np.zeros((HEIGHT, WIDTH), np.float32)
        placed[BOX.top : BOX.bottom, BOX.left : BOX.right] = region / np.float32(128)
        self.maps.append(placed)
        self.types.append(types)
        named: dict[str, Any] = {
            "defects": {value: name for value, (_, name) in enumerate(defects, 1)},
            "condition": None,
            "mask": mask_file,
            **facts,
        }
        self.images.append(
            PreparedImage.model_validate(
                {
                    "path": f"{number:02d}.png",
                    "file": file,
                    "split": split,
                    "label": label,
                    "group": "g",
                    "key": "k",
                    **BOX._asdict(),
                    "width": WIDTH,
                    "height": HEIGHT,
                    **named,
                }
            )
        )

    def evaluate(self, spool: Path, fake: Fake | None = None, resamples: int = 0) -> Evaluation:
        detector: Any = fake or Fake()
        return evaluate(detector, self.folder, self.images, EvaluationSettings(bootstrap=resamples), 0, spool / "maps")

    def pixels(self, defect: str | None = None) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
        """Return labels and scores of all pixels that count, from the images that do."""
        region = np.zeros((HEIGHT, WIDTH), bool)
        region[BOX.top : BOX.bottom, BOX.left : BOX.right] = True
        labels, scores = [], []
        for image, placed, types in zip(self.images, self.maps, self.types, strict=True):
            known = image.split == Split.TEST and (image.mask or image.label == Label.NORMAL)
            if not known or (defect and (types != "").any() and not (types == defect).any()):
                continue
            positive = types == defect if defect else types != ""
            counted = positive | (region & (types == ""))
            labels.append(positive[counted])
            scores.append(placed[counted])
        return np.concatenate(labels), np.concatenate(scores)

    def scores(self, *chosen: int) -> NDArray[np.float64]:
        inner = [self.maps[n][BOX.top : BOX.bottom, BOX.left : BOX.right] for n in chosen]
        return np.array([float(m.mean()) for m in inner])


@pytest.fixture
def boards(tmp_path: Path) -> Boards:
    """Draw 4 normal boards (0 to 3), 5 defective ones (4 to 8; the last without a mask) and one that is trained on."""
    made = Boards(tmp_path / "prepared")
    for number in range(4):
        made.add(Label.NORMAL, condition="left" if number % 2 else "right")
    made.add(Label.ANOMALOUS, (INSIDE, "crack"), condition="left")
    made.add(Label.ANOMALOUS, (ACROSS, "knot"), condition="right")
    made.add(Label.ANOMALOUS, (OUTSIDE, "knot"), (INSIDE, "crack"), condition="left")
    made.add(Label.ANOMALOUS, (INSIDE, "resin"), condition="right")
    made.add(Label.ANOMALOUS, (INSIDE, "crack"), condition="right", mask=None)
    made.add(Label.NORMAL, split=Split.TRAIN)
    return made


def values(found: dict[str, Any], *names: str) -> list[float]:
    return [found[name].value for name in names]


def test_metrics_equal_scikit_learn_on_whole_images(boards: Boards, tmp_path: Path) -> None:
    threshold = float(np.median(boards.scores(*range(9))))
    found = boards.evaluate(tmp_path, Fake(threshold))
    assert [i.path for i in found.images] == [f"{n:02d}.png" for n in range(9)], "only the test split is scored"
    labels, scores = np.arange(9) > 3, boards.scores(*range(9))
    assert [i.score for i in found.images] == pytest.approx(scores)
    assert [i.anomalous for i in found.images] == (scores > threshold).tolist()
    wanted = [roc_auc_score(labels, scores), average_precision_score(labels, scores)]
    assert values(found.metrics, "image_auroc", "image_ap") == pytest.approx(wanted)
    assert values(found.metrics, "image_f1") == pytest.approx([f1_score(labels, scores > threshold)])
    assert values(found.metrics, "false_positive_rate") == [np.mean(scores[:4] > threshold)]
    assert found.confusion is not None
    assert found.confusion.true_positive == ((scores > threshold) & labels).sum()
    target, pixels = boards.pixels()
    assert (pixels[target] == 0).any(), "a defect outside the region of interest must count with score 0"
    wanted = [roc_auc_score(target, pixels), average_precision_score(target, pixels)]
    assert values(found.metrics, "pixel_auroc", "pixel_ap") == pytest.approx(wanted, abs=1e-6)
    assert 0 < found.metrics["aupro"].value < 1


def test_recall_is_told_at_the_threshold_and_at_those_of_other_rates(boards: Boards, tmp_path: Path) -> None:
    """The calibration split's scores give the thresholds: of 200 images, that of 1 % leaves one above it."""
    defective = boards.scores(*range(4, 9))
    calibration = np.append(np.zeros(190), np.linspace(defective.min() * 0.99, defective.max() * 1.01, 10))
    (tmp_path / "calibration.json").write_text(DriftReference(scores=tuple(calibration)).model_dump_json())
    threshold = float(np.median(defective))
    found = boards.evaluate(tmp_path, Fake(threshold, tmp_path))
    levels = {"image_recall": threshold} | {
        f"image_recall_{r}": calibration[n] for r, n in ((1, 198), (2, 196), (5, 190))
    }
    for name, level in levels.items():
        assert found.metrics[name].value == np.mean(defective > level), name
    assert found.metrics["image_recall_5"].value == 1 > found.metrics["image_recall_1"].value
    assert found.per_defect["knot"]["image_recall"].value == np.mean(boards.scores(5, 6) > threshold)
    alone = boards.evaluate(tmp_path, Fake(threshold))
    assert {n for n in alone.metrics if "recall" in n} == {"image_recall"}, "without a calibration split there is one"


def test_a_type_is_told_by_its_name_where_images_number_it_differently(boards: Boards, tmp_path: Path) -> None:
    found = boards.evaluate(tmp_path)
    assert {i.defects[1] for i in boards.images if i.defects} == {"crack", "knot", "resin"}
    assert list(found.per_defect) == ["crack", "knot", "resin"]
    for name, holding in (("crack", [4, 6, 8]), ("knot", [5, 6]), ("resin", [7])):
        chosen = [0, 1, 2, 3, *holding]
        target, pixels = boards.pixels(name)
        wanted = [
            roc_auc_score(np.array(chosen) > 3, boards.scores(*chosen)),
            roc_auc_score(target, pixels),
            average_precision_score(target, pixels),
        ]
        assert values(found.per_defect[name], "image_auroc", "pixel_auroc", "pixel_ap") == pytest.approx(
            wanted, abs=1e-6
        )
        assert "false_positive_rate" not in found.per_defect[name]


def test_conditions_are_reported_apart(boards: Boards, tmp_path: Path) -> None:
    found = boards.evaluate(tmp_path)
    assert list(found.per_condition) == ["left", "right"]
    chosen = [1, 3, 4, 6]
    wanted = roc_auc_score([False, False, True, True], boards.scores(*chosen))
    assert found.per_condition["left"]["image_auroc"].value == pytest.approx(wanted)
    one = Boards(tmp_path / "one")
    one.add(Label.NORMAL, condition="left")
    assert one.evaluate(tmp_path / "b").per_condition == {}, "one condition only says what the whole says"


def test_the_region_maps_are_left_in_the_order_of_the_images(boards: Boards, tmp_path: Path) -> None:
    boards.images.reverse()
    found = boards.evaluate(tmp_path)
    for number, image in enumerate(found.images):
        wanted = boards.maps[int(image.path[:2])][BOX.top : BOX.bottom, BOX.left : BOX.right]
        assert np.array_equal(np.load(tmp_path / "maps" / f"{number}.npy"), wanted)


def test_intervals_hold_their_values_and_come_out_the_same_again(boards: Boards, tmp_path: Path) -> None:
    found = boards.evaluate(tmp_path, resamples=60)
    for name in ("image_auroc", *PIXEL):
        figure = found.metrics[name]
        assert figure.low is not None
        assert figure.high is not None
        assert figure.low <= figure.value <= figure.high
    assert found.metrics == boards.evaluate(tmp_path, resamples=60).metrics


def test_without_test_images_there_is_a_note_and_no_figure(tmp_path: Path) -> None:
    boards = Boards(tmp_path / "prepared")
    boards.add(Label.NORMAL, split=Split.TRAIN)
    found = boards.evaluate(tmp_path)
    assert (found.metrics, found.images, found.confusion) == ({}, (), None)
    assert "test split is empty" in found.notes[0]


def test_normal_images_alone_measure_false_alarms(tmp_path: Path) -> None:
    boards = Boards(tmp_path / "prepared")
    for _ in range(3):
        boards.add(Label.NORMAL)
    found = boards.evaluate(tmp_path, Fake(threshold=float(np.sort(boards.scores(0, 1, 2))[1])))
    assert found.metrics.keys() == {"false_positive_rate"}
    assert found.metrics["false_positive_rate"].value == pytest.approx(1 / 3)
    assert found.per_defect == {}
    assert found.notes == ("No defective test image: only false alarms can be measured.",)


def test_without_masks_pixel_metrics_are_absent(tmp_path: Path) -> None:
    boards = Boards(tmp_path / "prepared")
    for label in (Label.NORMAL, Label.NORMAL, Label.ANOMALOUS, Label.ANOMALOUS):
        boards.add(label, defects={1: "knot"} if label == Label.ANOMALOUS else {})
    found = boards.evaluate(tmp_path, resamples=10)
    assert not set(PIXEL) & found.metrics.keys()
    assert "image_auroc" in found.metrics
    assert found.per_defect.keys() == {"knot"}
    assert not set(PIXEL) & found.per_defect["knot"].keys()
    assert "No masks" in found.notes[0]


def test_defective_images_alone_without_masks_are_scored_all_the_same(tmp_path: Path) -> None:
    boards = Boards(tmp_path / "prepared")
    for _ in range(3):
        boards.add(Label.ANOMALOUS, defects={1: "knot"})
    found = boards.evaluate(tmp_path, resamples=10)
    assert len(found.images) == 3
    assert not (set(PIXEL) | {"image_auroc"}) & found.metrics.keys()
