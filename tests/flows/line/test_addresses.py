"""Addresses of sources and sinks: what is taken, and what is refused before anything starts."""

from pathlib import Path

import pytest

from flows.line.addresses import CAMERA_PASSWORD, CAMERA_USER, PASSWORD, read_sink, read_source, secret
from pipelines.core.errors import CallError


def test_addresses_are_read(tmp_path: Path) -> None:
    assert read_source(f"folder:{tmp_path}").opened == str(tmp_path)
    assert read_source("camera:0").opened == "0"
    mqtt = read_sink("mqtt://127.0.0.1/line1/boards")
    assert (mqtt.kind, mqtt.host, mqtt.port, mqtt.path) == ("mqtt", "127.0.0.1", 1883, "line1/boards")
    assert read_sink("mqtts://broker:8900/a").port == 8900
    assert read_sink("https://plant.example/hook").path == "https://plant.example/hook"
    assert read_sink("folder:out").path == str(Path("out").absolute())


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("exec:rm -rf /", "runs no commands"),
        ("mqtt://user:secret@broker/a", "processes and logs would show"),
        ("mqtt://broker", "names no topic"),
        ("mqtt://broker/a/#", "names no topic"),
        ("http://plant.example/hook", "unprotected"),
        ("ftp://x/y", "no sink that is known"),
        ("folder:", "no sink that is known"),
        ("mqtt://broker:99999/a", "no address"),
    ],
)
def test_what_no_verdict_may_go_to_is_refused_and_no_secret_is_said_again(text: str, why: str) -> None:
    with pytest.raises(CallError, match=why) as refused:
        read_sink(text)
    assert "secret" not in str(refused.value)


def test_secrets_come_from_the_environment_or_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PASSWORD, "plain")
    assert secret(PASSWORD) == "plain"
    (tmp_path / "kept").write_text("filed\n")
    monkeypatch.setenv(f"{PASSWORD}_FILE", str(tmp_path / "kept"))
    assert secret(PASSWORD) == "filed"
    monkeypatch.setenv(f"{PASSWORD}_FILE", str(tmp_path / "gone"))
    with pytest.raises(CallError, match="cannot be read"):
        secret(PASSWORD)


@pytest.mark.parametrize(
    "text", ["folder:/nowhere/at/all", "video:/nowhere.mp4", "camera:front", "folder:", "rtsp:///x", "ftp://x/y"]
)
def test_a_source_that_is_not_there_is_refused(text: str) -> None:
    with pytest.raises(CallError):
        read_source(text)


def test_a_camera_s_password_comes_from_the_environment_and_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CallError, match="processes and logs would show") as refused:
        read_source("rtsp://root:hidden@10.0.0.9/stream")
    assert "hidden" not in str(refused.value)
    monkeypatch.setenv(CAMERA_USER, "root")
    monkeypatch.setenv(CAMERA_PASSWORD, "p@ss:word")
    found = read_source("rtsp://10.0.0.9:554/stream?channel=1")
    assert found.opened == "rtsp://root:p%40ss%3Aword@10.0.0.9:554/stream?channel=1"
    assert "word" not in repr(found)
