"""Heat and outlines appear where the map is high, and nowhere else."""

import base64
import io
import tracemalloc

import numpy as np
import pytest
from PIL import Image

from pipelines.core.errors import ImageError
from pipelines.imaging import overlay
from pipelines.imaging.overlay import (
    FOUND,
    TRUE,
    data_uri,
    encode_picture,
    heat_strength,
    heatmap,
    outline,
    strip,
)


@pytest.fixture
def board() -> np.ndarray:
    """Draw a brown board of 40 x 60 with a grain."""
    rows = np.random.default_rng(0).integers(0, 30, (40, 1, 1))
    return np.broadcast_to(np.array([170, 120, 80]) - rows, (40, 60, 3)).astype(np.uint8)


@pytest.fixture
def spot_map() -> np.ndarray:
    anomaly_map = np.full((40, 60), 0.3, dtype=np.float32)
    anomaly_map[10:20, 30:45] = 5.0
    return anomaly_map


def test_normal_wood_stays_readable_and_heat_is_only_on_the_spot(board: np.ndarray, spot_map: np.ndarray) -> None:
    before = board.copy()
    shown = heatmap(board, spot_map, 1.5)
    saturation = shown.max(axis=2).astype(int) - shown.min(axis=2)
    assert saturation[spot_map > 1].min() > 60
    assert saturation[spot_map < 1].max() == 0
    assert np.ptp(shown[spot_map < 1]) >= 20
    assert (board == before).all()


def test_brightness_of_the_colours_rises_with_the_score() -> None:
    scores = np.geomspace(0.5, 8, 50, dtype=np.float32)[np.newaxis]
    black = np.zeros((1, 50, 3), dtype=np.uint8)
    luminance = heatmap(black, scores, 2.0) @ np.array([0.2126, 0.7152, 0.0722])
    assert (np.diff(luminance[0]) > -1).all()
    assert luminance[0, -1] - luminance[0, 25] > 60


def test_strength_needs_no_positive_threshold_or_score() -> None:
    assert heat_strength(np.array([[0, 1]], dtype=np.float32), 0.0).tolist() == [[0, 1]]


def test_outlines_run_round_regions_and_holes(board: np.ndarray) -> None:
    region = np.zeros((40, 60), dtype=bool)
    region[5:25, 5:25] = True
    region[12:18, 12:18] = False
    drawn = outline(board, region, FOUND)
    changed = (drawn != board).any(axis=2)
    assert changed[5, 5:25].all()
    assert changed[11, 12:18].all()
    assert not changed[8:10, 8:22].any()
    assert not changed[26:].any()
    assert (drawn[5, 5] == FOUND).all()


@pytest.mark.parametrize(("shape", "expected"), [((40, 60), (40, 192)), ((20, 60), (72, 60))])
def test_strips_lie_so_that_panels_stay_large(shape: tuple[int, int], expected: tuple[int, int]) -> None:
    image = np.full((*shape, 3), 90, dtype=np.uint8)
    truth = np.zeros(shape, dtype=bool)
    truth[4:9, 4:9] = True
    shown = strip(image, np.zeros(shape, dtype=np.float32), 1.0, truth)
    assert shown.shape[:2] == expected
    assert (shown == TRUE).all(axis=2).sum() == 16
    assert not (shown == FOUND).all(axis=2).any()


def test_outlines_of_large_images_survive_shrinking() -> None:
    anomaly_map = np.zeros((900, 1200), dtype=np.float32)
    anomaly_map[300:500, 300:500] = 3
    shown = strip(np.full((900, 1200, 3), 128, dtype=np.uint8), anomaly_map, 1.0, max_side=200)
    last = shown[:, -200:].astype(int)
    assert np.abs(last - FOUND).max(axis=2).min() < 40


@pytest.mark.parametrize("kind", ["png", "jpeg"])
def test_a_data_uri_holds_the_picture(board: np.ndarray, kind: str) -> None:
    uri = data_uri(encode_picture(board, kind), kind)
    head, _, body = uri.partition(",")
    assert head == f"data:image/{kind};base64"
    decoded = Image.open(io.BytesIO(base64.b64decode(body)))
    assert decoded.format == kind.upper()
    assert np.abs(np.asarray(decoded).astype(int) - board).max() <= (0 if kind == "png" else 12)


def test_sizes_that_differ_are_refused(board: np.ndarray) -> None:
    with pytest.raises(ImageError, match="image's size"):
        heatmap(board, np.zeros((4, 4), dtype=np.float32), 1.0)
    with pytest.raises(ImageError, match="uint8"):
        outline(board.astype(float), np.zeros((40, 60), dtype=bool))


def test_a_large_image_is_drawn_in_bands_that_show_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (1500, 1400, 3)).astype(np.uint8)
    anomaly_map = rng.gamma(1, 1, (1500, 1400)).astype(np.float32)
    monkeypatch.setattr(overlay, "_BAND", image.size)
    at_once = heatmap(image, anomaly_map, 2.0)
    monkeypatch.setattr(overlay, "_BAND", 10_000)
    tracemalloc.start()
    in_bands = heatmap(image, anomaly_map, 2.0)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert np.array_equal(in_bands, at_once)
    assert peak < 1.3 * image.nbytes, "more than the picture itself and a band"
