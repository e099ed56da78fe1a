"""Who may change a surface, and who may run DVC: one lock file each, whichever process asks.

The operating system frees these locks with the process that held them, so a killed one blocks nobody.
"""

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
from filelock import FileLock, Timeout

from flows.runtime.durations import usual_seconds
from pipelines.core.errors import BusyError
from pipelines.core.parsing import parse_json
from pipelines.core.paths import Project
from pipelines.core.wording import duration_in_words

# How long a scheduled run waits for another change of its surface to end, seconds.
LONGEST_WAIT = 3600.0


@contextmanager
def surface_lock(project: Project, surface: str, verb: str, *, wait: float = 0) -> Iterator[None]:
    """Hold a surface while it is changed.

    The thread that holds it may take it again.

    Args:
        project: Its state folder has the lock's file.
        surface: Name; the surface need not exist yet.
        verb: What is done with it, told to whoever finds it held: `VERB SURFACE`.
        wait: Seconds to wait for another holder; 0 does not wait.

    Raises:
        BusyError: Naming the holder, if it still holds the surface then.
    """
    with _hold(project, surface, f"{verb} {surface}", wait):
        yield


@contextmanager
def data_lock(project: Project) -> Iterator[None]:
    """Hold the project's data while DVC works: it refuses a second command, so the second waits here."""
    with _hold(project, "_dvc", "a DVC command", wait=3600):
        yield


@contextmanager
def moves_lock(project: Project, surface: str) -> Iterator[None]:
    """Hold a surface's aliases while they are moved: for seconds, also while a retrain holds the surface.

    Args:
        project: Its state folder has the lock's file.
        surface: Surface whose champion may change.

    Raises:
        BusyError: If another process still holds them after a minute.
    """
    with _hold(project, f"_moves-{surface}", f"a move of the champion of {surface}", wait=60):
        yield


@contextmanager
def watch_lock(project: Project, surface: str) -> Iterator[None]:
    """Hold a surface's looks, which count: two at once would tell the same drift twice. Others may change it.

    Args:
        project: Its state folder has the lock's file.
        surface: Surface that is checked.

    Raises:
        BusyError: At once, if another check of the surface is going on.
    """
    with _hold(project, f"_watch-{surface}", f"watch {surface}", wait=0):
        yield


def is_held(project: Project, surface: str) -> bool:
    """Tell whether the process that held a surface last still runs, without touching its lock.

    Args:
        project: Its state folder has the lock's note.
        surface: Name of the surface.
    """
    try:
        note = parse_json((project.state / "locks" / f"{surface}.json").read_bytes())
        return int(note["pid"]) != os.getpid() and psutil.pid_exists(int(note["pid"]))
    except (OSError, ValueError, TypeError, KeyError):
        return False


@contextmanager
def _hold(project: Project, name: str, doing: str, wait: float) -> Iterator[None]:
    folder = project.state / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    note = folder / f"{name}.json"
    # A singleton can be taken again by the thread that has it: a command holds what its flow asks for.
    lock = FileLock(folder / f"{name}.lock", is_singleton=True)
    try:
        lock.acquire(timeout=wait)
    except Timeout as error:
        held = _holder(note.read_text() if note.is_file() else "")
        adapting = "`adapt" in held
        usual = usual_seconds(project, name, adapting=adapting) if adapting or "`retrain" in held else None
        took = f"; the last whole one here took {duration_in_words(usual)}" if usual else ""
        raise BusyError(f"{held}", hint=f"wait until it ends{took}") from error
    try:
        if lock.lock_counter == 1:
            note.write_text(json.dumps({"pid": os.getpid(), "doing": doing, "since": time.time()}))
        yield
    finally:
        lock.release()


def _holder(text: str) -> str:
    try:
        found = parse_json(text)
        who = f"`{found['doing']}` (process {found['pid']})"
        seconds = time.time() - float(found.get("since") or time.time())
        return f"{who} holds this" + (f", for {duration_in_words(seconds)} so far" if seconds >= 1 else "")
    except (ValueError, TypeError, KeyError, AttributeError):
        return "another process holds this"
