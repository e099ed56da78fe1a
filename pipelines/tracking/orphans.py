"""Runs that a killed process left open: MLflow itself would show them as running for ever."""

import logging
import socket

import psutil

from pipelines.tracking.runs import PROCESS
from pipelines.tracking.store import Tracking

_APART = 2.0  # seconds; the clock that a start is told by may be set meanwhile

log = logging.getLogger(__name__)


def end_orphans(tracking: Tracking, surface: str) -> int:
    """End a surface's runs whose process is gone, as killed.

    Args:
        tracking: In a store that other machines use too, their runs are left alone.
        surface: Name of the surface; its lock must be held.

    Returns:
        How many runs were ended.
    """
    gone = find_orphans(tracking, surface)
    for run in gone:
        tracking.client.set_terminated(run, "KILLED")
    if gone:
        log.info("%s: %d runs of a process that was killed are ended", surface, len(gone))
    return len(gone)


def find_orphans(tracking: Tracking, surface: str) -> list[str]:
    """Return the ids of a surface's runs that are open while their process is gone.

    Args:
        tracking: The project's store.
        surface: Name of its experiment; one that is not there has no runs.
    """
    experiment = tracking.client.get_experiment_by_name(surface)
    if experiment is None:
        return []
    running = tracking.client.search_runs([experiment.experiment_id], "attributes.status = 'RUNNING'")
    return [run.info.run_id for run in running if _is_gone(str(run.data.tags.get(PROCESS, "")), local=tracking.local)]


def _is_gone(tag: str, *, local: bool) -> bool:
    host, _, rest = tag.partition(" ")
    number, _, started = rest.partition(" ")
    if host != socket.gethostname():
        return local
    try:
        # Written so that a start that is no number (NaN) is nobody's either.
        return not abs(psutil.Process(int(number)).create_time() - float(started)) <= _APART
    except (psutil.NoSuchProcess, ValueError):
        return True
