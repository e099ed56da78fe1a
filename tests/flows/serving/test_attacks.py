"""Who asks too much of the server, or keeps it waiting: it is refused or closed, and others are served."""

import base64
import io
import json
import resource
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from PIL import Image

from pipelines.core.paths import Project
from tests.flows.processes import free_port, stop, until
from tests.flows.projects import copy_project

pytestmark = pytest.mark.slow

FILES = 256  # open files that the server may have
SECONDS = 8  # that it works on a request
MB = 10
HALF = b"POST /invocations HTTP/1.1\r\nHost: 127.0.0.1\r\n"


class Served(NamedTuple):
    process: "subprocess.Popen[bytes]"
    port: int
    said: Path

    def connect(self, data: bytes) -> socket.socket:
        opened = socket.create_connection(("127.0.0.1", self.port), timeout=60)
        opened.sendall(data)
        return opened

    def ask(self, *images: bytes) -> tuple[int, Any]:
        """Return the status and the answer."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/invocations", encode(*images), {"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as refused:
            return refused.code, json.load(refused)

    def under_way(self) -> int:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=30) as answer:
            return int(json.load(answer)["requests_under_way"])


def encode(*images: bytes) -> bytes:
    return json.dumps({"dataframe_records": [{"image": base64.b64encode(i).decode()} for i in images]}).encode()


def head(length: int) -> bytes:
    lines = ["Content-Type: application/json", f"Content-Length: {length}"]
    return HALF + "\r\n".join([*lines, "", ""]).encode()


def draw(width: int, height: int) -> bytes:
    """A black one-bit PNG: a few kilobytes, whatever its size."""
    file = io.BytesIO()
    Image.new("1", (width, height)).save(file, "PNG", compress_level=9)
    return file.getvalue()


@pytest.fixture(scope="module")
def bomb() -> bytes:
    return draw(14_000, 14_000)


@pytest.fixture(scope="module")
def long_work() -> list[bytes]:
    """Images that are each allowed and together take longer than a request may, by far."""
    return [draw(4_000, 2_500)] * 60


@pytest.fixture(scope="module")
def served(trained_once: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder, port = tmp_path_factory.mktemp("attacked"), free_port()
    # A copy of its own, because what is asked comes into the surface's history.
    project, said = copy_project(trained_once, folder / "project"), folder / "said"
    limits = ("--most-mp", "30", "--most-request-mp", "1000", "--seconds", str(SECONDS), "--most-mb", str(MB))

    def prepare() -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, FILES))

    with said.open("wb") as output:
        process = subprocess.Popen(
            [
                sys.executable,
                "-c",
                "from flows.cli import main; main()",
                "serve",
                "drawn",
                "--port",
                str(port),
                *limits,
            ],
            cwd=project.root,
            stdout=output,
            stderr=subprocess.STDOUT,
            preexec_fn=prepare,  # noqa: PLW1509 - no threads yet
        )
    try:
        until(lambda: "Ctrl-C" in said.read_text(), "the server", process)
        yield Served(process, port, said)
    finally:
        stop(process)


def test_a_small_file_of_a_huge_image_is_refused_by_its_head(served: Served, bomb: bytes) -> None:
    assert len(bomb) < 40_000
    status, answer = served.ask(bomb)
    assert status == 413
    assert answer["message"].startswith("row 0: 196 megapixels, at most 30 are taken")
    status, answer = served.ask(*[draw(5_000, 5_000)] * 41)
    assert status == 413
    assert answer["message"].startswith("row 40: 1025 megapixels so far, at most 1000")


def test_half_sent_heads_shut_nobody_out_and_fill_no_log(served: Served, bomb: bytes) -> None:
    with ExitStack() as stack:
        opened = [
            stack.enter_context(served.connect(b"POST /invocations HTTP/1.1\r\nHost: 127.0.0.1\r\n"))
            for _ in range(300)
        ]
        assert served.ask(draw(200, 100))[0] == 200
        # The oldest made room, the newest are closed by the clock.
        assert [ends(one) for one in (opened[0], opened[-1])] == [True, True]
    assert len(served.said.read_text().splitlines()) < 50


def test_a_head_that_is_dripped_on_a_kept_connection_ends_too(served: Served) -> None:
    with served.connect(b"GET /ping HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n") as opened:
        assert b"200 OK" in opened.recv(1000)
        opened.sendall(b"GET /ping HT")
        assert ends(opened)


def ends(connection: socket.socket) -> bool:
    """Tell whether the server closes a connection, after an answer or without one."""
    try:
        while connection.recv(10_000):
            pass
    except ConnectionResetError:
        return True
    except TimeoutError:
        return False
    return True


def test_slow_bodies_take_no_place_from_others_and_are_ended(served: Served) -> None:
    with ExitStack() as stack:
        opened = [stack.enter_context(served.connect(head(1_000_000) + b"{" * 50)) for _ in range(80)]
        assert served.under_way() == 0
        assert served.ask(draw(200, 100))[0] == 200
        assert b"408" in opened[-1].recv(1000)


def test_who_leaves_is_not_worked_for(served: Served, long_work: list[bytes]) -> None:
    body = encode(*long_work)
    with served.connect(head(len(body)) + body):
        until(lambda: served.under_way() == 1, "the work", served.process)
    until(lambda: served.under_way() == 0, "the end of the work", served.process, seconds=SECONDS - 3)


def test_what_takes_too_long_is_given_up(served: Served, long_work: list[bytes]) -> None:
    status, answer = served.ask(*long_work)
    assert (status, answer["error_code"]) == (504, "DEADLINE_EXCEEDED")
    assert served.under_way() == 0


def read_to_the_end(connection: socket.socket) -> bytes:
    """Read an answer whose head and body may come apart, until the server closes the connection."""
    return b"".join(iter(lambda: connection.recv(1000), b""))


def test_it_stops_in_time_whatever_is_worked_on(served: Served, long_work: list[bytes]) -> None:
    body = encode(*long_work)
    with ExitStack() as stack, ThreadPoolExecutor(4) as pool:
        stack.enter_context(served.connect(head(1_000_000) + b"{"))
        requested = [stack.enter_context(served.connect(head(len(body)) + body)) for _ in range(4)]
        until(lambda: served.under_way() == 4, "the work", served.process)
        served.process.send_signal(signal.SIGTERM)
        answers = list(pool.map(read_to_the_end, requested))
        assert served.process.wait(timeout=20) == 0, served.said.read_text()
    assert all(b"503" in answer and b"the server stops" in answer for answer in answers), answers
    assert "Traceback" not in served.said.read_text()
