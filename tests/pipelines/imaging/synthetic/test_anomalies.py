"""Synthetic anomalies: visible inside their mask, absent outside, of many sizes and strengths, on any picture."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from pipelines.imaging.procedural import draw
from pipelines.imaging.synthetic.anomalies import LARGEST, SMALLEST, add_synthetic_anomaly
from pipelines.imaging.synthetic.shapes import blob, patch, scratch, stain


@pytest.fixture(scope="module")
def board() -> NDArray[np.uint8]:
    return draw("wood", 5, 128, 256).image


def test_nothing_changes_outside_the_mask_and_something_inside(board: NDArray[np.uint8]) -> None:
    before = board.copy()
    for seed in range(60):
        synthetic = add_synthetic_anomaly(board, np.random.default_rng(seed))
        change = np.abs(synthetic.image.astype(int) - board).max(axis=2)
        assert not change[~synthetic.mask].any()
        assert change[synthetic.mask].mean() >= 5
        assert (change[synthetic.mask] > 0).mean() > 0.6
    assert np.array_equal(board, before), "the argument was changed"


def test_a_generator_decides_the_defect(board: NDArray[np.uint8]) -> None:
    one, same, other = (add_synthetic_anomaly(board, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(one.image, same.image)
    assert not np.array_equal(one.mask, other.mask)


def test_sizes_and_strengths_spread(board: NDArray[np.uint8]) -> None:
    synthetic = [add_synthetic_anomaly(board, np.random.default_rng(seed)) for seed in range(150)]
    share = np.array([p.mask.mean() for p in synthetic])
    assert share.min() < 1.5 * SMALLEST
    assert share.max() > 0.6 * LARGEST
    assert share.max() < 2 * LARGEST
    assert 0.003 < np.median(share) < 0.015, "sizes are spread by their logarithm"
    strength = [np.abs(p.image[p.mask].astype(int) - board[p.mask]).max(axis=1).mean() for p in synthetic]
    assert np.quantile(strength, 0.15) < 18
    assert np.quantile(strength, 0.85) > 35


def test_an_image_without_colour_gets_a_defect_without(board: NDArray[np.uint8]) -> None:
    grey = np.repeat(board.mean(axis=2).astype(np.uint8)[..., None], 3, axis=2)
    synthetic = [add_synthetic_anomaly(grey, np.random.default_rng(seed)) for seed in range(30)]
    assert max(np.ptp(p.image, axis=2).max() for p in synthetic) == 0
    assert all(np.abs(p.image[p.mask].astype(int) - grey[p.mask]).mean() >= 5 for p in synthetic)
    coloured = [add_synthetic_anomaly(board, np.random.default_rng(seed)) for seed in range(30)]
    tints = [np.ptp(p.image.astype(int) - board, axis=2)[p.mask].mean() for p in coloured]
    assert np.median(tints) > 5, "colour remains where there is some"


@pytest.mark.parametrize("shape", [blob, patch, stain])
def test_areas_are_what_was_requested(shape: object) -> None:
    assert callable(shape)
    for share in (0.002, 0.03):
        areas = [(shape(np.random.default_rng(seed), 160, 240, share) > 0.15).mean() for seed in range(12)]
        assert 0.6 * share < np.median(areas) < 1.8 * share


def test_scratches_are_thin() -> None:
    for seed in range(20):
        inside = np.pad(scratch(np.random.default_rng(seed), 160, 240, 0.01) > 0.5, 1)
        assert distance_transform_edt(inside).max() <= 5


@pytest.mark.parametrize("grey", [0, 255])
def test_even_a_flat_picture_takes_a_visible_defect(grey: int) -> None:
    flat = np.full((64, 80, 3), grey, dtype=np.uint8)
    for seed in range(20):
        synthetic = add_synthetic_anomaly(flat, np.random.default_rng(seed))
        assert np.abs(synthetic.image[synthetic.mask].astype(int) - grey).mean() > 1.5
