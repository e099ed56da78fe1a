"""The server's addresses: /, /ping, /health, /version and /invocations."""

import json
from functools import partial
from importlib.metadata import version as installed_version
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect

from flows.serving.access import NAMES, TokenGuard
from flows.serving.bodies import drain, read_body
from flows.serving.holder import Holder
from flows.serving.line import FullError, Line
from flows.serving.patience import Patience
from flows.serving.protocol import Limits, RequestError, read_request
from flows.serving.scoring import Scorer
from pipelines.core.errors import KnotwatchError

ENDPOINTS = {
    "GET /": "Tells what there is.",
    "POST /invocations": "Scores images: MLflow's scoring protocol, with base64 in the column `image`.",
    "GET /ping": "Answers 200 while the server lives.",
    "GET /health": "Tells the champion in use, and the problem where there is one.",
    "GET /version": "Tells the versions of knotwatch, MLflow and the model.",
}


def make_app(holder: Holder, scorer: Scorer, line: Line, limits: Limits, token: str = "") -> FastAPI:
    """Make the application that answers MLflow's scoring protocol with the holder's champion.

    Args:
        holder: What `/health` and `/version` tell of.
        scorer: Scores with the same holder's champion.
        line: Where requests wait, of the event loop that will serve; with as many places as `limits` allow.
        limits: What one request may bring and take.
        token: What each request has to bring; empty for none.

    Returns:
        The application. Without a token it answers under the names 127.0.0.1 and localhost only.
    """
    # Their pages of documentation would ask for scripts from outside.
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    _guard(app, token)

    @app.get("/")
    async def overview() -> Response:
        return _answer(_overview(holder))

    @app.get("/ping")
    async def ping() -> Response:
        return Response("\n", media_type="application/json")

    @app.get("/health")
    async def health() -> Response:
        return _answer(_health(holder, line))

    @app.get("/version")
    async def version() -> Response:
        used = holder.current
        names = {name: installed_version(name) for name in ("knotwatch", "mlflow")}
        return _answer({**names, "model": used.name, "version": used.version})

    @app.post("/invocations")
    async def invocations(request: Request) -> Response:
        patience = Patience(limits.seconds)
        try:
            _check_type(request)
            body = await _read(request, line, limits)
            with line.place(len(body)):
                act = partial(_score, scorer, body, limits, patience)
                return Response(await line.work(act, patience, request.receive), media_type="application/json")
        except FullError as error:
            return _refuse(error, {"Retry-After": str(error.seconds)})
        except RequestError as error:
            # What is left of a body that came too slowly is not waited for.
            return _refuse(error, {"Connection": "close"} if error.status == 408 else None)
        except KnotwatchError as error:
            return _refuse(RequestError(error.problem, hint=error.hint, status=500, code="INTERNAL_ERROR"))
        except ClientDisconnect:
            return Response(status_code=400)  # nobody reads it

    return app


def _guard(app: FastAPI, token: str) -> None:
    if token:
        app.add_middleware(TokenGuard, token=token)
    else:
        # A page in the user's browser must not reach the server under a name of its own.
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(NAMES))


def _overview(holder: Holder) -> dict[str, Any]:
    return {**_model(holder), "knotwatch": installed_version("knotwatch"), "endpoints": ENDPOINTS}


def _health(holder: Holder, line: Line) -> dict[str, Any]:
    problem = holder.problem
    status = {"status": "degraded" if problem else "ok", "problem": problem}
    return {**status, **_model(holder), "requests_under_way": line.inside}


def _model(holder: Holder) -> dict[str, Any]:
    used = holder.current
    return {"surface": holder.surface, "model": used.name, "version": used.version}


def _score(scorer: Scorer, body: bytes, limits: Limits, patience: Patience) -> bytes:
    patience.heed()
    predictions = scorer.score(read_request(body, limits), limits, patience)
    return json.dumps({"predictions": predictions}, allow_nan=False).encode()


def _check_type(request: Request) -> None:
    found = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if found != "application/json":
        raise RequestError(f"the content type is '{found}'", hint="send application/json", status=415)


async def _read(request: Request, line: Line, limits: Limits) -> bytes:
    """Read a body; where there is no room for it, it is read to its end and forgotten, so that the answer arrives."""
    try:
        with line.arriving() as grow:
            return await read_body(request, limits.bytes, limits.seconds, grow)
    except FullError:
        await drain(request, limits.seconds)
        raise


def _answer(content: dict[str, Any], status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(json.dumps(content), status, headers, media_type="application/json")


def _refuse(error: RequestError, headers: dict[str, str] | None = None) -> Response:
    return _answer({"error_code": error.code, "message": f"{error.problem}: {error.hint}"}, error.status, headers)
