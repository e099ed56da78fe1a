"""From cells to pixels: maps on a network's grid enlarged to the tile and smoothed, as anomalib does."""

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray


def enlarge(on_grid: torch.Tensor, size: Sequence[int], blur: Any) -> torch.Tensor:
    """Enlarge cells to a tile and smooth them by one matrix a side.

    anomalib's convolution of 33 x 33 weights took more than half of the time of an inference. Nor is there a
    convolution at the end, which OpenVINO would merge with the colour that is added to the map.

    Args:
        on_grid: Distances (n, 1, h, w), one a cell.
        size: The tile's height and width in pixels.
        blur: anomalib's `GaussianBlur2d`, whose kernel is used.

    Returns:
        Map (n, 1, height, width).
    """
    kernel = tuple(blur.kernel[0, 0].sum(0).tolist())
    rows, columns = (
        torch.from_numpy(enlarging_matrix(int(cells), int(side), kernel)).to(on_grid)
        for cells, side in zip(on_grid.shape[-2:], size, strict=True)
    )
    return rows @ on_grid @ columns.T


@functools.lru_cache(maxsize=8)
def enlarging_matrix(cells: int, side: int, kernel: tuple[float, ...]) -> NDArray[np.float32]:
    """Return the matrix that enlarges values bilinearly and smooths them.

    The outermost values go on from their cells' centres to the rim; what the kernel sees beyond the rim is reflected.

    Args:
        cells: Number of values along a side.
        side: Pixels that they are enlarged to.
        kernel: Weights of the smoothing, of odd length; symmetric.

    Returns:
        Float32 (side, cells), to be multiplied from the left; kept for the next call, so not to be changed.

    >>> enlarging_matrix(2, 4, (1.0,)).tolist()
    [[1.0, 0.0], [0.75, 0.25], [0.25, 0.75], [0.0, 1.0]]
    """
    centres = ((np.arange(side) + 0.5) * cells / side - 0.5).clip(0, cells - 1)
    weights = np.maximum(0, 1 - np.abs(centres[:, None] - np.arange(cells)))
    reach = len(kernel) // 2
    reflected = np.pad(weights, ((reach, reach), (0, 0)), "reflect")
    seen = np.lib.stride_tricks.sliding_window_view(reflected, len(kernel), axis=0)
    return np.asarray(seen @ np.asarray(kernel), np.float32)
