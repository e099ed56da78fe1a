"""A server that went away while a flow asked it, in words."""

from collections.abc import Iterator
from threading import Event

from flows.runtime.disk import explain_by_disk
from pipelines.core.errors import KnotwatchError, ToolError

_prefect_lost = Event()


def explain_lost_server(error: BaseException) -> KnotwatchError | None:
    """Say that Prefect's server went away during a flow, or an MLflow server of the user's own.

    Args:
        error: Whatever ended a flow or a step of one.

    Returns:
        The error to tell; None where it is another one.
    """
    found = {type(each).__module__.partition(".")[0] for each in _causes(error)}
    if "httpx" in found:  # Prefect's client alone speaks HTTP by it
        _prefect_lost.set()
        # Of a full disk Prefect says only that.
        return explain_by_disk(error) or ToolError(
            f"Prefect's server does not answer any more ({error})",
            hint="run this again: what is registered is not trained again",
        )
    if found & {"mlflow", "requests", "urllib3"}:
        from pipelines.tracking.connection import explain_lost_mlflow  # loaded long since, where it raised

        return explain_lost_mlflow()
    return None


def is_prefect_lost() -> bool:
    """Tell whether Prefect's server was ever found gone in this process."""
    return _prefect_lost.is_set()


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__
