"""Tiles out of regions, and maps of tiles back into the region's map."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipelines.core.errors import ImageError, ModelError
from pipelines.core.geometry import TilePlan
from pipelines.imaging.tile_plan import Position, choose_plan, plan_canvas, plan_offsets, plan_positions

__all__ = ["Position", "Stitcher", "TileSet", "choose_plan", "cut_tiles", "subsample"]

Tile = NDArray[np.uint8]
Map = NDArray[np.float32]
_Image = TypeVar("_Image", Tile, Map)
_Item = TypeVar("_Item")


def cut_tiles(region: Tile, plan: TilePlan) -> Iterator[tuple[Tile, Position]]:
    """Cut a region into tiles, row by row.

    Args:
        region: The region of interest, RGB, uint8, shape (H, W, 3); not changed.
        plan: The version's own.

    Yields:
        Each tile, RGB, uint8, shape (tile_height, tile_width, 3), and its corner in pixels of the canvas.
    """
    canvas = _draw_canvas(region, plan)
    for position in plan_positions(plan, *region.shape[:2]):
        yield _cut(canvas, plan, position), position


def _draw_canvas(region: Tile, plan: TilePlan) -> Tile:
    """Bring a region to the model's scale and pad it by reflection to at least one tile."""
    canvas = plan_canvas(plan, *region.shape[:2])
    scaled = _resize(region, canvas.height, canvas.width)
    below, right = canvas.padded_height - canvas.height, canvas.padded_width - canvas.width
    if below or right:
        return np.asarray(cv2.copyMakeBorder(scaled, 0, below, 0, right, cv2.BORDER_REFLECT_101), np.uint8)
    return scaled


def _cut(canvas: Tile, plan: TilePlan, position: Position) -> Tile:
    top, left = position
    return np.ascontiguousarray(canvas[top : top + plan.tile_height, left : left + plan.tile_width])


def _resize(image: _Image, height: int, width: int) -> _Image:
    if image.shape[:2] == (height, width):
        return image
    # Area averaging keeps a thin crack as a faint line where linear sampling would step over it.
    shrinks = height * width < image.shape[0] * image.shape[1]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    resized: _Image = cv2.resize(image, (width, height), interpolation=method)
    return resized


class Stitcher:
    """Blend the maps of a region's tiles, which come row by row.

    Holds the map at the model's scale, and sums for the height of one tile alone.
    """

    def __init__(self, plan: TilePlan, height: int, width: int) -> None:
        self._plan = plan
        self._size = (height, width)
        self._canvas = plan_canvas(plan, height, width)
        tops, lefts = plan_offsets(plan, height, width)
        self._missing = {Position(top, left) for top in tops for left in lefts}
        down, across = _window(plan.tile_height), _window(plan.tile_width)
        # Multiplied once: each tile's map times one window and the other takes eight times as long.
        self._window = np.outer(down, across)
        self._weighted = np.empty_like(self._window)
        # The tiles are all pairs of tops and lefts, so the sum of their weights is a product of two rows of sums.
        self._weights = (
            _sum_windows(down, tops, self._canvas.padded_height),
            _sum_windows(across, lefts, self._canvas.padded_width),
        )
        # float64: a constant map must come back as that constant.
        self._sum = np.zeros((plan.tile_height, self._canvas.padded_width))
        self._top = 0
        self._blended = np.zeros((self._canvas.height, self._canvas.width), np.float32)

    def add(self, tile_map: Map, position: Position) -> None:
        """Blend in the map of one tile.

        Args:
            tile_map: Float32, shape (tile_height, tile_width); copied.
            position: The tile's corner as `cut_tiles` gave it, in pixels of the canvas; each tile is added once.

        Raises:
            ModelError: If a tile of a row before comes after one of a later row.
        """
        top, left = position
        if top < self._top:
            raise ModelError(f"the tile at {top}, {left} comes too late", hint="add tiles row by row, as they are cut")
        self._finish(top)
        columns = slice(left, left + self._plan.tile_width)
        self._sum[:, columns] += np.multiply(tile_map, self._window, out=self._weighted)
        self._missing.discard(Position(top, left))

    def _finish(self, top: int) -> None:
        """Blend the rows above `top`, which no further tile touches, and make room below."""
        if top == self._top:
            return
        passed = min(top - self._top, self._plan.tile_height)
        stop = min(self._top + passed, self._canvas.height)
        if stop > self._top:
            rows = slice(self._top, stop)
            weights = self._weights[0][rows, None] * self._weights[1][: self._canvas.width]
            self._blended[rows] = self._sum[: stop - self._top, : self._canvas.width] / weights
        kept = self._plan.tile_height - passed
        self._sum[:kept] = self._sum[passed:].copy()
        self._sum[kept:] = 0
        self._top = top

    def result(self) -> Map:
        """Return the region's map (H, W) at its own size.

        Raises:
            ModelError: where a tile was not added.
        """
        if self._missing:
            raise ModelError(f"{len(self._missing)} tiles have no map", hint="add the map of every tile of the plan")
        self._finish(self._top + self._plan.tile_height)
        return _resize(self._blended, *self._size)


