"""How a change of a surface begins, once it is locked: what was left is ended, and the data are brought up to date."""

from typing import NamedTuple

from flows.leftovers import clear_up
from flows.promotion import settle_requests
from flows.stages import refuse_bad
from flows.tasks import preprocess_task, validate_task
from pipelines.paths import Project
from pipelines.records import Verdict
from pipelines.tracking.store import Tracking
from pipelines.versions import DataVersion


class Opened(NamedTuple):
    """A surface that is ready to be trained on."""

    tracking: Tracking
    verdict: Verdict
    data: DataVersion


def open_surface(project: Project, surface: str) -> Opened:
    """Clear up after killed runs, validate, preprocess, and answer what was asked by alias meanwhile.

    Raises:
        GateError: where validation stops the run.
    """
    tracking = Tracking(project)
    clear_up(project, tracking, surface)
    verdict = validate_task(project, surface)
    refuse_bad(verdict, surface)
    data = preprocess_task(project, surface)
    settle_requests(project, tracking, surface)
    return Opened(tracking, verdict, data)
