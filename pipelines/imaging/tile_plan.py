"""The choice of a tile plan, and the geometry that follows from it."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from pydantic import Field

from pipelines.core.errors import ImageError
from pipelines.core.geometry import TilePlan
from pipelines.core.settings import Settings


class TileSettings(Settings):
    """How the tile plan is chosen; see params.yaml."""

    mode: Literal["auto", "fit", "grid"] = "auto"
    tile: int = Field(default=256, ge=64, le=4096, multiple_of=32)
    overlap: float = Field(default=0.25, ge=0, le=0.75)
    max_side: int = Field(default=1536, ge=256, le=65_536)


# Up to this area a region is resized to one tile: context helps more than the last pixel of detail.
_FIT_PIXELS = 600_000
# The backbone's coarsest stride; other sides would be padded inside it.
_MULTIPLE = 32
_MOST_GROWTH = 1.5


class InputSize(NamedTuple):
    """How a network is shown a surface: no tile has a side below `least_side`; a whole region becomes a tile of about
    `area` pixels, enlarged for it by up to `growth`."""

    least_side: int = 128
    # What lite0 takes in well under a tenth of a second on two cores.
    area: int = 224 * 512
    growth: float = 1.0


USUAL_INPUT_SIZE = InputSize()
# A transformer sees nothing finer than 16 pixels, and was taught on pictures of 518 x 518.
TRANSFORMER_INPUT_SIZE = InputSize(area=448 * 448, growth=1.5)


class Position(NamedTuple):
    """A tile's upper left corner in pixels of the canvas."""

    top: int
    left: int


class Canvas(NamedTuple):
    """The region at the model's scale (height, width), and the same padded to at least one tile."""

    height: int
    width: int
    padded_height: int
    padded_width: int


def choose_plan(
    settings: TileSettings, sizes: Sequence[tuple[int, int]], input_size: InputSize = USUAL_INPUT_SIZE
) -> TilePlan:
    """Choose how regions are cut into tiles; the median of their sizes decides.

    Args:
        settings: The mode, or `auto` to choose one, and the tiles of a grid.
        sizes: (height, width) of each region of interest, in pixels.
        input_size: What the network is shown: the least side of a tile, and the area that a whole region becomes.

    Returns:
        One plan for all regions: a single resized tile (`fit`) or overlapping square ones (`grid`).

    Raises:
        ImageError: If there is no size.

    >>> choose_plan(TileSettings(), [(224, 536)]).model_dump(include={"mode", "tile_height", "tile_width"})
    {'mode': 'fit', 'tile_height': 224, 'tile_width': 512}
    """
    if not sizes:
        raise ImageError("no image to choose a tile plan from", hint="add normal images to the surface")
    height, width = (float(side) for side in np.median(np.asarray(sizes), axis=0))
    fits = settings.mode == "fit" or (settings.mode == "auto" and height * width <= _FIT_PIXELS)
    if fits:
        factor = min(input_size.growth, (input_size.area / (height * width)) ** 0.5)
        # Both sides grow together, so that a board is not squeezed; a very long one would become too large a tile.
        factor *= min(_MOST_GROWTH, max(1.0, input_size.least_side / (min(height, width) * factor)))
        tile_height, tile_width = (_fit_side(side * factor, input_size.least_side) for side in (height, width))
        return TilePlan(mode="fit", tile_height=tile_height, tile_width=tile_width)
    side = max(settings.tile, input_size.least_side)
    stride = max(1, round(side * (1 - settings.overlap)))
    return TilePlan(
        mode="grid",
        tile_height=side,
        tile_width=side,
        scale=min(1.0, settings.max_side / max(height, width)),
        stride_height=stride,
        stride_width=stride,
    )


def _fit_side(side: float, least: int) -> int:
    return max(least, _MULTIPLE * round(side / _MULTIPLE))


def plan_canvas(plan: TilePlan, height: int, width: int) -> Canvas:
    """Say what size a region has when tiles are cut from it.

    Args:
        plan: The version's own.
        height: Rows of the region of interest, in pixels of the image.
        width: Columns of the region of interest.

    Returns:
        Sizes in pixels at the model's scale, at least 1 x 1; padded ones hold at least one tile.
    """
    if plan.mode == "fit":
        return Canvas(plan.tile_height, plan.tile_width, plan.tile_height, plan.tile_width)
    scaled = max(1, round(height * plan.scale)), max(1, round(width * plan.scale))
    return Canvas(*scaled, max(scaled[0], plan.tile_height), max(scaled[1], plan.tile_width))


def plan_offsets(plan: TilePlan, height: int, width: int) -> tuple[list[int], list[int]]:
    """List the tops and the lefts of a region's tiles; the tiles are all their pairs, row by row.

    Args:
        plan: The version's own.
        height: Rows of the region of interest, in pixels of the image.
        width: Columns of the region of interest.

    Returns:
        Tops and lefts in pixels of the canvas, each rising from 0; the last tile ends where the canvas does.

    >>> grid = TilePlan(mode="grid", tile_height=256, tile_width=256, stride_height=192, stride_width=192)
    >>> plan_offsets(grid, 256, 600)
    ([0], [0, 192, 344])
    """
    canvas = plan_canvas(plan, height, width)
    return (
        _offsets(canvas.padded_height, plan.tile_height, plan.stride_height),
        _offsets(canvas.padded_width, plan.tile_width, plan.stride_width),
    )


def plan_positions(plan: TilePlan, height: int, width: int) -> list[Position]:
    """List a region's tiles, row by row.

    Args:
        plan: The version's own.
        height: Rows of the region of interest, in pixels of the image.
        width: Columns of the region of interest.

    Returns:
        Corners in pixels of the canvas, at least one.
    """
    tops, lefts = plan_offsets(plan, height, width)
    return [Position(top, left) for top in tops for left in lefts]


def _offsets(side: int, tile: int, stride: int) -> list[int]:
    """Walk along a side; the last tile is pulled back to the end, so that no tile hangs over.

    >>> _offsets(600, 256, 192)
    [0, 192, 344]
    """
    if side <= tile:
        return [0]
    return [*range(0, side - tile, stride), side - tile]
