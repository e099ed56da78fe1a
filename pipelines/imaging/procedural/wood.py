"""Normal wood: growth rings cut by a plane, with fibres, pores and specks.

The rings are surfaces of equal distance from a pith that is tilted and wanders, cut by the board's plane and warped
by noise; the idea is Peachey's solid texture ("Solid texturing of complex surfaces", SIGGRAPH 1985).
"""

from dataclasses import dataclass

import cv2
import numpy as np

from pipelines.imaging.procedural.noise import (
    Floats,
    dashes,
    fractal_noise,
    log_uniform,
    noise_line,
    smoothstep,
    value_noise,
)
from pipelines.imaging.procedural.species import Species

_RINGS = 512


@dataclass(frozen=True)
class Grain:
    """Where each pixel lies in the wood; grain runs along x, all in pixels.

    `across` is y after the knots have bent the grain around themselves; `ring` is the mean width of a growth ring.
    """

    x: Floats
    y: Floats
    across: Floats
    ring: float

    @property
    def shape(self) -> tuple[int, int]:
        return self.x.shape[0], self.x.shape[1]

    @property
    def stroke(self) -> float:
        """How many times wider than on a small board fine things such as cracks are."""
        return float(max(1.0, self.ring / 12) ** 0.5)


def ring_number(rng: np.random.Generator, grain: Grain) -> Floats:
    """Count rings from the pith at every pixel; the fraction is the phase within a ring.

    Args:
        rng: The wood's own stream: draws where the pith lies and how wide each year grew.
        grain: Where each pixel lies in the wood.

    Returns:
        Ring numbers, 0 to 511, float32, shape (H, W).
    """
    height, width = grain.shape
    ring = grain.ring
    rings_high, rings_wide = height / ring, width / ring
    along = np.arange(width, dtype=np.float32)[None, :] / np.float32(ring)
    pith = rng.uniform(-0.4, 1.4) * rings_high + 0.5 * noise_line(rng, width, 30 * ring)[None, :]
    tilt = rng.normal(0, 0.07)
    depth = log_uniform(rng, 2.0, 16.0) + tilt * (along - rings_wide / 2) + 0.3 * noise_line(rng, width, 22 * ring, 2)
    distance = np.hypot(grain.across / np.float32(ring) - pith, depth)
    warp = 0.32 * fractal_noise(rng, height, width, (7 * ring, 24 * ring))
    warp += 0.04 * fractal_noise(rng, height, width, (0.6 * ring, 5 * ring), 2)
    # The border of a year is frayed from fibre to fibre, which shows where the cut runs almost along it.
    warp += 0.022 * follow_grain(value_noise(rng, height, width, (1.6 * grain.stroke, 2 * ring)), grain)
    edges = np.cumsum(np.exp(rng.normal(0, 0.2, _RINGS) + 0.35 * noise_line(rng, _RINGS, 6)))
    number = np.interp(distance + warp + 1, edges / edges[-1] * _RINGS, np.arange(_RINGS))
    return np.asarray(number, dtype=np.float32)


def latewood(rng: np.random.Generator, number: Floats, species: Species) -> Floats:
    """Map ring numbers to darkness: a slow rise into latewood, an abrupt end at the year's border.

    Args:
        rng: The wood's own stream: draws how dark each year is.
        number: From `ring_number`, float32, shape (H, W).
        species: Its `late_start` and `contrast` count.

    Returns:
        Darkness, about 0 to 1 and 1.25 at most, float32, shape (H, W).
    """
    years = np.exp(rng.normal(-0.15, 0.3, _RINGS) + 0.3 * noise_line(rng, _RINGS, 5)).astype(np.float32)
    # Now and then a year is much darker than its neighbours; such boards are normal.
    years *= np.where(rng.random(_RINGS) < 0.04, 1.4, 1.0).astype(np.float32)
    year = np.floor(number)
    phase = number - year
    shape = smoothstep(species.late_start, 0.93, phase) ** 1.4 * smoothstep(1.0, 0.93, phase)
    strength = np.minimum(years * np.float32(species.contrast), 1.25)
    return np.asarray(strength[year.astype(np.int32)] * shape, dtype=np.float32)


