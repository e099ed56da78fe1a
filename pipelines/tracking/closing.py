"""The end of an MLflow run whose process was told to stop: a database that others hold must not hold it up."""

import logging
import math
import time
from collections.abc import Callable, Mapping
from threading import Thread

import mlflow

from pipelines.tracking.connection import explain_lost_mlflow
from pipelines.tracking.runs import Run

# Seconds that all runs of one stop share: MLflow itself waits up to 20 for a database that is locked, and a stop is
# ended by force after eight. A disk that is kept busy takes more than two for one commit.
_PATIENCE = 6.0
_LEAST = 0.2  # seconds that each has even so: a run takes 0.01 where nothing holds the database

log = logging.getLogger(__name__)


def close_stopped(client: "mlflow.MlflowClient", run_id: str) -> None:
    """Close a run as killed, within the stop's seconds or not at all.

    What stays open, the next change of the surface closes; a warning says so. Nothing is raised.

    Args:
        client: Client of the store that the run is in.
        run_id: MLflow's id of a run that is still open.
    """
    if not _within_patience(lambda: client.set_terminated(run_id, "KILLED")):
        log.warning("MLflow does not take the end of run %s: the next retrain closes it", run_id)


def close_failed(client: "mlflow.MlflowClient", run: Run, reason: str) -> None:
    """Close a run as failed, unless MLflow's server is gone, which may be the very reason.

    What stays open, the next change of the surface closes; a warning says so. Nothing is raised.

    Args:
        client: Client of the store that the run is in.
        run: Still open.
        reason: In words; kept with the run.
    """
    if (lost := explain_lost_mlflow()) is None:
        try:
            run.fail(reason)
            client.set_terminated(run.id, "FAILED")
        except mlflow.MlflowException as error:
            lost = error
    if lost is not None:
        log.warning("MLflow does not take the end of run %s: the next retrain closes it", run.id)
        log.debug("MLflow: %s", lost)


def close_unheard(client: "mlflow.MlflowClient", experiment: str, name: str, tags: Mapping[str, str]) -> None:
    """Close as killed what MLflow made of a run whose id a stop kept from us, within the stop's seconds or not at all.

    Args:
        client: Client of the store.
        experiment: Its id.
        name: Of the run.
        tags: All that it was to have; with the tag of this process they are no other run's.
    """

    def close() -> None:
        for run in client.search_runs([experiment], "attributes.status = 'RUNNING'"):
            if run.info.run_name == name and all(run.data.tags.get(tag) == text for tag, text in tags.items()):
                client.set_terminated(run.info.run_id, "KILLED")

    _within_patience(close)


class _Stop:
    until = -math.inf  # by the monotonic clock


def _seconds_left() -> float:
    now = time.monotonic()
    if now > _Stop.until + _PATIENCE:
        _Stop.until = now + _PATIENCE
    return max(_Stop.until - now, _LEAST)


def _within_patience(act: Callable[[], object]) -> bool:
    done: list[bool] = []

    def work() -> None:
        try:
            act()
            done.append(True)
        except Exception as error:
            log.debug("MLflow: %s", error)

    # A thread, because nothing ends a call that waits for a lock.
    worker = Thread(target=work, name="closing", daemon=True)
    worker.start()
    worker.join(_seconds_left())
    return bool(done)
