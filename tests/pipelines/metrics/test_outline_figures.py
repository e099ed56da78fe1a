import numpy as np
import pytest

from pipelines.metrics.outlines import compare_with_outlines, rank_pixels

SQUARE = [(40, 40), (80, 40), (80, 80), (40, 80)]
FAR = [(150, 150), (170, 150), (170, 170)]


def test_a_hand_that_misses_the_border_costs_nothing() -> None:
    # The map is bright 5 px beyond the outline: within the tolerance, not normal wood that was flagged.
    bright = np.zeros((200, 200), np.float32)
    bright[35:86, 35:86] = 1
    figures = compare_with_outlines(bright, [SQUARE], [])
    assert rank_pixels([figures.strict]) == rank_pixels([figures.even]) == (1, 1)
    bright[35:86, 120:180] = 1
    wrong = rank_pixels([compare_with_outlines(bright, [SQUARE], []).strict])
    assert wrong is not None
    assert wrong.ap == pytest.approx(41 * 41 / (41 * 41 + 51 * 60), abs=0.02)


def test_a_defect_that_is_thinner_than_the_tolerance_leaves_nothing_to_rank() -> None:
    line = [(20, 20), (160, 20), (160, 23), (20, 23)]
    figures = compare_with_outlines(np.zeros((200, 200), np.float32), [line], [])
    assert rank_pixels([figures.even]) is None
    assert rank_pixels([figures.strict]) is not None


def test_two_regions_on_one_defect_find_it_once_and_the_third_is_false() -> None:
    near = [(86, 60), (95, 60), (95, 70)]
    figures = compare_with_outlines(np.zeros((200, 200), np.float32), [SQUARE], [SQUARE, near, FAR])
    assert (figures.outlined, figures.found, figures.false) == (1, 1, 1)
