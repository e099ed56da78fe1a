"""Pictures that anyone has, scikit-image's images and drawn surfaces, and random crops of them."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import skimage
from numpy.typing import NDArray
from PIL import Image

from pipelines.core.errors import ImageError
from pipelines.imaging.procedural import DEFECTS, Material, draw

Picture = NDArray[np.uint8]

# Shipped inside scikit-image's wheel; its other files are drawings, or are fetched on use.
_IMAGES = (
    *("astronaut.png", "brick.png", "camera.png", "cell.png", "chelsea.png", "clock_motion.png", "coffee.png"),
    *("coins.png", "color.png", "grass.png", "gravel.png", "hubble_deep_field.jpg", "ihc.png", "microaneurysms.png"),
    *("moon.png", "motorcycle_left.png", "motorcycle_right.png", "page.png", "retina.jpg", "rocket.jpg", "text.png"),
)
_LOOKS: tuple[tuple[Material, str], ...] = (
    *(("wood", "pine"), ("wood", "oak"), ("wood", "walnut"), ("wood", "alder")),
    *(("fabric", "linen"), ("fabric", "cotton"), ("fabric", "chambray")),
)
_DRAWN_SIDE = 512
_SMALLEST, _LARGEST = 0.4, 1.4  # a crop's side before it is scaled, in crops
_MIXED = 0.25  # share of crops that are two pictures laid over each other
_GREY = 0.15
_STRETCHED = 0.3
_MOST_PICTURES = 200  # they are held in memory


def load_images() -> list[Picture]:
    """Load scikit-image's images, RGB (H, W, 3)."""
    folder = Path(skimage.__path__[0]) / "data"
    return [_read(folder / name) for name in _IMAGES]


def _read(path: Path) -> Picture:
    try:
        with Image.open(path) as file:
            return np.asarray(file.convert("RGB"))
    except OSError as error:
        raise ImageError(f"{path} cannot be read", hint="restore the file, or take it out of the folder") from error


def draw_surfaces(count: int, seed: int) -> list[Picture]:
    """Draw wood and fabric by turns, every look in turn, half of them with one to three defects.

    Args:
        count: How many; each takes 0.8 MB of memory.
        seed: The same seed draws the same surfaces, and a larger `count` the same ones first.

    Returns:
        RGB (512, 512, 3) each.
    """
    pictures = []
    for number in range(count):
        material, look = _LOOKS[number % len(_LOOKS)]
        random = np.random.default_rng((seed, number))
        names = list(DEFECTS[material].values())
        defects = random.choice(names, random.integers(1, 4)).tolist() if random.random() < 0.5 else []
        scale = float(np.exp(random.uniform(np.log(4), np.log(40))))
        drawn = draw(material, seed + number, _DRAWN_SIDE, _DRAWN_SIDE, defects, look=look, scale=scale)
        pictures.append(drawn.image)
    return pictures


def random_crop(pictures: Sequence[Picture], side: int, random: np.random.Generator) -> Picture:
    """Return a square crop: scaled, turned, recoloured, now and then of two pictures mixed.

    Args:
        pictures: RGB (H, W, 3) of any sizes, at least one; one is drawn, all alike likely.
        side: Pixels of the crop; 0.4 to 1.4 times as many of a picture are seen, more or less if stretched.
        random: What is drawn from; moves on.

    Returns:
        RGB (side, side, 3).
    """
    crop = _cut(pictures, side, random)
    if random.random() < _MIXED:
        share = random.uniform(0.25, 0.75)
        crop = share * crop + (1 - share) * _cut(pictures, side, random)
    if random.random() < _GREY:
        crop = np.repeat(crop.mean(2, keepdims=True), 3, 2)
    gains = random.uniform(0.75, 1.25) * random.uniform(0.92, 1.08, 3)
    mean = crop.mean()
    crop = (mean + (crop - mean) * random.uniform(0.6, 1.4)) * gains + random.uniform(-15, 15)
    crop += random.normal(0, random.uniform(0, 4), crop.shape)
    return np.asarray(crop.clip(0, 255), np.uint8)


class EverydayCrops:
    """Random crops (side, side, 3), one at a call, of scikit-image's images or of a folder's pictures."""

    def __init__(self, folder: str | None, side: int, seed: int) -> None:
        self._pictures = load_images() if folder is None else load_folder(Path(folder))
        self._side, self._random = side, np.random.default_rng(seed)

    def draw(self) -> Picture:
        return random_crop(self._pictures, self._side, self._random)


def load_folder(folder: Path) -> list[Picture]:
    """Load the first pictures below a folder; raise ImageError where there is none."""
    files = [f for f in sorted(folder.rglob("*")) if f.suffix.lower() in (".png", ".jpg", ".jpeg", ".bmp", ".webp")]
    if not files:
        raise ImageError(f"no picture in {folder}", hint="name a folder of PNG or JPEG files of anything else")
    return [_read(file) for file in files[:_MOST_PICTURES]]


def _cut(pictures: Sequence[Picture], side: int, random: np.random.Generator) -> NDArray[np.float32]:
    picture = pictures[int(random.integers(len(pictures)))]
    height, width = (
        min(length, max(16, round(side * share)))
        for length, share in zip(picture.shape[:2], _draw_shares(random), strict=True)
    )
    top = random.integers(0, picture.shape[0] - height + 1)
    left = random.integers(0, picture.shape[1] - width + 1)
    cut = picture[top : top + height, left : left + width]
    shrinks = height * width > side * side
    cut = cv2.resize(cut, (side, side), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)
    turned = np.rot90(cut, int(random.integers(4)))
    return np.asarray(turned[:, :: random.choice([-1, 1])], np.float32)


def _draw_shares(random: np.random.Generator) -> tuple[float, float]:
    share = float(np.exp(random.uniform(np.log(_SMALLEST), np.log(_LARGEST))))
    stretch = float(np.exp(random.uniform(-0.5, 0.5))) if random.random() < _STRETCHED else 1.0
    return share, share * stretch
