"""A page of another origin, and what it tries on servers of this machine."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

from tests.chromium import Tab

# Each in every way that a page has: to read the answer or blindly, with what the browser keeps for the host or without,
# as JSON, as a type that needs no leave, and as no type at all. A form goes into a frame.
_TRIES = """
async (attacks) => {
  for (const [method, url, body] of attacks)
    for (const mode of ["cors", "no-cors"])
      for (const credentials of ["include", "omit"])
        for (const type of method == "GET" ? [null] : ["application/json", "text/plain", ""]) {
          const options = {method, mode, credentials};
          if (type !== null) options.body = new Blob([JSON.stringify(body)], {type});
          if (type) options.headers = {"Content-Type": type};
          try { await fetch(url, options) } catch (refused) { }
        }
  for (const [method, url, body] of attacks) {
    const frame = document.createElement("iframe"), form = document.createElement("form");
    frame.name = form.target = "frame" + Math.random();
    Object.assign(form, {method, action: url, enctype: "text/plain"});
    const field = document.createElement("input");
    [field.name, field.value] = [JSON.stringify(body).slice(0, -1) + ',"', '":1}'];
    form.append(field);
    const loaded = new Promise(done => frame.onload = done);
    document.body.append(frame, form);
    form.submit();
    await loaded;
  }
}
"""
# What was seen to work: each answer names what the next request needs.
_CHAIN = """
async (api, file) => {
  const post = async (path, body) => {
    const headers = {"Content-Type": "application/json"};
    return (await fetch(api + path, {method: "POST", headers, body: JSON.stringify(body)})).json();
  };
  try {
    const flow = await post("/flows/", {name: "evil"});
    const steps = [{"prefect.deployments.steps.run_shell_script": {script: "touch " + file}}];
    const made = await post("/deployments/", {name: "evil", flow_id: flow.id, work_pool_name: "knotwatch",
      entrypoint: "flows/retrain.py:retrain", pull_steps: steps});
    await post(`/deployments/${made.id}/create_flow_run`, {state: {type: "SCHEDULED"}});
    return "done";
  } catch (refused) { return "refused" }
}
"""


@contextmanager
def foreign_page() -> Iterator[str]:
    """Serve an empty page on a port of its own; yield its address."""

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<!doctype html><title>a page</title><body>")

        def log_message(self, *_: Any) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()


def attack(tab: Tab, page: str, attacks: list[tuple[str, str, Any]]) -> None:
    """Have a page ask servers for things: none answers well, and none gives the page leave to read."""
    tab.visit(page)
    tab.events.clear()
    tab.evaluate(f"({_TRIES})({json.dumps(attacks)})")
    answers = [e["params"]["response"] for e in tab.events if e.get("method") == "Network.responseReceived"]
    answers = [a for a in answers if re.match(r"http://", a["url"]) and not a["url"].startswith(page)]
    assert {a["url"] for a in answers} >= {url for _, url, _ in attacks}, "not everything was asked"
    for answer in answers:
        assert answer["status"] >= 400, answer
        assert "access-control-allow-origin" not in {name.lower() for name in answer["headers"]}, answer


def run_chain(tab: Tab, page: str, api: str, file: str) -> str:
    """Have a page deploy a shell command on the worker's pool, as was seen to work; return how it went."""
    tab.visit(page)
    return str(tab.evaluate(f"({_CHAIN})({json.dumps(api)}, {json.dumps(file)})"))


def ask(port: int, method: str, path: str, headers: dict[str, str], body: str = "") -> tuple[int, dict[str, str]]:
    """Ask with headers as they are given; return the status and the answer's headers."""
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    connection.putrequest(method, path, skip_host="Host" in headers)
    for name, value in {**headers, "Content-Length": str(len(body))}.items():
        connection.putheader(name, value)
    connection.endheaders(body.encode())
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status, {name.lower(): value for name, value in answer.getheaders()}


def assert_foreign_refused(port: int, path: str, headers: dict[str, str]) -> None:
    """Ask under foreign names and from foreign origins, with all that the owner would send beside."""
    for host in ("evil.example", f"evil.example:{port}", f"10.evil.example:{port}", f"192.168.1.2:{port}", ""):
        assert ask(port, "GET", path, {**headers, "Host": host})[0] in {400, 403}, host
    for origin in ("http://evil.example", f"http://127.0.0.1:{port + 1}", "null"):
        requested = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
        for method, more in (("POST", {"Content-Type": "text/plain"}), ("OPTIONS", requested)):
            status, answer = ask(port, method, path, {**headers, **more, "Origin": origin})
            assert status >= 400, (method, origin)
            assert "access-control-allow-origin" not in answer, (method, origin)
