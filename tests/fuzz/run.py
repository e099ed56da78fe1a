"""Running cases in processes of their own: one that dies is a fault of its case, and the next goes on."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_ROOT = Path(__file__).parents[2]


class Tried(NamedTuple):
    """What came of one case; seconds and megabytes are of the way that took most. Without faults all was as promised.

    Without an outcome it is of a folder of cases up to that number, taken in together.
    """

    number: int
    steps: str
    outcome: str
    seconds: float
    megabytes: float
    faults: list[str]


def run_cases(seed: int, first: int, count: int) -> Iterator[Tried]:
    """Try cases of a seed, in order, one process after the other where one dies."""
    end = first + count
    while first < end:
        begun = first
        for tried in _run_process(seed, first, end - first):
            yield tried
            first = tried.number + 1
        if first == begun:
            raise RuntimeError(f"no case could be tried: python -m tests.fuzz.worker {seed} {first} 1")


def _run_process(seed: int, first: int, count: int) -> Iterator[Tried]:
    command = [sys.executable, "-m", "tests.fuzz.worker", *map(str, (seed, first, count))]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with (
        tempfile.TemporaryFile() as said,
        subprocess.Popen(
            command, cwd=_ROOT, env=environment, stdout=subprocess.PIPE, stderr=said, text=True
        ) as process,
    ):
        try:
            number = first
            for line in process.stdout or ():
                tried = Tried(**json.loads(line))
                yield tried
                number = tried.number + 1
        finally:
            process.kill()
        if process.wait() and number < first + count and number > first:
            said.seek(0)
            fault = f"{_how(process.returncode)}: {said.read()[-500:].decode(errors='replace')}"
            yield Tried(number, "", "ended the process", 0.0, 0.0, [fault])


def _how(code: int) -> str:
    return f"ended by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"
