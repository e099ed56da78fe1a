"""The line's page on this machine: the last image with its outlines, the last fifty, and how the line is."""

import asyncio
import json
import logging
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from flows.line.board import Board
from flows.serving.access import PageGuard, bind_listener
from flows.serving.metrics import CONTENT_TYPE
from pipelines.reports.pages import page_environment

_LOOK = 0.25  # seconds until a page is told what is new
_ALIVE = 10.0  # seconds of silence after which it is told that nothing is
# A page of somebody else cannot send this header without asking first, and nobody answers that question.
_HEADER = "x-knotwatch"
_POLICY = "default-src 'self'; style-src 'unsafe-inline'; script-src 'self'; frame-ancestors 'none'; base-uri 'none'"

log = logging.getLogger(__name__)


def make_app(
    board: Board, state: Callable[[], dict[str, Any]], pictures: Path, wrong: Path, metrics: Callable[[], bytes]
) -> Starlette:
    """Make the page's application.

    Args:
        board: Knows the last verdicts.
        state: Returns all that the page shows.
        pictures: Folder of marked pictures, NUMBER.jpg.
        wrong: Folder that images go to whose verdict a person calls wrong.
        metrics: Returns what Prometheus reads.

    Returns:
        The application, which answers under the names of this machine alone.
    """
    environment = page_environment()

    async def page(_: Request) -> Response:
        text = environment.get_template("line.html").render(surface=board.surface)
        return HTMLResponse(text, headers={"Content-Security-Policy": _POLICY})

    async def script(_: Request) -> Response:
        text = environment.get_template("line.js").render()
        return Response(text, media_type="text/javascript")

    async def events(request: Request) -> Response:
        return StreamingResponse(_tell(request, board, state), media_type="text/event-stream")

    async def picture(request: Request) -> Response:
        file = pictures / f"{request.path_params['number']}.jpg"
        return FileResponse(file) if file.is_file() else Response(status_code=404)

    async def measure(_: Request) -> Response:
        return Response(metrics(), media_type=CONTENT_TYPE)

    async def call_wrong(request: Request) -> Response:
        if request.headers.get(_HEADER) != "line":
            return JSONResponse({"message": "only the line's own page may call a verdict wrong"}, 403)
        judged = board.find(request.path_params["number"])
        if judged is None or judged.file is None or not judged.file.is_file():
            return JSONResponse({"message": "this image is not here any more"}, 404)
        wrong.mkdir(parents=True, exist_ok=True)
        target = wrong / f"{judged.verdict.number:08d}-{judged.verdict.verdict}{judged.file.suffix}"
        shutil.copyfile(judged.file, target)
        log.info("line %s: verdict %d was called wrong: %s", board.surface, judged.verdict.number, target)
        return JSONResponse({"kept": target.name})

    return Starlette(
        routes=[
            Route("/", page),
            Route("/line.js", script),
            Route("/events", events),
            Route("/metrics", measure),
            Route("/picture/{number:int}", picture),
            Route("/wrong/{number:int}", call_wrong, methods=["POST"]),
        ],
        middleware=[Middleware(PageGuard)],
    )


async def _tell(request: Request, board: Board, state: Callable[[], dict[str, Any]]) -> AsyncIterator[str]:
    told, silent = -1, 0.0
    while not await request.is_disconnected():
        if told != board.changes or silent >= _ALIVE:
            told, silent = board.changes, 0.0
            yield f"data: {json.dumps(await asyncio.to_thread(state))}\n\n"
        await asyncio.sleep(_LOOK)
        silent += _LOOK


@contextmanager
def show_page(app: Starlette, port: int) -> Iterator[str]:
    """Serve the page beside the line, on a thread of its own.

    Args:
        app: As `make_app` returned it.
        port: 0 to 65535; 0 takes any that is free.

    Yields:
        Its address, on 127.0.0.1.

    Raises:
        BusyError: If the port is taken.
    """
    with bind_listener(port) as listener:
        listener.listen()
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False, lifespan="off"))
        # Signals are the line's own; a page that is open must not hold up its end.
        server.config.timeout_graceful_shutdown = 1
        thread = Thread(target=lambda: asyncio.run(server.serve([listener])), name="page", daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
        finally:
            server.should_exit = True
            thread.join(3.0)
