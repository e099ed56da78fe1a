"""The page through which a browser is let into Prefect's pages: it exchanges a code for the secret, for a few minutes.

A code says until when it opens, signed with the project's secret (HMAC-SHA256): it cannot be guessed or prolonged, and
whoever may read the secret can make another. One that stays behind on a terminal or in a log is soon worth nothing. It
stands in the link's fragment, which no request carries, and the page takes it out of the address at once. A browser
that came in remembers the secret. While the code lasts, the link may be opened again, in another browser too.
"""

import base64
import hmac
import re
import time

from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

DOOR = "/knotwatch"
MINUTES = 15  # that a code opens for

# Prefect's pages send what their origin's storage holds here. Unlike a cookie, no other port of this host is sent it.
_PAGE = f"""<!doctype html><html lang="en"><meta charset="utf-8"><title>knotwatch</title>
<style>body {{ font: 1rem/1.5 system-ui, sans-serif; max-width: 36rem; margin: 4rem auto; padding: 0 1rem }}</style>
<body><main hidden>
<h1>This link does not open Prefect's pages any more</h1>
<p>For your protection it works for {MINUTES} minutes after it was printed. This browser has not been let in before.</p>
<p>In the project's folder, <code>knotwatch ui --link</code> prints a new one. Or open <a href="/">Prefect's pages</a>
and give the text of <code>.knotwatch/prefect-secret</code> as password.</p>
</main><noscript>This page lets you in by JavaScript, which is off, and so do Prefect's own.</noscript>
<script>
const code = location.hash.slice(1), key = "prefect-password";
history.replaceState(null, "", location.pathname);
async function enter() {{
  const answer = code ? await fetch(location.pathname, {{method: "POST", body: code}}) : {{ok: false}};
  if (answer.ok) localStorage.setItem(key, await answer.text());
  const headers = {{Authorization: "Basic " + localStorage.getItem(key)}};
  if ((await fetch("/api/admin/version", {{headers}})).ok) location.replace("/");
  else document.querySelector("main").hidden = false;
}}
enter();
</script>
"""
_PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; connect-src 'self'; "
    "script-src 'unsafe-inline'; style-src 'unsafe-inline'",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
}


def run_routes() -> list[Route]:
    """Make what brings links to a flow run's page, as Prefect itself writes them, to its pages of today."""

    async def run(request: Request) -> Response:
        return RedirectResponse(f"/v2/runs/flow-run/{request.path_params['run']}")

    return [Route(f"/{place}/flow-run/{{run:uuid}}", run) for place in ("flow-runs", "runs")]


def make_code(secret: str, now: float | None = None) -> str:
    """Make a code that opens Prefect's pages from now on for `MINUTES`.

    Args:
        secret: The project's, not empty.
        now: Seconds since 1970; None is the present time.

    Returns:
        Digits, a dot and 64 hexadecimal digits. It belongs behind a link's `#`, in no query, command or log.
    """
    until = int(time.time() if now is None else now) + MINUTES * 60
    return f"{until}.{_sign(secret, str(until))}"


def opens(secret: str, code: bytes, now: float | None = None) -> bool:
    """Tell whether a code is one of `make_code`'s for this secret, and not too old.

    Args:
        secret: The project's, not empty.
        code: Whatever somebody sent.
        now: Seconds since 1970; None is the present time.
    """
    found = re.fullmatch(rb"(\d{1,12})\.([0-9a-f]{64})", code)
    if found is None or not hmac.compare_digest(found[2].decode(), _sign(secret, found[1].decode())):
        return False
    return (time.time() if now is None else now) < int(found[1])


def _sign(secret: str, until: str) -> str:
    return hmac.new(secret.encode(), f"door until {until}".encode(), "sha256").hexdigest()


def make_door(secret: str) -> Route:
    """Make the page that exchanges a code for the secret, and opens Prefect's pages with it.

    Args:
        secret: Project's secret, sent in base64 to whoever gives a code that it signed.

    Returns:
        The route of `DOOR`. A code that is wrong or too old is answered with status 403.
    """

    async def door(request: Request) -> Response:
        if request.method != "POST":
            return HTMLResponse(_PAGE, headers=_PAGE_HEADERS)
        if not opens(secret, await request.body()):
            return PlainTextResponse("not, or no longer, a code", 403)
        return PlainTextResponse(base64.b64encode(secret.encode()).decode(), headers={"Cache-Control": "no-store"})

    return Route(DOOR, door, methods=["GET", "POST"])
