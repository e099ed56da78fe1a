"""Send damaged images through all that reads images: `python -m tests.fuzz --images 20000 --seed 1`.

Repeat one case by its number: `python -m tests.fuzz --seed 1 --first 4711 --images 1 --keep`.
"""

import json
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from flows.cli.printing import print_table, say
from tests.fuzz.mutated import make_case
from tests.fuzz.run import Tried, run_cases


def main(
    images: Annotated[int, typer.Option(help="How many cases to try.")] = 20_000,
    seed: Annotated[int, typer.Option(help="Cases of one seed and number are always the same.")] = 1,
    first: Annotated[int, typer.Option(help="Number of the first case.")] = 0,
    minutes: Annotated[float, typer.Option(help="Stop after so many minutes.")] = 120.0,
    out: Annotated[Path, typer.Option(help="Folder for files of cases that failed.")] = Path(".fuzz"),
    keep: Annotated[bool, typer.Option(help="Keep every case's file, not only of those that failed.")] = False,
) -> None:
    """Try cases, print what came of them, and keep the files of those that broke a promise."""
    started = time.monotonic()
    found: list[Tried] = []
    for tried in run_cases(seed, first, images):
        found.append(tried)
        if tried.faults or keep:
            _keep(out, seed, tried)
        if tried.faults:
            say(f"{seed}/{tried.number} {tried.steps}: {'; '.join(tried.faults)}")
        if time.monotonic() > started + minutes * 60:
            break
    failed = sum(bool(tried.faults) for tried in found)
    found = [tried for tried in found if tried.outcome]
    counts = Counter(tried.outcome for tried in found)
    print_table(("images", "what became of them"), [(str(n), what) for what, n in counts.most_common()])
    slowest, largest = max(found, key=lambda t: t.seconds), max(found, key=lambda t: t.megabytes)
    say(
        f"seed {seed}: {len(found)} images, {counts['read']} read, {failed} broke a promise; "
        f"slowest {slowest.seconds} s ({slowest.number}), "
        f"largest {largest.megabytes} MB ({largest.number}); {time.monotonic() - started:.0f} s"
    )
    sys.exit(1 if failed else 0)


def _keep(out: Path, seed: int, tried: Tried) -> None:
    out.mkdir(parents=True, exist_ok=True)
    name = f"{seed}-{tried.number:06d}"
    (out / f"{name}.png").write_bytes(make_case(seed, tried.number).data)
    (out / f"{name}.json").write_text(json.dumps(tried._asdict(), indent=1) + "\n")


if __name__ == "__main__":
    typer.run(main)
