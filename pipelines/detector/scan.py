"""A region of interest, tile by tile, to its anomaly map and image score: of one network, or of several together."""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from pipelines.core.geometry import TilePlan
from pipelines.imaging.image_score import ScoreRule, image_score
from pipelines.imaging.tiling import Stitcher, cut_tiles


class RegionScan(NamedTuple):
    """A region's map (H, W) float32 and its image score, raw or on the version's scale.

    Both were divided by `image_scale` where the image's normal surface reaches higher than usual. `without` are the
    scores with each part left out, where they were asked for.
    """

    map: NDArray[np.float32]
    score: float
    image_scale: float = 1.0
    without: tuple[float, ...] = ()


class MapsTiles(Protocol):
    """Anything that gives raw maps (n, h, w) float32 of tiles (n, h, w, 3) uint8."""

    def infer(self, tiles: NDArray[np.uint8]) -> NDArray[np.float32]: ...


Wrap = Callable[[MapsTiles], MapsTiles]


class Part(NamedTuple):
    """One network of a version, how it sees a region, and what its raw map is divided by before maps are averaged."""

    network: MapsTiles
    plan: TilePlan
    divisor: float = 1.0


def scan_parts(
    parts: Sequence[Part],
    rule: ScoreRule,
    region: NDArray[np.uint8],
    wrap: Wrap | None = None,
    *,
    leave_out: bool = False,
) -> RegionScan:
    """Scan a region of interest by each network of a version, and average their maps.

    Args:
        parts: At least one. The map of a single one stays as it is, divided by its divisor.
        rule: How the averaged map becomes a score.
        region: Region of interest, RGB, uint8, shape (height, width, 3), of any size.
        wrap: Puts a network before each of the parts', such as one that remembers tiles. None: none.
        leave_out: Also score the region without each of several parts: all their maps are held at once then.

    Returns:
        Map (height, width) at the region's own size and its score, both raw, not on a version's scale.
    """
    found = (_scan_part(part, region, wrap) for part in parts)
    if leave_out and len(parts) > 1:
        maps = list(found)
        averaged = average_maps(maps)
        rest = [average_maps(maps[:number] + maps[number + 1 :]) for number in range(len(maps))]
        return RegionScan(averaged, image_score(averaged, rule), 1.0, tuple(image_score(one, rule) for one in rest))
    averaged = average_maps(found)
    return RegionScan(averaged, image_score(averaged, rule))


def average_maps(maps: Iterable[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Average maps of one region.

    Args:
        maps: At least one, float32, (height, width) each; not changed. They are taken one by one.

    Returns:
        float32, (height, width). A single map is returned itself.
    """
    total, count = None, 0
    for one in maps:
        total = one if total is None else total + one
        count += 1
    if total is None:
        raise ValueError("no map to average")
    return total if count == 1 else total / np.float32(count)


def _scan_part(part: Part, region: NDArray[np.uint8], wrap: Wrap | None) -> NDArray[np.float32]:
    found = stitch_map(wrap(part.network) if wrap else part.network, part.plan, region)
    # A large map is not divided by 1.
    return found if part.divisor == 1 else found / np.float32(part.divisor)


def stitch_map(model: MapsTiles, plan: TilePlan, region: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Map a region of interest tile by tile.

    Args:
        model: Gives the raw maps; it is asked for one tile at a time.
        plan: How the region is cut; its tiles have the size that the model takes.
        region: Region of interest, RGB, uint8, shape (height, width, 3), of any size.

    Returns:
        Raw map, float32, (height, width) at the region's own size.
    """
    stitcher = Stitcher(plan, region.shape[0], region.shape[1])
    for tile, position in cut_tiles(region, plan):
        stitcher.add(model.infer(tile[None])[0], position)
    return stitcher.result()


def scan_region(model: MapsTiles, plan: TilePlan, rule: ScoreRule, region: NDArray[np.uint8]) -> RegionScan:
    """Scan a region of interest by a single network.

    Args:
        model: Gives the raw maps; it is asked for one tile at a time.
        plan: How the region is cut; its tiles have the size that the model takes.
        rule: How the map becomes a score.
        region: Region of interest, RGB, uint8, shape (height, width, 3), of any size.

    Returns:
        Map (height, width) at the region's own size and its score, both raw, not on a version's scale.
    """
    return scan_parts([Part(model, plan)], rule, region)
