"""Boards with a grain that the tests of algorithms draw, as tiles of one image each."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from pipelines.core.geometry import TilePlan
from pipelines.imaging.tiling import TileSet


def draw_board(seed: int, height: int, width: int) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, 6, (height, width, 3))
    grain = 150 + 20 * np.sin(np.arange(width) / 4 + seed)[None, :, None]
    return np.clip(grain + noise, 0, 255).astype(np.uint8)


def write_tiles(folder: Path, boards: Sequence[np.ndarray], plan: TilePlan) -> TileSet:
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"{i}.png" for i in range(len(boards))]
    for file, board in zip(files, boards, strict=True):
        Image.fromarray(board).save(file)
    return TileSet(files, plan)
