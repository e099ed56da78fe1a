"""Networks in front of others, or in their place.

Some compute no tile again that is known, within one image or within one run; others judge an image that the version's
own knows by heart.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipelines.data.prepared import PreparedImage
from pipelines.detector.scan import MapsTiles, Wrap

_MOST = 2 * 10**9  # bytes on the disk; what comes later is computed each time


class TileCache:
    """Remembers maps of tiles, network by network, and computes no tile again that it saw before `freeze`.

    A synthetic anomaly that is added to a large image changes a few of its tiles; the maps of the others are known.
    """

    def __init__(self) -> None:
        self._networks: dict[int, MapsTiles] = {}
        self._learns = True

    def wrap(self, network: MapsTiles) -> MapsTiles:
        """Return the network that stands before this one; the same for the same network."""
        known: dict[str, NDArray[np.float32]] = {}

        def keep(key: str, found: NDArray[np.float32]) -> None:
            if self._learns:
                known[key] = found

        return self._networks.setdefault(id(network), _Cached(network, known.get, keep))

    def freeze(self) -> None:
        """Keep what is known, and compute what is new each time: a synthetic anomaly is not seen twice."""
        self._learns = False


class RunCache:
    """Keeps maps of tiles in a folder for as long as a run lasts, at most 2 GB of them.

    An ensemble is evaluated on what its members were evaluated on, and the version that an adaptation makes on what
    the chosen strategy was tried on. Networks are told apart by what they are made of, so that one is known wherever it
    lies.
    """

    def __init__(self, folder: Path, most: int = _MOST) -> None:
        self._folder = folder
        self._most = most
        self._kept = 0
        self._networks: dict[str, MapsTiles] = {}

    def wrap(self, network: MapsTiles) -> MapsTiles:
        """Return the network that stands before this one; itself where it does not say what it is."""
        identity: str | None = getattr(network, "identity", None)
        if identity is None:
            return network
        if identity not in self._networks:
            place = self._folder / identity
            place.mkdir(parents=True, exist_ok=True)
            self._networks[identity] = _Cached(
                network, lambda key: _read(place / key), lambda key, found: self._keep(place / key, found)
            )
        return self._networks[identity]

    def _keep(self, file: Path, found: NDArray[np.float32]) -> None:
        if self._kept + found.nbytes <= self._most:
            self._kept += found.nbytes
            np.save(file.with_suffix(".npy"), found)


def _read(file: Path) -> NDArray[np.float32] | None:
    kept = file.with_suffix(".npy")
    return np.asarray(np.load(kept), np.float32) if kept.is_file() else None


class CrossFitted:
    """Networks by fold, and which of them does not know an image."""

    def __init__(self, networks: Sequence[MapsTiles], folds: Mapping[str, int]) -> None:
        """Take networks that are there.

        Args:
            networks: One a fold.
            folds: The fold of each image, by its path.
        """
        self._networks, self._folds = networks, folds

    def wrap(self, image: PreparedImage) -> Wrap | None:
        """Return what puts the network that does not know an image in place of the version's own, unless none does."""
        fold = self._folds.get(image.path)
        if fold is None:
            return None
        network = self._networks[fold]
        return lambda _: network


Wraps = Wrap | CrossFitted | None


def wrap_for(wrap: Wraps, image: PreparedImage) -> Wrap | None:
    """Return what is put before a version's networks where an image is looked at.

    Args:
        wrap: The same for every image, or each image's own.
        image: Of the surface.

    Returns:
        None where the version's own networks are used as they are.
    """
    return wrap.wrap(image) if isinstance(wrap, CrossFitted) else wrap


class _Cached:
    def __init__(
        self,
        network: MapsTiles,
        find: Callable[[str], NDArray[np.float32] | None],
        keep: Callable[[str, NDArray[np.float32]], None],
    ) -> None:
        self._network, self._find, self._keep = network, find, keep

    def infer(self, tiles: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the raw maps (n, h, w) of tiles (n, h, w, 3)."""
        return np.concatenate([self._infer_one(tile[None]) for tile in tiles])

    def _infer_one(self, tile: NDArray[np.uint8]) -> NDArray[np.float32]:
        key = hashlib.blake2b(tile.tobytes(), digest_size=16).hexdigest()
        found = self._find(key)
        if found is None:
            found = self._network.infer(tile)
            self._keep(key, found)
        return found
