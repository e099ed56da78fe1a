"""A detector's answer: map, verdict and defects in the image's own pixels."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pipelines.core.geometry import Box, TilePlan
from pipelines.core.results import CalibratedThreshold
from pipelines.core.surface_settings import DefectSettings, RegionSettings
from pipelines.detector.detector import Detector, Scan
from pipelines.detector.version import VersionInfo
from pipelines.imaging.image_score import ScoreRule

SIDE = 100


class Brightness:
    """A tile model whose map is the tile's first channel."""

    def __init__(self, *_: Any) -> None: ...

    def infer(self, tiles: NDArray[np.uint8]) -> NDArray[np.float32]:
        return tiles[..., 0].astype(np.float32)


def scan(folder: Path, source_image: NDArray[np.uint8], pixel_threshold: float) -> Scan:
    """Scan with a version that is anomalous above 0.5 on a scale where white is 1."""
    folder.mkdir(exist_ok=True)
    image, pixel = (
        CalibratedThreshold(threshold=t, target_rate=0.1, achieved_rate=0.1, images=9) for t in (0.5, pixel_threshold)
    )
    info = VersionInfo(
        surface="oak",
        algorithm="padim",
        data_version="0" * 16,
        region=RegionSettings(rule="box", box=(10, 20, 10 + SIDE, 20 + SIDE)),
        plan=TilePlan(mode="fit", tile_height=SIDE, tile_width=SIDE),
        score_rule=ScoreRule(border_share=0.1, top_share=0.01),
        map_divisor=255,
        image_divisor=255,
        image_threshold=image,
        pixel_threshold=pixel,
        defects=DefectSettings(low=0.8, min_area=4, anomalous=1),
    )
    (folder / "model.json").write_text(info.model_dump_json())
    return Detector(folder).scan(source_image)


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.detector.members.TileModel", Brightness)


@pytest.fixture
def image() -> NDArray[np.uint8]:
    """A dark image with a spot of 12 x 10 inside the region of interest, bright in its middle, and one outside."""
    pixels = np.full((150, 150, 3), 40, np.uint8)
    pixels[60:70, 50:62] = 220
    pixels[64:66, 54:58] = 250
    pixels[2:12, 2:12] = 255
    return pixels


def test_defects_lie_where_they_are_in_the_image(image: NDArray[np.uint8], tmp_path: Path) -> None:
    found = scan(tmp_path, image, 0.95)
    assert (found.anomalous, found.region) == (True, Box(10, 20, 110, 120))
    (defect,) = found.defects
    assert (defect.box, defect.area) == (Box(50, 60, 62, 70), 120)
    assert defect.score == found.map[65, 55] == pytest.approx(250 / 255)


def test_an_anomalous_image_below_the_pixel_threshold_shows_what_made_it_so(
    image: NDArray[np.uint8], tmp_path: Path
) -> None:
    # Brighter at the rim, which does not count for the score.
    image[20:26, 40:60] = 250
    (defect,) = scan(tmp_path, image, 1.5).defects
    assert defect.box == Box(50, 60, 62, 70)
    image[60:70, 50:62] = 100
    faint = scan(tmp_path, image, 1.5)
    assert (faint.anomalous, faint.defects) == (False, ())
