"""`python -m tests.faults --kills 100 --seed 1`: end commands at random moments, check, run them again, check.

A seed and a number say what is ended how and when, as a share of the command's own time: `--only 17` repeats one.
"""

import json
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Annotated, NamedTuple

import psutil
import typer

from pipelines.core.paths import Project
from tests.faults.invariants import find_faults, find_left_running, fingerprint
from tests.faults.project import COMMANDS, Command, copy_base, end, make_base, shelf, start

_SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
_GRACE = 15.0  # seconds after which nothing may be left running, once the command was run again


class Case(NamedTuple):
    """What is ended, how, and after which share of its time."""

    number: int
    command: str
    how: signal.Signals
    share: float


def draw_cases(seed: int, kills: int) -> list[Case]:
    """Draw cases; each follows from the seed and its own number alone."""
    names = [name for name, command in COMMANDS.items() for _ in range(command.weight)]
    found = []
    for number in range(kills):
        drawn = random.Random(f"{seed}/{number}")  # noqa: S311 - a test's
        found.append(Case(number, drawn.choice(names), drawn.choice(_SIGNALS), drawn.random()))
    return found


def run_case(case: Case, base: Project, folder: Path, seconds: dict[str, float]) -> list[str]:
    """End a command, check, run it again, check; return what does not hold."""
    command = COMMANDS[case.command]
    project = copy_base(base, folder / f"case-{case.number}")
    try:
        command.before(project)
        sources = fingerprint(shelf(project))
        if case.command not in seconds:
            seconds[case.command] = _measure(base, folder, command)
        hit = end(start(project, command), case.how, case.share * seconds[case.command])
        faults = [f"after it was ended: {fault}" for fault in find_faults(project, sources)]
        code = start(project, command).wait(timeout=1200)
        if code not in command.again:
            said = (project.root / "said.log").read_text(errors="replace")[-1500:]
            faults.append(f"run again it ends with {code}: {said}")
        faults += [f"after it was run again: {fault}" for fault in find_faults(project, sources)]
        return [*faults, *_left(project), *([] if hit else [""])]
    finally:
        for process in _processes(project):
            process.kill()
        shutil.rmtree(project.root, ignore_errors=True)
        shutil.rmtree(shelf(project), ignore_errors=True)


def _measure(base: Project, folder: Path, command: Command) -> float:
    project = copy_base(base, folder / "measured")
    command.before(project)
    started = time.monotonic()
    start(project, command).wait(timeout=1200)
    passed = time.monotonic() - started
    shutil.rmtree(project.root)
    shutil.rmtree(shelf(project))
    return passed


def _left(project: Project) -> list[str]:
    deadline = time.monotonic() + _GRACE
    while (found := find_left_running(project)) and time.monotonic() < deadline:
        time.sleep(0.5)
    return [f"left running: {process}" for process in found]


def _processes(project: Project) -> list[psutil.Process]:
    return [psutil.Process(int(line.split()[0])) for line in find_left_running(project)]


def main(
    kills: Annotated[int, typer.Option(min=1, help="How many commands are ended.")] = 100,
    seed: Annotated[int, typer.Option(help="What is ended how and when follows from it.")] = 1,
    minutes: Annotated[float, typer.Option(min=0.1, help="No further case is begun after these.")] = 20.0,
    only: Annotated[int | None, typer.Option(min=0, help="Repeat this case alone.")] = None,
    out: Annotated[Path | None, typer.Option(help="Also write the outcome as JSON.")] = None,
) -> None:
    """End commands at random moments, and see that nothing is lost, dangling or left running."""
    cases = [case for case in draw_cases(seed, kills if only is None else only + 1) if only in (None, case.number)]
    began, done, hit = time.monotonic(), 0, Counter[str]()
    seconds: dict[str, float] = {}
    failed: dict[int, list[str]] = {}
    with tempfile.TemporaryDirectory(prefix="knotwatch-faults-") as place:
        base = make_base(Path(place) / "base")
        for case in cases:
            if time.monotonic() - began > 60 * minutes:
                break
            found = run_case(case, base, Path(place), seconds)
            faults, done = [fault for fault in found if fault], done + 1
            hit["hit" if "" not in found else "ended before"] += 1
            at = case.share * seconds[case.command]
            said = "; ".join(faults) or "fine"
            typer.echo(f"{case.number}: {case.command}, {case.how.name} after {at:.1f} s: {said}")
            if faults:
                failed[case.number] = faults
    passed = time.monotonic() - began
    typer.echo(
        f"{done} of {len(cases)} cases, seed {seed}, {hit['hit']} hit, {len(failed)} with faults, {passed:.0f} s"
    )
    if out is not None:
        out.write_text(
            json.dumps({"seed": seed, "cases": done, "hit": hit["hit"], "failed": failed, "seconds": passed})
        )
    sys.exit(1 if failed or not done else 0)


if __name__ == "__main__":
    typer.run(main)
