"""`watch` end to end: drift is told and sampled for review, new images are trained on once, failures reach people."""

import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import yaml
from PIL import Image

from pipelines.core.paths import Project
from pipelines.imaging.procedural import draw
from pipelines.tracking.store import Tracking
from tests.conftest import make_project, run_knotwatch, set_training
from tests.flows.web_hook import Receiver, make_block, web_hook

pytestmark = pytest.mark.slow

HEIGHT, WIDTH = 96, 128
BLOCK = "custom-webhook/factory"


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with web_hook() as server:
        yield server


class Watched(NamedTuple):
    """A project with a trained surface whose images lie in a folder of the user's."""

    project: Project
    source: Path

    def watch(self, *words: str, expect: int = 0) -> Any:
        return run_knotwatch(self.project.root, "watch", "boards", "--once", "--json", *words, expect=expect).json

    def policy(self, **settings: object) -> None:
        path = self.project.surface("boards").settings
        values = yaml.safe_load(path.read_text())
        values["policy"]["watch"].update(settings)
        path.write_text(yaml.safe_dump(values))


def draw_boards(folder: Path, first: int, count: int, gain: float = 1.0) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for seed in range(first, first + count):
        image = draw("wood", seed, HEIGHT, WIDTH).image
        Image.fromarray(np.uint8(image * gain)).save(folder / f"{seed}.png")


def try_knotwatch(root: Path, *words: str) -> Any:
    """Run the command and return its object, also where it was refused."""
    command = [sys.executable, "-c", "from flows.cli import main; main()", *words]
    return json.loads(subprocess.run(command, cwd=root, capture_output=True, text=True, check=False).stdout)


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory, receiver: Receiver) -> Watched:
    base = tmp_path_factory.mktemp("watch")
    project = make_project(base / "project")
    source = base / "camera"
    draw_boards(source / "good", 0, 60)
    run_knotwatch(project.root, "data", "add", "boards", str(source))
    set_training(project.root, "boards", algorithms=["padim"], export={"precision": "f32"})
    found = Watched(project, source)
    make_block(project.root, "factory", receiver.url)
    make_block(project.root, "silent", "http://127.0.0.1:9/nobody")
    found.policy(profile="quick", settle_seconds=0, notify=["custom-webhook/silent", BLOCK])
    run_knotwatch(project.root, "retrain", "boards", "--profile", "quick")
    return found


def test_dim_light_is_told_once_sampled_for_review_and_trained_on_by_nobody(
    watched: Watched, receiver: Receiver
) -> None:
    watched.policy(retrain_on_new_data=False, retrain_on_drift=True)
    camera = watched.source.parent / "line"
    for name, first, gain in (("monday", 1000, 1.0), ("tuesday", 2000, 0.7)):
        draw_boards(camera / name, first, 20, gain)
        run_knotwatch(watched.project.root, "inspect", "boards", str(camera / name), "--no-pictures")
    found = watched.watch()
    assert found["source"] == {"new": 0, "changed": 0, "waiting": 0, "problem": None}
    assert [look["kind"] for look in found["drift"]] == [None, "lighting"]
    assert found["retrained"] is None
    assert "nothing to retrain on" in found["notes"][-1]
    (folder,) = found["review"]
    files = {path.name for path in (watched.project.root / folder).iterdir()}
    assert len(files) == 21
    assert "photographs.csv" in files
    (told,) = [message for message in receiver.told if "drift" in message["title"]]
    assert told["title"] == "knotwatch, boards: lighting drift"
    assert "brightness" in told["text"]
    assert folder in told["text"]


def test_drift_and_new_images_are_one_retrain_also_by_two_looks_at_once(watched: Watched, receiver: Receiver) -> None:
    draw_boards(watched.source / "good", 100, 8)
    (watched.source / "good" / "broken.png").write_bytes(b"no picture")
    command = ("watch", "boards", "--once", "--json")
    with ThreadPoolExecutor(2) as pool:
        checks = list(pool.map(lambda _: try_knotwatch(watched.project.root, *command), range(2)))
    retrained = [found["retrained"] for found in checks if found.get("retrained")]
    assert [(r["reason"], r["problem"]) for r in retrained] == [("lighting drift", None)]
    refused = [found["error"] for found in checks if "error" in found]
    assert all("`watch boards`" in error for error in refused)
    assert len(Tracking(watched.project).versions("boards")) == 2
    (told,) = [message for message in receiver.told if "quarantine" in message["title"]]
    assert "broken.png" in told["text"]


def test_an_alias_set_by_hand_is_decided_and_a_refusal_is_told(watched: Watched, receiver: Receiver) -> None:
    tracking = Tracking(watched.project)
    champion = tracking.champion("boards")
    assert champion is not None
    other = 3 - champion.version
    path = watched.project.surface("boards").settings
    values = yaml.safe_load(path.read_text())
    values["policy"]["gate"]["max_latency_ratio"] = 0.01
    path.write_text(yaml.safe_dump(values))
    tracking.set_alias("boards", "challenger", other)
    (decided,) = watched.watch()["requests"]
    assert f"version {other}" in decided
    assert "refused" in decided
    assert receiver.subjects()[-1] == f"knotwatch, boards: version {other} was refused"
    assert receiver.told[-1]["text"] == decided


def test_a_failed_retrain_is_told(watched: Watched, receiver: Receiver) -> None:
    root = watched.project.root
    failed = run_knotwatch(root, "retrain", "boards", "--trial", "x", "--set", "padim.backbone=none-such", expect=1)
    assert "none-such" in failed.err
    assert receiver.subjects()[-1] == "knotwatch, boards: retrain failed"
    assert "none-such" in receiver.told[-1]["text"]
