"""The line's page: it follows the line, names stay text, and a person can call a verdict wrong."""

import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from flows.line.board import Board, Judged
from flows.line.page import make_app, show_page
from flows.line.verdict import Answer
from tests.chromium import Tab, open_chromium
from tests.flows.line.receivers import until, verdict

HOSTILE = "<img src=x onerror=alert(1)>.png"


@pytest.fixture
def board() -> Board:
    return Board("oak")


@pytest.fixture
def address(board: Board, tmp_path: Path) -> Iterator[str]:
    state = lambda: board.state((), None, SimpleNamespace(dropped=0, problem=""))  # type: ignore[arg-type]  # noqa: E731 - no sinks, so nothing is asked
    app = make_app(board, state, tmp_path / "pictures", tmp_path / "wrong", lambda: b"knotwatch_images 3")
    with show_page(app, 0) as found:
        yield found


def add(board: Board, folder: Path, number: int, answer: Answer, name: str = "") -> None:
    file = folder / f"{number}.png"
    file.write_bytes(b"png")
    changes = {"verdict": answer, "image": name or file.name, "reason": "too dark"}
    if answer == Answer.UNINSPECTABLE:
        changes |= {"score": None}
    board.add(Judged(verdict(number).model_copy(update=changes), file, pictured=False))


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    with open_chromium(tmp_path_factory.mktemp("chromium")) as opened:
        yield opened


def wait(tab: Tab, code: str) -> None:
    until(lambda: tab.evaluate(code), code, seconds=30)


def test_the_page_follows_the_line_and_keeps_what_was_wrong(
    board: Board, address: str, tab: Tab, tmp_path: Path
) -> None:
    assert urllib.request.urlopen(f"{address}metrics", timeout=20).read() == b"knotwatch_images 3"
    add(board, tmp_path, 1, Answer.GOOD)
    tab.visit(address)
    wait(tab, "document.getElementById('verdict').className === 'good'")
    add(board, tmp_path, 2, Answer.ANOMALOUS, HOSTILE)
    wait(tab, "document.getElementById('verdict').className === 'anomalous'")
    text = tab.evaluate("document.body.innerText")
    assert HOSTILE in text
    assert "1 (50.0 %)" in text
    assert tab.evaluate("document.querySelectorAll('img[onerror]').length") == 0
    tab.evaluate("document.getElementById('wrong').click()")
    wait(tab, "document.getElementById('said').textContent.startsWith('kept for review')")
    assert [p.name for p in (tmp_path / "wrong").iterdir()] == ["00000002-anomalous.png"]
    tab.evaluate("document.querySelectorAll('#strip button')[1].click()")
    add(board, tmp_path, 3, Answer.UNINSPECTABLE)
    wait(tab, "document.querySelectorAll('#strip button').length === 3")
    assert tab.evaluate("document.getElementById('verdict').className") == "good", "what was chosen stays"
    tab.evaluate("document.getElementById('follow').click()")
    assert "too dark" in tab.evaluate("document.getElementById('verdict').innerText")


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("wrong/1", {}, 403),
        ("wrong/9", {"X-Knotwatch": "line"}, 404),
        ("wrong/1", {"X-Knotwatch": "line", "Host": "evil.example"}, 400),
        ("picture/1", {}, 404),
        # Another page could show the camera's last image, and count what is judged.
        ("picture/1", {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}, 403),
        ("metrics", {"Origin": "http://evil.example"}, 403),
        ("picture/..%2F..%2Fetc%2Fpasswd", {}, 404),
    ],
)
def test_pages_of_others_and_paths_that_lead_out_get_nothing(
    board: Board, address: str, tmp_path: Path, path: str, headers: dict[str, str], status: int
) -> None:
    add(board, tmp_path, 1, Answer.GOOD)
    request = urllib.request.Request(f"{address}{path}", method="POST" if path.startswith("wrong") else "GET")
    for name, value in headers.items():
        request.add_header(name, value)
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=20)
    refused.value.close()
    assert refused.value.code == status
    assert not (tmp_path / "wrong").exists()
