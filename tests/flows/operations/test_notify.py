"""Who is told of what, with blocks that take what they are sent, or do not."""

import logging
from types import SimpleNamespace
from typing import Any

import pytest

from flows.operations import notify as notify_file
from flows.operations.notify import list_files, notify, tell_failure
from pipelines.core.errors import GateError, ToolError
from pipelines.core.paths import Project
from pipelines.core.records import Layout
from pipelines.core.surface_settings import SourceSettings, SurfaceSettings, write_surface

Sent = list[tuple[str, str, str]]


@pytest.fixture
def sent(project: Project, monkeypatch: pytest.MonkeyPatch) -> Sent:
    """What the blocks took; the surface `oak` names one that is gone and one that works."""
    policy = {"watch": {"notify": ["custom-webhook/gone", "custom-webhook/factory"]}}
    source = SourceSettings(layout=Layout.FOLDER, path="/nowhere")
    write_surface(project, "oak", SurfaceSettings.model_validate({"source": source, "policy": policy}))
    took: Sent = []

    def send(block: str, subject: str, body: str) -> None:
        if block.endswith("gone"):
            raise ToolError(f"no block {block}", hint="make it")
        took.append((block, subject, body))

    monkeypatch.setattr(notify_file, "send", send)
    monkeypatch.setattr(notify_file, "ensure_server", lambda _: None)
    return took


def test_a_block_that_fails_stops_no_other(project: Project, sent: Sent, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert notify(project, "oak", "drift", "light") == ("custom-webhook/factory",)
    assert sent == [("custom-webhook/factory", "knotwatch, oak: drift", "light")]
    assert [record for record in caplog.records if "custom-webhook/gone" in record.getMessage()]


@pytest.mark.parametrize(
    ("problem", "words"), [(GateError("37 % are quarantined", hint="x"), "refused"), (ValueError("no tile"), "failed")]
)
@pytest.mark.parametrize("key", ["surface", "target"])
@pytest.mark.usefixtures("project")
def test_a_failure_is_told_for_the_surface_it_befell(sent: Sent, key: str, problem: Exception, words: str) -> None:
    tell_failure(*failed({key: "oak"}, problem))
    ((_, subject, body),) = sent
    assert subject.startswith("knotwatch, oak: ")
    assert words in subject
    assert str(problem) in body


@pytest.mark.usefixtures("project")
def test_telling_a_failure_never_fails(sent: Sent, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        tell_failure(*failed({"surface": "none-such"}, ValueError("x")))
        tell_failure(*failed({}, ValueError("x")))
    assert sent == []
    assert len(caplog.records) == 2


def failed(parameters: dict[str, str], problem: Exception) -> tuple[Any, Any, Any]:
    state = SimpleNamespace(result=lambda **_: problem, message="state")
    return SimpleNamespace(name="retrain"), SimpleNamespace(parameters=parameters), state


def test_a_long_list_of_files_is_cut_and_counted() -> None:
    files = [SimpleNamespace(path=f"{n}.png", reason="blank") for n in range(25)]
    lines = list_files(files, most=3).splitlines()
    assert lines[:3] == ["0.png: blank", "1.png: blank", "2.png: blank"]
    assert len(lines) == 4
    assert "22" in lines[3]
