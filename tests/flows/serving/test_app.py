"""The server's manners: a full line, a body without end, foreign pages. The model is not asked here."""

import base64
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi.testclient import TestClient

from flows.serving.app import make_app
from flows.serving.line import FullError, Line
from flows.serving.protocol import Limits

BODY = json.dumps({"dataframe_records": [{"image": base64.b64encode(b"x" * 300).decode()}]})
JSON = {"Content-Type": "application/json; charset=utf-8"}


class Slow:
    """Scores nothing until the test lets it."""

    def __init__(self) -> None:
        self.go = Event()

    def score(self, requested: Any, *_: Any) -> list[dict[str, Any]]:
        assert self.go.wait(timeout=20)
        return [{"score": float(len(image))} for image in requested.images]


@pytest.fixture
def slow() -> Slow:
    return Slow()


@pytest.fixture
def client(slow: Slow) -> Iterator[TestClient]:
    """A server for one request at a time, with one more waiting."""
    holder: Any = SimpleNamespace(surface="oak", problem=None, current=SimpleNamespace(name="oak/1 (padim)", version=1))
    scorer: Any = slow
    line = Line(workers=1, waiting=1, held=2_000_000)
    with TestClient(
        make_app(holder, scorer, line, Limits(images=2, megabytes=1)), base_url="http://127.0.0.1"
    ) as opened:
        yield opened
    line.close()


def under_way(client: TestClient, number: int) -> bool:
    return bool(client.get("/health").json()["requests_under_way"] == number)


def test_a_full_line_says_so_at_once_and_loses_nobody(client: TestClient, slow: Slow) -> None:
    with ThreadPoolExecutor(4) as pool:
        first = [pool.submit(client.post, "/invocations", content=BODY, headers=JSON) for _ in range(2)]
        while not under_way(client, 2):
            assert not any(answer.done() for answer in first)
        refused = client.post("/invocations", content=BODY, headers=JSON)
        assert refused.status_code == 503
        assert int(refused.headers["Retry-After"]) >= 1
        assert "under way" in refused.json()["message"]
        slow.go.set()
        assert [answer.result().json() for answer in first] == [{"predictions": [{"score": 300.0}]}] * 2
    assert client.post("/invocations", content=BODY, headers=JSON).status_code == 200
    assert under_way(client, 0)


def test_what_waits_is_bounded_in_memory_too() -> None:
    line = Line(workers=1, waiting=9, held=100)
    with line.place(900), pytest.raises(FullError, match="1 requests"), line.place(1):
        pass
    with line.place(50), line.place(50), pytest.raises(FullError, match="2 requests"), line.place(1):
        pass
    with line.place(100):
        assert line.inside == 1, "what left gave its place back"
    line.close()


@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        (b" " * 1_000_001 + BODY.encode(), JSON, 413),
        (BODY, {"Content-Type": "text/csv"}, 415),
        (BODY[:-3], JSON, 400),
        (BODY, {**JSON, "Host": "evil.example"}, 400),
    ],
)
def test_what_is_not_taken_is_refused(
    client: TestClient, slow: Slow, content: bytes | str, headers: dict[str, str], status: int
) -> None:
    slow.go.set()
    assert client.post("/invocations", content=content, headers=headers).status_code == status
    assert under_way(client, 0)


def test_the_model_is_named_and_trouble_is_told(client: TestClient) -> None:
    assert client.get("/ping").status_code == 200
    assert client.get("/version").json()["version"] == 1
    assert client.get("/health").json()["status"] == "ok"
    assert client.get("/docs").status_code == 404


def test_the_root_tells_of_every_address_and_of_no_other(client: TestClient) -> None:
    told = client.get("/").json()
    assert (told["surface"], told["model"], told["version"]) == ("oak", "oak/1 (padim)", 1)
    app: Any = client.app
    there = {f"{method} {route.path}" for route in app.routes for method in route.methods}
    assert set(told["endpoints"]) == there
    assert all(said.endswith(".") and said.count(".") == 1 for said in told["endpoints"].values())
