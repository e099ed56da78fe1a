"""A check for drift beside a year of history: `python -m benchmarks.year [--images 10000000]`.

A drawn surface gets a champion; its history is filled as a line would have filled it, one joined file a day; then a new
batch comes and `knotwatch watch --once` looks. The same is timed with that batch alone, in turn.
"""

import os
import shutil
import statistics
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import typer

from benchmarks.fresh_process import peak_mb
from pipelines.core.paths import Project
from pipelines.detector.version import DriftReference
from pipelines.inspection.history import SCHEMA, Observation, write_batch
from tests.conftest import make_project, run_knotwatch, set_training

SURFACE, DAYS, BATCH, TURNS = "drawn", 365, 200, 3


def found_line(folder: Path) -> tuple[Project, DriftReference]:
    """Train a champion on drawn boards; return the project, and what the champion saw when it was calibrated."""
    project = make_project(folder)
    words = ("--layout", "procedural", "--normal", "60", "--defective", "6", "--size", "128x128")
    run_knotwatch(project.root, "data", "add", SURFACE, *words)
    set_training(project.root, SURFACE, algorithms=["padim"], export={"precision": "f32"})
    run_knotwatch(project.root, "retrain", SURFACE, "--profile", "quick")
    kept = next(project.state.glob("mlflow/artifacts/**/calibration.json"))
    return project, DriftReference.model_validate_json(kept.read_bytes())


def fill_year(folder: Path, reference: DriftReference, images: int, now: datetime) -> None:
    """Write a file a day of the year before `now`, each like the calibration split; together about `images` rows."""
    rng, count = np.random.default_rng(0), images // DAYS
    folder.mkdir(parents=True, exist_ok=True)
    for day in range(DAYS, 0, -1):
        began = (now - timedelta(days=day)).replace(hour=0, minute=0, second=0, microsecond=0)
        drawn = rng.integers(0, len(reference.scores), count)
        rows = {
            "time": pa.array([began + timedelta(seconds=86400 * n / count) for n in range(count)]),
            "path": pa.array([f"/line/{began:%Y-%m-%d}/{n:06d}.jpg" for n in range(count)]),
            "version": pa.array(np.ones(count, np.int64)),
            "score": pa.array(np.asarray(reference.scores)[drawn]),
            "anomalous": pa.array(rng.random(count) < 0.01),
            "error": pa.nulls(count, pa.string()),
            **{name: pa.array(np.asarray(values)[drawn]) for name, values in reference.measures.items()},
        }
        path = folder / f"{began:%Y%m%d}-joined-{day:08x}.parquet"
        pq.write_table(pa.table(rows, schema=SCHEMA), path, row_group_size=10_000)
        os.utime(path, (began.timestamp() + 86400,) * 2)


def add_batch(folder: Path, reference: DriftReference, now: datetime) -> None:
    """Write what a line sends in some minutes: images as the champion knows them."""
    numbers = [n % len(reference.scores) for n in range(BATCH)]
    write_batch(
        folder,
        [
            Observation(
                time=now,
                path=f"/line/now/{place}.jpg",
                version=1,
                score=reference.scores[n],
                anomalous=False,
                **{name: values[n] for name, values in reference.measures.items()},
            )
            for place, n in enumerate(numbers)
        ],
    )


def look(root: str) -> None:
    """Run one check in a project; in a process of its own, whose peak memory is measured."""
    os.environ["KNOTWATCH_PROJECT"] = root
    from flows.commands.train import call_watch

    call_watch(SURFACE)


def _look_back(project: Project, year: Path, folder: Path) -> float:
    """Look at all of the year at once; keep what is remembered of it in `folder`, and return the seconds."""
    paths = project.surface(SURFACE)
    shutil.copytree(year, paths.history, copy_function=os.link, dirs_exist_ok=True)
    began = time.monotonic()
    run_knotwatch(project.root, "watch", SURFACE, "--once")
    passed = time.monotonic() - began
    shutil.copy2(paths.watch, folder / "watch.json")
    return passed


def _prepare(project: Project, reference: DriftReference, year: Path | None) -> None:
    """Put the project's history as it is just after a batch came, with a year before it or without."""
    paths = project.surface(SURFACE)
    shutil.rmtree(paths.history, ignore_errors=True)
    paths.watch.unlink(missing_ok=True)
    if year is not None:
        shutil.copytree(year, paths.history, copy_function=os.link)
        shutil.copy2(year.parent / "watch.json", paths.watch)
    add_batch(paths.history, reference, datetime.now(UTC))


def main(images: Annotated[int, typer.Option(min=DAYS, help="Inspected in the year.")] = 10_000_000) -> None:
    """Time one check beside a year of history and without it, in turn, each in a fresh process."""
    with tempfile.TemporaryDirectory() as place:
        project, reference = found_line(Path(place) / "project")
        year = Path(place) / "year"
        fill_year(year, reference, images, datetime.now(UTC))
        size = sum(file.stat().st_size for file in year.iterdir()) / 1e6
        typer.echo(f"{DAYS} files, {images // DAYS * DAYS:,} rows, {size:,.0f} MB")
        typer.echo(f"the whole year, looked at for the first time: {_look_back(project, year, Path(place)):.1f} s")
        seconds: dict[str, list[float]] = {"a year before": [], "that batch alone": []}
        memory: dict[str, float] = {}
        for _ in range(TURNS):
            for name, before in (("a year before", year), ("that batch alone", None)):
                _prepare(project, reference, before)
                began = time.monotonic()
                memory[name] = peak_mb("benchmarks.year:look", str(project.root))
                seconds[name].append(time.monotonic() - began)
        for name, found in seconds.items():
            typer.echo(f"{name}: {statistics.median(found):.1f} s, peak {memory[name]:,.0f} MB")


if __name__ == "__main__":
    typer.run(main)
