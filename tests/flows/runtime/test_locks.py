"""Who may change a surface: one process at a time, whichever asks, and nobody that was killed."""

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from flows.runtime.durations import Durations
from flows.runtime.locks import data_lock, moves_lock, surface_lock
from pipelines.core.errors import BusyError
from pipelines.core.paths import Project
from tests.conftest import ROOT

HOLDER = """
import sys
from pathlib import Path
from flows.runtime.locks import surface_lock
from pipelines.core.paths import Project
with surface_lock(Project(Path(sys.argv[1])), sys.argv[2], "retrain"):
    print("held", flush=True)
    sys.stdin.read()
"""
Hold = Callable[[str], "subprocess.Popen[str]"]


@pytest.fixture
def place(tmp_path: Path) -> Project:
    return Project(tmp_path)


@pytest.fixture
def hold(place: Project) -> Iterator[Hold]:
    """Start another process that holds a surface until its standard input ends."""
    started = []

    def start(surface: str) -> "subprocess.Popen[str]":
        command = [sys.executable, "-c", HOLDER, str(place.root), surface]
        holder = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        started.append(holder)
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        return holder

    yield start
    for holder in started:
        holder.kill()
        holder.communicate()


def test_a_second_process_is_refused_and_told_who_holds_it(place: Project, hold: Hold) -> None:
    holder = hold("oak")
    with (
        pytest.raises(BusyError, match=rf"`retrain oak` \(process {holder.pid}\)"),
        surface_lock(place, "oak", "adapt"),
    ):
        pass
    for part, took in (("padim", None), ("decide", "2 min 0 s")):
        Durations(place, "oak", "full").remember(part, 60)
        with pytest.raises(BusyError) as refused, surface_lock(place, "oak", "promote"):
            pass
        # The first part alone is a run that is under way or was stopped.
        expected = f"wait until it ends; the last whole one here took {took}" if took else "wait until it ends"
        assert refused.value.hint == expected
    with moves_lock(place, "oak"), surface_lock(place, "ash", "adapt"), data_lock(place):
        pass
    holder.communicate("")
    with surface_lock(place, "oak", "adapt", wait=5):
        pass


def test_a_killed_holder_blocks_nobody(place: Project, hold: Hold) -> None:
    holder = hold("oak")
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with surface_lock(place, "oak", "promote"):
        pass


def test_a_process_may_take_what_it_has_and_keeps_it_until_the_outermost_end(place: Project) -> None:
    ask = [sys.executable, "-c", HOLDER, str(place.root), "oak"]

    def other() -> "subprocess.CompletedProcess[str]":
        return subprocess.run(ask, cwd=ROOT, input="", capture_output=True, text=True, check=False)

    with surface_lock(place, "oak", "data update"):
        with surface_lock(place, "oak", "retrain"):
            pass
        refused = other()
        assert refused.returncode != 0
        assert "`data update oak`" in refused.stderr, "the inner hold took the outer one's name, or its lock"
    assert other().stdout == "held\n"


def test_a_failure_inside_frees_the_lock(place: Project, hold: Hold) -> None:
    with pytest.raises(ValueError, match="inside"), surface_lock(place, "oak", "retrain"):
        raise ValueError("inside")
    hold("oak")


def test_two_threads_of_one_process_do_not_both_hold_a_surface(place: Project) -> None:
    def take() -> None:
        with surface_lock(place, "oak", "retrain"):
            pass

    with ThreadPoolExecutor(1) as pool, surface_lock(place, "oak", "retrain"):
        assert isinstance(pool.submit(take).exception(), BusyError)


@pytest.mark.parametrize("note", ["", '{"pid": 1'])
def test_a_half_written_note_still_refuses(place: Project, hold: Hold, note: str) -> None:
    hold("oak")
    (place.state / "locks" / "oak.json").write_text(note)
    with pytest.raises(BusyError, match="another process"), surface_lock(place, "oak", "retrain"):
        pass
