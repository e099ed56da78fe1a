"""The work pool that this project's worker polls, and its queues: trainings one by one, checks beside them."""

from typing import Any

from flows.local_servers.temporary import ensure_server
from pipelines.core.paths import Project

POOL = "knotwatch"
# How many runs of a flow may go on at once, whatever their surface. A training takes the machine; a check takes
# seconds, unless it retrains, and then another surface's check shall not wait for it.
QUEUES = {"retrain": 1, "watch": 2}
LIMIT = sum(QUEUES.values())


def ensure_pool(project: Project) -> None:
    """Make the work pool and its queues, where they are not there."""
    ensure_server(project)
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.exceptions import ObjectNotFound

    with get_client(sync_client=True) as client:
        try:
            client.read_work_pool(POOL)
        except ObjectNotFound:
            _make(client.create_work_pool, WorkPoolCreate(name=POOL, type="process"))
        for name, limit in QUEUES.items():
            try:
                client.read_work_queue_by_name(name, work_pool_name=POOL)
            except ObjectNotFound:
                _make(client.create_work_queue, name, concurrency_limit=limit, work_pool_name=POOL)


def _make(create: Any, *words: Any, **options: Any) -> None:
    """Create what another process may be creating at the same time."""
    from prefect.exceptions import ObjectAlreadyExists

    try:
        create(*words, **options)
    except ObjectAlreadyExists:
        return
