"""What is said where a split is too small: which, how many it has, and how many more would help."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipelines.core.records import Label, Layout, SourceRow, Split
from pipelines.core.results import SplitSize, ValidationReport
from pipelines.core.surface_settings import SourceSettings, SplitSettings, SurfaceSettings
from pipelines.data.manifest import assign_groups, assign_splits, measure_rows
from pipelines.data.splits.warnings import warn_of_small_splits
from pipelines.data.validate import validate

# Raised while great_expectations is imported, by modules of the standard library that it uses.
pytestmark = pytest.mark.filterwarnings("ignore:module 'sre_:DeprecationWarning")

OWN = SurfaceSettings(source=SourceSettings(layout=Layout.FOLDER))


def judged(folder: Path, labels: list[str], split: SplitSettings | None = None) -> ValidationReport:
    """Judge drawn boards of these labels as the stage does."""
    settings = OWN.model_copy(update={"split": split or SplitSettings()})
    for number in range(len(labels)):
        grain = np.random.default_rng(number).normal(150, 20, (48, 64, 3))
        Image.fromarray(grain.clip(0, 255).astype(np.uint8)).save(folder / f"{number:02}.png")
    rows = [SourceRow(path=f"{number:02}.png", label=Label(label)) for number, label in enumerate(labels)]
    frame = assign_groups(measure_rows(rows, folder, settings.validation).assign(arrival=1), 0)
    return validate(assign_splits(frame, settings.split), settings, None)


def test_each_small_split_is_named_with_its_count_and_what_helps(tmp_path: Path) -> None:
    verdict = judged(tmp_path, ["normal"] * 45 + ["anomalous"] * 3)
    assert [verdict.splits[split].images for split in Split] == [18, 6, 12, 9]
    assert warn_of_small_splits(verdict, 0.01, SplitSettings()).warnings == (
        "the train split has 18 normal images: fewer than 30 are little to learn from",
        "the validation split has 6 normal images: fewer than 10 are little to choose by",
        "the calibration split has 12 normal images: a false-positive rate of 1 % takes 99",
        "the test split has 9 normal images: fewer than 15 say little of the false-positive rate",
        "about 30 more normal images would do for train, validation and test; 339 for calibration",
    )
    *_, calibration, _, more = warn_of_small_splits(verdict, 0.05, SplitSettings()).warnings
    assert "a false-positive rate of 5 % takes 19" in calibration
    assert more == "about 28 more normal images would do for calibration; 30 for train, validation and test"


def test_as_many_more_as_the_warnings_say_are_enough(tmp_path: Path) -> None:
    verdict = judged(tmp_path, ["normal"] * (45 + 30))
    assert warn_of_small_splits(verdict, 0.05, SplitSettings()) == verdict


def test_images_without_labels_and_splits_without_a_share_are_not_warned_of(tmp_path: Path) -> None:
    (tmp_path / "u").mkdir()
    assert judged(tmp_path / "u", ["unknown"] * 6 + ["normal"] * 2).splits == {}
    found = judged(tmp_path, ["normal"] * 6, SplitSettings(validation=0)).splits
    assert set(found) == {Split.TRAIN, Split.CALIBRATION, Split.TEST}


@pytest.mark.parametrize(("rate", "images", "small"), [(0.01, 98, True), (0.01, 99, False), (0.05, 19, False)])
def test_the_number_that_a_rate_takes_is_the_conformal_one(rate: float, images: int, small: bool) -> None:
    report = ValidationReport(
        accepted=True, images=400, usable=400, splits={Split.CALIBRATION: SplitSize(images=images, share=0.245)}
    )
    assert bool(warn_of_small_splits(report, rate, SplitSettings()).warnings) == small
