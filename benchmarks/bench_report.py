"""A run's figures as a table for people and as JSON for machines."""

import os
import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from rich.table import Table

from benchmarks.figures import Figure
from pipelines.core.files import write_whole
from pipelines.core.records import Record

_LIBRARIES = ("anomalib", "torch", "openvino", "timm", "numpy")


class Bench(Record):
    """A run: its figures, and what they were measured on and with."""

    figures: tuple[Figure, ...]
    processors: int
    machine: str
    python: str
    libraries: dict[str, str]
    seconds: float


def collect(figures: Sequence[Figure], seconds: float) -> Bench:
    """Put figures beside a description of this machine."""
    return Bench(
        figures=tuple(figures),
        processors=len(os.sched_getaffinity(0)),
        machine=platform.machine(),
        python=platform.python_version(),
        libraries={name: version(name) for name in _LIBRARIES},
        seconds=round(seconds, 1),
    )


def write_json(bench: Bench, path: Path) -> None:
    """Write a run's figures whole or not at all."""
    write_whole(path, bench.model_dump_json(indent=2) + "\n")


def make_table(bench: Bench) -> Table:
    """Lay figures out, one a row; below 1 ours is better."""
    table = Table(title="ours / reference: below 1 ours is better", caption=_caption(bench), caption_justify="left")
    table.add_column("subject")
    table.add_column("reference")
    for heading in ("ours", "theirs", "ratio", "low to high", "rounds"):
        table.add_column(heading, justify="right")
    for figure in bench.figures:
        table.add_row(
            figure.subject,
            figure.against,
            _quantity(figure.ours, figure.unit),
            _quantity(figure.reference, figure.unit),
            _ratio(figure.ratio),
            f"{_ratio(figure.low)} to {_ratio(figure.high)}",
            str(figure.resamples),
        )
    return table


def _quantity(value: float, unit: str) -> str:
    """Write a value with three figures or all before the point.

    >>> _quantity(1234.4, "MB"), _quantity(0.0567, "s")
    ('1234 MB', '0.0567 s')
    """
    return f"{value:.0f} {unit}" if abs(value) >= 100 else f"{value:.3g} {unit}"


def _ratio(value: float) -> str:
    """Write a ratio; a growth of nearly nothing may come out below zero.

    >>> _ratio(0.654), _ratio(-0.003)
    ('0.65', '0.00')
    """
    return f"{round(value, 2) + 0.0:.2f}"


def _caption(bench: Bench) -> str:
    notes = dict.fromkeys(f"{figure.subject}: {figure.note}" for figure in bench.figures if figure.note)
    libraries = ", ".join(f"{name} {found}" for name, found in bench.libraries.items())
    machine = f"{bench.processors} processors ({bench.machine}), Python {bench.python}, {libraries}"
    return "\n".join([*notes, f"{machine}; {bench.seconds:.0f} s in all"])
