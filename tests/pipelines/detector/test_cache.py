"""A run's cache of tile maps: a member of an ensemble computes nothing again that it computed by itself."""

import shutil
from pathlib import Path

import numpy as np

from pipelines.detector.cache import RunCache
from pipelines.models.openvino.runtime import TileModel
from tests.tiny_version import TILE, save_version, spoil_weights

TILES = np.random.default_rng(0).integers(0, 255, (3, TILE, TILE, 3)).astype(np.uint8)


def load(folder: Path) -> TileModel:
    folder.mkdir()
    return TileModel(save_version(folder))


def test_the_same_network_elsewhere_knows_the_maps(tmp_path: Path) -> None:
    one = load(tmp_path / "one")
    copy = TileModel(Path(shutil.copytree(tmp_path / "one", tmp_path / "copy")))
    cache = RunCache(tmp_path / "cache")
    expected = one.infer(TILES)
    assert np.array_equal(cache.wrap(one).infer(TILES), expected)
    copy.infer = None  # type: ignore[assignment,method-assign] - whoever computes again fails
    assert np.array_equal(cache.wrap(copy).infer(TILES), expected)


def test_another_network_does_not(tmp_path: Path) -> None:
    one = load(tmp_path / "one")
    cache = RunCache(tmp_path / "cache")
    cache.wrap(one).infer(TILES)
    (tmp_path / "other").mkdir()
    spoil_weights(save_version(tmp_path / "other"))
    assert np.isnan(cache.wrap(TileModel(tmp_path / "other")).infer(TILES)).any()


def test_what_exceeds_its_bound_is_computed_and_not_kept(tmp_path: Path) -> None:
    one = load(tmp_path / "one")
    size = one.infer(TILES[:1]).nbytes
    cache = RunCache(tmp_path / "cache", most=2 * size)
    assert np.array_equal(cache.wrap(one).infer(TILES), one.infer(TILES))
    kept = list((tmp_path / "cache").rglob("*.npy"))
    assert len(kept) == 2
    assert np.array_equal(cache.wrap(one).infer(TILES), one.infer(TILES))
