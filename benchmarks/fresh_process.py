"""Peak memory of one function in a process of its own."""

import json
import resource
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from pipelines.core.errors import ToolError

_ROOT = Path(__file__).parents[1]


def peak_mb(function: str, *arguments: Any) -> float:
    """Call `module:function` in a fresh process and return that process's peak resident memory, MB.

    Arguments go as JSON.

    Raises:
        ToolError: where the call fails, with its last words.
    """
    call = [sys.executable, "-m", "benchmarks.fresh_process", function, json.dumps(arguments)]
    # A process begins with the peak of the one it was forked from (Linux carries it through exec), which may hold
    # torch and gigabytes. The shell between is small, and it forks because a command follows.
    done = subprocess.run(
        ["/bin/sh", "-c", '"$@"; exit $?', "sh", *call], cwd=_ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise ToolError(
            f"{function}{arguments} failed in its own process: {done.stderr[-2000:]}", hint="mend what it names"
        )
    return float(done.stdout.splitlines()[-1])


def _call(function: str, arguments: str) -> float:
    module, _, name = function.partition(":")
    getattr(import_module(module), name)(*json.loads(arguments))
    # Linux counts in KiB.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    print(_call(sys.argv[1], sys.argv[2]))  # noqa: T201 - read by the parent
