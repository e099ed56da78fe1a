"""Shapes of synthetic anomalies: how much of a defect shows at every pixel, 0 to 1."""

import math

import numpy as np

from pipelines.imaging.procedural.noise import Floats, fractal_noise, noise_line, smoothstep


def _place(rng: np.random.Generator, height: int, width: int) -> tuple[float, float]:
    return rng.uniform(0.05, 0.95) * height, rng.uniform(0.05, 0.95) * width


def _distance(rng: np.random.Generator, height: int, width: int, longest: float) -> Floats:
    """Measure the distance (pixels) from a random centre, shortened along a random direction up to `longest` times."""
    y, x = _place(rng, height, width)
    angle, stretch = rng.uniform(0, math.pi), math.sqrt(rng.uniform(1, longest))
    dy, dx = np.ogrid[0:height, 0:width]
    along = (dx - x) * math.cos(angle) + (dy - y) * math.sin(angle)
    away = (dy - y) * math.cos(angle) - (dx - x) * math.sin(angle)
    return np.hypot(along / stretch, away * stretch).astype(np.float32)


def _cut_at(field: Floats, share: float, softness: float) -> Floats:
    """Cut a field so that about `share` of the pixels lie inside; `softness` is the edge's width in its unit."""
    inside = max(12, round(share * field.size))
    level = np.partition(field.ravel(), field.size - inside)[field.size - inside]
    return smoothstep(level - 0.35 * softness, level + 0.65 * softness, field)


def _roundish(
    rng: np.random.Generator, height: int, width: int, radius: float, *, octaves: int, longest: float, bumps: float
) -> Floats:
    """Draw a field that falls with the distance from one place, in radii, with an uneven outline."""
    noise = np.clip(fractal_noise(rng, height, width, (radius, radius), octaves), -1.5, 1.5)
    return (-_distance(rng, height, width, longest) / np.float32(radius) + bumps * noise).astype(np.float32)


def blob(rng: np.random.Generator, height: int, width: int, share: float) -> Floats:
    """Draw a smooth roundish blob.

    Args:
        rng: Draws place, direction and outline.
        height: Rows of the image.
        width: Columns of the image.
        share: Of the image's area that the blob takes, above 0 and below 1; 12 pixels at least.

    Returns:
        How much of the defect shows, 0 to 1, float32, shape (height, width).
    """
    radius = math.sqrt(share * height * width / math.pi)
    field = _roundish(rng, height, width, radius, octaves=2, longest=2.5, bumps=0.2)
    return _cut_at(field, share, rng.uniform(1.0, 3.0) / max(radius, 2.0))


def patch(rng: np.random.Generator, height: int, width: int, share: float) -> Floats:
    """Draw a ragged patch, which is fractal noise above a level, kept near one place (after DRAEM's Perlin masks).

    Args:
        rng: Draws place and noise.
        height: Rows of the image.
        width: Columns of the image.
        share: Of the image's area that the patch takes, above 0 and below 1; 12 pixels at least.

    Returns:
        How much of the defect shows, 0 to 1, float32, shape (height, width); may be in several pieces.
    """
    radius = 1.6 * math.sqrt(share * height * width / math.pi)
    cell = radius * rng.uniform(0.5, 1.2)
    noise = fractal_noise(rng, height, width, (cell, cell * rng.uniform(0.6, 1.6)), 4)
    near = _distance(rng, height, width, 3.0) / np.float32(radius)
    field = (noise - 2.5 * near**2).astype(np.float32)
    return _cut_at(field, share, 2.0 / max(cell, 2.0))


def stain(rng: np.random.Generator, height: int, width: int, share: float) -> Floats:
    """Draw a stain that fades out over most of its radius.

    Args:
        rng: Draws place, direction and outline.
        height: Rows of the image.
        width: Columns of the image.
        share: Of the image's area that the stain takes, above 0 and below 1; 12 pixels at least.

    Returns:
        How much of the defect shows, 0 to 1, float32, shape (height, width).
    """
    radius = math.sqrt(share * height * width / math.pi)
    field = _roundish(rng, height, width, radius, octaves=3, longest=4.0, bumps=0.3)
    return _cut_at(field, share, rng.uniform(0.5, 0.9))


def scratch(rng: np.random.Generator, height: int, width: int, share: float) -> Floats:
    """Draw an irregular line of 2 to 5 pixels, no longer than the picture's long side.

    Args:
        rng: Draws place, direction, width and course.
        height: Rows of the image.
        width: Columns of the image.
        share: Of the image's area, above 0 and below 1, which gives the length: 10 pixels at least.

    Returns:
        How much of the defect shows, 0 to 1, float32, shape (height, width); what runs over the border is cut.
    """
    thick = rng.uniform(2, 5)
    length = max(10.0, min(share * height * width / thick, 0.9 * max(height, width)))
    y, x = _place(rng, height, width)
    angle = rng.uniform(0, math.pi)
    dy, dx = np.mgrid[0:height, 0:width].astype(np.float32) - np.array([y, x], dtype=np.float32)[:, None, None]
    along = dx * math.cos(angle) + dy * math.sin(angle) + length / 2
    steps = math.ceil(length) + 1
    index = np.clip(along, 0, steps - 1).astype(np.int32)
    bend = 0.06 * length * noise_line(rng, steps, 0.7 * length, 2) + 0.9 * noise_line(rng, steps, 8, 2)
    away = np.abs(dy * math.cos(angle) - dx * math.sin(angle) - (bend - bend.mean())[index])
    varying = np.clip(1 + 0.25 * noise_line(rng, steps, 12, 2), 0.6, 1.4)
    taper = np.clip(np.minimum(along, length - along) / (0.15 * length), 0, 1) ** 0.5
    half = 0.5 * thick * varying[index] * taper
    inside = (along > 0) & (along < length)
    return np.asarray(np.clip(half - away + 0.5, 0, 1) * inside, dtype=np.float32)
