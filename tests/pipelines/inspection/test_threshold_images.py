"""Which calibration image a threshold rests on: told by name only where the version was calibrated on these images."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from pipelines.core.records import Precision
from pipelines.detector.version import DriftReference
from pipelines.inspection import threshold_images
from pipelines.inspection.threshold_images import name_calibration_scores, threshold_without
from tests.pipelines.inspection.test_suspects import prepare

STORED = (1.0, 4.0, 2.0)


@pytest.fixture
def images(tmp_path: Path) -> Any:
    return [
        prepare(tmp_path, f"{n}.png", np.full((8, 8, 3), n, np.uint8), split="calibration" if n < 3 else "train")
        for n in range(5)
    ]


def detector(monkeypatch: pytest.MonkeyPatch, gives: tuple[float, ...], stored: tuple[float, ...] = STORED) -> Any:
    """Score an image by its brightness, which is its number."""
    monkeypatch.setattr(threshold_images, "read_drift_reference", lambda _: DriftReference(scores=stored))
    return SimpleNamespace(
        folder=Path(),
        info=SimpleNamespace(precision=Precision.F32),
        scan_region=lambda region: SimpleNamespace(score=gives[int(region[0, 0, 0])]),
    )


def test_scores_get_the_names_of_the_split_they_were_made_of(
    tmp_path: Path, images: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = name_calibration_scores(detector(monkeypatch, STORED), tmp_path, images)
    assert found == {"0.png": 1.0, "1.png": 4.0, "2.png": 2.0}


@pytest.mark.parametrize(("gives", "stored"), [((1.0, 2.0, 4.0), STORED), (STORED, STORED[:2]), (STORED, ())])
def test_no_name_is_given_where_the_version_saw_other_images(
    tmp_path: Path, images: Any, monkeypatch: pytest.MonkeyPatch, gives: tuple[float, ...], stored: tuple[float, ...]
) -> None:
    assert name_calibration_scores(detector(monkeypatch, gives, stored), tmp_path, images) == {}


def test_only_a_score_that_the_threshold_rests_on_lowers_it() -> None:
    scores = {f"{n}": float(n) for n in range(200)}
    # The 199th of 200: what lies at it or above lowers it, what lies below does not.
    assert [threshold_without(scores, name, 0.01) for name in ("199", "198", "197", "absent")] == [
        197.0,
        197.0,
        None,
        None,
    ]
