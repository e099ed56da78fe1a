"""`watch` end to end: drift is told and sampled for review, new images are trained on once, failures reach people."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import yaml
from PIL import Image

from flows.runtime.locks import surface_lock
from pipelines.core.paths import Project
from pipelines.imaging.procedural import draw
from pipelines.tracking.store import Tracking
from tests.conftest import make_project, run_knotwatch, set_training
from tests.flows.projects import copy_project, lean_on
from tests.flows.web_hook import Receiver, make_block, web_hook

pytestmark = pytest.mark.slow

HEIGHT, WIDTH = 96, 128
BLOCK = "custom-webhook/watch-factory"


@pytest.fixture(scope="module")
def hook() -> Iterator[Receiver]:
    with web_hook() as server:
        yield server


@pytest.fixture
def receiver(hook: Receiver) -> Receiver:
    """The web hook, which was told nothing yet."""
    hook.told.clear()
    return hook


class Watched(NamedTuple):
    """A project with a trained surface whose images lie in a folder of the user's."""

    project: Project
    source: Path

    def watch(self, *words: str, expect: int = 0) -> Any:
        return run_knotwatch(self.project.root, "watch", "boards", "--once", "--json", *words, expect=expect).json

    def policy(self, **settings: object) -> None:
        self.change(lambda values: values["policy"]["watch"].update(settings))

    def change(self, change: Callable[[Any], object]) -> None:
        """Change the surface's YAML."""
        path = self.project.surface("boards").settings
        values = yaml.safe_load(path.read_text())
        change(values)
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
def watched_once(prefect: str, hook: Receiver, tmp_path_factory: pytest.TempPathFactory) -> Watched:
    """A trained surface, in one folder with its camera's images. Tests change copies of it only."""
    base = tmp_path_factory.mktemp("watch")
    found = Watched(lean_on(make_project(base / "project"), prefect), base / "camera")
    root = found.project.root
    draw_boards(found.source / "good", 0, 60)
    run_knotwatch(root, "data", "add", "boards", str(found.source))
    set_training(root, "boards", algorithms=["padim"], export={"precision": "f32"})
    make_block(root, "watch-factory", hook.url)
    make_block(root, "watch-silent", "http://127.0.0.1:9/nobody")
    found.policy(profile="quick", settle_seconds=0, notify=["custom-webhook/watch-silent", BLOCK])
    run_knotwatch(root, "retrain", "boards", "--profile", "quick")
    return found


@pytest.fixture
def watched(watched_once: Watched, tmp_path: Path) -> Watched:
    source = shutil.copytree(watched_once.source, tmp_path / "camera")
    copy = Watched(copy_project(watched_once.project, tmp_path / "project"), source)
    copy.change(lambda values: values["source"].update(path=str(source)))
    return copy


def test_drift_is_told_once_and_trained_on_together_with_new_images(watched: Watched, receiver: Receiver) -> None:
    look_at_dim_light(watched, receiver)
    look_twice_at_new_images(watched, receiver)


def look_at_dim_light(watched: Watched, receiver: Receiver) -> None:
    """Drift is told once, sampled for review, and trained on by nobody: there is no new image."""
    watched.policy(retrain_on_new_data=False, retrain_on_drift=True)
    camera = watched.source.parent / "line"
    for name, first, gain in (("monday", 1000, 1.0), ("tuesday", 2000, 0.7)):
        draw_boards(camera / name, first, 20, gain)
        run_knotwatch(watched.project.root, "inspect", "boards", str(camera / name), "--no-pictures")
    found = watched.watch()
    assert found["source"] == {"new": 0, "changed": 0, "waiting": 0, "problem": None, "warnings": []}
    assert [look["kind"] for look in found["drift"]] == [None, "lighting"]
    assert found["retrained"] is None
    assert "nothing to retrain on" in found["notes"][-1]
    look_while_it_is_held(watched)
    (folder,) = found["review"]
    files = {path.name for path in (watched.project.root / folder).iterdir()}
    assert len(files) == 21
    assert "photographs.csv" in files
    (told,) = [message for message in receiver.told if "drift" in message["title"]]
    assert told["title"] == "knotwatch, boards: lighting drift"
    assert "brightness" in told["text"]
    assert folder in told["text"]


def look_while_it_is_held(watched: Watched) -> None:
    """What waits for another command is said once, and printed once."""
    root = watched.project.root
    with surface_lock(watched.project, "boards", "retrain"):
        said = run_knotwatch(root, "watch", "boards", "--once")
    (line,) = said.out.splitlines()
    assert "`retrain boards`" in line
    assert "wait for the next check" in line
    assert "wait for the next check" not in said.err


def look_twice_at_new_images(watched: Watched, receiver: Receiver) -> None:
    """Drift and new images are one retrain, also by two looks at once."""
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
    first = tracking.client.get_model_version("boards", "1")
    tags = {name: value for name, value in first.tags.items() if not name.startswith("decision")}
    made = tracking.client.create_model_version("boards", first.source, first.run_id, tags=tags)
    # Slower than is allowed, and than a line may wait for.
    watched.change(lambda values: values["policy"]["gate"].update(max_latency_ratio=0.01))
    watched.change(lambda values: values["policy"].update(latency_ms=0.001))
    tracking.set_alias("boards", "challenger", int(made.version))
    (decided,) = watched.watch()["requests"]
    assert f"version {made.version}" in decided
    assert "refused" in decided
    assert receiver.subjects()[-1] == f"knotwatch, boards: version {made.version} was refused"
    assert receiver.told[-1]["text"] == decided


def test_a_failed_retrain_is_told(watched: Watched, receiver: Receiver) -> None:
    root = watched.project.root
    failed = run_knotwatch(root, "retrain", "boards", "--trial", "x", "--set", "padim.backbone=none-such", expect=1)
    assert "none-such" in failed.err
    assert receiver.subjects()[-1] == "knotwatch, boards: retrain failed"
    assert "none-such" in receiver.told[-1]["text"]
