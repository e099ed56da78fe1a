"""Who may ask the server: programs of this machine; with a token, on request, those of others."""

import errno
import hmac
import json
import os
import socket

from starlette.datastructures import Headers
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from flows.runtime.secret import serve_token, token_file
from pipelines.core.errors import BusyError, CallError
from pipelines.core.paths import Project
from pipelines.core.records import Record
from pipelines.tracking.guard import is_foreign

TOKEN = "KNOTWATCH_SERVE_TOKEN"  # noqa: S105 - the name of the variable
# What a request without a token may call the server; others are names of somebody else's (DNS rebinding).
NAMES = ("127.0.0.1", "localhost")
_LEAST = 16  # characters of a token that cannot be tried out
_OPEN = ("/ping", "/live", "/ready")  # what a load balancer asks


class Access(Record):
    """Where the server listens, and what a request has to bring: with an empty token nothing.

    `kept_in` names where the token is kept.
    """

    host: str
    token: str = ""
    kept_in: str = ""


def choose_access(project: Project, host: str, *, allow_remote: bool) -> Access:
    """Decide who may ask.

    Args:
        project: Its state folder keeps the token, for its owner alone to read.
        host: Address or name of this machine.
        allow_remote: Whether other machines may ask; then every request has to bring a token.

    Returns:
        The access. The token is that of the variable KNOTWATCH_SERVE_TOKEN, else one that is made once.

    Raises:
        CallError: If other machines could ask and may not, or the variable's token is short.
    """
    if not allow_remote:
        if host not in NAMES:
            raise CallError(
                f"on {host} other machines could ask the server",
                hint="say --allow-remote, and requests need a token; or leave --host out",
            )
        return Access(host=host)
    given = os.environ.get(TOKEN, "")
    if given and len(given) < _LEAST:
        raise CallError(f"{TOKEN} has {len(given)} characters", hint=f"take {_LEAST} or more, or unset it")
    return Access(host=host, token=given or serve_token(project), kept_in=TOKEN if given else str(token_file(project)))


def bind_listener(port: int, host: str = "127.0.0.1") -> socket.socket:
    """Return a socket bound to a port.

    Args:
        port: 0 to 65535; 0 takes any that is free.
        host: Address or name of this machine.

    Returns:
        The socket; nothing is taken in yet.

    Raises:
        BusyError: If the port is taken.
        CallError: If this machine has no such address.
    """
    try:
        # asyncio sends at once only on a socket whose protocol is named; else every answer's body waits 40 ms for the
        # acknowledgement of its head.
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
        family, kind, protocol, _, address = found[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise CallError(f"{host} is no address of this machine ({error})", hint="choose another --host") from error
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRNOTAVAIL:
            raise CallError(f"{host} is no address of this machine", hint="choose another --host") from error
        raise BusyError(f"port {port} on {host} is busy", hint="choose another with --port") from error
    return listener


def address_of(listener: socket.socket, host: str) -> str:
    """Write where a bound socket is reached.

    Args:
        listener: From `bind_listener`.
        host: As it was given there.

    Returns:
        The beginning of an URL.
    """
    return f"http://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}"


class PageGuard:
    """Refuses what a page of another origin asks, and whoever calls this machine by another name."""

    def __init__(self, app: ASGIApp) -> None:
        self._named = TrustedHostMiddleware(app, list(NAMES))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and is_foreign(Headers(scope=scope)):
            await Response("no page of another origin is answered", 403, media_type="text/plain")(scope, receive, send)
        else:
            await self._named(scope, receive, send)


class TokenGuard:
    """Lets a request pass that brings `Authorization: Bearer TOKEN`. What a load balancer asks needs no token."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app, self._expected = app, f"Bearer {token}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in _OPEN:
            await self._app(scope, receive, send)
            return
        given = [value for name, value in scope["headers"] if name == b"authorization"]
        if len(given) == 1 and hmac.compare_digest(given[0], self._expected):
            await self._app(scope, receive, send)
            return
        said = {"error_code": "UNAUTHENTICATED", "message": "bring the header `Authorization: Bearer TOKEN`"}
        # What is left of a body is not waited for: whoever has no token gets no memory either.
        headers = {"WWW-Authenticate": "Bearer", "Connection": "close"}
        await Response(json.dumps(said), 401, headers, media_type="application/json")(scope, receive, send)
