"""The types of defect that can be drawn, numbered as in the masks."""

from collections.abc import Sequence
from typing import Literal

from pipelines.core.errors import CallError

Material = Literal["wood", "fabric"]

WOOD_DEFECTS = {1: "live knot", 2: "dead knot", 3: "missing knot", 4: "crack", 5: "resin", 6: "blue stain"}
FABRIC_DEFECTS = {1: "cut", 2: "spot", 3: "pulled thread"}
DEFECTS: dict[Material, dict[int, str]] = {"wood": WOOD_DEFECTS, "fabric": FABRIC_DEFECTS}


def number_defects(material: Material, names: Sequence[str]) -> tuple[int, ...]:
    """Look up the numbers of defects by their names.

    Args:
        material: Whose list of defects is meant.
        names: As in DEFECTS; may be empty or hold a name more than once.

    Returns:
        Values of the mask, 1 and above, in the order of `names`.

    Raises:
        CallError: If the material does not know a name.

    >>> number_defects("wood", ["crack", "live knot"])
    (4, 1)
    """
    numbers = {name: number for number, name in DEFECTS[material].items()}
    unknown = [name for name in names if name not in numbers]
    if unknown:
        raise CallError(f"no defect '{unknown[0]}' can be drawn on {material}", hint=f"choose of {', '.join(numbers)}")
    return tuple(numbers[name] for name in names)
