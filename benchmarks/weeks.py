"""Six weeks of a factory, day by day, and what `watch` made of each: `python -m benchmarks.weeks`, `make weeks`.

Boards are drawn, PaDiM is trained on 240 of them, and each day a batch of 20 to 200 is inspected and checked once, as
the worker would. One board in twenty has a defect.
"""

import logging
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from flows.commands.inspect import call_inspect
from flows.commands.train import call_watch
from flows.watching.results import WatchResult
from pipelines.core.paths import Project
from pipelines.core.wording import share_in_words
from pipelines.imaging.procedural import WOOD_DEFECTS, draw
from pipelines.inspection.drift import FLAGGED, Drift
from pipelines.inspection.exports import Exports
from tests.conftest import make_project, run_knotwatch, set_training

SURFACE, HEIGHT, WIDTH = "boards", 128, 192
TRAINED, ADDED, LEAST, MOST = 240, 40, 20, 200
USUAL, WAVE, DIM = 0.05, 0.6, 0.75


class Day(NamedTuple):
    """What is new on a day: the light's gain, species, share and types of defects, boards at the source."""

    name: str
    gain: float = 1.0
    look: str = "pine"
    defective: float = USUAL
    types: tuple[str, ...] = tuple(WOOD_DEFECTS.values())
    added: int = 0


QUIET = Day("as ever")
WEEKS = (
    *[QUIET] * 30,
    *[Day("dimmer light", gain=DIM)] * 2,
    QUIET,
    Day("new boards at the source", added=ADDED),
    QUIET,
    *[Day("alder instead of pine", look="alder")] * 2,
    QUIET,
    *[Day("a log full of dead knots", defective=WAVE, types=("dead knot", "missing knot"))] * 3,
    QUIET,
)


def draw_batch(folder: Path, rng: np.random.Generator, count: int, day: Day) -> None:
    """Draw the images of a day; a dim lamp takes its share of every pixel, the sensor's noise stays."""
    folder.mkdir(parents=True)
    for number in range(count):
        shown = [str(rng.choice(day.types))] if rng.random() < day.defective else []
        image = draw("wood", int(rng.integers(2**40)), HEIGHT, WIDTH, shown, look=day.look).image.astype(np.float32)
        if day.gain != 1:
            image = image * day.gain + rng.normal(0, 1.6, image.shape)
        Image.fromarray(np.uint8(np.clip(image + 0.5, 0, 255))).save(folder / f"{number:03d}.png")


def found_factory(root: Path, rng: np.random.Generator) -> Project:
    """Train a champion on drawn normal boards; it is checked for new ones at once, without waiting."""
    project = make_project(root / "project")
    source = root / "camera"
    draw_batch(source / "good", rng, TRAINED, QUIET._replace(defective=0))
    run_knotwatch(project.root, "data", "add", SURFACE, str(source))
    set_training(project.root, SURFACE, algorithms=["padim"], export={"precision": "f32"})
    settings = project.surface(SURFACE).settings
    settings.write_text(settings.read_text().replace("settle_seconds: 60.0", "settle_seconds: 0"))
    run_knotwatch(project.root, "retrain", SURFACE, "--profile", "quick")
    return project


def live_through(root: Path, days: Sequence[Day], rng: np.random.Generator) -> list[tuple[Day, int, WatchResult]]:
    """Inspect and look at each day's batch; return the day, its images and the check."""
    project = found_factory(root, rng)
    os.environ["KNOTWATCH_PROJECT"] = str(project.root)
    logging.disable(logging.INFO)
    lived = []
    for number, day in enumerate(days, 1):
        count = round(float(np.exp(rng.uniform(np.log(LEAST), np.log(MOST)))))
        batch = root / "line" / f"day-{number:02d}"
        draw_batch(batch, rng, count, day)
        if day.added:
            new = root / "new"
            draw_batch(new, rng, day.added, QUIET._replace(defective=0))
            for file in new.iterdir():
                file.rename(root / "camera" / "good" / f"day-{number:02d}-{file.name}")
        call_inspect(SURFACE, [batch], None, None, Exports(), pictures=False)
        lived.append((day, count, call_watch(SURFACE)))
    return lived


def _flagged(check: Drift) -> str:
    return share_in_words(next(figure.now for figure in check.figures if figure.name == FLAGGED))


def print_table(lived: Sequence[tuple[Day, int, WatchResult]]) -> None:
    """Print a row a day as Markdown."""
    print("| day | what is new | images | champion | what `watch` saw and did |\n| --- | --- | --- | --- | --- |")  # noqa: T201 - the answer
    for number, (day, count, result) in enumerate(lived, 1):
        said = [f"{_flagged(check)} flagged; {check.message}" for check in result.drift]
        said += [line for line in result.lines if "drift" not in line and "to look at" not in line]
        print(f"| {number} | {day.name} | {count} | {result.champion} | {'; '.join(said)} |", flush=True)  # noqa: T201 - the answer


def main() -> None:
    with tempfile.TemporaryDirectory() as root:
        print_table(live_through(Path(root), WEEKS, np.random.default_rng(1)))


if __name__ == "__main__":
    main()
