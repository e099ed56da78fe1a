"""Measure knotwatch against plain anomalib, as ratios: `python -m benchmarks`."""

import sys
import tempfile
import time
from collections.abc import Callable
from enum import StrEnum
from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from benchmarks.bench_report import collect, make_table, write_json
from benchmarks.command import run_command
from benchmarks.effort import Effort, choose_effort
from benchmarks.figures import Figure
from pipelines.core.paths import find_project


class Subject(StrEnum):
    """What can be measured; each has the file of its name."""

    PADIM_FIT = "padim-fit"
    PADIM_FIT_MEMORY = "padim-fit-memory"
    PADIM_INFERENCE = "padim-inference"
    FASTFLOW_INFERENCE = "fastflow-inference"
    FASTFLOW_STEP = "fastflow-step"
    EFFICIENTAD_INFERENCE = "efficientad-inference"
    EFFICIENTAD_STEP = "efficientad-step"
    ANOMALYDINO_BANK = "anomalydino-bank"
    INSPECT_LARGE = "inspect-large"
    INSPECT_REPORT = "inspect-report"
    SERVE = "serve"


def bench(
    only: Annotated[list[Subject] | None, typer.Option(help="Measure this subject alone; may be repeated.")] = None,
    resamples: Annotated[int, typer.Option(min=5, help="Rounds of every timing; medians are reported.")] = 5,
    full: Annotated[bool, typer.Option("--full", help="More tiles: takes about a quarter of an hour.")] = False,
    out: Annotated[Path | None, typer.Option(help="Where the JSON goes; by default .knotwatch/bench.json.")] = None,
) -> None:
    """Measure against plain anomalib: a table here, JSON in a file.

    Example: python -m benchmarks --only padim-inference --rounds 9
    """
    started = time.monotonic()
    progress = Console(stderr=True)
    effort = choose_effort(resamples, full)
    figures: list[Figure] = []
    path = out or find_project().state / "bench.json"
    # All are imported before minutes are spent on the first.
    chosen = {subject: _find_measure(subject) for subject in only or Subject}
    for subject, measure in chosen.items():
        progress.print(f"measuring {subject.value} ...")
        with tempfile.TemporaryDirectory() as folder:
            figures += measure(effort, Path(folder))
    found = collect(figures, time.monotonic() - started)
    write_json(found, path)
    # A pipe or a log has no width: the table must not be cut to 80 columns there.
    Console(width=None if sys.stdout.isatty() else 150).print(make_table(found))
    progress.print(f"written to {path}")


def _find_measure(subject: Subject) -> Callable[[Effort, Path], list[Figure]]:
    module = import_module(f"benchmarks.{subject.value.replace('-', '_')}")
    measure: Callable[[Effort, Path], list[Figure]] = module.measure
    return measure


if __name__ == "__main__":
    run_command(bench)
