"""Smooth random fields, the raw material of every drawn surface."""

import math
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


def stream(seed: int, *keys: int) -> np.random.Generator:
    """Open the random stream that belongs to a seed and the keys, whatever was drawn before.

    Args:
        seed: Any whole number; taken modulo 2^63.
        *keys: Name the purpose, 0 or more each; other keys make an independent stream.

    Returns:
        A generator at its beginning.
    """
    return np.random.default_rng([seed % 2**63, *keys])


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """Draw one number whose logarithm is uniform, so that small and large sizes are equally likely.

    Args:
        rng: One number is drawn from it.
        low: Lower bound, above 0.
        high: Upper bound, not below `low`.

    Returns:
        A number from `low` to `high`, in their unit.
    """
    return math.exp(rng.uniform(math.log(low), math.log(high)))


def smoothstep(low: float, high: float, values: Floats) -> Floats:
    """Rise from 0 at `low` to 1 at `high` with level ends; falls where `low` exceeds `high`.

    Args:
        low: Where the result is 0, in the unit of `values`.
        high: Where the result is 1; may lie below `low`, but not equal it.
        values: Float32, of any shape; not changed.

    Returns:
        0 to 1, float32, shape of `values`.

    >>> smoothstep(0, 1, np.array([-1.0, 0.5, 2.0], dtype=np.float32)).tolist()
    [0.0, 0.5, 1.0]
    """
    t = np.clip((values - np.float32(low)) / np.float32(high - low), 0, 1)
    return np.asarray(t * t * (3 - 2 * t), dtype=np.float32)


def value_noise(rng: np.random.Generator, height: int, width: int, cell: Sequence[float]) -> Floats:
    """Interpolate a lattice of normal deviates.

    Args:
        rng: Draws the lattice and its offset.
        height: Rows of the field.
        width: Columns of the field.
        cell: (down, across) in pixels, over which the field is smooth; less than 1 counts as 1.

    Returns:
        Field of mean 0 and deviation about 1, float32, shape (height, width).
    """
    cell_y, cell_x = (max(1.0, side) for side in cell)
    rows, columns = math.ceil(height / cell_y) + 2, math.ceil(width / cell_x) + 2
    lattice = rng.standard_normal((rows, columns), dtype=np.float32)
    full = cv2.resize(lattice, (round(columns * cell_x), round(rows * cell_y)), interpolation=cv2.INTER_CUBIC)
    top = int(rng.uniform(0.5, 1.5) * cell_y) if cell_y > 1 else 0
    left = int(rng.uniform(0.5, 1.5) * cell_x) if cell_x > 1 else 0
    field = full[top : top + height, left : left + width]
    # Interpolation averages neighbours along each axis that is stretched.
    shrunk = (0.82 if cell_y > 1 else 1.0) * (0.82 if cell_x > 1 else 1.0)
    return np.asarray(field / np.float32(shrunk), dtype=np.float32)


def fractal_noise(rng: np.random.Generator, height: int, width: int, cell: Sequence[float], octaves: int = 3) -> Floats:
    """Add value noise of halved cells and halved weights (Perlin, "An image synthesizer", SIGGRAPH 1985).

    Args:
        rng: Draws every octave.
        height: Rows of the field.
        width: Columns of the field.
        cell: (down, across) in pixels of the coarsest octave.
        octaves: How many fields are added, 1 or more.

    Returns:
        Field of mean 0 and deviation about 1, float32, shape (height, width).
    """
    total = np.zeros((height, width), dtype=np.float32)
    norm = 0.0
    for octave in range(octaves):
        weight = 0.5**octave
        finer = [side * weight for side in cell]
        total += np.float32(weight) * value_noise(rng, height, width, finer)
        norm += weight**2
    return np.asarray(total / np.float32(math.sqrt(norm)), dtype=np.float32)


def noise_line(rng: np.random.Generator, length: int, cell: float, octaves: int = 3) -> Floats:
    """Draw fractal noise along one axis.

    Args:
        rng: Draws every octave.
        length: How many values.
        cell: Over how many values the coarsest octave is smooth.
        octaves: How many lines are added, 1 or more.

    Returns:
        Values of mean 0 and deviation about 1, float32, shape (length,).
    """
    return fractal_noise(rng, 1, length, (1.0, cell), octaves).reshape(length)


def dashes(rng: np.random.Generator, height: int, width: int, share: float, length: float) -> Floats:
    """Scatter dashes along x, tapering to both ends.

    Args:
        rng: Draws the places and, row by row, the strengths.
        height: Rows of the field.
        width: Columns of the field.
        share: Expected number of dashes a pixel, 0 to 1.
        length: Of a dash, in pixels; 3 at least.

    Returns:
        0 (none) to 1, float32, shape (height, width).
    """
    points = (rng.random((height, width), dtype=np.float32) < share).astype(np.float32)
    points *= rng.uniform(0.3, 1.0, size=(height, 1)).astype(np.float32)
    size = max(3, round(length)) | 1
    kernel = np.hanning(size + 2)[1:-1][None, :]
    return np.asarray(np.clip(cv2.filter2D(points, -1, kernel, borderType=cv2.BORDER_REFLECT), 0, 1), dtype=np.float32)
