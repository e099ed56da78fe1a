"""`python -m tests.faults --kills 100 --seed 1`: end commands at random moments, check, run them again, check.

A seed and a number say what is ended how and when, as a share of the command's own time: `--only 17` repeats one.
"""

import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from pipelines.core.paths import Project
from tests.faults.invariants import find_faults, find_left_running, fingerprint
from tests.faults.project import COMMANDS, copy_base, end, make_base, shelf, start

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


class Outcome(NamedTuple):
    """What does not hold after a case, when the command was ended, in seconds, and whether it was still under way."""

    case: Case
    faults: list[str]
    at: float
    hit: bool


def run_case(case: Case, base: Project, folder: Path, seconds: Callable[[str], float]) -> Outcome:
    """End a command after a share of its own `seconds`, check, run it again, check."""
    command = COMMANDS[case.command]
    project = copy_base(base, folder / f"case-{case.number}")
    try:
        command.before(project)
        sources = fingerprint(shelf(project))
        at = case.share * seconds(case.command)
        hit = end(start(project, command), case.how, at)
        faults = [f"after it was ended: {fault}" for fault in find_faults(project, sources)]
        code = start(project, command).wait(timeout=1200)
        if code not in command.again:
            said = (project.root / "said.log").read_text(errors="replace")[-1500:]
            faults.append(f"run again it ends with {code}: {said}")
        faults += [f"after it was run again: {fault}" for fault in find_faults(project, sources)]
        return Outcome(case, [*faults, *_left(project)], at, hit)
    finally:
        for line in find_left_running(project):
            with suppress(ProcessLookupError):
                os.kill(int(line.split()[0]), signal.SIGKILL)
        shutil.rmtree(project.root, ignore_errors=True)
        shutil.rmtree(shelf(project), ignore_errors=True)


def measure(name: str, base: Project, folder: Path) -> float:
    """Return the seconds that a command takes where nothing ends it."""
    command, project = COMMANDS[name], copy_base(base, folder / f"measured {name}".replace(" ", "-"))
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


def main(
    kills: Annotated[int, typer.Option(min=1, help="How many commands are ended.")] = 100,
    seed: Annotated[int, typer.Option(help="What is ended how and when follows from it.")] = 1,
    minutes: Annotated[float, typer.Option(min=0.1, help="No further case is begun after these.")] = 20.0,
    only: Annotated[int | None, typer.Option(min=0, help="Repeat this case alone.")] = None,
    jobs: Annotated[int, typer.Option(min=1, help="How many cases side by side.")] = 2,
    out: Annotated[Path | None, typer.Option(help="Also write the outcome as JSON.")] = None,
) -> None:
    """End commands at random moments, and see that nothing is lost, dangling or left running."""
    cases = [case for case in draw_cases(seed, kills if only is None else only + 1) if only in (None, case.number)]
    began, hit = time.monotonic(), Counter[bool]()
    failed: dict[int, list[str]] = {}
    with tempfile.TemporaryDirectory(prefix="knotwatch-faults-") as place, ThreadPoolExecutor(jobs) as pool:
        base = make_base(Path(place) / "base")
        names = sorted({case.command for case in cases})
        # Side by side, as the cases are.
        seconds = dict(zip(names, pool.map(lambda name: measure(name, base, Path(place)), names), strict=True))

        def run(case: Case) -> Outcome | None:
            late = time.monotonic() - began > 60 * minutes
            return None if late else run_case(case, base, Path(place), seconds.__getitem__)

        for outcome in pool.map(run, cases):
            if outcome is None:
                continue
            case, faults, at, was_hit = outcome
            hit[was_hit] += 1
            typer.echo(
                f"{case.number}: {case.command}, {case.how.name} after {at:.1f} s: {'; '.join(faults) or 'fine'}"
            )
            if faults:
                failed[case.number] = faults
    done = hit.total()
    passed = time.monotonic() - began
    typer.echo(f"{done} of {len(cases)} cases, seed {seed}, {hit[True]} hit, {len(failed)} with faults, {passed:.0f} s")
    if out is not None:
        out.write_text(json.dumps({"seed": seed, "cases": done, "hit": hit[True], "failed": failed, "seconds": passed}))
    sys.exit(1 if failed or not done else 0)


if __name__ == "__main__":
    typer.run(main)
