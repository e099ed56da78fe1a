"""Boards drawn on a dark conveyor, with what real ones bring: tilt, knots at the rim, dust, dark wood, ends."""

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from pipelines.core.errors import ImageError
from pipelines.core.geometry import Box
from pipelines.core.surface_settings import RegionSettings
from pipelines.imaging.decoding import decode_image
from pipelines.imaging.roi import find_region
from tests.conftest import REAL as DATA

AUTO = RegionSettings()


def _conveyor(height: int = 112, width: int = 306) -> NDArray[np.uint8]:
    """Draw dark rubber with bright dust, the brightest at the very rim."""
    rng = np.random.default_rng(0)
    scene = rng.normal(22, 3, (height, width, 3))
    for y, x in rng.integers([0, 0], [height, width], (12, 2)):
        scene[y : y + 3, x : x + 3] = 120
    return scene.clip(0, 255).astype(np.uint8)


def _with_board(scene: NDArray[np.uint8], corners: list[list[int]], wood: int = 200) -> NDArray[np.uint8]:
    """Lay a board, four corners (x, y), with grain along y and a knot that touches its left edge."""
    height, width = scene.shape[:2]
    grain = wood + 15 * np.sin(np.arange(width) / 3)[None, :, None] * np.ones((height, 1, 1))
    board = (grain * [1.0, 0.85, 0.6]).clip(0, 255).astype(np.uint8)
    cv2.circle(board, (corners[0][0] + 2, height // 2), 9, (50, 35, 20), -1)
    shape = np.zeros((height, width), np.uint8)
    cv2.fillPoly(shape, [np.array(corners, np.int32)], 1)
    return np.where(shape[..., None] > 0, board, scene)


def _dark_share_at_rim(picture: NDArray[np.uint8], box: Box) -> float:
    inside = picture.max(axis=2)[box.top : box.bottom, box.left : box.right]
    return max(float(np.mean(line < 45)) for line in (inside[:, 0], inside[:, -1], inside[0], inside[-1]))


@pytest.mark.parametrize(
    "corners",
    [
        [[20, 0], [285, 0], [285, 112], [20, 112]],
        [[18, 0], [283, 0], [288, 112], [23, 112]],
        [[20, 0], [285, 0], [285, 60], [20, 64]],
        [[20, 40], [285, 36], [285, 112], [20, 112]],
    ],
    ids=["straight", "tilted", "end below", "end above"],
)
def test_conveyor_goes_and_the_board_stays(corners: list[list[int]]) -> None:
    picture = _with_board(_conveyor(), corners)
    box = find_region(picture, AUTO)
    # The knot at the edge darkens a fifth of one side; conveyor would darken all of it.
    assert _dark_share_at_rim(picture, box) < 0.25
    x, y = zip(*corners, strict=True)
    assert box.width >= max(x) - min(x) - 20
    assert box.height >= max(y) - min(y) - 14
    assert box == find_region(picture, AUTO)


def test_large_image_is_cut_on_the_same_lines() -> None:
    picture = cv2.resize(_with_board(_conveyor(), [[20, 0], [285, 0], [285, 112], [20, 112]]), None, fx=8, fy=8)
    box = find_region(picture, AUTO)
    assert 20 * 8 <= box.left <= 20 * 8 + 40
    assert 286 * 8 - 48 <= box.right <= 286 * 8
    assert (box.top, box.bottom) == (0, 112 * 8)


def _vignette() -> NDArray[np.uint8]:
    x = np.linspace(-1, 1, 306)
    return np.repeat((30 + 180 * np.exp(-4 * x**2))[None, :, None].repeat(112, 0), 3, axis=2).astype(np.uint8)


def _stained() -> NDArray[np.uint8]:
    """Draw a board whose left fifth is dark wood, and a narrow black bevel along the top alone."""
    board = _with_board(np.zeros((112, 306, 3), np.uint8), [[0, 0], [306, 0], [306, 112], [0, 112]])
    board[:, :60] //= 3
    board[:5] = 10
    return board


@pytest.mark.parametrize(
    "picture",
    [
        _vignette(),
        _stained(),
        np.zeros((64, 64, 3), np.uint8),
        np.full((64, 64, 3), 255, np.uint8),
        np.full((1, 3000, 3), 90, np.uint8),
        _with_board(_conveyor(), [[20, 0], [285, 0], [285, 112], [20, 112]], wood=60),
    ],
    ids=["vignette", "stained", "black", "white", "one line", "dark wood on dark"],
)
def test_nothing_is_cut_where_it_is_not_clear(picture: NDArray[np.uint8]) -> None:
    assert find_region(picture, AUTO) == Box(0, 0, picture.shape[1], picture.shape[0])


def test_rules_none_and_box() -> None:
    picture = _conveyor()
    assert find_region(picture, RegionSettings(rule="none")) == Box(0, 0, 306, 112)
    assert find_region(picture, RegionSettings(rule="box", box=(10, -5, 900, 50))) == Box(10, 0, 306, 50)
    with pytest.raises(ImageError, match="holds no pixel of an image of 306 x 112"):
        find_region(picture, RegionSettings(rule="box", box=(400, 0, 500, 50)))


@pytest.mark.real
def test_real_boards_and_tiles() -> None:
    if not DATA.is_dir():
        pytest.skip(f"no real images at {DATA}")
    for path in sorted(DATA.glob("wood-boards/images/*.jpg"))[::25]:
        picture = decode_image(path, 10).image
        box = find_region(picture, AUTO)
        assert 30 <= box.left <= 60, path.name
        assert 510 <= box.right <= 582, path.name
        assert _dark_share_at_rim(picture, box) < 0.2, path.name
    for path in sorted([*DATA.glob("magnetic-tile/*/Imgs/*.jpg"), *DATA.glob("wood-slices/raw/*.jpg")])[::10]:
        picture = decode_image(path, 10).image
        assert find_region(picture, AUTO) == Box(0, 0, picture.shape[1], picture.shape[0]), path.name
