"""`knotwatch data draw`: images that no version has learnt."""

from pathlib import Path
from typing import Annotated

import typer

from flows.cli.parameters import Defective, Look, Material, Normal, Seed, Size
from flows.cli.printing import say
from flows.runtime.environment import log_to_terminal
from pipelines.core.paths import find_project


def draw(
    folder: Annotated[Path, typer.Argument(help="Where they go: images/, masks/ and labels.csv.")],
    material: Material = "wood",
    look: Look = None,
    seed: Seed = 0,
    normal: Normal = 18,
    defective: Defective = 6,
    size: Size = "384x192",
) -> None:
    """Draw boards or fabric into a folder that is no surface's: another seed draws images that no version has learnt.

    The same call draws the same images again; those that are there are kept.
    """
    from flows.dataset.drawings import draw_images
    from pipelines.core.surface_settings import read_procedural_options

    log_to_terminal()
    options = read_procedural_options(
        size, "data draw", material=material, look=look, seed=seed, normal=normal, defective=defective
    )
    draw_images(find_project(), options, folder)
    say(f"{folder}: {normal} normal and {defective} defective images; next: knotwatch inspect SURFACE {folder}/images")
