"""What the checks of a surface remember: a small file beside its history, gone with the surface."""

from collections.abc import Mapping
from typing import ClassVar

from pydantic import ValidationError

from pipelines.core.files import write_whole
from pipelines.core.paths import Project
from pipelines.core.records import Record
from pipelines.inspection.drift import DriftKind


class WatchState(Record):
    """What earlier checks saw.

    `checks` counts those at batches of the champion `version`; batches written until `seen_ns` (their files' time) are
    done with, those after `calm_ns` had no drift. `drift` is what the last check noticed, `noticed` what any did.
    `source` is the state of the source that was dealt with, checked when the clock said `source_checked` (seconds since
    1970). `tried` is the data version last trained on, with or without success; `trying` one that a retrain began on,
    `tries` how often. `problem` is what the last check failed with, so that it is told once.
    """

    former: ClassVar[Mapping[str, str]] = {"looks": "checks", "looked": "source_checked"}

    version: int | None = None
    checks: int = 0
    seen_ns: int = 0
    calm_ns: int = 0
    drift: DriftKind | None = None
    noticed: DriftKind | None = None
    source: str = ""
    source_checked: float = 0.0
    tried: str = ""
    trying: str = ""
    tries: int = 0
    problem: str = ""


def read_state(project: Project, surface: str) -> WatchState:
    """Read what is remembered; a damaged file is as good as none, the checks begin anew.

    Args:
        project: Project that holds the surface.
        surface: Surface; it need not have been checked before.

    Returns:
        What the last check wrote, else an empty state.
    """
    path = project.surface(surface).watch
    try:
        return WatchState.model_validate_json(path.read_bytes())
    except (FileNotFoundError, ValidationError):
        return WatchState()


def write_state(project: Project, surface: str, state: WatchState) -> None:
    """Remember what a check saw.

    Args:
        project: Project that holds the surface.
        surface: Surface that was checked, by this process alone.
        state: Replaces what was remembered, whole or not at all.
    """
    write_whole(project.surface(surface).watch, state.model_dump_json() + "\n")
