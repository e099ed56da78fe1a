"""What a line says of an image, and of one that shows too little."""

import io
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from flows.line.eye import Eye, draw_picture
from flows.line.verdict import Answer
from flows.runtime.champion import Loaded
from pipelines.core.errors import ImageError
from pipelines.detector.detector import Detector
from tests.tiny_version import save_version


@pytest.fixture
def used(tmp_path: Path) -> Loaded:
    """White is anomalous; the calibration split had a brightness of 100."""
    return Loaded(version=3, name="oak/3 (padim)", detector=Detector(save_version(tmp_path)))


def png(level: int, size: int = 40) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.full((size, size, 3), level, np.uint8)).save(file, "png")
    return file.getvalue()


def test_good_anomalous_and_too_dark_are_told_apart(used: Loaded) -> None:
    eye = Eye("oak", 10)
    good, bad, dark = (eye.judge(used, png(level), f"{level}.png", time.monotonic()) for level in (90, 250, 40))
    assert [s.verdict.verdict for s in (good, bad, dark)] == [Answer.GOOD, Answer.ANOMALOUS, Answer.UNINSPECTABLE]
    assert (bad.verdict.version, bad.verdict.model, len(bad.verdict.defects)) == (3, "oak/3 (padim)", 1)
    assert dark.verdict.reason == "too dark: brightness 40, at least 50 is needed"
    assert (dark.verdict.score, dark.observation.error) == (None, dark.verdict.reason)
    assert good.observation.score == good.verdict.score
    assert draw_picture(dark) is None
    assert (draw_picture(bad) or b"").startswith(b"\xff\xd8")


def test_a_picture_that_stands_still_is_a_fault(used: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("flows.line.eye.time.monotonic", lambda: now[0])
    eye, found = Eye("oak", 10), []
    for seconds in (0, 5, 9, 11, 12):
        now[0] = 100.0 + seconds
        found.append(eye.judge(used, png(90), "a.png", now[0]).verdict.verdict)
    assert found == [Answer.GOOD] * 3 + [Answer.UNINSPECTABLE] * 2
    assert eye.judge(used, png(91), "b.png", now[0]).verdict.verdict == Answer.GOOD
    assert Eye("oak", 0).judge(used, png(90), "a.png", now[0]).verdict.verdict == Answer.GOOD


def test_bytes_that_are_no_image_may_not_be_whole_yet(used: Loaded) -> None:
    with pytest.raises(ImageError):
        Eye("oak", 10).judge(used, png(90)[:60], "half.png", time.monotonic())
