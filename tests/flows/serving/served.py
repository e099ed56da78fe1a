"""The server as a process of its own, and the registry that it reads."""

import base64
import json
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import mlflow

from pipelines.core.paths import Project
from tests.flows.processes import free_port, stop, until
from tests.flows.projects import SURFACE


class Served(NamedTuple):
    project: Project
    process: "subprocess.Popen[bytes]"
    port: int
    said: Path

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/{path}", timeout=30) as answer:
            return json.load(answer)

    def ask(self, content: Any, path: str = "invocations") -> Any:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/{path}",
            json.dumps(content).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)["predictions"]


@contextmanager
def serving(project: Project, said: Path, *more: str) -> Iterator[Served]:
    """Run the server until the block ends; `more` are further surfaces and options."""
    port = free_port()
    words = ("serve", SURFACE, "--port", str(port), *more)
    with said.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", "from flows.cli import main; main()", *words],
            cwd=project.root,
            stdout=output,
            stderr=subprocess.STDOUT,
            # A shell starts background commands deaf to Ctrl-C, and pytest may be one of them.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # noqa: PLW1509 - no threads yet
        )
    try:
        until(lambda: "Ctrl-C" in said.read_text(), "the server", process)
        yield Served(project, process, port, said)
    finally:
        stop(process)


def registry_of(project: Project) -> mlflow.MlflowClient:
    """MLflow's client on a project's registry."""
    uri = f"sqlite:///{project.state}/mlflow/mlflow.db"
    # Where it looks a version's source up, the client follows this and not its own arguments.
    mlflow.set_tracking_uri(uri)
    return mlflow.MlflowClient(uri, uri)


def encode(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


def add_version(project: Project, surface: str = SURFACE) -> int:
    """Register the first version once more, under the same surface or another one, and return its number."""
    registry = registry_of(project)
    first = registry.get_model_version(SURFACE, "1")
    if surface != SURFACE:
        registry.create_registered_model(surface)
    return int(registry.create_model_version(surface, first.source, first.run_id, tags=first.tags).version)


def put_in_use(project: Project, version: int, surface: str = SURFACE) -> None:
    """Move the alias, as the gate does."""
    registry_of(project).set_registered_model_alias(surface, "champion", str(version))
