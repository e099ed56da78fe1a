"""Which tier a test is in, and that no test of the fast tier starts what the fast tier has no time for.

`slow` is written where it holds. `services` is found: a test that a trained project, a server or the real command is
made for has it, and so has every test of a file that can call them. What slips through fails when it starts a process.
"""

import os
import re
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

_FIXTURES = {"added_once", "knotwatch", "prefect", "trained_once", "ui"}
_HELPERS = {"run_knotwatch", "start", "start_ui"}
_PROGRAMS = {"dvc", "knotwatch", "mlflow", "prefect"}
# Also what a new interpreter is told to import: MLflow and Prefect alone take it ten seconds.
_IMPORTED = re.compile(
    r"(import|from) (dvc|mlflow|prefect|pipelines\.tracking)\b|flows\.(cli|local_servers|operations|study)\b"
)


def mark_services(items: Sequence[pytest.Item]) -> None:
    """Mark the tests that need Prefect, MLflow or DVC, by the fixtures they ask for and what their file imports."""
    for item in items:
        imported = vars(item.module) if isinstance(item, pytest.Function) else {}
        if _FIXTURES & set(getattr(item, "fixturenames", ())) or _HELPERS & imported.keys():
            item.add_marker(pytest.mark.services)


def is_fast(item: pytest.Item) -> bool:
    return not (item.get_closest_marker("slow") or item.get_closest_marker("services"))


@contextmanager
def refuse_services() -> Iterator[None]:
    """Let the test that is under way fail where it starts a process of Prefect, MLflow, DVC or the command line."""
    with pytest.MonkeyPatch.context() as patch:
        start = subprocess.Popen.__init__

        def refuse(self: Any, args: Any, *rest: Any, **options: Any) -> None:
            if found := find_service(args):
                # A test's own failure, which no `except Exception` on the way swallows.
                pytest.fail(f"a fast test started '{found}': mark it `services`, or put a double in its place")
            start(self, args, *rest, **options)

        patch.setattr(subprocess.Popen, "__init__", refuse)
        yield


def find_service(args: Any) -> str | None:
    """Name what in a command is Prefect's, MLflow's, DVC's or ours; None where nothing is."""
    words = [str(args)] if isinstance(args, str | bytes | os.PathLike) else [str(word) for word in args]
    if len(words) == 1:
        words = words[0].split()
    modules = [after.split(".")[0] for before, after in pairwise(words) if before == "-m"]
    named = _PROGRAMS & {Path(words[0]).name, *modules}
    imported = _IMPORTED.search(" ".join(words))
    return imported[0] if imported else next(iter(named), None)
