"""`knotwatch serve` under many clients for minutes: what it answers, and what of it grows.

`python -m benchmarks.serve_endurance [--clients 8] [--minutes 5]` draws a surface, trains it and serves it.
"""

import tempfile
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import psutil
import typer

from benchmarks.serve import draw_project
from benchmarks.serve_load import Answer, encode_bodies, press, serving

_WARM = 15.0  # seconds of the same load until caches of libraries are filled


class Size(NamedTuple):
    """Of the server's process: resident memory in MB, open files, threads, connections."""

    memory: float
    files: int
    threads: int
    connections: int


def measure() -> Size:
    """Measure the server that this process has started."""
    (server,) = (child for child in psutil.Process().children() if "serve" in child.cmdline())
    with server.oneshot():
        memory = server.memory_info().rss / 1e6
        return Size(memory, server.num_fds(), server.num_threads(), len(server.net_connections("inet")))


def main(
    clients: Annotated[int, typer.Option(min=1, help="How many, each with its next request at once.")] = 8,
    minutes: Annotated[float, typer.Option(min=0.1)] = 5.0,
) -> None:
    """Press a server for minutes, and print answers, latencies, and its size before and after."""
    with tempfile.TemporaryDirectory() as place:
        project = draw_project(Path(place) / "project")
        bodies = encode_bodies(sorted((project.surface("drawn").source / "images").iterdir()))
        with serving(project.root, "drawn") as port:
            press(port, bodies, clients, _WARM)
            before = measure()
            answers = press(port, bodies, clients, 60 * minutes)
            after = measure()
    _print_answers(answers, 60 * minutes)
    typer.echo("  ".join(Size._fields))
    for size in (before, after):
        typer.echo("  ".join(f"{value:.1f}" for value in size))


def _print_answers(answers: list[Answer], seconds: float) -> None:
    statuses = sorted({answer.status for answer in answers})
    told = ", ".join(f"{status}: {sum(answer.status == status for answer in answers)}" for status in statuses)
    typer.echo(f"{len(answers)} requests, {len(answers) / seconds:.1f} a second; by status: {told}")
    good = [answer for answer in answers if answer.status == 200]
    milliseconds = [answer.seconds * 1000 for answer in good] or [float("nan")]
    p50, p95, p99, most = np.percentile(milliseconds, [50, 95, 99, 100])
    typer.echo(f"p50 {p50:.0f} ms, p95 {p95:.0f}, p99 {p99:.0f}, longest {most:.0f}")


if __name__ == "__main__":
    typer.run(main)
