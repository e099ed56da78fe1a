"""Load on `knotwatch serve`: a server of its own, requests of one image each, and what became of them."""

import base64
import http.client
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from pipelines.core.errors import ToolError
from pipelines.core.records import Record

_HEADERS = {"Content-Type": "application/json"}
_CLIENTS = 32  # enough that a paced request always finds one idle
_START = 120.0  # seconds that a server may take to load its model on a busy machine


class Answer(Record):
    """One request's fate: seconds from when it was due, HTTP status, the version that answered, when that was."""

    seconds: float
    status: int
    version: int | None
    when: float


class Load(Record):
    """What a stretch of load came to: latencies of the answered requests in milliseconds, answers a second."""

    name: str
    requests: int
    failed: int
    throughput: float
    p50: float
    p95: float
    longest: float
    versions: dict[int, int]


@contextmanager
def serving(root: Path, surface: str) -> Iterator[int]:
    """Serve a project's surface on a free port, until the block ends."""
    command = [sys.executable, "-c", "from flows.cli import main; main()", "serve", surface, "--port", "0"]
    log = root / ".knotwatch" / "serve.log"
    with log.open("w+") as said:
        process = subprocess.Popen(command, cwd=root, stdout=said, stderr=subprocess.STDOUT)
        try:
            yield _await_port(process, log)
            if process.poll() is not None:
                raise ToolError(f"the server ended with {process.returncode}", hint=f"read {log}")
        finally:
            process.terminate()
            process.wait(timeout=60)


def _await_port(process: "subprocess.Popen[bytes]", log: Path) -> int:
    deadline = time.monotonic() + _START
    while "Ctrl-C" not in log.read_text():
        if process.poll() is not None or time.monotonic() > deadline:
            raise ToolError(f"the server did not start: {log.read_text()[-500:]}", hint="mend what it names")
        time.sleep(0.1)
    return int(log.read_text().split("127.0.0.1:")[1].split("/")[0])


def encode_bodies(files: Sequence[Path]) -> list[bytes]:
    """Write a request for each image."""
    return [
        json.dumps({"dataframe_records": [{"image": base64.b64encode(file.read_bytes()).decode()}]}).encode()
        for file in files
    ]


class Client:
    """One connection, kept open."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def ask(self, body: bytes, due: float) -> Answer:
        """Send a request; latency counts from when it was due, so that a late start is not hidden."""
        try:
            self._connection.request("POST", "/invocations", body, _HEADERS)
            answer = self._connection.getresponse()
            status, content = answer.status, answer.read()
        except (OSError, http.client.HTTPException):
            self._connection.close()
            status, content = 0, b""
        version = json.loads(content)["predictions"][0]["version"] if status == 200 else None
        now = time.monotonic()
        return Answer(seconds=now - due, status=status, version=version, when=now)


def press(port: int, bodies: Sequence[bytes], clients: int, seconds: float) -> list[Answer]:
    """Have each client send its next request when the last is answered: as much as the server gives."""
    end = time.monotonic() + seconds

    def run(first: int) -> list[Answer]:
        client, answers = Client(port), []
        while (now := time.monotonic()) < end:
            answers.append(client.ask(bodies[(first + len(answers)) % len(bodies)], now))
        return answers

    with ThreadPoolExecutor(clients) as pool:
        return [answer for answers in pool.map(run, range(clients)) for answer in answers]


def pace(port: int, bodies: Sequence[bytes], rate: float, seconds: float) -> list[Answer]:
    """Send requests at random times, `rate` a second on average, whether or not the last ones are answered."""
    gaps = np.random.default_rng(0).exponential(1 / rate, round(rate * seconds))
    due = time.monotonic() + np.cumsum(gaps)

    def run(first: int) -> list[Answer]:
        client, answers = Client(port), []
        for number in range(first, len(due), _CLIENTS):
            time.sleep(max(0.0, due[number] - time.monotonic()))
            answers.append(client.ask(bodies[number % len(bodies)], float(due[number])))
        return answers

    with ThreadPoolExecutor(_CLIENTS) as pool:
        return [answer for answers in pool.map(run, range(_CLIENTS)) for answer in answers]


def summarise(name: str, answers: Sequence[Answer], seconds: float) -> Load:
    """Count and rank the answers of a stretch of load."""
    good = [answer for answer in answers if answer.status == 200]
    latencies = [answer.seconds * 1000 for answer in good] or [float("nan")]
    p50, p95 = np.percentile(latencies, [50, 95])
    numbers = [answer.version for answer in good if answer.version is not None]
    return Load(
        name=name,
        requests=len(answers),
        failed=len(answers) - len(good),
        throughput=len(good) / seconds,
        p50=float(p50),
        p95=float(p95),
        longest=max(latencies),
        versions={number: numbers.count(number) for number in sorted(set(numbers))},
    )
