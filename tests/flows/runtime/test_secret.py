"""The secret of a project's servers: one, whoever makes it first, and sent to nobody else's."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from flows.runtime.secret import prefect_secret, secret_file
from pipelines.core.paths import Project
from tests.conftest import Knotwatch


def test_all_who_come_at_once_get_the_same_and_nobody_else_may_read_it(tmp_path: Path) -> None:
    project = Project(tmp_path)
    with ThreadPoolExecutor(16) as pool:
        found = set(pool.map(lambda _: prefect_secret(project), range(64)))
    assert len(found) == 1
    assert secret_file(project).stat().st_mode & 0o777 == 0o600
    assert prefect_secret(Project(tmp_path / "other")) not in found


def test_a_copy_that_others_could_read_is_closed(tmp_path: Path) -> None:
    project = Project(tmp_path)
    secret = prefect_secret(project)
    secret_file(project).chmod(0o644)
    assert prefect_secret(project) == secret
    assert secret_file(project).stat().st_mode & 0o777 == 0o600


@pytest.fixture
def own_server() -> Iterator[tuple[str, list[dict[str, str]]]]:
    """A server of the user's own that refuses everything; its address, and the headers that it was sent."""
    sent: list[dict[str, str]] = []

    class Refusing(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            sent.append({name.lower(): value for name, value in self.headers.items()})
            self.send_error(403)

        do_GET = do_POST  # noqa: N815 - the name that http.server calls

        def log_message(self, *_: Any) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/api", sent
        finally:
            server.shutdown()


@pytest.mark.parametrize("by", ["environment", "file"])
def test_the_users_own_server_is_not_sent_it(
    project: Project, knotwatch: Knotwatch, own_server: tuple[str, list[dict[str, str]]], by: str
) -> None:
    url, sent = own_server
    prefect_secret(project)
    if by == "file":
        (project.root / "prefect.toml").write_text(f'[api]\nurl = "{url}"\n')
    knotwatch("schedule", "--json", env={"PREFECT_API_URL": url} if by == "environment" else {}, expect=1)
    assert sent, "it was not asked"
    assert not [headers for headers in sent if "authorization" in headers]
