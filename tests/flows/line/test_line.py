"""The command: killed in the middle and started again, each image has one verdict, and every sink has each once."""

import json
import shutil
import signal
from collections import Counter
from pathlib import Path

import pytest

from pipelines.core.paths import Project
from pipelines.core.records import Layout
from pipelines.core.surface_settings import LineSettings, SourceSettings, SurfaceSettings, write_surface
from tests.conftest import call_knotwatch, run_knotwatch, start_knotwatch
from tests.flows.line.receivers import HttpReceiver
from tests.flows.processes import until
from tests.flows.projects import SURFACE

DRIVER = "from flows.cli import main; main()"


def test_addresses_may_stand_in_the_surface_s_yaml(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(project.root)
    settings = SurfaceSettings(
        source=SourceSettings(layout=Layout.FOLDER, path="/nowhere"), line=LineSettings(source="folder:/no/camera")
    )
    write_surface(project, "oak", settings)
    assert "a line needs a source and a sink" in call_knotwatch(capsys, "line", "oak", expect=2).err
    said = call_knotwatch(capsys, "line", "oak", "--sink", "mqtt://127.0.0.1/a", "--once", expect=2)
    assert "/no/camera is not a folder" in said.err
    words = ("line", "oak", "--source", "folder:/other", "--sink", "mqtt://127.0.0.1/a", "--once")
    assert "/other is not a folder" in call_knotwatch(capsys, *words, expect=2).err


@pytest.mark.services
@pytest.mark.slow
def test_a_line_that_is_killed_goes_on_and_loses_and_doubles_nothing(
    in_use: Project, boards: Path, tmp_path: Path
) -> None:
    camera, out, receiver = tmp_path / "camera", tmp_path / "out", HttpReceiver()
    camera.mkdir()
    words = ("line", SURFACE, "--source", f"folder:{camera}", "--settle", "0.1")
    sinks = ("--sink", f"http://127.0.0.1:{receiver.port}/", "--sink", f"folder:{out}")
    process = start_knotwatch(in_use.root, *words, *sinks, driver=DRIVER)
    sources = sorted(boards.glob("*.png"))
    for number, file in enumerate(sources[:40]):
        shutil.copy(file, camera / f".{number:02d}.png")
        (camera / f".{number:02d}.png").rename(camera / f"{number:02d}.png")
    until(lambda: len(receiver.got) >= 10, "ten verdicts", process)
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=20)
    for number, file in enumerate(sources[40:50], 40):
        shutil.copy(file, camera / f"{number:02d}.png")
    (camera / "torn.png").write_bytes(sources[0].read_bytes()[:200])
    again = run_knotwatch(in_use.root, *words, *sinks, "--once", "--json")
    receiver.close()
    bodies = [json.loads(body) for _, body in receiver.got]
    names = {body["id"]: body["image"] for body in bodies}
    assert Counter(names.values()) == Counter([f"{n:02d}.png" for n in range(50)] + ["torn.png"])
    # What was under way at the kill may come twice, by the same id; nothing else does.
    assert len(bodies) <= len(names) + 1
    assert sorted(names) == sorted(json.loads(file.read_text())["id"] for file in out.glob("*.json"))
    assert [body["number"] for body in bodies] == sorted(body["number"] for body in bodies)
    (torn,) = (body for body in bodies if body["image"] == "torn.png")
    assert torn["verdict"] == "uninspectable"
    assert sum(value for key, value in again.json.items() if key != "surface") >= 11
    assert [p.name for p in camera.iterdir()] == ["done"]
    assert {body["model"] for body in bodies} == {body["model"] for body in bodies if body["version"] == 1}
