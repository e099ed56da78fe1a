"""Many retrains in a row: what grows, and what `gc` gives back: `python -m benchmarks.growth [--retrains 48]`.

A tiny drawn surface is trained again and again in one process, as whoever calls the flow from a notebook would. Printed
are the memory and open files of that process, the database and the project's folder, without what each version keeps:
as each asks for one feature more, so that it is not what was trained before, what is kept grows faster and faster.
"""

import gc
import os
import tempfile
import time
from pathlib import Path
from typing import Annotated, NamedTuple

import psutil
import typer

from flows.commands.train import call_retrain
from flows.operations.cleaning import clean
from pipelines.core.paths import Project
from tests.conftest import make_project, run_knotwatch, set_training

SURFACE, SETTLED = "drawn", 6  # retrains until caches of libraries are filled


class Size(NamedTuple):
    """Of the process: MB, open files, threads, children. Of the project: MB of its parts."""

    memory: float
    files: int
    threads: int
    children: int
    database: float
    kept: float
    scratch: float
    rest: float


def measure(project: Project) -> Size:
    """Measure this process and a project's folder; `kept` is what versions, data and pages keep on purpose."""
    gc.collect()
    own = psutil.Process()
    every = _megabytes(project.root)
    database = _megabytes(project.state / "mlflow", only="mlflow.db*") + _megabytes(project.state / "prefect")
    kept = sum(
        _megabytes(place)
        for place in (project.state / "mlflow/artifacts", project.surface(SURFACE).reports, project.root / ".dvc/cache")
    )
    scratch = _megabytes(project.state / "scratch")
    rest = every - database - kept - scratch
    memory = own.memory_info().rss / 1e6
    return Size(
        *(memory, own.num_fds(), own.num_threads(), len(own.children(recursive=True))), database, kept, scratch, rest
    )


def _megabytes(folder: Path, only: str = "*") -> float:
    seen: dict[tuple[int, int], int] = {}
    for path in folder.rglob(only):
        if path.is_file() and not path.is_symlink():
            found = path.stat()
            seen[found.st_dev, found.st_ino] = found.st_size
    return sum(seen.values()) / 1e6


def main(retrains: Annotated[int, typer.Option(min=SETTLED + 2, help="How many, one after another.")] = 48) -> None:
    """Retrain again and again, and print what is larger afterwards."""
    with tempfile.TemporaryDirectory() as place:
        project = make_project(Path(place) / "project")
        words = ("--layout", "procedural", "--normal", "24", "--defective", "4", "--size", "128x128")
        run_knotwatch(project.root, "data", "add", SURFACE, *words)
        budget = {"padim": {"features": 20}, "evaluation": {"bootstrap": 20, "synthetic": 1, "pictures": 1}}
        set_training(project.root, SURFACE, algorithms=["padim"], export={"precision": "f32"}, **budget)
        os.environ["KNOTWATCH_PROJECT"] = str(project.root)
        os.chdir(project.root)
        typer.echo("retrain  s  " + "  ".join(Size._fields))
        settled = None
        for number in range(1, retrains + 1):
            began = time.monotonic()
            call_retrain(SURFACE, "quick", [f"padim.features={20 + number}"], None, False)
            size = measure(project)
            if number in (1, SETTLED, retrains) or number % 10 == 0:
                typer.echo(f"{number}  {time.monotonic() - began:.0f}  " + "  ".join(f"{value:.1f}" for value in size))
            settled = size if number == SETTLED else settled
        if settled is not None:
            grown = {
                name: (b - a) / (retrains - SETTLED) for name, a, b in zip(Size._fields, settled, size, strict=True)
            }
            typer.echo("a retrain adds: " + ", ".join(f"{name} {value:+.3f}" for name, value in grown.items()))
        result = clean(project, 5, dry_run=False)
        after = measure(project)
        typer.echo(f"gc --keep 5: {len(result.models)} networks removed; kept {size.kept:.1f} -> {after.kept:.1f} MB")


if __name__ == "__main__":
    typer.run(main)
