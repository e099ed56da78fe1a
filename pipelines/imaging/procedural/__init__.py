"""Surfaces and defects drawn from a seed: a data set that anyone may have, with exact masks."""

from pipelines.imaging.procedural.kinds import DEFECTS, FABRIC_DEFECTS, WOOD_DEFECTS, Material
from pipelines.imaging.procedural.surface import DRAWING, Drawn, check_look, draw, light_of

__all__ = [
    "DEFECTS",
    "DRAWING",
    "FABRIC_DEFECTS",
    "WOOD_DEFECTS",
    "Drawn",
    "Material",
    "check_look",
    "draw",
    "light_of",
]
