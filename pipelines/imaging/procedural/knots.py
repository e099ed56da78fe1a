"""Knots: where a branch was, how the grain bends around it, and what it looks like cut."""

import math
from dataclasses import dataclass

import numpy as np

from pipelines.imaging.procedural.layers import Layer, mix
from pipelines.imaging.procedural.noise import Floats, fractal_noise, log_uniform, noise_line, smoothstep
from pipelines.imaging.procedural.species import Species
from pipelines.imaging.procedural.wood import Grain

REACH = 5.0
_STRETCH = 1.7


@dataclass(frozen=True)
class Knot:
    """A knot's ellipse in pixels: centre, half axes along and across the grain, tilt in radians."""

    kind: str
    x: float
    y: float
    along: float
    across: float
    tilt: float

    def radius(self, x: Floats, y: Floats, stretch: float = 1.0) -> Floats:
        """Measure the distance from the centre in half axes.

        Args:
            x: Columns in pixels of the board, float32, of any shape.
            y: Rows in pixels of the board, float32, of the same shape.
            stretch: Factor that lengthens the ellipse along the grain; 1 leaves it as it is.

        Returns:
            Float32, shape of `x`: 0 in the centre, 1 on the outline.
        """
        dx, dy = x - np.float32(self.x), y - np.float32(self.y)
        cos, sin = np.float32(math.cos(self.tilt)), np.float32(math.sin(self.tilt))
        u, v = (cos * dx + sin * dy) / np.float32(self.along * stretch), (cos * dy - sin * dx) / np.float32(self.across)
        return np.asarray(np.hypot(u, v), dtype=np.float32)


def place_knot(rng: np.random.Generator, kind: str, height: int, width: int, ring: float) -> Knot:
    """Choose a knot's place and size.

    Args:
        rng: The defect's own stream.
        kind: One of the knots in WOOD_DEFECTS, for example "live knot".
        height: Rows of the board.
        width: Columns of the board.
        ring: Mean width of a growth ring in pixels.

    Returns:
        The knot, its centre on the board, its half axis across the grain about 0.4 to 1.6 rings and 3 pixels at least.
    """
    across = min(max(3.0, ring * log_uniform(rng, 0.4, 1.6)), 0.2 * min(height, width))
    along = across * rng.uniform(1.0, 1.7)
    x, y = rng.uniform(0.08, 0.92) * width, rng.uniform(0.1, 0.9) * height
    return Knot(kind, x, y, along, across, rng.normal(0, 0.15))


def bend_grain(x: Floats, y: Floats, knots: tuple[Knot, ...]) -> Floats:
    """Lead the grain around the knots: the height that each pixel would have in straight grain.

    The lines of equal height are the stream lines around a cylinder, y (1 - R^2 / r^2), faded to nothing at REACH
    half axes so that a knot changes its neighbourhood only.

    Args:
        x: Column of each pixel, float32, shape (H, W).
        y: Row of each pixel, float32, shape (H, W); not changed.
        knots: May be empty: the grain is straight then.

    Returns:
        Heights in pixels, float32, shape (H, W).
    """
    across = y.copy()
    for knot in knots:
        radius = knot.radius(x, y, _STRETCH)
        pull = smoothstep(REACH, 1.0, radius) / np.maximum(radius, 1) ** 2
        across -= (y - np.float32(knot.y)) * np.float32(0.95) * pull
    return across


def _outline(rng: np.random.Generator, knot: Knot, grain: Grain, rough: float) -> Floats:
    height, width = grain.shape
    wobble = fractal_noise(rng, height, width, (knot.across, knot.along), 3)
    return np.asarray(
        knot.radius(grain.x, grain.y) * (1 + np.float32(rough) * np.clip(wobble, -1.5, 1.5)), dtype=np.float32
    )


def _checks(rng: np.random.Generator, knot: Knot, grain: Grain, radius: Floats) -> Floats:
    """Draw the radial cracks inside a dried knot, 0 to 1."""
    turn = (np.arctan2(grain.y - knot.y, grain.x - knot.x) / (2 * np.pi) + 0.5) * 255
    spokes = noise_line(rng, 256, 12, 2)
    at = np.asarray(spokes[np.clip(turn, 0, 255).astype(np.int32)], dtype=np.float32)
    return np.asarray(smoothstep(1.2, 1.7, at) * smoothstep(0.95, 0.6, radius), dtype=np.float32)


