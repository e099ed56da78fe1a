"""An algorithm that failed, while the others go on."""

import logging

from flows.disk import explain_by_disk
from pipelines.errors import KnotwatchError
from pipelines.interrupt import heed_interrupt
from pipelines.records import Algorithm
from pipelines.reports.comparison import Failure

log = logging.getLogger(__name__)


def describe_failure(algorithm: Algorithm, error: Exception) -> Failure:
    """Log a failure at once, since the others take their time; where it is no refusal of ours, with its traceback.

    Raises KeyboardInterrupt where it was Ctrl-C: Prefect's engine, stopped while it sets up a task, raises ValueError.
    """
    heed_interrupt()
    if not isinstance(error, KnotwatchError):
        error = explain_by_disk(error) or error
    if isinstance(error, KnotwatchError):
        log.error("%s failed: %s", algorithm, error)
        return Failure(algorithm=algorithm, problem=error.problem, cure=error.cure)
    log.error("%s failed", algorithm, exc_info=error)
    problem = f"{type(error).__name__}: {error}"
    return Failure(algorithm=algorithm, problem=problem, cure="read the log above; report it if it comes again")
