"""How the kinds of wood look: colours, rings and pores."""

from dataclasses import dataclass

from pipelines.core.errors import CallError, offer_closest

Colour = tuple[float, float, float]


@dataclass(frozen=True)
class Species:
    """A look of wood; colours are RGB on 0 to 255, lengths in rings.

    `late_start` is the phase of a ring at which latewood begins; `pore_share` counts pores a square ring;
    `ring_porous` (0 to 1) is how much they gather in the earlywood.
    """

    early: Colour
    late: Colour
    pore: Colour
    late_start: float
    contrast: float
    pore_share: float
    pore_length: float
    ring_porous: float


SPECIES = {
    "pine": Species((232, 202, 152), (186, 130, 76), (186, 140, 92), 0.35, 0.85, 0.12, 1.2, 0.0),
    "oak": Species((226, 196, 152), (206, 168, 118), (138, 98, 56), 0.10, 0.6, 9.0, 1.0, 0.85),
    "walnut": Species((168, 132, 106), (110, 80, 64), (74, 52, 42), 0.05, 0.7, 2.4, 1.3, 0.35),
    "alder": Species((236, 200, 174), (216, 166, 136), (190, 140, 112), 0.30, 0.6, 0.8, 0.7, 0.0),
}


def find_species(name: str) -> Species:
    """Look a species up by its name."""
    if name not in SPECIES:
        raise CallError(
            f"no species '{name}' can be drawn",
            hint=offer_closest(f"choose one of {', '.join(SPECIES)}", name, SPECIES),
        )
    return SPECIES[name]