def _window(length: int) -> NDArray[np.float64]:
    """Return a Hann window that is positive everywhere, because a border pixel may lie in one tile only."""
    window = np.hanning(length + 2)[1:-1]
    return np.maximum(window, 1e-3)


def _sum_windows(window: NDArray[np.float64], offsets: Sequence[int], length: int) -> NDArray[np.float64]:
    total = np.zeros(length)
    for offset in offsets:
        total[offset : offset + len(window)] += window
    return total


class TileSet:
    """The tiles of prepared images, cut on reading; at most `max_tiles`, drawn with `seed`, in the files' order."""

    def __init__(self, files: Sequence[Path], plan: TilePlan, max_tiles: int | None = None, seed: int = 0) -> None:
        self.plan = plan
        tiles = [(file, position) for file in files for position in plan_positions(plan, *_read_size(file))]
        if max_tiles is not None and len(tiles) > max_tiles:
            drawn = np.random.default_rng(seed).choice(len(tiles), max_tiles, replace=False)
            tiles = [tiles[i] for i in sorted(drawn)]
        self._tiles = tiles
        self._last: tuple[Path, Tile] | None = None

    def __len__(self) -> int:
        return len(self._tiles)

    @property
    def files(self) -> list[Path]:
        """The file that each tile is cut from."""
        return [file for file, _ in self._tiles]

    @property
    def owners(self) -> list[int]:
        """The number of each tile's image, counted as they come."""
        numbers: dict[Path, int] = {}
        return [numbers.setdefault(file, len(numbers)) for file, _ in self._tiles]

    def subsample(self, most: int) -> list[int]:
        """Return the numbers of at most `most` tiles, evenly over the set."""
        return subsample(range(len(self)), most)

    def subset(self, kept: Sequence[int]) -> "TileSet":
        """Return a set of some of the tiles, by their numbers."""
        found = TileSet([], self.plan)
        found._tiles = [self._tiles[number] for number in kept]
        return found

    def __getitem__(self, index: int) -> Tile:
        """Return tile `index` (tile_height, tile_width, 3), RGB."""
        file, position = self._tiles[index]
        last = self._last
        if last is None or last[0] != file:
            last = (file, _draw_canvas(_read(file), self.plan))
            self._last = last
        return _cut(last[1], self.plan, position)


def _read_size(file: Path) -> tuple[int, int]:
    try:
        with Image.open(file) as image:
            return image.height, image.width
    except OSError as error:
        raise _unreadable(file) from error


def _read(file: Path) -> Tile:
    try:
        with Image.open(file) as image:
            return np.asarray(image.convert("RGB"))
    except OSError as error:
        raise _unreadable(file) from error


def _unreadable(file: Path) -> ImageError:
    return ImageError(f"prepared image {file} cannot be read", hint="restore it with `dvc checkout`, or prepare again")


def subsample(items: Sequence[_Item], most: int) -> list[_Item]:
    """Take some of the items, evenly over all of them.

    Args:
        items: In an order that means something; may be empty.
        most: How many are taken at most, 0 or more.

    Returns:
        The chosen items in their order, the first and the last among them where `most` is 2 or more.

    >>> subsample("abcdefgh", 3)
    ['a', 'd', 'h']
    """
    return [items[n] for n in np.unique(np.linspace(0, len(items) - 1, min(most, len(items))).astype(int))]
