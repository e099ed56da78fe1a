"""Flow runs that a killed worker left: nobody else would ever end them, or their processes."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import psutil

from flows.local_servers.process import end_all
from flows.operations.pool import POOL

_TRIES = 3  # one that is killed each time, for want of memory, must not begin again for ever
_KILLED = "its worker ended"


def end_runs(url: str) -> None:
    """End the processes of flow runs that outlived their worker, by force after ten seconds.

    Args:
        url: Of the API that they ask, of a server whose worker has ended.
    """
    _end_processes(lambda told: told.get("PREFECT_API_URL") == url)


def resume_lost() -> list[str]:
    """Put a lost retrain back into its queue and mark other lost runs, before a worker starts.

    Their processes are ended. A run that stayed as it was would hold its deployment's only slot: no later one of the
    surface would ever start. No other worker may ask this Prefect server.

    Returns:
        What became of each, in words.
    """
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import WorkPoolFilter, WorkPoolFilterName

    with get_client(sync_client=True) as client:
        pool = WorkPoolFilter(name=WorkPoolFilterName(any_=[POOL]))
        lost = client.read_flow_runs(flow_run_filter=_open_runs(), work_pool_filter=pool)
        ids = {run.id.hex for run in lost}
        _end_processes(lambda told: told["PREFECT__FLOW_RUN_ID"].replace("-", "") in ids)
        for run in lost:
            for part in client.read_flow_runs(flow_run_filter=_open_runs(below=[run.id])):
                _mark(client, part)
        return [f"{run.name}: {_mark(client, run, again=run.work_queue_name == 'retrain')}" for run in lost]


def _open_runs(below: Iterable[Any] | None = None) -> Any:
    """Select runs that a process should be working on; `below` are runs that they are part of."""
    from prefect.client.schemas.filters import (
        FlowRunFilter,
        FlowRunFilterParentFlowRunId,
        FlowRunFilterState,
        FlowRunFilterStateType,
    )
    from prefect.client.schemas.objects import StateType

    at_work = [StateType.PENDING, StateType.RUNNING, StateType.CANCELLING]
    state = FlowRunFilterState(type=FlowRunFilterStateType(any_=at_work))
    return FlowRunFilter(state=state, parent_flow_run_id=below and FlowRunFilterParentFlowRunId(any_=list(below)))


def _mark(client: Any, run: Any, *, again: bool = False) -> str:
    from prefect.states import AwaitingRetry, Cancelled, Crashed

    if run.state.is_cancelling():
        state, became = Cancelled(message=_KILLED), "is cancelled, as was asked"
    elif again and run.run_count < _TRIES:
        state, became = AwaitingRetry(message=f"{_KILLED}; it begins again"), "begins again"
    else:
        state, became = Crashed(message=_KILLED), "is marked as crashed"
    client.set_flow_run_state(run.id, state, force=True)
    return f"{_KILLED}, it {became}"


def _end_processes(wanted: Callable[[Mapping[str, str]], bool]) -> None:
    """End this user's processes of flow runs, by what their environment tells."""
    found = []
    for process in psutil.process_iter():
        try:
            told = process.environ()
        except (psutil.Error, OSError):
            continue
        if "PREFECT__FLOW_RUN_ID" in told and wanted(told):
            found.append(process)
    end_all(found)
