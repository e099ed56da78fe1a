"""The page through which a browser is let into Prefect's pages: it exchanges a code for the secret, once."""

import base64
import hmac

from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

DOOR = "/knotwatch"

# Prefect's pages send what their origin's storage holds here. Unlike a cookie, no other port of this host is sent it.
_PAGE = """<!doctype html><meta charset="utf-8"><title>knotwatch</title><body>
<script>
const code = location.hash.slice(1), key = "prefect-password";
history.replaceState(null, "", location.pathname);
async function enter() {
  const answer = code ? await fetch(location.pathname, {method: "POST", body: code}) : {ok: false};
  if (answer.ok) localStorage.setItem(key, await answer.text());
  const headers = {Authorization: "Basic " + localStorage.getItem(key)};
  if ((await fetch("/api/admin/version", {headers})).ok) location.replace("/");
  else document.body.textContent = "This link opened Prefect's pages once, and does not again. Take the one that " +
    "`knotwatch ui` prints when it is started again, or give the text of .knotwatch/prefect-secret as password.";
}
enter();
</script>
"""
_PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'unsafe-inline'; connect-src 'self'",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
}


def run_routes() -> list[Route]:
    """Make what brings links to a flow run's page, as Prefect itself writes them, to its pages of today."""

    async def run(request: Request) -> Response:
        return RedirectResponse(f"/v2/runs/flow-run/{request.path_params['run']}")

    return [Route(f"/{place}/flow-run/{{run:uuid}}", run) for place in ("flow-runs", "runs")]


def make_door(secret: str, code: str) -> Route:
    """Make the page that exchanges a code, once, for the secret, and opens Prefect's pages with it.

    Args:
        secret: Project's secret, sent in base64 to the first who gives the code.
        code: Not empty, which would let everybody in. It stands in the link's fragment, which no request carries.

    Returns:
        The route of `DOOR`. A wrong or used code is answered with status 403.
    """
    codes = [code]

    async def door(request: Request) -> Response:
        if request.method != "POST":
            return HTMLResponse(_PAGE, headers=_PAGE_HEADERS)
        given = await request.body()
        if not (codes and hmac.compare_digest(given, codes[0].encode())):
            return PlainTextResponse("not, or no longer, a code", 403)
        codes.clear()
        return PlainTextResponse(base64.b64encode(secret.encode()).decode(), headers={"Cache-Control": "no-store"})

    return Route(DOOR, door, methods=["GET", "POST"])
