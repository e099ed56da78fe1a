"""A piece of cloth: plain weave, and the cuts, spots and pulled threads in it."""

from collections.abc import Sequence

import numpy as np

from pipelines.imaging.procedural.fabric_defects import paint_cut, paint_spot, paint_thread, pull_threads
from pipelines.imaging.procedural.kinds import FABRIC_DEFECTS
from pipelines.imaging.procedural.layers import Painted, lay
from pipelines.imaging.procedural.noise import stream
from pipelines.imaging.procedural.weave import Cloth, interlace, paint_weave, yarn_grid


def yarn_width(height: int, width: int) -> float:
    """Choose pixels per yarn: 7 on a small picture of 192 rows, 14 on one of 1952.

    Args:
        height: Rows of the image.
        width: Columns of the image; the shorter side decides.

    Returns:
        Mean width of a yarn in pixels.
    """
    return float(7 * (min(height, width) / 192) ** 0.3)


def paint_fabric(seed: int, shape: tuple[int, int], defects: Sequence[int], cloth: Cloth, yarn: float) -> Painted:
    """Paint cloth with the numbered defects; what is normal depends on none but pulled threads.

    Args:
        seed: Any whole number; the same arguments paint the same cloth.
        shape: (height, width) in pixels.
        defects: Keys of FABRIC_DEFECTS, one a defect; may be empty or hold a number more than once.
        cloth: The look of the cloth.
        yarn: Mean width of a yarn in pixels.

    Returns:
        The cloth and its mask; where two defects overlap, the mask has the lower number.
    """
    named = [FABRIC_DEFECTS[number] for number in defects]
    streams = [stream(seed, 1, place) for place in range(len(defects))]
    rng = stream(seed, 0)
    x, y = yarn_grid(rng, shape, yarn, cloth)
    pulled = {i: pull_threads(streams[i], x, y) for i, name in enumerate(named) if name == "pulled thread"}
    down = y + np.sum([pull.shift for pull in pulled.values()], axis=0, dtype=np.float32) if pulled else y
    weave = interlace(rng, x, down, cloth)
    surface = paint_weave(rng, weave, yarn, cloth)
    mask = np.zeros(shape, dtype=np.uint8)
    for place in sorted(range(len(defects)), key=lambda i: -defects[i]):
        if place in pulled:
            layer = paint_thread(streams[place], pulled[place], weave, surface)
        elif named[place] == "cut":
            layer = paint_cut(streams[place], weave, yarn, surface)
        else:
            layer = paint_spot(streams[place], weave, yarn, surface)
        surface = lay(surface, layer)
        mask[layer.mask] = defects[place]
    return Painted(surface, mask)
