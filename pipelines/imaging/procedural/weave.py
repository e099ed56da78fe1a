"""Plain weave: yarns that pass over and under each other, with the irregularities of real cloth."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.core.errors import CallError, offer_closest
from pipelines.imaging.procedural.noise import Floats, fractal_noise, noise_line, smoothstep, value_noise

Colour = tuple[float, float, float]


@dataclass(frozen=True)
class Cloth:
    """A look of cloth; colours are RGB on 0 to 255, `thickness` is a yarn's width as a share of its spacing."""

    warp: Colour
    weft: Colour
    thickness: float
    irregular: float


CLOTHS = {
    "linen": Cloth((196, 180, 150), (204, 190, 162), 0.86, 1.0),
    "cotton": Cloth((206, 210, 216), (214, 218, 222), 0.94, 0.5),
    "chambray": Cloth((74, 96, 138), (176, 184, 196), 0.95, 0.7),
}


def find_cloth(name: str) -> Cloth:
    """Look a cloth up by its name."""
    if name not in CLOTHS:
        raise CallError(
            f"no cloth '{name}' can be drawn", hint=offer_closest(f"choose one of {', '.join(CLOTHS)}", name, CLOTHS)
        )
    return CLOTHS[name]


@dataclass(frozen=True)
class Weave:
    """Each pixel's place in the cloth: `x` counts warp yarns, `y` weft yarns; `warp_up` says which yarn is seen."""

    x: Floats
    y: Floats
    warp_up: NDArray[np.bool_]
    height: Floats
    open: Floats

    @property
    def yarn(self) -> NDArray[np.int32]:
        """Number the yarn that is seen: even numbers are warp, odd ones weft."""
        seen = np.where(self.warp_up, 2 * np.floor(self.x), 2 * np.floor(self.y) + 1)
        return seen.astype(np.int32)


def _wander(rng: np.random.Generator, shape: tuple[int, int], yarn: float, irregular: float) -> Floats:
    """Let yarns wander sideways, in yarns: slowly over the cloth, and each against its neighbours."""
    height, width = shape
    slow = fractal_noise(rng, height, width, (40 * yarn, 40 * yarn), 3)
    own = value_noise(rng, height, width, (9 * yarn, 1.6 * yarn))
    return np.asarray(irregular * (0.4 * slow + 0.09 * own), dtype=np.float32)


def yarn_grid(rng: np.random.Generator, shape: tuple[int, int], yarn: float, cloth: Cloth) -> tuple[Floats, Floats]:
    """Count yarns at every pixel of undamaged cloth.

    Args:
        rng: The cloth's own stream.
        shape: (height, width) in pixels.
        yarn: Mean width of a warp yarn in pixels; weft yarns are 6 % wider.
        cloth: Its `irregular` says how far yarns wander.

    Returns:
        Warp yarns counted along x and weft yarns along y, each float32, shape (height, width), from about 4 upwards.
    """
    height, width = shape
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    lean = np.float32(rng.normal(0, 0.01))
    across = (x + lean * y) / np.float32(yarn) + _wander(rng, shape, yarn, cloth.irregular) + 4
    turned = _wander(rng, (width, height), yarn, cloth.irregular).T
    down = (y - lean * x) / np.float32(yarn * 1.06) + turned + 4
    return np.asarray(across, dtype=np.float32), np.asarray(down, dtype=np.float32)


def interlace(rng: np.random.Generator, x: Floats, y: Floats, cloth: Cloth) -> Weave:
    """Decide at every pixel which yarn is on top and how high it lies.

    Args:
        rng: The cloth's own stream, after `yarn_grid`: draws how thick each yarn is.
        x: Count of warp yarns, float32, shape (H, W).
        y: Count of weft yarns, shifted where threads were pulled, float32, shape (H, W).
        cloth: Its `thickness` and `irregular` count.

    Returns:
        The weave; its `height` is 0 to 1, `open` 0 on a yarn and 1 between yarns, both float32, shape (H, W).
    """
    table = 1 + 0.1 * cloth.irregular * rng.standard_normal((2, 4096)).astype(np.float32)
    # A slub: now and then a yarn is spun much thicker.
    table += 0.12 * cloth.irregular * (rng.random((2, 4096)) < 0.03)
    thick = np.clip(table * cloth.thickness, 0.6, 1.06).astype(np.float32)
    column, row = np.floor(x), np.floor(y)
    wide = thick[0][column.astype(np.int32) % 4096]
    high = thick[1][row.astype(np.int32) % 4096]
    round_warp = np.clip(1 - ((x - column - 0.5) * 2 / wide) ** 2, 0, 1)
    round_weft = np.clip(1 - ((y - row - 0.5) * 2 / high) ** 2, 0, 1)
    lift = np.where(column % 2 == 0, 1, -1) * np.sin(np.pi * y)
    drop = np.where(row % 2 == 0, -1, 1) * np.sin(np.pi * x)
    warp = np.where(round_warp > 0, 0.55 * np.sqrt(round_warp) + 0.45 * lift, -1)
    weft = np.where(round_weft > 0, 0.55 * np.sqrt(round_weft) + 0.45 * drop, -1)
    top = np.maximum(warp, weft).astype(np.float32)
    gap = smoothstep(0.25, 0.0, np.maximum(round_warp, round_weft).astype(np.float32))
    return Weave(x, y, np.asarray(warp >= weft), np.clip(top, 0, 1), gap)


def paint_weave(rng: np.random.Generator, weave: Weave, yarn: float, cloth: Cloth) -> Floats:
    """Paint cloth in even light.

    Args:
        rng: The cloth's own stream, after `interlace`: draws tints and fibres.
        weave: Which yarn is seen where.
        yarn: Mean width of a yarn in pixels.
        cloth: Gives the colours of warp and weft.

    Returns:
        RGB on about 0 to 255, not clipped, float32, shape (H, W, 3).
    """
    rows, columns = weave.x.shape
    shade = 0.52 + 0.5 * weave.height
    # Spun fibres run obliquely over a yarn.
    twist = np.where(weave.warp_up, weave.x * 2.2 + weave.y * 1.1, weave.x * 1.1 - weave.y * 2.2)
    shade = shade + 0.035 * np.sin(2 * np.pi * twist)
    tints = 1 + 0.035 * cloth.irregular * rng.standard_normal(8192).astype(np.float32)
    shade = shade * tints[weave.yarn % 8192]
    shade = shade * (1 + 0.03 * fractal_noise(rng, rows, columns, (30 * yarn, 30 * yarn), 3))
    shade = shade + 0.03 * value_noise(rng, rows, columns, (1.2, 1.2)) + 0.01 * noise_line(rng, columns, 3 * yarn)
    warp, weft = (np.array(c, dtype=np.float32) for c in (cloth.warp, cloth.weft))
    colour = np.where(weave.warp_up[..., None], warp, weft) * shade[..., None]
    colour *= (1 - 0.5 * weave.open)[..., None]
    return np.asarray(colour * rng.normal(1, 0.02), dtype=np.float32)
