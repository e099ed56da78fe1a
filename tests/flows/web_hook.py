"""A small web hook on loopback, and the block of Prefect that tells it."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any


class Receiver(HTTPServer):
    """Keeps what it is told."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.told: list[dict[str, Any]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/hook"

    def subjects(self) -> list[str]:
        return [message["title"] for message in self.told]


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        self.server.told.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        return


@contextmanager
def web_hook() -> Iterator[Receiver]:
    """Listen until the block ends."""
    server = Receiver()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def make_block(root: Path, name: str, url: str) -> None:
    """Make `custom-webhook/NAME` in a project's Prefect, as one would on its page."""
    code = f"""
from flows.local_servers.temporary import ensure_server
from pipelines.core.paths import find_project
ensure_server(find_project())
from prefect.blocks.notifications import CustomWebhookNotificationBlock as Hook
Hook(name="{name}", url="{url}", json_data={{"title": "{{{{subject}}}}", "text": "{{{{body}}}}"}}).save("{name}")
"""
    subprocess.run([sys.executable, "-c", code], cwd=root, check=True)