def _live(rng: np.random.Generator, knot: Knot, grain: Grain, species: Species) -> Layer:
    radius = _outline(rng, knot, grain, 0.06)
    rings = 0.5 + 0.5 * np.sin(2 * np.pi * radius * rng.uniform(2, 4) + rng.uniform(0, 6))
    early, late = np.array(species.early), np.array(species.late)
    core = late * (0.9, 0.82, 0.74)
    colour = mix(late * (0.98, 0.9, 0.8), core * 0.8, 0.8 * rings)
    colour = mix(colour, 0.55 * core, 0.7 * np.exp(-(((radius - 1.0) / 0.12) ** 2)))
    colour = mix(colour, 0.6 * core, np.exp(-((radius / 0.18) ** 2)))
    colour = mix(colour, 0.25 * early, 0.6 * _checks(rng, knot, grain, radius))
    strength = rng.uniform(0.5, 1.0)
    return Layer(colour, np.float32(strength) * smoothstep(1.2, 0.98, radius), radius < 1.12)


def _dead(rng: np.random.Generator, knot: Knot, grain: Grain, species: Species) -> Layer:
    height, width = grain.shape
    radius = _outline(rng, knot, grain, 0.1)
    rings = 0.5 + 0.5 * np.sin(2 * np.pi * radius * rng.uniform(2, 4) + rng.uniform(0, 6))
    wood = np.array(species.late) * (0.62, 0.58, 0.56)
    bark = np.array((38.0, 28.0, 22.0))
    colour = mix(wood, wood * 0.68, rings)
    gaps = 0.65 + 0.35 * fractal_noise(rng, height, width, (knot.across, knot.along), 2)
    colour = mix(colour, bark, np.clip(gaps, 0.2, 1) * smoothstep(0.72, 0.92, radius))
    colour = mix(colour, bark, 0.8 * _checks(rng, knot, grain, radius))
    strength = rng.uniform(0.6, 1.0)
    return Layer(colour, np.float32(strength) * smoothstep(1.12, 0.98, radius), radius < 1.06)


def _missing(rng: np.random.Generator, knot: Knot, grain: Grain, species: Species) -> Layer:
    radius = _outline(rng, knot, grain, 0.14)
    hole = np.array((17.0, 14.0, 12.0))
    wall = np.array(species.late) * (0.66, 0.58, 0.5)
    # Light falls in from above: the lower wall is lit, the upper one lies in shadow.
    deep = knot.radius(grain.x, grain.y + np.float32(0.22 * knot.across))
    lit = smoothstep(0.8, 1.0, deep) * np.float32(rng.uniform(0.4, 1.0))
    colour = mix(np.broadcast_to(hole, (*grain.shape, 3)), wall, lit)
    colour = mix(colour, 0.4 * wall, smoothstep(0.9, 1.05, radius))
    return Layer(colour, smoothstep(1.12, 0.98, radius), radius < 1.06)


_LOOKS = {"live knot": _live, "dead knot": _dead, "missing knot": _missing}


def paint_knot(rng: np.random.Generator, knot: Knot, grain: Grain, species: Species) -> Layer:
    """Draw a knot's face as a layer over the wood.

    Args:
        rng: The defect's own stream, from which `knot` was drawn before.
        knot: Its `kind` decides the look.
        grain: The board's, bent around all knots.
        species: Gives the knot its colours.

    Returns:
        The knot; its mask reaches 6 to 12 % of its radius beyond the outline.
    """
    layer = _LOOKS[knot.kind](rng, knot, grain, species)
    rough = 1 + 0.07 * fractal_noise(rng, *grain.shape, (0.2 * grain.ring, 0.5 * grain.ring), 2)
    return Layer(np.asarray(layer.colour * rough[..., None], dtype=np.float32), layer.alpha, layer.mask)
