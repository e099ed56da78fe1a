"""A flow's run that was told to stop: cancelled on Prefect's page, not crashed."""

import logging
from typing import Any

from pipelines.core.progress import is_interrupted

log = logging.getLogger(__name__)


def mark_cancelled(flow: Any, flow_run: Any, state: Any) -> None:  # noqa: ARG001 - Prefect calls hooks by name
    """Change a crash into a cancellation where Ctrl-C or SIGTERM made it: a hook for `on_crashed`. It never fails.

    Args:
        flow: Not looked at.
        flow_run: Run whose state is set on Prefect's server.
        state: The crash, whose message is kept.
    """
    if not is_interrupted():
        return
    try:
        from prefect.client.orchestration import get_client
        from prefect.states import Cancelled

        with get_client(sync_client=True) as client:
            client.set_flow_run_state(flow_run.id, Cancelled(message=state.message), force=True)
    except Exception as error:
        log.warning("the run stays on Prefect's page as crashed: %s", error)
