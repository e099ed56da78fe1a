"""The server's addresses: /ping, /health, /version and /invocations."""

import asyncio
import json
from importlib.metadata import version as installed_version
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect

from flows.rest.holder import Holder
from flows.rest.line import FullError, Line
from flows.rest.protocol import Limits, RequestError, read_request
from flows.rest.scoring import Scorer

_PATIENCE = 60.0  # seconds that a body may take to arrive


def make_app(holder: Holder, scorer: Scorer, line: Line, limits: Limits) -> FastAPI:
    """Make the application that answers MLflow's scoring protocol with the holder's champion."""
    # Their pages of documentation would ask for scripts from outside.
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    # A page in the user's browser must not reach the server under a name of its own (DNS rebinding).
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost"])

    @app.get("/ping")
    async def ping() -> Response:
        return Response("\n", media_type="application/json")

    @app.get("/health")
    async def health() -> Response:
        used, problem = holder.current, holder.problem
        return _answer(
            {
                "status": "degraded" if problem else "ok",
                "problem": problem,
                "surface": holder.surface,
                "model": used.name,
                "version": used.version,
                "requests_under_way": line.inside,
            }
        )

    @app.get("/version")
    async def version() -> Response:
        used = holder.current
        names = {name: installed_version(name) for name in ("knotwatch", "mlflow")}
        return _answer({**names, "model": used.name, "version": used.version})

    @app.post("/invocations")
    async def invocations(request: Request) -> Response:
        try:
            _check_type(request)
            with line.place(_announced_size(request, limits.bytes)):
                body = await _read_body(request, limits.bytes)
                return Response(await line.work(lambda: _score(scorer, body, limits)), media_type="application/json")
        except FullError as error:
            await _drain(request)
            return _refuse(error, {"Retry-After": str(error.seconds)})
        except RequestError as error:
            return _refuse(error)
        except ClientDisconnect:
            return Response(status_code=400)  # nobody reads it

    return app


def _score(scorer: Scorer, body: bytes, limits: Limits) -> bytes:
    return json.dumps({"predictions": scorer.score(read_request(body, limits))}).encode()


def _check_type(request: Request) -> None:
    found = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if found != "application/json":
        raise RequestError(f"the content type is '{found}'", cure="send application/json", status=415)


def _announced_size(request: Request, most: int) -> int:
    """Return what a body will take in memory; one sent in chunks may take all that is allowed."""
    return min(most, int(request.headers.get("content-length", most)))


async def _read_body(request: Request, most: int) -> bytes:
    """Read a body of at most `most` bytes; a longer one is read to its end all the same, so that the answer arrives."""
    chunks, size = [], 0
    try:
        async with asyncio.timeout(_PATIENCE):
            async for chunk in request.stream():
                size += len(chunk)
                if size <= most:
                    chunks.append(chunk)
    except TimeoutError as error:
        raise RequestError("the body did not arrive in time", cure="send it again", status=408) from error
    if size > most:
        raise RequestError(
            f"the body has {size} bytes, at most {most} are taken", cure="send fewer photographs", status=413
        )
    return b"".join(chunks)


async def _drain(request: Request) -> None:
    async with asyncio.timeout(_PATIENCE):
        async for _ in request.stream():
            pass


def _answer(content: dict[str, Any], status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(json.dumps(content), status, headers, media_type="application/json")


def _refuse(error: RequestError, headers: dict[str, str] | None = None) -> Response:
    return _answer({"error_code": error.code, "message": f"{error.problem}: {error.cure}"}, error.status, headers)
