"""Prefect's server for as long as this process runs, where no other one is there."""

import atexit
import logging
import os
from contextlib import ExitStack
from threading import Event, Thread

from flows.local_servers.process import Process, bind_port, prefect_server
from flows.runtime.environment import NO_PAGES, prepare_environment, use_secret
from pipelines.core.errors import ToolError
from pipelines.core.paths import Project

_AGAIN = 3  # times that a server which ended by itself is started again
# Prefect's client asks a server that is gone for a minute before it gives up, and again for the next thing that it has
# to tell. Where this one is gone it does not come back.
_RETRIES = 2

log = logging.getLogger(__name__)


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
    server = _Server(project)
    atexit.register(server.close)
    os.environ["PREFECT_API_URL"] = server.url
    os.environ[NO_PAGES] = "1"
    # It has no pages; `knotwatch ui` shows its runs later.
    os.environ.setdefault("PREFECT_UI_URL", "http://127.0.0.1:4200")
    os.environ.setdefault("PREFECT_CLIENT_MAX_RETRIES", str(_RETRIES))
    use_secret(project)
    refresh_global_settings_context()


class _Server:
    """A server that is started again where it ends by itself, as one that was killed for want of memory does.

    Its socket stays open in this process: what asks it meanwhile waits in the socket's queue, and is not refused.
    """

    def __init__(self, project: Project) -> None:
        self._project, self._socket = project, bind_port("Prefect", 0)
        self._stack, self._over = ExitStack(), Event()
        process, self.url = self._start()
        Thread(target=self._keep, args=(process,), name="prefect server", daemon=True).start()

    def close(self) -> None:
        self._over.set()
        self._stack.close()

    def _start(self) -> tuple[Process, str]:
        return self._stack.enter_context(prefect_server(self._project, self._socket.dup()))

    def _keep(self, process: Process) -> None:
        try:
            for _ in range(_AGAIN):
                if self._is_over(process):
                    return
                log.warning("Prefect's temporary server ended by itself; it is started again")
                process, _ = self._start()
            self._is_over(process)
        except ToolError as error:
            log.warning("Prefect's temporary server does not start again: %s", error)
        # What waits in its queue is refused now.
        self._socket.close()

    def _is_over(self, process: Process) -> bool:
        """Wait until the server ends; tell whether it was not to live longer."""
        while process.poll() is None:
            if self._over.wait(0.5):
                return True
        return self._over.is_set()
