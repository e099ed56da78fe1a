"""DVC's commands, run in a project's folder."""

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil

from pipelines.core.errors import BusyError, ToolError
from pipelines.core.paths import Project
from pipelines.core.progress import waiting
from pipelines.data.versioning.rwlock import drop_torn_note, live_holders
from pipelines.data.versioning.surface_list import write_surface_list

_PATIENCE = 600.0  # seconds that a DVC command may take which an earlier, killed call left at work


def run_dvc(project: Project, *words: str, quiet: bool = True) -> str:
    """Run a DVC command in the project's folder.

    Where another one reads or writes the same files, such as one whose parent was killed, its end is waited for.

    Args:
        project: Its list of surfaces for dvc.yaml is put right first.
        *words: The command and its arguments, without `dvc`; checked names only.
        quiet: Keep what DVC says. False lets it through to standard error, for a person to watch.

    Returns:
        DVC's standard output; empty where not `quiet`.

    Raises:
        BusyError: If another DVC command holds the project as a whole (told apart only where `quiet`), or the same
            files for more than ten minutes.
        ToolError: If the command fails, with DVC's own last words.
        CallError: If a file of settings has a name that no surface can have.
    """
    write_surface_list(project)
    drop_torn_note(project.root)
    deadline = time.monotonic() + _PATIENCE
    while True:
        done = _run(project, words, quiet=quiet)
        said = f"{done.stdout or ''}{done.stderr or ''}".strip()
        if done.returncode == 0:
            return done.stdout or ""
        # Where DVC's words went to a person, whoever is at work may be what it waited for.
        blocking = [p for p in live_holders(project.root) if not quiet or f"(PID {p.pid})" in said]
        if not blocking:
            break
        _wait_for(blocking, deadline)
    if "Unable to acquire lock" in said:
        raise BusyError(
            "another DVC command is running in this project", hint="wait until it ends, then run this again"
        )
    raise ToolError(f"`dvc {' '.join(words)}` failed: {said[-1500:]}", hint="mend what it names, then run this again")


def _run(project: Project, words: tuple[str, ...], *, quiet: bool) -> "subprocess.CompletedProcess[str]":
    # dvc.yaml says `python`: it must be this one, also where the environment was not activated.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    return subprocess.run(  # noqa: S603 - our own interpreter; words are checked names
        [sys.executable, "-m", "dvc", *words],
        cwd=project.root,
        env={**os.environ, "PATH": path},
        stdout=subprocess.PIPE if quiet else sys.stderr,
        stderr=subprocess.PIPE if quiet else None,
        text=True,
        check=False,
    )


def _wait_for(processes: list[psutil.Process], deadline: float) -> None:
    numbers = ", ".join(str(process.pid) for process in processes)
    with waiting(f"DVC, for process {numbers}, which an earlier command started"):
        _, alive = psutil.wait_procs(processes, timeout=max(0.0, deadline - time.monotonic()))
    if alive:
        raise BusyError(
            f"DVC's process {numbers} has held the same files for more than ten minutes",
            hint="wait until it ends, or end it, then run this again",
        )
