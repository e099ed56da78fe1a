"""What several commands take: a surface, whose name the shell completes, --json, and what is drawn."""

from typing import Annotated

import typer

from pipelines.core.errors import KnotwatchError
from pipelines.core.paths import find_project


def complete_surface(incomplete: str) -> list[str]:
    """Name the project's surfaces that begin so; none outside a project, where nothing can be said while typing."""
    try:
        return [name for name in find_project().surface_names() if name.startswith(incomplete)]
    except (KnotwatchError, OSError):
        return []


Surface = Annotated[
    str,
    typer.Argument(help="The surface's name, as `knotwatch data list` shows it.", autocompletion=complete_surface),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]

Material = Annotated[str, typer.Option(help="Drawn images: wood or fabric.")]
Look = Annotated[str | None, typer.Option(help="Drawn images: pine, oak, walnut or alder; linen, cotton or chambray.")]
Seed = Annotated[int, typer.Option(help="Drawn images: the seed.")]
Normal = Annotated[int, typer.Option(help="Drawn images: how many are normal.")]
Defective = Annotated[int, typer.Option(help="Drawn images: how many have defects.")]
Size = Annotated[str, typer.Option(metavar="WxH", help="Drawn images: pixels.")]
