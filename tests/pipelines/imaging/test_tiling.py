from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from PIL import Image

from pipelines.core.errors import ImageError, ModelError
from pipelines.core.geometry import TilePlan
from pipelines.imaging.tile_plan import InputSize, TileSettings
from pipelines.imaging.tiling import Position, Stitcher, TileSet, choose_plan, cut_tiles

GRID = TilePlan(mode="grid", tile_height=64, tile_width=96, stride_height=48, stride_width=72)
SIZES = [(64, 96), (65, 97), (200, 333), (30, 200), (200, 40), (5, 7), (1, 300)]


def _noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_tiles_cover_the_region_and_never_hang_over(height: int, width: int) -> None:
    region = _noise(height, width)
    seen = np.zeros((max(height, 64), max(width, 96)), bool)
    for tile, (top, left) in cut_tiles(region, GRID):
        assert tile.shape == (64, 96, 3)
        assert top + 64 <= seen.shape[0]
        assert left + 96 <= seen.shape[1]
        inner = region[top : top + 64, left : left + 96]
        np.testing.assert_array_equal(tile[: inner.shape[0], : inner.shape[1]], inner)
        seen[top : top + 64, left : left + 96] = True
    assert seen.all()


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_constant_maps_stitch_to_that_constant(height: int, width: int) -> None:
    stitcher = Stitcher(GRID, height, width)
    for _, position in cut_tiles(_noise(height, width), GRID):
        stitcher.add(np.full((64, 96), 0.3, np.float32), position)
    np.testing.assert_array_equal(stitcher.result(), np.full((height, width), 0.3, np.float32))


def test_crops_of_a_map_stitch_to_that_map() -> None:
    rows, columns = np.mgrid[0:200, 0:333]
    smooth = (np.sin(rows / 30) + np.cos(columns / 40)).astype(np.float32)
    stitcher = Stitcher(GRID, 200, 333)
    for _, position in cut_tiles(_noise(200, 333), GRID):
        top, left = position
        stitcher.add(smooth[top : top + 64, left : left + 96], position)
    np.testing.assert_allclose(stitcher.result(), smooth, atol=1e-6)


def test_tiles_that_disagree_blend_without_a_seam() -> None:
    stitcher = Stitcher(GRID, 64, 168)
    for value, (_, position) in zip((0.0, 1.0), cut_tiles(_noise(64, 168), GRID), strict=True):
        stitcher.add(np.full((64, 96), value, np.float32), position)
    assert np.abs(np.diff(stitcher.result()[32])).max() < 0.15


@pytest.mark.parametrize("mode", ["fit", "grid"])
def test_a_resized_smooth_map_comes_back_at_the_regions_size(mode: Literal["fit", "grid"]) -> None:
    plan = choose_plan(TileSettings(mode=mode, max_side=512), [(900, 1400)])
    region = np.tile(np.linspace(0, 255, 1400).astype(np.uint8)[None, :, None], (900, 1, 3))
    stitcher = Stitcher(plan, 900, 1400)
    for tile, position in cut_tiles(region, plan):
        stitcher.add(tile[..., 0].astype(np.float32), position)
    assert np.abs(stitcher.result() - region[..., 0]).max() < 3


def test_blending_row_by_row_is_blending_all_at_once() -> None:
    random, (height, width) = np.random.default_rng(0), (211, 333)
    stitcher, total, weights = Stitcher(GRID, height, width), np.zeros((height, width)), np.zeros((height, width))
    window = np.maximum(np.hanning(66)[1:-1], 1e-3)[:, None] * np.maximum(np.hanning(98)[1:-1], 1e-3)
    for _, (top, left) in cut_tiles(np.zeros((height, width, 3), np.uint8), GRID):
        tile = random.random((64, 96)).astype(np.float32)
        stitcher.add(tile, Position(top, left))
        total[top : top + 64, left : left + 96] += tile * window
        weights[top : top + 64, left : left + 96] += window
    np.testing.assert_allclose(stitcher.result(), total / weights, rtol=1e-6)


def test_a_tile_of_a_row_before_is_an_error() -> None:
    stitcher, tile = Stitcher(GRID, 150, 220), np.ones((64, 96), np.float32)
    positions = [position for _, position in cut_tiles(np.zeros((150, 220, 3), np.uint8), GRID)]
    stitcher.add(tile, positions[-1])
    with pytest.raises(ModelError, match="too late"):
        stitcher.add(tile, positions[0])


def test_a_missing_tile_is_an_error() -> None:
    with pytest.raises(ModelError, match="9 tiles have no map"):
        Stitcher(GRID, 150, 220).result()


def test_the_median_region_decides_between_fit_and_grid() -> None:
    fit = choose_plan(TileSettings(), [(224, 536), (224, 536), (3000, 4000)])
    assert (fit.mode, fit.tile_height, fit.tile_width) == ("fit", 224, 512)
    grid = choose_plan(TileSettings(), [(1952, 2592)])
    assert (grid.mode, grid.tile_height, grid.stride_width) == ("grid", 256, 192)
    assert grid.scale == pytest.approx(1536 / 2592)
    assert choose_plan(TileSettings(), [(40, 90)]).tile_height == 128
    larger = InputSize(least_side=160, area=448 * 448, growth=1.5)
    enlarged = choose_plan(TileSettings(), [(100, 300)], larger), choose_plan(TileSettings(), [(224, 536)], larger)
    assert [(p.tile_height, p.tile_width) for p in enlarged] == [(160, 480), (288, 704)]
    with pytest.raises(ImageError):
        choose_plan(TileSettings(), [])


def test_a_tile_set_reads_what_cut_tiles_cuts(tmp_path: Path) -> None:
    regions = [_noise(200, 333), _noise(30, 100)]
    files = [tmp_path / f"{i}.png" for i in range(2)]
    for file, region in zip(files, regions, strict=True):
        Image.fromarray(region).save(file)
    expected = [tile for region in regions for tile, _ in cut_tiles(region, GRID)]
    tiles = TileSet(files, GRID)
    assert len(tiles) == len(expected)
    for i in (len(expected) - 1, 0, 7):
        np.testing.assert_array_equal(tiles[i], expected[i])
    few = [TileSet(files, GRID, max_tiles=5, seed=s) for s in (1, 1, 2)]
    assert [len(t) for t in few] == [5, 5, 5]
    assert all((few[0][i] == few[1][i]).all() for i in range(5))
    assert any((few[0][i] != few[2][i]).any() for i in range(5))


def test_a_damaged_prepared_image_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"no image")
    with pytest.raises(ImageError, match=r"a\.png"):
        TileSet([tmp_path / "a.png"], GRID)
