"""Draw one image of a surface with the defects that are requested."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.imaging.procedural.board import paint_board, ring_width
from pipelines.imaging.procedural.fabric import paint_fabric, yarn_width
from pipelines.imaging.procedural.kinds import Material, number_defects
from pipelines.imaging.procedural.layers import choose_light, take_photo
from pipelines.imaging.procedural.noise import stream
from pipelines.imaging.procedural.species import find_species
from pipelines.imaging.procedural.weave import find_cloth

DRAWING = 1  # raised whenever the same seed draws another picture


@dataclass(frozen=True)
class Drawn:
    """A drawn image.

    `image` is (H, W, 3) RGB; `mask` is (H, W), 0 = normal and k = the defect's number; `condition` names the light.
    """

    image: NDArray[np.uint8]
    mask: NDArray[np.uint8]
    condition: str


def light_of(seed: int) -> str:
    """Name the light that a seed's image is taken in, whatever it shows."""
    return choose_light(stream(seed, 2))


def check_look(material: Material, look: str | None) -> None:
    """Check that a material knows a look.

    Args:
        material: Wood has species, fabric has cloths.
        look: Name of a species or a cloth; None is the material's usual one, which is always known.

    Raises:
        CallError: If the material does not know the look.
    """
    if look is not None:
        find_species(look) if material == "wood" else find_cloth(look)


def draw(
    material: Material,
    seed: int,
    height: int,
    width: int,
    defects: Sequence[str] = (),
    *,
    look: str | None = None,
    scale: float | None = None,
) -> Drawn:
    """Draw an image of wood or fabric with the named defects, bit for bit the same for the same arguments.

    Args:
        material: What is drawn; the grain of wood runs along the width.
        seed: Any whole number.
        height: Rows of the image.
        width: Columns of the image.
        defects: As in DEFECTS, one name a defect; a name may come more than once. Empty draws a normal image.
        look: A species ("pine") or a cloth ("linen"); None for the material's usual one, which these are.
        scale: Mean width of a growth ring or a yarn in pixels, above 0; None for what suits an image of that size.

    Returns:
        Image and mask of shape (height, width), and the light.

    Raises:
        CallError: If the material does not know a defect or the look.
    """
    numbers = number_defects(material, defects)
    shape = (height, width)
    if material == "wood":
        ring = scale or ring_width(height, width)
        painted = paint_board(seed, shape, numbers, find_species(look or "pine"), ring)
    else:
        yarn = scale or yarn_width(height, width)
        painted = paint_fabric(seed, shape, numbers, find_cloth(look or "linen"), yarn)
    light = light_of(seed)
    return Drawn(take_photo(stream(seed, 3), painted.surface, light), painted.mask, light)
