"""Flow runs that a killed worker left: nobody else would ever end them, or their processes."""

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import Any

import psutil

from flows.local_servers.process import signal_gently
from flows.operations.pool import POOL

_TRIES = 3  # one that is killed each time, for want of memory, must not begin again for ever
_PATIENCE = 10.0  # seconds that the system may take to end what was killed
_LOST = "its worker ended"
# What Prefect says of a run whose output nobody takes any more: its own handler of logs exits then.
_UNHEARD = "Execution was aborted by Python system exit call"
_SINCE = timedelta(minutes=2)


def resume_lost() -> list[str]:
    """Put a lost retrain back into its queue and mark other lost runs, while no worker of this Prefect server runs.

    Their processes are killed. A run that stayed as it was would hold its deployment's only slot: no later one of the
    surface would ever start.

    Returns:
        What became of each, in words.
    """
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        _kill_processes({run.id.hex for run in _find_lost(client)})
        told = []
        # Again: until it was killed, one may have come to its end.
        for run in _find_lost(client):
            for part in client.read_flow_runs(flow_run_filter=_at_work(below=run.id)):
                _mark(client, part)
            told.append(f"{run.name}: {_mark(client, run, again=run.work_queue_name == 'retrain')}")
        return told


def _find_lost(client: Any) -> list[Any]:
    from prefect.client.schemas.filters import (
        FlowRunFilter,
        FlowRunFilterState,
        FlowRunFilterStateType,
        WorkPoolFilter,
        WorkPoolFilterName,
    )
    from prefect.client.schemas.objects import StateType

    pool = WorkPoolFilter(name=WorkPoolFilterName(any_=[POOL]))
    crashed = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.CRASHED])))
    found = client.read_flow_runs(flow_run_filter=crashed, work_pool_filter=pool)
    lately = [run for run in found if run.state.timestamp > datetime.now(UTC) - _SINCE]
    unheard = [run for run in lately if _UNHEARD in (run.state.message or "")]
    return [*client.read_flow_runs(flow_run_filter=_at_work(), work_pool_filter=pool), *unheard]


def _at_work(below: Any = None) -> Any:
    """Select runs that a process should be working on; `below` is the run that they are part of."""
    from prefect.client.schemas.filters import (
        FlowRunFilter,
        FlowRunFilterParentFlowRunId,
        FlowRunFilterState,
        FlowRunFilterStateType,
    )
    from prefect.client.schemas.objects import StateType

    at_work = [StateType.PENDING, StateType.RUNNING, StateType.CANCELLING]
    state = FlowRunFilterState(type=FlowRunFilterStateType(any_=at_work))
    parent = None if below is None else FlowRunFilterParentFlowRunId(any_=[below])
    return FlowRunFilter(state=state, parent_flow_run_id=parent)


def _mark(client: Any, run: Any, *, again: bool = False) -> str:
    from prefect.states import AwaitingRetry, Cancelled, Crashed

    state: Any
    if run.state.is_cancelling():
        state, became = Cancelled(message=_LOST), "is cancelled, as was asked"
    elif again and run.run_count < _TRIES:
        state, became = AwaitingRetry(message=f"{_LOST}; it begins again"), "begins again with the next one"
    else:
        state, became = Crashed(message=_LOST), "is marked as crashed"
    client.set_flow_run_state(run.id, state, force=True)
    return f"{_LOST}, it {became}"


def _kill_processes(ids: Collection[str]) -> None:
    """Kill the processes of runs; what they leave, the next run of the surface clears up."""
    found = []
    for process in psutil.process_iter():
        try:
            told = process.environ().get("PREFECT__FLOW_RUN_ID", "")
        except (psutil.Error, OSError):
            continue
        if told.replace("-", "") in ids:
            found.append(process)
            signal_gently(process.kill)
    psutil.wait_procs(found, timeout=_PATIENCE)
