"""Cuts, spots and pulled threads in cloth."""

import math
from dataclasses import dataclass

import numpy as np

from pipelines.imaging.procedural.layers import Layer
from pipelines.imaging.procedural.noise import Floats, fractal_noise, log_uniform, noise_line, smoothstep
from pipelines.imaging.procedural.weave import Weave


@dataclass(frozen=True)
class Pull:
    """A pulled thread: its weft row, its ends in warp yarns, and by how many yarns it shifts its neighbours."""

    row: int
    first: float
    last: float
    shift: Floats


def pull_threads(rng: np.random.Generator, x: Floats, y: Floats) -> Pull:
    """Choose a thread to pull and how the cloth puckers around it.

    Args:
        rng: The defect's own stream.
        x: Count of warp yarns at each pixel, float32, shape (H, W); see `yarn_grid`.
        y: Count of weft yarns at each pixel of undamaged cloth, float32, shape (H, W); not changed.

    Returns:
        The pull; its `shift` (H, W) is to be added to `y`, in yarns.
    """
    columns = float(x.max() - x.min())
    length = min(log_uniform(rng, 10, 60), 0.85 * columns)
    first = float(x.min()) + rng.uniform(0.02, 0.98) * (columns - length)
    row = int(y.min() + rng.uniform(0.12, 0.88) * (y.max() - y.min()))
    off = y - np.float32(row + 0.5)
    ends = smoothstep(first, first + 3, x) * smoothstep(first + length, first + length - 3, x)
    near = smoothstep(3.0, 0.3, np.abs(off))
    ripple = 0.75 + 0.25 * np.sin(2 * np.pi * x / rng.uniform(5, 9))
    shift = np.float32(rng.uniform(0.3, 0.6)) * np.sign(off) * smoothstep(0.0, 0.5, np.abs(off)) * near * ends * ripple
    return Pull(row, first, first + length, np.asarray(shift, dtype=np.float32))


def paint_thread(rng: np.random.Generator, pull: Pull, weave: Weave, surface: Floats) -> Layer:
    """Draw the pulled thread itself, taut on top of the cloth or sunk between its neighbours.

    Args:
        rng: The defect's own stream, from which `pull` was drawn before.
        pull: The thread and its pucker, on the same pixels as `weave`.
        weave: The cloth with all pulls in it.
        surface: What was painted so far, RGB on 0 to 255, float32, shape (H, W, 3); not changed.

    Returns:
        The thread; its mask holds the puckered cloth too.
    """
    off = np.abs(weave.y - np.float32(pull.row + 0.5))
    inside = smoothstep(pull.first, pull.first + 1, weave.x) * smoothstep(pull.last, pull.last - 1, weave.x)
    band = smoothstep(0.6, 0.38, off) * inside
    taut = bool(rng.random() < 0.6)
    tone = rng.uniform(1.15, 1.45) if taut else rng.uniform(0.55, 0.8)
    plain = surface.mean(axis=(0, 1)) if taut else surface
    twist = 0.06 * np.sin(2 * np.pi * (1.1 * weave.x - 2.2 * weave.y))
    tones = tone + 0.05 * noise_line(rng, weave.x.shape[1], 9.0)
    round_off = (tones * (1 - 0.5 * (off / 0.6) ** 2 + twist))[..., None]
    colour = np.clip(plain * round_off, 0, 255).astype(np.float32)
    alpha = np.float32(0.85) * band
    return Layer(colour, alpha, (alpha > 0.3) | (np.abs(pull.shift) > 0.08))


def paint_cut(rng: np.random.Generator, weave: Weave, yarn: float, surface: Floats) -> Layer:
    """Draw a cut that gapes: dark between its lips, with the ends of the severed yarns in it.

    Args:
        rng: The defect's own stream: place, length (6 to 26 yarns), width and direction are drawn from it.
        weave: Says which yarn is seen at each pixel.
        yarn: Mean width of a yarn in pixels.
        surface: What was painted so far, RGB on 0 to 255, float32, shape (H, W, 3); not changed.

    Returns:
        The cut; its mask is all between the lips, severed ends included.
    """
    height, width = weave.x.shape
    length = min(log_uniform(rng, 6, 26) * yarn, 0.7 * min(height, width))
    half = 0.5 * yarn * log_uniform(rng, 0.9, 3.0)
    angle = rng.uniform(0, math.pi)
    x, y = rng.uniform(0.15, 0.85) * width, rng.uniform(0.15, 0.85) * height
    dy, dx = np.mgrid[0:height, 0:width].astype(np.float32) - np.array([y, x], dtype=np.float32)[:, None, None]
    along = dx * math.cos(angle) + dy * math.sin(angle)
    away = np.abs(dy * math.cos(angle) - dx * math.sin(angle) + 0.03 * along**2 / length)
    lips = half * np.sqrt(np.clip(1 - (2 * along / length) ** 2, 0, 1))
    # Yarns are severed at their own lengths, and stand into the gap from both lips.
    ends = np.clip(rng.normal(0.35, 0.4, 8192), 0, 1.2).astype(np.float32)[weave.yarn % 8192]
    stray = 0.12 * fractal_noise(rng, height, width, (2.0, 2.0), 2)
    severed = np.clip((lips * (1 - ends + stray) - away) + 0.5, 0, 1) * (lips > 0.5)
    colour = np.array((30, 27, 25), dtype=np.float32) + 0.06 * surface
    lifted = 0.3 * smoothstep(0.0, 1.0, (lips - away).astype(np.float32)) * (1 - severed)
    shadow = surface * np.float32(0.55)
    alpha = np.clip(severed + lifted, 0, 1).astype(np.float32)
    share = (severed / np.maximum(alpha, 1e-6))[..., None]
    return Layer((share * colour + (1 - share) * shadow).astype(np.float32), alpha, (away < lips) & (lips > 0.5))


def paint_spot(rng: np.random.Generator, weave: Weave, yarn: float, surface: Floats) -> Layer:
    """Draw a spot of oil or ink that crept along the yarns.

    Args:
        rng: The defect's own stream: place, radius (1 to 6 yarns) and colour are drawn from it.
        weave: Says which yarn is seen at each pixel.
        yarn: Mean width of a yarn in pixels.
        surface: What was painted so far, RGB on 0 to 255, float32, shape (H, W, 3); not changed.

    Returns:
        The spot; the weave shows through.
    """
    height, width = weave.x.shape
    radius = min(log_uniform(rng, 1.0, 6.0) * yarn, 0.2 * min(height, width))
    x, y = rng.uniform(0.08, 0.92) * width, rng.uniform(0.08, 0.92) * height
    down, across = np.ogrid[0:height, 0:width]
    distance = np.hypot((across - x) / rng.uniform(0.8, 1.5), down - y) / radius
    creep = 0.09 * rng.standard_normal(8192).astype(np.float32)[weave.yarn % 8192]
    edge = 0.2 * np.clip(fractal_noise(rng, height, width, (1.4 * radius, 1.4 * radius), 3), -1.5, 1.5)
    field = np.asarray(distance * (1 + edge + creep * min(1.0, yarn / radius * 2)), dtype=np.float32)
    ink = rng.random() < 0.4
    tint = (0.35, 0.38, 0.62) if ink else (0.74, 0.70, 0.58)
    colour = surface * np.array(tint, dtype=np.float32)
    strength = np.float32(log_uniform(rng, 0.3, 1.0))
    return Layer(colour, strength * smoothstep(1.15, 0.75 if ink else 0.6, field), field < 1.02)
