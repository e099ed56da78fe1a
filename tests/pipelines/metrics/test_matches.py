"""Outlines against masks: how much too large or too small the defects that were found are drawn."""

import numpy as np
import pytest

from pipelines.metrics.matches import match_defects

SHAPE = (40, 60)


def square(*places: tuple[int, int, int]) -> np.ndarray:
    mask = np.zeros(SHAPE, dtype=bool)
    for top, left, side in places:
        mask[top : top + side, left : left + side] = True
    return mask


def test_each_defect_is_set_against_the_regions_on_it_alone() -> None:
    truth = square((2, 2, 4), (20, 20, 10), (35, 55, 3))
    found = square((2, 2, 8), (22, 22, 5), (2, 40, 6))
    small, large = match_defects(truth, found)
    assert small == pytest.approx((16 / 64, 4.0))
    assert large == pytest.approx((25 / 100, 0.25))


def test_several_regions_on_a_defect_count_together_and_one_on_two_counts_for_both() -> None:
    parted = match_defects(square((10, 10, 10)), square((10, 10, 4), (15, 15, 4)))
    assert parted == [pytest.approx((32 / 100, 0.32))]
    both = match_defects(square((2, 2, 4), (2, 10, 4)), square((0, 0, 20)))
    assert both == [pytest.approx((16 / 400, 25.0))] * 2


def test_nothing_found_is_no_match() -> None:
    assert match_defects(square((2, 2, 4)), square()) == []
    assert match_defects(square(), square((2, 2, 4))) == []
