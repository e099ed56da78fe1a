"""Figures against plain arithmetic, and a hash that knows copies from look-alikes."""

import io

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from pipelines.imaging.decoding import decode_image
from pipelines.imaging.measures import measure_image
from tests.conftest import REAL as DATA


def _grain(seed: int, height: int = 96, width: int = 240) -> NDArray[np.uint8]:
    rng = np.random.default_rng(seed)
    coarse = rng.normal(150, 40, (12, 30, 3)).clip(0, 255).astype(np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def _bits(one: str, other: str) -> int:
    return (int(one, 16) ^ int(other, 16)).bit_count()


def test_light_is_plain_arithmetic() -> None:
    picture = _grain(1)
    picture[:24, :60] = 255
    measures = measure_image(picture)
    grey = picture @ np.array([0.299, 0.587, 0.114])
    assert measures.brightness_mean == pytest.approx(grey.mean(), abs=0.6)
    assert measures.brightness_std == pytest.approx(grey.std(), abs=0.6)
    assert measures.saturated_share == pytest.approx((picture >= 250).all(axis=2).mean(), abs=1e-4)


def test_blur_lowers_sharpness_at_any_size() -> None:
    fine = np.random.default_rng(2).integers(90, 170, (96, 240, 3)).astype(np.uint8)
    for picture, blur in ((fine, 3), (fine.repeat(10, axis=0).repeat(10, axis=1), 31)):
        blurred = cv2.blur(picture, (blur, blur))
        assert measure_image(blurred).sharpness < 0.5 * measure_image(picture).sharpness


def test_thinnest_picture_is_measured() -> None:
    assert measure_image(np.full((1, 4000, 3), 90, np.uint8)).brightness_std == 0


def test_hash_knows_a_copy_and_tells_boards_apart() -> None:
    picture = _grain(3)
    hash_of_it = measure_image(picture).phash
    assert len(hash_of_it) == 64
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=80)
    copy = decode_image(buffer.getvalue(), 1).image
    half = cv2.resize(picture, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    for near in (copy, half):
        assert _bits(measure_image(near).phash, hash_of_it) <= 20
    assert _bits(measure_image(_grain(4)).phash, hash_of_it) > 60


@pytest.mark.real
def test_real_boards_of_one_camera_are_not_near_duplicates() -> None:
    if not DATA.is_dir():
        pytest.skip(f"no real images at {DATA}")
    # These three pairs are the nearest among 620 boards: the same view of a board's end.
    pairs = [("2118", "3593"), ("5475", "7279"), ("5020", "6363")]
    for names in pairs:
        one, other = (
            measure_image(decode_image(DATA / f"wood-boards/images/img_{name}.jpg", 10).image).phash for name in names
        )
        assert 30 < _bits(one, other) < 60
