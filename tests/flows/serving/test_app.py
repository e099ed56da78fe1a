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
from tests.flows.serving.doubles import make_serving

BODY = json.dumps({"dataframe_records": [{"image": base64.b64encode(b"x" * 300).decode()}]})
SEEN = {"score": 300.0, "anomalous": False}
JSON = {"Content-Type": "application/json; charset=utf-8"}


class Slow:
    """Scores nothing until the test lets it."""

    def __init__(self) -> None:
        self.go = Event()

    def score(self, requested: Any, *_: Any) -> list[dict[str, Any]]:
        assert self.go.wait(timeout=20)
        return [{"score": float(len(image)), "anomalous": False} for image in requested.images]


@pytest.fixture
def slow() -> Slow:
    return Slow()


@pytest.fixture
def client(slow: Slow) -> Iterator[TestClient]:
    """A server for one request at a time, with one more waiting."""
    line = Line(workers=1, waiting=1, held=2_000_000)
    serving = make_serving(line, Limits(images=2, megabytes=1), oak=slow)
    with TestClient(make_app(serving), base_url="http://127.0.0.1") as opened:
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
        assert [answer.result().json() for answer in first] == [{"predictions": [SEEN]}] * 2
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


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:8000"},
        {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "no-cors"},
        {"Host": "evil.example"},
    ],
)
def test_no_page_of_another_origin_is_told_anything(client: TestClient, headers: dict[str, str]) -> None:
    for path in ("/", "/health", "/metrics", "/version"):
        assert client.get(path, headers=headers).status_code in {400, 403}
    assert client.post("/invocations", content=BODY, headers={**JSON, **headers}).status_code in {400, 403}
    followed = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert client.get("/health", headers=followed).status_code == 200, "a person followed a link"


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


@pytest.fixture
def several() -> Iterator[TestClient]:
    """A server of two surfaces, of which oak sees knots everywhere."""
    line = Line(workers=1, waiting=1, held=2_000_000)
    scorers = {
        name: SimpleNamespace(score=lambda asked, *_, s=score: [{"score": s, "anomalous": s > 1} for _ in asked.images])
        for name, score in (("oak", 1.7), ("pine", 0.3))
    }
    serving = make_serving(line, Limits(images=2, megabytes=1), **scorers)
    with TestClient(make_app(serving, is_ready=lambda: READY["ready"]), base_url="http://127.0.0.1") as opened:
        yield opened
    line.close()


READY = {"ready": True}


def test_each_of_several_surfaces_has_an_address_of_its_own(several: TestClient) -> None:
    def score(path: str) -> Any:
        answer = several.post(path, content=BODY, headers=JSON).json()
        return answer.get("message") or answer["predictions"][0]["score"]

    assert (score("/oak/invocations"), score("/pine/invocations")) == (1.7, 0.3)
    assert "several surfaces" in score("/invocations")
    assert "did you mean 'pine'?" in score("/pin/invocations")
    assert several.post("/oa/k/invocations", content=BODY, headers=JSON).status_code == 404
    told = several.get("/").json()
    assert told["surfaces"]["pine"] == {"surface": "pine", "model": "pine/1 (padim)", "version": 1}
    assert "surface" not in told, "there is no only one"
    assert several.get("/health").json()["surfaces"]["oak"]["problem"] is None


def test_with_one_surface_its_own_address_leads_there_too(client: TestClient, slow: Slow) -> None:
    slow.go.set()
    answers = [client.post(path, content=BODY, headers=JSON) for path in ("/invocations", "/oak/invocations")]
    assert [answer.json() for answer in answers] == [{"predictions": [SEEN]}] * 2


def test_a_server_that_is_told_to_stop_lives_and_is_not_ready(
    several: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert [several.get(path).status_code for path in ("/live", "/ready")] == [200, 200]
    monkeypatch.setitem(READY, "ready", False)
    assert [several.get(path).status_code for path in ("/live", "/ready")] == [200, 503]


def read_figures(client: TestClient) -> dict[str, float]:
    lines = client.get("/metrics").text.splitlines()
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")}


def test_prometheus_is_told_of_requests_images_and_scores(several: TestClient) -> None:
    for path in ("/oak/invocations", "/oak/invocations", "/pine/invocations"):
        several.post(path, content=BODY, headers=JSON)
    several.post("/oak/invocations", content=BODY[:-3], headers=JSON)
    several.post("/knot/invocations", content=BODY, headers=JSON)
    found = read_figures(several)
    assert found['knotwatch_requests_total{outcome="answered",surface="oak"}'] == 2
    assert found['knotwatch_requests_total{outcome="refused",surface="oak"}'] == 1
    assert found['knotwatch_request_seconds_count{surface="oak"}'] == 3
    assert found['knotwatch_images_total{surface="oak",verdict="anomalous"}'] == 2
    assert found['knotwatch_images_total{surface="pine",verdict="normal"}'] == 1
    assert found['knotwatch_score_bucket{le="1.5",surface="oak"}'] == 0
    assert found['knotwatch_score_bucket{le="2.0",surface="oak"}'] == 2
    assert found["knotwatch_requests_under_way"] == 0
    assert not any("knot/" in name or 'surface="knot"' in name for name in found), "words of a request are no labels"


def test_prometheus_sees_what_waits(client: TestClient, slow: Slow) -> None:
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(client.post, "/invocations", content=BODY, headers=JSON)
        while not under_way(client, 1):
            assert not asked.done()
        assert read_figures(client)["knotwatch_requests_under_way"] == 1
        slow.go.set()
        assert asked.result().status_code == 200
