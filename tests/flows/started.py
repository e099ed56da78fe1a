"""`knotwatch ui` and `knotwatch serve`, started by tests as a user starts them."""

import base64
import json
import re
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from pipelines.core.paths import Project
from tests.flows.processes import free_port, stop, until


class Ui(NamedTuple):
    project: Project
    process: "subprocess.Popen[bytes]"
    prefect: str
    mlflow: str

    @property
    def said(self) -> str:
        return (self.project.root / "ui.log").read_text()

    @property
    def link(self) -> str:
        """The address that lets a browser in."""
        found = re.search(r"http://\S+#\S+", self.said)
        assert found, self.said
        return found[0]

    @property
    def secret(self) -> str:
        return (self.project.state / "prefect-secret").read_text()

    def api(self, path: str, body: dict[str, Any] | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json", **basic(self.secret)}
        request = urllib.request.Request(f"{self.prefect}/{path}", data, headers)
        for left in (3, 2, 1, 0):
            try:
                with urllib.request.urlopen(request, timeout=30) as answer:
                    return json.load(answer)
            except urllib.error.HTTPError as error:
                # Its database is locked: Prefect's own clients ask again, too.
                if error.code != 503 or not left:
                    raise
        return None


def basic(secret: str) -> dict[str, str]:
    return {"Authorization": f"Basic {base64.b64encode(secret.encode()).decode()}"}


@contextmanager
def start_ui(project: Project) -> Iterator[Ui]:
    ports = free_port(), free_port()
    words = ("ui", "--prefect-port", str(ports[0]), "--mlflow-port", str(ports[1]))
    with start(project, project.root / "ui.log", *words) as process:
        yield Ui(project, process, f"http://127.0.0.1:{ports[0]}/api", f"http://127.0.0.1:{ports[1]}")


@contextmanager
def start(project: Project, log: Path, *words: str) -> "Iterator[subprocess.Popen[bytes]]":
    """Run a command of servers until the block ends; wait until it says how to stop it."""
    command = [sys.executable, "-c", "from flows.cli import main; main()", *words]
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=project.root, stdout=output, stderr=subprocess.STDOUT)
    try:
        until(lambda: "Ctrl-C" in log.read_text(), " ".join(words), process)
        yield process
    finally:
        stop(process)
