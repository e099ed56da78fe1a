"""Where a surface's runs keep what they throw away: a killed one leaves it, the next one clears it."""

import shutil
from pathlib import Path

from pipelines.paths import Project
from pipelines.tracking.orphans import end_orphans
from pipelines.tracking.store import Tracking


def scratch_folder(project: Project, surface: str) -> Path:
    """Return the surface's folder for half-made models and maps, made on first use."""
    folder = project.state / "scratch" / surface
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def clear_up(project: Project, tracking: Tracking, surface: str) -> None:
    """Remove what a killed process left, and end its runs. The surface's lock must be held."""
    shutil.rmtree(project.state / "scratch" / surface, ignore_errors=True)
    end_orphans(tracking, surface)
