"""A version's scores of the select part: sound regions, and the same with defects planted into them."""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipelines.defects.synthetic import plant_defect
from pipelines.loader import Detector, MapsTiles, RegionScan
from pipelines.prepared import PreparedImage, read_region
from pipelines.progress import track
from pipelines.records import Label, Part


class Remembering:
    """A network in front of another, which computes no tile again that it was shown before `learn_no_more`.

    A defect that is planted into a large photograph changes a few of its tiles; the maps of the others are known.
    """

    def __init__(self, network: MapsTiles) -> None:
        self._network = network
        self._known: dict[bytes, NDArray[np.float32]] = {}
        self._learns = True

    def learn_no_more(self) -> None:
        """Keep what is known, and compute what is new each time: a planted defect is not seen twice."""
        self._learns = False

    def infer(self, tiles: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the raw maps (n, h, w) of tiles (n, h, w, 3)."""
        return np.concatenate([self._infer_one(tile[None]) for tile in tiles])

    def _infer_one(self, tile: NDArray[np.uint8]) -> NDArray[np.float32]:
        mark = hashlib.blake2b(tile.tobytes(), digest_size=16).digest()
        found = self._known.get(mark)
        if found is None:
            found = self._network.infer(tile)
            if self._learns:
                self._known[mark] = found
        return found


class PlantedScan(NamedTuple):
    """One region's scan and where its planted defect is, (H, W); nowhere in a sound one."""

    scan: RegionScan
    mask: NDArray[np.bool_]


def select_normals(images: Sequence[PreparedImage]) -> list[PreparedImage]:
    """Choose the photographs that defects are planted into; of an adaptation's some may be unlabelled."""
    return [i for i in images if i.part == Part.SELECT and i.label != Label.ANOMALOUS]


def scan_planted(
    detector: Detector, prepared: Path, chosen: Sequence[PreparedImage], rounds: int, seed: int, label: str = "select"
) -> Iterator[PlantedScan]:
    """Yield for each photograph the scan of its sound region, then `rounds` of the same with a defect planted.

    The defects follow from the seed, the image and the round alone, so that versions and algorithms meet the same ones.
    """
    for image in track(chosen, len(chosen), label):
        region, network = read_region(prepared, image), Remembering(detector.network)
        yield PlantedScan(detector.scan_region(region, network), np.zeros(region.shape[:2], dtype=bool))
        network.learn_no_more()
        for number in range(rounds):
            planted = plant_defect(region, _generator(seed, image.path, number))
            yield PlantedScan(detector.scan_region(planted.image, network), planted.mask)


def _generator(seed: int, path: str, number: int) -> np.random.Generator:
    digest = hashlib.sha256(f"{seed}/{path}/{number}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "big"))
