"""What a megapixel takes, by a clock of its own: on a busy machine more time passes than is worked."""

from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from pipelines.data.prepared import PreparedImage
from pipelines.detector.detector import Detector
from pipelines.training.ensemble.latency import measure_latency

HEIGHT, WIDTH = 400, 500  # a fifth of a megapixel


class Clock:
    """Time that passes, and time that is worked, where a detector says so."""

    def __init__(self) -> None:
        self.passed, self.worked = 0.0, 0.0

    def perf_counter(self) -> float:
        return self.passed

    def process_time(self) -> float:
        return self.worked


@pytest.mark.parametrize(
    ("passed", "worked", "found"),
    [(0.1, 0.19, 500), (4.0, 0.19, 950)],
    ids=["two cores that nobody else needs", "a busy machine"],
)
def test_waiting_for_a_processor_is_no_latency(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, passed: float, worked: float, found: float
) -> None:
    clock = Clock()
    monkeypatch.setattr("pipelines.training.ensemble.latency.time", clock)

    class Worker:
        def scan_region(self, region: NDArray[np.uint8]) -> None:
            assert region.shape == (HEIGHT, WIDTH, 3)
            clock.passed += passed
            clock.worked += worked

    Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / "a.png")
    facts: dict[str, Any] = {"split": "test", "label": "normal", "mask": None, "defects": {}, "condition": None}
    place = {"left": 0, "top": 0, "right": WIDTH, "bottom": HEIGHT, "width": WIDTH, "height": HEIGHT}
    image = PreparedImage.model_validate({"path": "a", "file": "a.png", "key": "k", "group": "g", **facts, **place})
    assert measure_latency(cast("Detector", Worker()), tmp_path, [image]) == pytest.approx(found)
