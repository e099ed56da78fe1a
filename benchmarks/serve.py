"""The REST server: what it adds to a scan, and how it bears a new champion at 70 % of what it can do.

`python -m benchmarks.serve SURFACE PHOTOGRAPHS` measures the project around the current folder.
"""

import time
from pathlib import Path
from statistics import median
from threading import Timer
from typing import Annotated

import psutil
import typer
from rich.console import Console
from rich.table import Table

from benchmarks.command import run_command
from benchmarks.effort import Effort
from benchmarks.figures import Figure, ratio_figure
from benchmarks.serve_load import Load, encode_bodies, pace, press, serving, summarise
from flows.runtime.champion import Loaded, find_champion, load_version
from pipelines.core.errors import CallError
from pipelines.core.paths import Project, find_project
from pipelines.imaging.decoding import decode_image
from pipelines.inspection.inputs import find_images
from pipelines.tracking.store import Tracking
from tests.conftest import make_project, run_knotwatch, set_training

SUBJECT = "serve"
_SHARE = 0.7  # of the highest rate
_PRESSING = 4


def measure(effort: Effort, folder: Path) -> list[Figure]:
    """Time a request against the same image's decoding and scan in this process, on drawn boards."""
    project = draw_project(folder / "project")
    files = sorted((project.surface("drawn").source / "images").iterdir())
    tracking = Tracking(project)
    champion = load_version(tracking, find_champion(project, tracking, "drawn"))
    ours, reference = [], []
    with serving(project.root, "drawn") as port:
        press(port, encode_bodies(files), 1, 3.0)
        for _ in range(effort.resamples):
            reference.append(median(_scan_times(champion, files)))
            ours.append(summarise("", press(port, encode_bodies(files), 1, 3.0), 3.0).p50)
    note = "one client, boards of 192 x 128"
    return [ratio_figure(SUBJECT, "decoding and scan alone", "ms", ours=ours, reference=reference, note=note)]


def draw_project(root: Path) -> Project:
    """Draw a small surface in a new project and train it quickly."""
    project = make_project(root)
    words = ("--layout", "procedural", "--normal", "40", "--defective", "8", "--size", "192x128")
    run_knotwatch(root, "data", "add", "drawn", *words)
    set_training(root, "drawn", algorithms=["padim"], export={"precision": "f32"})
    run_knotwatch(root, "retrain", "drawn", "--profile", "quick")
    return project


def _scan_times(champion: Loaded, files: list[Path]) -> list[float]:
    times = []
    for file in files:
        started = time.perf_counter()
        champion.detector.scan(decode_image(file, champion.detector.info.max_megapixels).image)
        times.append((time.perf_counter() - started) * 1000)
    return times


def measure_surface(project: Project, surface: str, paths: list[Path], seconds: float) -> list[Load]:
    """Load a surface's server: one client, four, and 70 % of the higher rate while another version becomes champion.

    The champion is the one it was afterwards.
    """
    bodies = encode_bodies([Path(image.file) for image in find_images(paths)])
    tracking = Tracking(project)
    first = find_champion(project, tracking, surface).version
    others = [version.version for version in tracking.versions(surface) if version.version != first]
    if not others:
        raise CallError(f"'{surface}' has one version alone", hint=f"knotwatch retrain {surface} --force")

    with serving(project.root, surface) as port:
        press(port, bodies, 1, 3.0)
        alone = summarise("one client", press(port, bodies, 1, seconds), seconds)
        most = summarise(f"{_PRESSING} clients", press(port, bodies, _PRESSING, seconds), seconds)
        rate = _SHARE * max(alone.throughput, most.throughput)
        change = Timer(seconds, tracking.set_alias, (surface, "champion", others[0]))
        change.start()
        try:
            answers = pace(port, bodies, rate, 2 * seconds)
        finally:
            change.join()
            tracking.set_alias(surface, "champion", first)
    return [alone, most, summarise(f"{_SHARE:.0%} of the higher rate, champion changed", answers, 2 * seconds)]


def show(
    surface: Annotated[str, typer.Argument(help="A surface with a champion and another version.")],
    paths: Annotated[list[Path], typer.Argument(help="Images to send, or folders of them.")],
    seconds: Annotated[float, typer.Option(min=5, help="How long each load lasts; the last one twice as long.")] = 20.0,
) -> None:
    """Print latency and throughput of a surface's server as a table."""
    before = psutil.getloadavg()[0]
    loads = measure_surface(find_project(), surface, paths, seconds)
    table = Table("load", "requests", "failed", "a second", "p50", "p95", "longest", "answers of each version")
    for load in loads:
        milliseconds = (f"{value:.0f} ms" for value in (load.p50, load.p95, load.longest))
        answers = ", ".join(f"{number}: {count}" for number, count in load.versions.items())
        rates = (str(load.requests), str(load.failed), f"{load.throughput:.1f}")
        table.add_row(load.name, *rates, *milliseconds, answers)
    console = Console(width=150)
    console.print(table)
    console.print(f"{psutil.cpu_count()} processors; load average before: {before:.1f}")


if __name__ == "__main__":
    run_command(show)
