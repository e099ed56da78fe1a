"""A knot that a crack touches: one region, of a body and an appendage."""

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from pipelines.core.geometry import Box, Defect
from pipelines.core.surface_settings import DefectSettings
from pipelines.imaging.appendages import find_appendages
from pipelines.imaging.components import find_defects

Pixels = NDArray[np.uint8]


def region_of(pixels: Pixels, corner: tuple[int, int] = (0, 0)) -> Defect:
    (defect,) = find_defects(pixels.astype(np.float32), 0.5, DefectSettings(), corner)
    return defect


@pytest.fixture
def blank() -> Pixels:
    return np.zeros((200, 300), np.uint8)


def test_a_crack_that_runs_out_of_a_knot_is_an_appendage(blank: Pixels) -> None:
    cv2.circle(blank, (80, 100), 20, 1, -1)
    cv2.line(blank, (80, 100), (220, 130), 1, 3)
    body, appendage = find_appendages(region_of(blank))
    for found, expected in ((body, Box(60, 80, 101, 121)), (appendage, Box(101, 103, 222, 132))):
        assert np.abs(np.subtract(found, expected)).max() <= 3
    moved = find_appendages(region_of(blank, (1000, 500)))
    assert moved[0] == Box(body.left + 1000, body.top + 500, body.right + 1000, body.bottom + 500)


def test_a_crack_through_a_knot_is_two_appendages(blank: Pixels) -> None:
    cv2.ellipse(blank, (150, 100), (40, 18), 30, 0, 360, 1, -1)
    cv2.line(blank, (30, 100), (280, 100), 1, 4)
    assert len(find_appendages(region_of(blank))) == 3


@pytest.mark.parametrize("angle", [0, 15, 45, 80])
def test_a_knot_alone_and_a_crack_alone_have_none(blank: Pixels, angle: int) -> None:
    knot, crack = blank.copy(), blank.copy()
    cv2.ellipse(knot, (150, 100), (60, 25), angle, 0, 360, 1, -1)
    cv2.ellipse(crack, (150, 100), (90, 3), angle, 0, 360, 1, -1)
    assert find_appendages(region_of(knot)) == ()
    assert find_appendages(region_of(crack)) == ()


def test_a_ragged_rim_is_no_appendage(blank: Pixels) -> None:
    random = np.random.default_rng(0)
    y, x = np.mgrid[:200, :300]
    rough = cv2.GaussianBlur(random.normal(0, 1, blank.shape).astype(np.float32), (0, 0), 3) * 40
    blank[np.hypot(x - 150, y - 100) + rough < 50] = 1
    whole = cv2.connectedComponentsWithStats(blank)[1]
    assert find_appendages(region_of((whole == whole[100, 150]).astype(np.uint8))) == ()
