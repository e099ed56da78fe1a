"""How a change of a surface begins, once it is locked: what was left is ended, and the data are brought up to date."""

from typing import NamedTuple

from flows.promotion.requests import settle_requests
from flows.runtime.data_stages import refuse_bad
from flows.runtime.leftovers import clear_up
from flows.steps.tasks import preprocess_task, validate_task
from pipelines.core.paths import Project
from pipelines.core.results import Verdict
from pipelines.data.versions import DataVersion
from pipelines.tracking.store import Tracking


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
