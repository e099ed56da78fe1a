"""Prefect's server for as long as this process runs, where no other one is there."""

import atexit
import os
from contextlib import ExitStack

from flows.local_servers.process import bind_port, prefect_server
from flows.runtime.environment import NO_PAGES, prepare_environment, use_secret
from pipelines.core.paths import Project


def ensure_server(project: Project) -> None:
    """Have a Prefect server: the user's own, that of `knotwatch ui`, or a temporary one, which ends with this process.

    Prefect would start one by itself, which answers every page in the user's browser.

    Raises:
        ToolError: where it does not start; its log is named.
    """
    prepare_environment(project)
    from prefect.context import refresh_global_settings_context
    from prefect.settings import get_current_settings

    # Prefect's own files of settings may name a server, too.
    if get_current_settings().api.url:
        return
    stack = ExitStack()
    _, url = stack.enter_context(prefect_server(project, bind_port("Prefect", 0)))
    atexit.register(stack.close)
    os.environ["PREFECT_API_URL"] = url
    os.environ[NO_PAGES] = "1"
    # It has no pages; `knotwatch ui` shows its runs later.
    os.environ.setdefault("PREFECT_UI_URL", "http://127.0.0.1:4200")
    use_secret(project)
    refresh_global_settings_context()
