"""The end of an MLflow run whose process was told to stop: a database that others hold must not hold it up."""

import logging
from threading import Thread

import mlflow

_PATIENCE = 2.0  # seconds; MLflow itself waits up to 20 for a database that is locked, and a stop shall take ten in all

log = logging.getLogger(__name__)


def close_stopped(client: "mlflow.MlflowClient", run_id: str) -> None:
    """Close a run as killed, within two seconds or not at all.

    What stays open, the next change of the surface closes; a warning says so. Nothing is raised.

    Args:
        client: Client of the store that the run is in.
        run_id: MLflow's id of a run that is still open.
    """
    closed: list[bool] = []

    def close() -> None:
        try:
            client.set_terminated(run_id, "KILLED")
            closed.append(True)
        except Exception as error:
            log.debug("MLflow run %s: %s", run_id, error)

    # A thread, because nothing ends a call that waits for a lock.
    worker = Thread(target=close, name="closing", daemon=True)
    worker.start()
    worker.join(_PATIENCE)
    if not closed:
        log.warning("MLflow does not take the end of run %s: the next retrain closes it", run_id)
