"""Scans of synthetic anomalies: those of a whole image, without computing again what the defect left as it was."""

from pathlib import Path

import numpy as np
from PIL import Image

from pipelines.core.geometry import TilePlan
from pipelines.core.records import Label, Split
from pipelines.data.prepared import PreparedImage
from pipelines.detector.scan import Part, RegionScan, Wrap, scan_parts
from pipelines.imaging.image_score import ScoreRule
from pipelines.training.choosing.selection import scan_synthetic

PLAN = TilePlan(mode="grid", tile_height=64, tile_width=64, stride_height=48, stride_width=48)
SIDE = 448
TILES = 81


class Counting:
    """A network whose map is how dark a tile is; counts the tiles that it was requested."""

    def __init__(self) -> None:
        self.requested = 0

    def infer(self, tiles: np.ndarray) -> np.ndarray:
        self.requested += len(tiles)
        return 255 - tiles.astype(np.float32).mean(axis=3)


class Gridded:
    """A detector of large images."""

    def __init__(self) -> None:
        self.network = Counting()

    def scan_region(self, region: np.ndarray, wrap: Wrap | None = None) -> RegionScan:
        return scan_parts([Part(self.network, PLAN)], ScoreRule(), region, wrap)


def test_what_a_synthetic_anomaly_left_as_it_was_is_not_computed_again(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(90, 160, (SIDE, SIDE, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    place = {"left": 0, "top": 0, "right": SIDE, "bottom": SIDE, "width": SIDE, "height": SIDE}
    facts = {
        "path": "a.png",
        "file": "a.png",
        "mask": None,
        "split": Split.VALIDATION,
        "label": Label.NORMAL,
        "defects": {},
    }
    image = PreparedImage.model_validate({**place, **facts, "condition": None, "group": "a", "key": ""})

    class Forgetful(Gridded):
        def scan_region(self, region: np.ndarray, wrap: Wrap | None = None) -> RegionScan:  # noqa: ARG002 - it forgets
            return super().scan_region(region)

    quick, plain = Gridded(), Forgetful()
    found, expected = (
        list(scan_synthetic(detector, tmp_path, [image], 5, 0))  # type: ignore[arg-type] - a stand-in
        for detector in (quick, plain)
    )
    assert plain.network.requested == 6 * TILES
    assert quick.network.requested < 2 * TILES
    assert len(found) == len(expected) == 6
    for one, other in zip(found, expected, strict=True):
        assert np.array_equal(one.scan.map, other.scan.map)
        assert one.scan.score == other.scan.score
        assert np.array_equal(one.mask, other.mask)
    assert not np.array_equal(found[1].scan.map, found[2].scan.map)
