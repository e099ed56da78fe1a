"""The project that commands are ended in, the commands, and what has to be there before each."""

import os
import shutil
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import yaml
from PIL import Image

from pipelines.core.paths import Project
from pipelines.imaging.procedural import draw
from tests.conftest import make_project, run_knotwatch, set_training
from tests.forked import Forked, Forks

SURFACE, SHELF = "drawn", "shelf"
_BUDGET = {"padim": {"features": 20}, "evaluation": {"bootstrap": 20, "synthetic": 1, "pictures": 1}}
# Whatever so few images say: versions must follow each other for `rollback` to have somewhere to go.
_GATE = {
    "margins": {"image_auroc": 0.99, "aupro": 0.99},
    "floors": {"image_auroc": 0, "aupro": 0},
    "max_latency_ratio": 1000,
    "false_alarm_quantile": 0.9999,
}
_QUICK = ("--profile", "quick", "--set", "algorithms=[padim]")
_PATIENCE = 60  # seconds that a command may take to end once it was told


class Command(NamedTuple):
    """A command, and the exit codes that it may have when it is called again after it was ended.

    `weight` says how often it is drawn: what takes longest, seldom.
    """

    words: tuple[str, ...]
    again: tuple[int, ...] = (0,)
    weight: int = 3
    before: Callable[[Project], None] = lambda _: None


def _deliver(project: Project) -> None:
    """Put three new images where the surface's come from."""
    for number in range(3):
        _draw(shelf(project) / "good" / f"new-{number}.png", 100 + number)


def shelf(project: Project) -> Path:
    """Return the user's own folder, beside the project."""
    return project.root.with_name(f"{project.root.name}-shelf")


COMMANDS = {
    # Ended after it was done, it is refused the second time: the surface, the file or the champion is there already.
    "data add": Command(("data", "add", "other", "../{name}-shelf", "--layout", "folder"), (0, 2)),
    "data update": Command(("data", "update", SHELF), before=_deliver),
    "inspect": Command(("inspect", SURFACE, "../{name}-shelf/good", "--out", "out")),
    "inspect --table": Command(("inspect", SURFACE, "../{name}-shelf/good", "--no-pictures", "--table", "out.parquet")),
    "promote": Command(("promote", SURFACE, "--version", "1"), (0, 2)),
    "rollback": Command(("rollback", SURFACE), (0, 2)),
    "watch": Command(("watch", SURFACE, "--once")),
    "backup": Command(("backup", "saved.zip"), (0, 2)),
    "gc": Command(("gc", "--keep", "1")),
    "retrain": Command(("retrain", SURFACE, *_QUICK, "--set", "padim.features=24"), weight=1),
    "adapt": Command(("adapt", SURFACE, SHELF, "--shots", "4", *_QUICK), weight=1),
}


def _draw(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(draw("wood", seed, 128, 128).image).save(path)


def make_base(folder: Path) -> Project:
    """Make a project with two versions, the second in use, and a surface of the user's images beside it."""
    project = make_project(folder)
    for number in range(24):
        _draw(shelf(project) / "good" / f"{number}.png", number)
    for number in range(3):
        path = shelf(project) / "bad" / f"{number}.png"
        _draw(path, 50 + number)
        pixels = np.array(Image.open(path))
        pixels[40:60, 40:60] = 0
        Image.fromarray(pixels).save(path)
    words = ("--layout", "procedural", "--normal", "24", "--defective", "4", "--size", "128x128")
    run_knotwatch(project.root, "data", "add", SURFACE, *words)
    run_knotwatch(project.root, "data", "add", SHELF, str(shelf(project)), "--layout", "folder")
    set_training(project.root, SURFACE, algorithms=["padim"], export={"precision": "f32"}, **_BUDGET)
    set_training(project.root, SHELF, algorithms=["padim"], export={"precision": "f32"}, **_BUDGET)
    for name in (SURFACE, SHELF):
        settings = project.surface(name).settings
        settings.write_text(yaml.safe_dump({**yaml.safe_load(settings.read_text()), "policy": {"gate": _GATE}}))
    run_knotwatch(project.root, "retrain", SURFACE, *_QUICK)
    run_knotwatch(project.root, "retrain", SURFACE, *_QUICK, "--set", "padim.features=22")
    return project


def copy_base(base: Project, folder: Path) -> Project:
    """Copy a project with the folder that its surface comes from, which the copy's settings name."""
    shutil.copytree(base.root, folder, symlinks=True)
    project = Project(folder)
    shutil.copytree(shelf(base), shelf(project))
    settings = project.surface(SHELF).settings
    settings.write_text(settings.read_text().replace(str(shelf(base)), str(shelf(project))))
    return project


_own = threading.local()


def start(project: Project, command: Command, log: Path | None = None) -> Forked:
    """Start a command; what it says goes to a file, for what outlives it would hold a pipe."""
    if not hasattr(_own, "forks"):
        _own.forks = Forks()
    words = tuple(word.format(name=project.root.name) for word in command.words)
    environment = {**os.environ, "KNOTWATCH_PROJECT": str(project.root)}
    with (log or project.root / "said.log").open("ab") as said:
        found: Forked = _own.forks.start(project.root, words, environment, "", said.fileno(), said.fileno())
    return found


def end(process: Forked, how: signal.Signals, after: float) -> bool:
    """Send a signal after some seconds; tell whether the command was still under way."""
    deadline = time.monotonic() + after
    while time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.02)
    if process.poll() is not None:
        return False
    process.send_signal(how)
    process.wait(timeout=_PATIENCE)
    return True