def follow_grain(texture: Floats, grain: Grain) -> Floats:
    """Bend a texture that was drawn along straight grain around the knots.

    Args:
        texture: Float32, shape (H, W) of the grain; not changed.
        grain: Where each pixel lies in the wood.

    Returns:
        The bent texture, float32, shape (H, W); it is mirrored where the grain leaves the image.
    """
    bent = cv2.remap(texture, grain.x, grain.across, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    return np.asarray(bent, dtype=np.float32)


def _fibres(rng: np.random.Generator, grain: Grain) -> Floats:
    height, width = grain.shape
    fine = value_noise(rng, height, width, (1.1, 2.5 * grain.ring))
    middle = value_noise(rng, height, width, (0.16 * grain.ring, 6 * grain.ring))
    broad = value_noise(rng, height, width, (0.7 * grain.ring, 14 * grain.ring))
    return follow_grain(0.5 * fine + 0.4 * middle + 0.5 * broad, grain)


def _pores(rng: np.random.Generator, grain: Grain, species: Species, phase: Floats) -> Floats:
    height, width = grain.shape
    share = species.pore_share / grain.ring**2
    drawn = dashes(rng, height, width, share, species.pore_length * grain.ring)
    if grain.stroke > 1.2:
        drawn = np.clip(cv2.GaussianBlur(drawn, (0, 0), 0.4 * grain.stroke) * 1.5, 0, 1)
    early = smoothstep(0.7, 0.1, phase) * np.float32(species.ring_porous) + np.float32(1 - species.ring_porous)
    return np.asarray(follow_grain(drawn, grain) * early, dtype=np.float32)


def _specks(rng: np.random.Generator, grain: Grain) -> Floats:
    """Draw the pin specks that normal boards carry, 0 to 1."""
    height, width = grain.shape
    specks = np.zeros((height, width), dtype=np.float32)
    for _ in range(rng.poisson(1.2)):
        x, y = rng.uniform(0, width), rng.uniform(0, height)
        high = rng.uniform(0.6, 1.3) * grain.stroke
        long = high * rng.uniform(1, 2.5)
        distance = ((grain.x - x) / long) ** 2 + ((grain.y - y) / high) ** 2
        specks = np.maximum(specks, rng.uniform(0.25, 0.7) * np.exp(-distance)).astype(np.float32)
    return specks


def _saw_marks(rng: np.random.Generator, grain: Grain) -> Floats:
    """Draw the cross-grain marks of a blade, about 0 to 1; most boards, and all seen from near, show none."""
    height, width = grain.shape
    marks = value_noise(rng, height, width, (3 * grain.ring, 1.3 * grain.stroke))
    where = smoothstep(0.2, 1.4, fractal_noise(rng, height, width, (6 * grain.ring, 8 * grain.ring), 2))
    return np.asarray(smoothstep(1.2, 2.4, marks) * where, dtype=np.float32) * np.float32(
        rng.random() < 0.3 and grain.ring < 24
    )


def paint_wood(rng: np.random.Generator, grain: Grain, species: Species) -> Floats:
    """Paint normal wood in even light.

    Args:
        rng: The wood's own stream, at its beginning.
        grain: Where each pixel lies in the wood; its `ring` is the scale of all that is painted.
        species: Colours, rings and pores.

    Returns:
        RGB on about 0 to 255, not clipped, float32, shape (H, W, 3).
    """
    height, width = grain.shape
    number = ring_number(rng, grain)
    dark = latewood(rng, number, species)
    drift = fractal_noise(rng, height, width, (12 * grain.ring, 40 * grain.ring), 2)
    fibres = _fibres(rng, grain)
    tone = np.clip(dark * rng.uniform(0.55, 0.95) + 0.06 * drift + 0.08 * fibres, -0.15, 1.3)[..., None]
    early, late, pore = (np.array(c, dtype=np.float32) for c in (species.early, species.late, species.pore))
    colour = early + tone * (late - early)
    colour *= (1 + 0.034 * fibres + 0.012 * drift)[..., None]
    pores = 0.75 * _pores(rng, grain, species, number - np.floor(number))
    colour += pores[..., None] * (pore - colour)
    colour += _specks(rng, grain)[..., None] * (0.35 * late - colour)
    colour *= 1 + 0.07 * _saw_marks(rng, grain)[..., None]
    board = rng.normal(1, 0.025) * (1 + rng.normal(0, 0.012, 3))
    return np.asarray(colour * board, dtype=np.float32)
