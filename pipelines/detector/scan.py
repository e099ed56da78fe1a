"""A region of interest, tile by tile, to its anomaly map and image score."""

import hashlib
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from pipelines.core.geometry import TilePlan
from pipelines.imaging.image_score import ScoreRule, image_score
from pipelines.imaging.tiling import Stitcher, cut_tiles


class RegionScan(NamedTuple):
    """A region's map (H, W) float32 and its image score, raw or on the version's scale.

    Both were divided by `image_scale` where the image's normal surface reaches higher than usual.
    """

    map: NDArray[np.float32]
    score: float
    image_scale: float = 1.0


class MapsTiles(Protocol):
    """Anything that gives raw maps (n, h, w) float32 of tiles (n, h, w, 3) uint8."""

    def infer(self, tiles: NDArray[np.uint8]) -> NDArray[np.float32]: ...


def scan_region(model: MapsTiles, plan: TilePlan, rule: ScoreRule, region: NDArray[np.uint8]) -> RegionScan:
    """Scan a region of interest tile by tile.

    Args:
        model: Gives the raw maps; it is asked for one tile at a time.
        plan: How the region is cut; its tiles have the size that the model takes.
        rule: How the map becomes a score.
        region: Region of interest, RGB, uint8, shape (height, width, 3), of any size.

    Returns:
        Map (height, width) at the region's own size and its score, both raw, not on a version's scale.
    """
    stitcher = Stitcher(plan, region.shape[0], region.shape[1])
    for tile, position in cut_tiles(region, plan):
        stitcher.add(model.infer(tile[None])[0], position)
    stitched = stitcher.result()
    return RegionScan(stitched, image_score(stitched, rule))


class CachedNetwork:
    """A network in front of another, which computes no tile again that it was shown before `freeze_cache`.

    A synthetic anomaly that is added to a large image changes a few of its tiles; the maps of the others are known.
    """

    def __init__(self, network: MapsTiles) -> None:
        self._network = network
        self._known: dict[bytes, NDArray[np.float32]] = {}
        self._learns = True

    def freeze_cache(self) -> None:
        """Keep what is known, and compute what is new each time: a synthetic anomaly is not seen twice."""
        self._learns = False

    def infer(self, tiles: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the raw maps (n, h, w) of tiles (n, h, w, 3)."""
        return np.concatenate([self._infer_one(tile[None]) for tile in tiles])

    def _infer_one(self, tile: NDArray[np.uint8]) -> NDArray[np.float32]:
        key = hashlib.blake2b(tile.tobytes(), digest_size=16).digest()
        found = self._known.get(key)
        if found is None:
            found = self._network.infer(tile)
            if self._learns:
                self._known[key] = found
        return found
