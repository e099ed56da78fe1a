"""A process that tries cases one after the other under limits, and prints what came of each as a line of JSON."""

import json
import re
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2

from tests.fuzz.mutated import Case, make_case
from tests.fuzz.ways import Answer, FaultError, Ways, compare

SECONDS = 2.0  # of computing, that one way may take for one image; other work on the machine does not count
# Resident, that one way may add for an image of at most one megapixel: its pixels in a dozen forms.
MEGABYTES = 96
_ADDRESSES = 1 << 30  # bytes that may be asked for, whether used or not, beyond what is there before the first case
_TOGETHER = 250  # files of one folder that is taken in whole
_KILLED_AFTER = 20.0  # seconds of computing in one case, in whatever library
_ASLEEP_AFTER = 300.0  # seconds by the clock


def main(seed: int, first: int, count: int) -> None:
    """Try the cases `first` to `first + count - 1` of a seed."""
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        ways = Ways(Path(folder))
        # What is loaded at the first call is no case's.
        _try(ways, make_case(0, 0))
        list(ways.add_all())
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + _ADDRESSES, resource.RLIM_INFINITY))
        for number in range(first, first + count):
            # The system ends this process where nothing else can: inside of a library that does not come back.
            signal.setitimer(signal.ITIMER_PROF, _KILLED_AFTER)
            signal.setitimer(signal.ITIMER_REAL, _ASLEEP_AFTER)
            _tell(_try(ways, make_case(seed, number)))
            if (number - first) % _TOGETHER == _TOGETHER - 1 or number == first + count - 1:
                told = {"number": number, "steps": "taken in together", "outcome": "", "seconds": 0.0, "megabytes": 0.0}
                _tell({**told, "faults": list(ways.add_all())})


def _tell(told: dict[str, Any]) -> None:
    print(json.dumps(told), flush=True)  # noqa: T201 - read by whoever started this process


def _try(ways: Ways, case: Case) -> dict[str, Any]:
    answers, faults, spent, grown = dict[str, Answer](), list[str](), 0.0, 0.0
    for name, way in ways.all(case).items():
        answer, seconds, megabytes = _measure(way)
        spent, grown = max(spent, seconds), max(grown, megabytes)
        if isinstance(answer, Answer):
            answers[name] = answer
        else:
            faults.append(f"{name}: {answer}")
        if seconds > SECONDS:
            faults.append(f"{name}: took {seconds:.1f} s")
        if megabytes > MEGABYTES:
            faults.append(f"{name}: took {megabytes:.0f} MB")
    if not faults:
        faults = compare(case, answers)
    refused = answers["decode"].refused if "decode" in answers else "-"
    told = {"number": case.number, "steps": case.steps, "outcome": re.sub(r"\d+", "N", refused) or "read"}
    return {**told, "seconds": round(spent, 3), "megabytes": round(grown, 1), "faults": faults}


def _measure(way: Callable[[], Answer]) -> tuple[Answer | str, float, float]:
    """Call one way; return its answer or what it raised, with the seconds and megabytes that it took."""
    Path("/proc/self/clear_refs").write_text("5")  # proc(5): the peak begins anew
    before, started = _resident("VmRSS"), time.process_time()
    answer: Answer | str
    try:
        answer = way()
    except FaultError as error:
        answer = str(error)
    except Exception as error:  # whatever else it is, it is a fault
        answer = f"{type(error).__name__}: {error}"[:500]
    return answer, time.process_time() - started, _resident("VmHWM") - before


def _resident(name: str) -> float:
    found = re.search(rf"{name}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) / 1000 if found else 0.0


if __name__ == "__main__":
    main(*(int(word) for word in sys.argv[1:4]))
