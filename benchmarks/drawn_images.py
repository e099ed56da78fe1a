"""What is measured on: drawn boards, so that anyone measures the same."""

from collections.abc import Sequence
from itertools import cycle, islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipelines.core.geometry import TilePlan
from pipelines.imaging.procedural import draw
from pipelines.imaging.tile_plan import TileSettings
from pipelines.imaging.tiling import TileSet, choose_plan

SIDE = 256
TILE_PLAN = TilePlan(mode="fit", tile_height=SIDE, tile_width=SIDE)
SLICE_HEIGHT, SLICE_WIDTH = 1952, 2592


def draw_tiles(folder: Path, count: int) -> list[Path]:
    """Write `count` different boards of 256 x 256 as PNG; they are tiles as they stand."""
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"{seed:04}.png" for seed in range(count)]
    for seed, file in enumerate(files):
        Image.fromarray(draw("wood", seed, SIDE, SIDE).image).save(file)
    return files


def repeat_tiles(files: Sequence[Path], count: int) -> TileSet:
    """Make a set of `count` tiles, the files over and over: what a fit costs does not depend on what they show."""
    return TileSet(list(islice(cycle(files), count)), TILE_PLAN)


def draw_slice() -> NDArray[np.uint8]:
    """Draw an image of a wood slice, 2592 wide and 1952 high."""
    return draw("wood", 0, SLICE_HEIGHT, SLICE_WIDTH, ["live knot", "crack"]).image


def plan_slice() -> TilePlan:
    """Choose the plan that a surface of such images gets by default."""
    return choose_plan(TileSettings(), [(SLICE_HEIGHT, SLICE_WIDTH)])
