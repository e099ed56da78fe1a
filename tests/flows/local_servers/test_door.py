"""The page that lets a browser into Prefect's pages: as often as wanted for a while, and nobody else."""

import base64
from collections.abc import Callable

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from flows.local_servers.door import DOOR, MINUTES, make_code, make_door, opens

SECRET, NOW = "a-secret", 1_800_000_000.0


def test_a_link_opens_again_until_its_time_is_over() -> None:
    client = TestClient(Starlette(routes=[make_door(SECRET)]))
    code = make_code(SECRET)
    for _ in range(2):
        answer = client.post(DOOR, content=code)
        assert (answer.status_code, base64.b64decode(answer.text)) == (200, SECRET.encode())
        assert answer.headers["Cache-Control"] == "no-store"
    late = client.post(DOOR, content=make_code(SECRET, 0))
    assert (late.status_code, SECRET in late.text) == (403, False)
    page = client.get(DOOR).text
    assert "knotwatch ui --link" in page
    assert SECRET not in page
    assert base64.b64encode(SECRET.encode()).decode() not in page


def test_a_code_lasts_as_long_as_it_says() -> None:
    code = make_code(SECRET, NOW).encode()
    assert opens(SECRET, code, NOW + MINUTES * 60 - 1)
    assert not opens(SECRET, code, NOW + MINUTES * 60)


@pytest.mark.parametrize(
    "change",
    [
        lambda code: b"9" + code[1:],  # until later
        lambda code: code[:-1] + (b"0" if code[-1:] != b"0" else b"1"),
        lambda code: code.split(b".")[0],
        lambda code: code + b"\n",
        lambda _: b"",
        lambda _: b"\xff." + b"0" * 64,
        lambda _: make_code("another", NOW).encode(),
    ],
)
def test_no_other_code_opens(change: Callable[[bytes], bytes]) -> None:
    assert not opens(SECRET, change(make_code(SECRET, NOW).encode()), NOW)
