"""What is not a finite number is no verdict: not in a version's files, not in what its network gives."""

import base64
import io
import json
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from flows.runtime.champion import Loaded
from flows.serving.app import Served, Serving, make_app
from flows.serving.line import Line
from flows.serving.metrics import Metrics
from flows.serving.protocol import Limits
from flows.serving.scoring import Scorer
from pipelines.core.errors import ModelError, ScoreError
from pipelines.detector.detector import Detector
from pipelines.detector.version import read_drift_reference
from pipelines.inspection.inputs import find_images
from pipelines.inspection.inspect import inspect_images
from tests import tiny_version as tiny
from tests.flows.serving.doubles import hold

NAN, INF = float("nan"), float("inf")
JSON = {"Content-Type": "application/json"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "model"
    made.mkdir()
    return tiny.save_version(made)


@pytest.fixture
def spoilt(folder: Path) -> Detector:
    """A version without checksums, whose every weight is NaN."""
    tiny.spoil_weights(folder)
    return Detector(folder)


def board(level: int) -> Image.Image:
    return Image.fromarray(np.full((40, 50, 3), level, np.uint8))


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("image_divisor", NAN),
        ("image_divisor", 0),
        ("map_divisor", -1),
        ("map_divisor", INF),
        ("max_megapixels", NAN),
        ("usual_level", NAN),
        ("image_threshold.threshold", NAN),
        ("pixel_threshold.threshold", INF),
        ("image_threshold.rate", 1.5),
        ("image_threshold.asked", NAN),
        ("image_threshold.images", -1),
        ("score_rule.top_share", NAN),
        ("score_rule.border_share", 0.5),
        ("plan.tile_height", 0),
        ("plan.tile_width", 10**9),
        ("plan.scale", NAN),
        ("plan.mode", "grid"),  # without strides
        ("defects.low", NAN),
        ("references.0.peak", NAN),
        ("references.0.file", "../../secret.png"),
    ],
)
def test_a_version_s_numbers_are_finite_and_in_range(folder: Path, place: str, value: Any) -> None:
    *method, last = (int(step) if step.isdigit() else step for step in place.split("."))

    def change(values: Any) -> None:
        for step in method:
            values = values[step]
        values[last] = value

    tiny.rewrite(folder, change)
    with pytest.raises(ModelError, match="plan" if place == "plan.mode" else str(last)):
        Detector(folder)


def test_a_calibration_that_is_not_finite_is_none(folder: Path) -> None:
    tiny.rewrite(folder, lambda seen: seen["measures"].update(brightness_mean=[1.0, NAN]), "calibration.json")
    with pytest.raises(ModelError, match="brightness_mean"):
        read_drift_reference(folder)


def test_inspection_reports_a_score_that_is_not_finite_as_that_image_s_error(spoilt: Detector, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    board(200).save(tmp_path / "in/a.png")
    (found,) = inspect_images(spoilt, 1, find_images([tmp_path / "in"]), tmp_path / "out", tmp_path / "maps")
    assert (found.inspected.score, found.inspected.anomalous) == (None, None)
    assert "not finite" in (found.inspected.error or "")
    assert "not finite" in (found.observation.error or "")
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "maps").exists()


def test_evaluation_and_the_gate_stop_at_a_score_that_is_not_finite(spoilt: Detector) -> None:
    with pytest.raises(ScoreError, match="not finite"):
        spoilt.scan_region(np.full((40, 50, 3), 200, np.uint8))


def test_a_map_that_is_not_finite_where_its_score_is_none_of_it_is_an_error_too(folder: Path) -> None:
    weights = np.frombuffer((folder / "model.bin").read_bytes(), np.float32).copy()
    weights[weights.size - tiny.TILE * tiny.TILE] = np.nan  # the corner, which the border leaves out
    (folder / "model.bin").write_bytes(weights.tobytes())
    with pytest.raises(ScoreError, match="not finite"):
        Detector(folder).scan(np.full((tiny.TILE, tiny.TILE, 3), 200, np.uint8))


class _Forgets:
    def add(self, seen: list[Any]) -> None:
        self.seen = seen


def test_the_server_answers_500_in_json_and_records_the_error(spoilt: Detector) -> None:
    used, recorder, file = Loaded(1, "oak/1 (padim)", spoilt), _Forgets(), io.BytesIO()
    board(200).save(file, "PNG")
    body = json.dumps({"dataframe_records": [{"image": base64.b64encode(file.getvalue()).decode()}]})
    holder = hold("oak", used)
    keeps: Any = recorder
    line = Line(workers=1, waiting=1, held=2_000_000)
    served = {"oak": Served(holder, Scorer(holder, keeps, Lock()))}
    app = make_app(Serving(served, line, Limits(), Metrics()))
    with TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False) as client:
        answer = client.post("/invocations", content=body, headers=JSON)
    line.close()
    assert answer.status_code == 500
    assert "row 0: " in answer.json()["message"]
    assert "not finite" in answer.json()["message"]
    assert "not finite" in recorder.seen[0].error
