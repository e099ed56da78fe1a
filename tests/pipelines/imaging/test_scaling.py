import numpy as np

from pipelines.imaging.measures import shrink


def test_small_pictures_stay_and_large_ones_keep_their_proportions() -> None:
    board = np.zeros((40, 60, 3), np.uint8)
    assert shrink(board, 60) is board
    assert shrink(board, 30).shape == (20, 30, 3)
    assert shrink(np.zeros((1, 500, 3), np.uint8), 50).shape == (1, 50, 3)
