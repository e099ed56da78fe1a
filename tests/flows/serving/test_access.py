"""Who may ask the server from elsewhere: nobody, unless it was said, and then with the token alone."""

import stat
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from fastapi.testclient import TestClient

from flows.runtime.secret import token_file
from flows.serving.access import TOKEN, bind_listener, choose_access
from flows.serving.app import make_app
from flows.serving.line import Line
from flows.serving.protocol import Limits
from pipelines.core.errors import CallError
from pipelines.core.paths import Project
from tests.flows.serving.doubles import make_serving

SEEN = {"score": 1.0, "anomalous": False}
SECRET = "correct horse battery staple"  # noqa: S105 - of this test


@pytest.fixture
def client() -> Iterator[TestClient]:
    """A server under another machine's name for it, which asks for a token."""
    scorer = SimpleNamespace(score=lambda requested, *_: [SEEN for _ in requested.images])
    line = Line(workers=1, waiting=1, held=2_000_000)
    serving = make_serving(line, Limits(), oak=scorer)
    with TestClient(make_app(serving, SECRET), base_url="http://line-4.example") as opened:
        yield opened
    line.close()


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": SECRET},
        {"Authorization": f"Basic {SECRET}"},
        {"Authorization": "Bearer "},
        {"Authorization": f"Bearer {SECRET[:-1]}"},
        {"Authorization": f"Bearer {SECRET} "},
        {"X-Authorization": f"Bearer {SECRET}"},
    ],
)
@pytest.mark.parametrize(
    "path", ["/", "/health", "/version", "/invocations", "/oak/invocations", "/metrics", "//ping", "/ready/"]
)
def test_without_the_token_nothing_is_told(client: TestClient, path: str, headers: dict[str, str]) -> None:
    for answer in (client.get(path, headers=headers), client.post(path, content=b"{}", headers=headers)):
        assert answer.status_code == 401
        assert "oak" not in answer.text
        assert SECRET not in answer.text


def test_with_the_token_all_is_answered_and_a_load_balancer_needs_none(client: TestClient) -> None:
    known = {"Authorization": f"Bearer {SECRET}"}
    assert client.get("/health", headers=known).json()["surface"] == "oak"
    body = {"dataframe_records": [{"image": "eA=="}]}
    assert client.post("/invocations", json=body, headers=known).json() == {"predictions": [SEEN]}
    assert client.post("/oak/invocations", json=body, headers=known).status_code == 200
    assert client.get("/metrics", headers=known).status_code == 200
    assert [client.get(path).status_code for path in ("/ping", "/live", "/ready")] == [200] * 3


def test_another_address_has_to_be_allowed(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(TOKEN, raising=False)
    assert choose_access(project, "localhost", allow_remote=False).token == ""
    for host in ("0.0.0.0", "::", "192.0.2.7", "127.0.0.1.example.com"):  # noqa: S104 - refused
        with pytest.raises(CallError, match="other machines"):
            choose_access(project, host, allow_remote=False)
    made = choose_access(project, "0.0.0.0", allow_remote=True)  # noqa: S104 - with a token
    assert len(made.token) > 30
    assert stat.S_IMODE(token_file(project).stat().st_mode) == 0o600
    assert choose_access(project, "127.0.0.1", allow_remote=True).token == made.token
    monkeypatch.setenv(TOKEN, "short")
    with pytest.raises(CallError, match="5 characters"):
        choose_access(project, "127.0.0.1", allow_remote=True)
    monkeypatch.setenv(TOKEN, SECRET)
    assert choose_access(project, "127.0.0.1", allow_remote=True).kept_in == TOKEN


def test_an_address_of_another_machine_is_named() -> None:
    for host in ("192.0.2.7", "no-such-host.invalid"):
        with pytest.raises(CallError, match=f"{host} is no address of this machine"):
            bind_listener(0, host)
