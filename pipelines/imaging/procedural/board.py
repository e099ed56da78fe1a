"""A board: normal wood, and the knots and other defects laid over it."""

from collections.abc import Callable, Sequence

import numpy as np

from pipelines.imaging.procedural.kinds import WOOD_DEFECTS
from pipelines.imaging.procedural.knots import bend_grain, paint_knot, place_knot
from pipelines.imaging.procedural.layers import Layer, Painted, lay
from pipelines.imaging.procedural.noise import Floats, stream
from pipelines.imaging.procedural.species import Species
from pipelines.imaging.procedural.wood import Grain, paint_wood
from pipelines.imaging.procedural.wood_defects import paint_crack, paint_resin, paint_stain

_ALONG_GRAIN: dict[str, Callable[[np.random.Generator, Grain, Floats], Layer]] = {
    "crack": paint_crack,
    "resin": paint_resin,
    "blue stain": paint_stain,
}
# Stain lies in the wood and cracks open last, so this is the order of painting, not the order asked for.
_ORDER = (6, 1, 2, 3, 5, 4)


def ring_width(height: int, width: int) -> float:
    """Choose pixels per growth ring: 12 on a small board of 192 rows, 61 on a slice image of 1952.

    Args:
        height: Rows of the image.
        width: Columns of the image; the shorter side decides.

    Returns:
        Mean width of a ring in pixels.
    """
    return float(12 * (min(height, width) / 192) ** 0.7)


def paint_board(seed: int, shape: tuple[int, int], defects: Sequence[int], species: Species, ring: float) -> Painted:
    """Paint a board with the numbered defects; normal wood does not depend on them, save where a knot bends its grain.

    Args:
        seed: Any whole number; the same arguments paint the same board.
        shape: (height, width) in pixels; the grain runs along the width.
        defects: Keys of WOOD_DEFECTS, one a defect; may be empty or hold a number more than once.
        species: The look of the wood.
        ring: Mean width of a growth ring in pixels.

    Returns:
        The board and its mask; where two defects overlap, the mask has the one that is painted last.
    """
    height, width = shape
    streams = [stream(seed, 1, place) for place in range(len(defects))]
    knots = {
        place: place_knot(streams[place], WOOD_DEFECTS[number], height, width, ring)
        for place, number in enumerate(defects)
        if WOOD_DEFECTS[number] not in _ALONG_GRAIN
    }
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    grain = Grain(x, y, bend_grain(x, y, tuple(knots.values())), ring)
    surface = paint_wood(stream(seed, 0), grain, species)
    mask = np.zeros(shape, dtype=np.uint8)
    for place in sorted(range(len(defects)), key=lambda i: _ORDER.index(defects[i])):
        if place in knots:
            layer = paint_knot(streams[place], knots[place], grain, species)
        else:
            layer = _ALONG_GRAIN[WOOD_DEFECTS[defects[place]]](streams[place], grain, surface)
        surface = lay(surface, layer)
        mask[layer.mask] = defects[place]
    return Painted(surface, mask)
