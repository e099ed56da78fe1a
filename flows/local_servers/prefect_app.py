"""Prefect's server as knotwatch runs it, for this machine's programs alone; its argument is an open socket."""

import os
import socket
import sys
from threading import Thread

import uvicorn

from flows.local_servers.door import make_door, run_routes
from flows.local_servers.process import end_with_parent
from pipelines.tracking.guard import Guard

_LAST = 3  # seconds that requests under way may take at the end


def make_app(port: int, *, pages: bool) -> Guard:
    """Make Prefect's application behind the guard.

    Environment variables of this process are set, which Prefect reads.

    Args:
        port: Of 127.0.0.1, that the server listens on; pages of no other origin may ask it.
        pages: With Prefect's pages and services; a flow's temporary server has neither.

    Returns:
        The application, not serving yet.
    """
    os.environ["PREFECT_SERVER_CORS_ALLOWED_ORIGINS"] = f"http://127.0.0.1:{port}"
    # Under whichever of its names the page was opened.
    os.environ.setdefault("PREFECT_UI_API_URL", "/api")
    os.environ.setdefault("PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT", "false")
    os.environ["PREFECT__SERVER_FINAL"] = "1"
    if not pages:
        os.environ["PREFECT__SERVER_EPHEMERAL"] = "1"
    from prefect.server.api.server import create_app

    # Without arguments, as Prefect's services call it: they are to find this one.
    app = create_app()
    if pages:
        door = make_door(os.environ["PREFECT_SERVER_API_AUTH_STRING"])
        app.router.routes[:0] = [door, *run_routes()]
    # Around it, not in it: Prefect's services ask the same application, within the process and under no host's name.
    return Guard(app)


def main() -> None:
    """Serve on the socket that the parent bound, until SIGTERM or the parent's end."""
    listener = socket.socket(fileno=int(sys.argv[1]))
    Thread(target=end_with_parent, daemon=True).start()
    app = make_app(listener.getsockname()[1], pages=bool(os.environ.pop("KNOTWATCH_PAGES", "")))
    from prefect.settings import get_current_settings

    settings = get_current_settings().server
    config = uvicorn.Config(
        app,
        log_level=settings.logging_level.lower(),
        access_log=False,
        lifespan="on",
        timeout_keep_alive=settings.api.keepalive_timeout,
        timeout_graceful_shutdown=_LAST,
        ws_ping_interval=settings.api.websocket_ping_interval,
        ws_ping_timeout=settings.api.websocket_ping_timeout,
    )
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
