"""What `knotwatch adapt` calls: wrong settings stop before a server or a library is started."""

import os
import time
from typing import TYPE_CHECKING

from flows.disk import require_space
from flows.environment import log_to_terminal
from flows.locks import surface_lock
from flows.temporary_server import ensure_server
from pipelines.config import read_surface
from pipelines.errors import CallError
from pipelines.paths import find_project
from pipelines.run_settings import resolve_run

if TYPE_CHECKING:
    from flows.adapt_results import AdaptResult


def call_adapt(
    source: str, target: str, shots: list[int], strategy: str, profile: str, assignments: list[str], *, force: bool
) -> "AdaptResult":
    """Bring what one surface taught to another.

    Raises:
        CallError: for a source that is the target, or settings that cannot be.
    """
    started = time.monotonic()
    project = find_project()
    log_to_terminal()
    if source == target:
        raise CallError(f"'{source}' cannot be adapted to itself", cure=f"knotwatch retrain {source}")
    resolve_run(project, read_surface(project, target), profile, assignments)
    require_space(project)
    # The command prints an error itself, once and without a traceback.
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "CRITICAL")
    os.environ.setdefault("PREFECT_SERVER_LOGGING_LEVEL", "CRITICAL")
    ensure_server(project)
    from flows.adapt import adapt
    from flows.adapt_results import AdaptResult

    with surface_lock(project, target, "adapt"):
        found = adapt(source, target, shots or None, strategy, profile, assignments, force, wait=0.0)
    result = AdaptResult.model_validate(found)
    return result.model_copy(update={"seconds": time.monotonic() - started})
