"""Cracks, resin and blue stain: what runs along the grain."""

import numpy as np
from scipy.ndimage import gaussian_filter1d

from pipelines.imaging.procedural.layers import Layer
from pipelines.imaging.procedural.noise import Floats, fractal_noise, log_uniform, noise_line, smoothstep, value_noise
from pipelines.imaging.procedural.wood import Grain


def _somewhere(rng: np.random.Generator, grain: Grain, length: float) -> tuple[float, float]:
    """Choose a centre such that most of a thing of this length lies on the board."""
    height, width = grain.shape
    room = min(0.45, 0.35 * length / width)
    return rng.uniform(room, 1 - room) * width, rng.uniform(0.1, 0.9) * height


def _course(rng: np.random.Generator, width: int, cell: float) -> Floats:
    """Draw a jagged course along x: a wander and the jumps from fibre to fibre; deviation about 1."""
    wander = noise_line(rng, width, 6 * cell, 5)
    jumps = np.floor(2 * noise_line(rng, width, 1.2 * cell, 2)) / 2
    jumps = gaussian_filter1d(jumps, 0.15 * cell)
    return np.asarray(0.7 * wander + 0.5 * jumps, dtype=np.float32)


def paint_crack(rng: np.random.Generator, grain: Grain, surface: Floats) -> Layer:
    """Draw a dark jagged crack along the grain, 2 to 5 px wide on a small board, tapering to both ends.

    Args:
        rng: The defect's own stream: place, length (5 to 24 rings) and width are drawn from it.
        grain: The board's, bent around all knots.
        surface: What was painted so far, RGB on 0 to 255, float32, shape (H, W, 3); not changed.

    Returns:
        The crack; its mask is where it covers more than 40 % of a pixel.
    """
    width = grain.shape[1]
    length = min(grain.ring * log_uniform(rng, 5, 24), 0.9 * width)
    x, y = _somewhere(rng, grain, length)
    course = y + _course(rng, width, grain.ring) * grain.ring * 0.16
    course += (np.arange(width) - x) * rng.normal(0, 0.025)
    at = (np.arange(width, dtype=np.float32) - np.float32(x)) / np.float32(length / 2)
    inside = np.clip(1 - at**2, 0, 1) ** 0.5
    varying = 0.75 + 0.3 * noise_line(rng, width, grain.ring)
    half = 0.5 * log_uniform(rng, 2.5, 5) * grain.stroke * inside * np.clip(varying, 0.4, 1.1)
    half = np.where(np.abs(at) < 1, np.maximum(half, 0.6), 0).astype(np.float32)
    gap = np.abs(grain.across - course[None, :].astype(np.float32))
    cover = np.clip(half[None, :] - gap + 0.5, 0, 1) * (half > 0)[None, :]
    colour = surface * np.array((0.2, 0.17, 0.16), dtype=np.float32)
    return Layer(colour, (np.float32(rng.uniform(0.65, 1.0)) * cover).astype(np.float32), cover > 0.4)


def paint_resin(rng: np.random.Generator, grain: Grain, surface: Floats) -> Layer:
    """Draw a resin streak: an amber lens along the grain that lets the wood shine through.

    Args:
        rng: The defect's own stream: place, size (half of it 1.5 to 6 rings long) and strength are drawn from it.
        grain: The board's, bent around all knots.
        surface: What was painted so far, RGB on 0 to 255, float32, shape (H, W, 3); not changed.

    Returns:
        The streak; its mask is the lens to its rim.
    """
    height, width = grain.shape
    long = min(grain.ring * log_uniform(rng, 1.5, 6), 0.4 * width)
    high = max(2.5, min(grain.ring * log_uniform(rng, 0.25, 0.7), long / 3))
    x, y = _somewhere(rng, grain, 2 * long)
    bow = y + noise_line(rng, width, 5 * grain.ring) * 0.1 * grain.ring
    dx = np.abs(grain.x - np.float32(x)) / np.float32(long)
    dy = (grain.across - bow[None, :].astype(np.float32)) / np.float32(high)
    ragged = 1 + 0.12 * np.clip(fractal_noise(rng, height, width, (0.3 * grain.ring, grain.ring)), -1.5, 1.5)
    lens = np.asarray((np.abs(dy) + dx**2) * ragged, dtype=np.float32)
    rim = np.exp(-(((lens - 0.85) / 0.2) ** 2))
    amber = surface * np.array((0.9, 0.66, 0.34), dtype=np.float32) * (1 - 0.3 * rim)[..., None]
    shine = np.exp(-(((dy + 0.35) / 0.14) ** 2)) * smoothstep(0.7, 0.4, dx) * np.float32(rng.uniform(0, 0.6))
    colour = amber + shine[..., None] * (np.array((255, 240, 205), dtype=np.float32) - amber)
    strength = np.float32(rng.uniform(0.5, 1.0))
    return Layer(colour.astype(np.float32), strength * smoothstep(1.1, 0.9, lens), lens < 1.03)


def paint_stain(rng: np.random.Generator, grain: Grain, surface: Floats) -> Layer:
    """Draw blue stain: a diffuse grey-blue band in streaks along the grain.

    Args:
        rng: The defect's own stream: place, size (half of it 4 to 16 rings long) and strength are drawn from it.
        grain: The board's, bent around all knots.
        surface: What was painted so far, RGB on 0 to 255, float32, shape (H, W, 3); not changed.

    Returns:
        The stain; its mask leaves out the faint rim.
    """
    height, width = grain.shape
    long = min(grain.ring * log_uniform(rng, 4, 16), 0.6 * width)
    high = grain.ring * log_uniform(rng, 0.8, 2.5)
    x, y = _somewhere(rng, grain, long)
    dx, dy = (grain.x - np.float32(x)) / np.float32(long), (grain.across - np.float32(y)) / np.float32(high)
    streaks = fractal_noise(rng, height, width, (0.4 * grain.ring, 5 * grain.ring))
    field = np.asarray(1 - np.hypot(dx, dy) + 0.22 * streaks * (np.hypot(dx, dy) < 1.6), dtype=np.float32)
    grey = surface.mean(axis=2, keepdims=True) * np.array((0.56, 0.61, 0.66), dtype=np.float32)
    fine = value_noise(rng, height, width, (0.15 * grain.ring, 3 * grain.ring))
    strength = np.float32(rng.uniform(0.45, 0.9)) * np.clip(0.8 + 0.2 * fine, 0.3, 1)
    return Layer(grey.astype(np.float32), (strength * smoothstep(-0.05, 0.75, field)).astype(np.float32), field > 0.14)
