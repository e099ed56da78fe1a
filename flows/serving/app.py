"""The server's addresses: what there is, how it is, and for each surface `/SURFACE/invocations`."""

import json
import time
from collections.abc import Callable, Mapping
from functools import partial
from importlib.metadata import version as installed_version
from typing import Any, NamedTuple

from fastapi import FastAPI, Request, Response
from starlette.requests import ClientDisconnect

from flows.serving.access import PageGuard, TokenGuard
from flows.serving.bodies import drain, read_body
from flows.serving.champions.holder import Holder
from flows.serving.line import FullError, Line
from flows.serving.metrics import CONTENT_TYPE, Metrics
from flows.serving.patience import GONE, Patience
from flows.serving.protocol import Limits, RequestError, read_request
from flows.serving.scoring import Scorer
from pipelines.core.errors import KnotwatchError, offer_closest

ENDPOINTS = {
    "GET /": "Tells what there is.",
    "POST /{surface}/invocations": "Scores images: MLflow's scoring protocol, with base64 in the column `image`.",
    "POST /invocations": "The same, where one surface is served.",
    "GET /ping": "Answers 200 while the server lives.",
    "GET /live": "The same, for who restarts what hangs.",
    "GET /ready": "Answers 200 while requests are taken in, 503 once the server is told to stop.",
    "GET /health": "Tells the champion in use, and the problem where there is one.",
    "GET /version": "Tells the versions of knotwatch, MLflow and the model.",
    "GET /metrics": "Tells Prometheus of requests, latencies, scores and champions.",
}
# What came of a request, for /metrics; any other status below 500 is one that was refused.
_OUTCOMES = {200: "answered", 408: "late", 504: "late", 503: "busy", 500: "failed", GONE: "gone"}


class Served(NamedTuple):
    """A surface: which champion it has, and what scores with it."""

    holder: Holder
    scorer: Scorer


class Serving(NamedTuple):
    """What the addresses have in common: the surfaces by name, where requests wait, and what they may bring."""

    surfaces: Mapping[str, Served]
    line: Line
    limits: Limits
    metrics: Metrics

    def find(self, surface: str | None) -> Served:
        """Return a surface, or the only one; raise RequestError where there is none such."""
        if surface is None and len(self.surfaces) == 1:
            return next(iter(self.surfaces.values()))
        found = self.surfaces.get(surface or "")
        if found is not None:
            return found
        hint = offer_closest(
            f"post to {' or '.join(f'/{name}/invocations' for name in self.surfaces)}", surface or "", self.surfaces
        )
        problem = "several surfaces are served" if surface is None else f"no surface '{surface[:80]}' is served"
        raise RequestError(problem, hint=hint, status=404, code="NOT_FOUND")


def make_app(serving: Serving, token: str = "", is_ready: Callable[[], bool] = lambda: True) -> FastAPI:
    """Make the application that answers MLflow's scoring protocol with the champions of one surface or several.

    Args:
        serving: At least one surface; its line is of the event loop that will serve, with as many places as its limits
            allow.
        token: What each request has to bring; empty for none.
        is_ready: Tells whether a load balancer may send requests.

    Returns:
        The application. Without a token it answers under the names 127.0.0.1 and localhost only.
    """
    # Their pages of documentation would ask for scripts from outside.
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    _guard(app, token)
    _tell_states(app, serving, is_ready)

    @app.post("/invocations")
    async def invocations(request: Request) -> Response:
        return await _invoke(serving, None, request)

    @app.post("/{surface}/invocations")
    async def invocations_of(surface: str, request: Request) -> Response:
        return await _invoke(serving, surface, request)

    return app


def _guard(app: FastAPI, token: str) -> None:
    if token:
        app.add_middleware(TokenGuard, token=token)
    else:
        # A page in the user's browser must not reach the server under a name of its own.
        app.add_middleware(PageGuard)


def _tell_states(app: FastAPI, serving: Serving, is_ready: Callable[[], bool]) -> None:
    @app.get("/")
    async def overview() -> Response:
        return _answer({**_tell(serving, _model), "knotwatch": installed_version("knotwatch"), "endpoints": ENDPOINTS})

    @app.get("/ping")
    @app.get("/live")
    async def live() -> Response:
        return Response("\n", media_type="application/json")

    @app.get("/ready")
    async def ready() -> Response:
        return _answer({"status": "ready"}) if is_ready() else _answer({"status": "stopping"}, 503)

    @app.get("/health")
    async def health() -> Response:
        problem = next((one.holder.problem for one in serving.surfaces.values() if one.holder.problem), None)
        status = {"status": "degraded" if problem else "ok", "problem": problem}
        return _answer({**status, **_tell(serving, _state), "requests_under_way": serving.line.inside})

    @app.get("/version")
    async def version() -> Response:
        names = {name: installed_version(name) for name in ("knotwatch", "mlflow")}
        return _answer({**names, **_tell(serving, _used)})

    @app.get("/metrics")
    async def metrics() -> Response:
        return Response(serving.metrics.render(), media_type=CONTENT_TYPE)


def _tell(serving: Serving, what: Callable[[Holder], dict[str, Any]]) -> dict[str, Any]:
    """Tell something of each surface by its name, and of an only one beside that."""
    told = {name: what(one.holder) for name, one in serving.surfaces.items()}
    only = next(iter(told.values())) if len(told) == 1 else {}
    return {**only, "surfaces": told}


def _used(holder: Holder) -> dict[str, Any]:
    return {"model": holder.current.name, "version": holder.current.version}


def _model(holder: Holder) -> dict[str, Any]:
    return {"surface": holder.surface, **_used(holder)}


def _state(holder: Holder) -> dict[str, Any]:
    return {**_model(holder), "problem": holder.problem}


async def _invoke(serving: Serving, surface: str | None, request: Request) -> Response:
    """Answer a request for a surface, and count it."""
    started = time.monotonic()
    try:
        served = serving.find(surface)
    except RequestError as error:
        return _refuse(error)
    try:
        with serving.metrics.one_under_way():
            answer = await _attempt(serving, served, request)
    except ClientDisconnect:
        answer = Response(status_code=GONE)
    outcome = _OUTCOMES.get(answer.status_code, "refused")
    serving.metrics.note_request(served.holder.surface, outcome, time.monotonic() - started)
    return answer


async def _attempt(serving: Serving, served: Served, request: Request) -> Response:
    line, limits = serving.line, serving.limits
    patience = Patience(limits.seconds)
    try:
        _check_type(request)
        body = await _read(request, line, limits)
        with line.place(len(body)):
            act = partial(_score, served, body, limits, patience)
            predictions = await line.work(act, patience, request.receive)
    except FullError as error:
        return _refuse(error, {"Retry-After": str(error.seconds)})
    except RequestError as error:
        # What is left of a body that came too slowly is not waited for.
        return _refuse(error, {"Connection": "close"} if error.status == 408 else None)
    except KnotwatchError as error:
        return _refuse(RequestError(error.problem, hint=error.hint, status=500, code="INTERNAL_ERROR"))
    serving.metrics.note_predictions(served.holder.surface, predictions.told)
    return Response(predictions.body, media_type="application/json")


class _Predictions(NamedTuple):
    told: list[dict[str, Any]]
    body: bytes


def _score(served: Served, body: bytes, limits: Limits, patience: Patience) -> _Predictions:
    patience.heed()
    predictions = served.scorer.score(read_request(body, limits), limits, patience)
    return _Predictions(predictions, json.dumps({"predictions": predictions}, allow_nan=False).encode())


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
