"""What many commands take: a surface, whose name the shell completes, and --json."""

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
