"""Images that are drawn into a folder of the user's, as new ones to inspect; no surface is made of them."""

from pathlib import Path

from pipelines.core.errors import CallError
from pipelines.core.paths import Project
from pipelines.core.surface_settings import ProceduralSettings
from pipelines.data.layouts.procedural import write_procedural


def draw_images(project: Project, settings: ProceduralSettings, folder: Path) -> None:
    """Draw images, masks and a table of both into a folder.

    Args:
        project: Its surfaces' own drawings are left alone.
        settings: Counts, size, seed, material and look.
        folder: New, empty, or drawn into before; with other settings the drawings there are replaced.

    Raises:
        CallError: If the folder holds anything else or is a surface's, or the material does not know the look.
    """
    if folder.resolve().is_relative_to((project.root / "data/raw").resolve()):
        raise CallError(f"{folder} is for a surface's images, which DVC keeps", hint="name another folder, such as new")
    if folder.exists() and not _holds_drawings(folder):
        raise CallError(f"{folder} holds what was not drawn here", hint="name a new or an empty folder")
    write_procedural(settings, folder)


def _holds_drawings(folder: Path) -> bool:
    """Say whether there is nothing in a folder but drawings, so that replacing some can lose no one's image."""
    return folder.is_dir() and ((folder / "drawn.json").is_file() or not any(folder.iterdir()))
