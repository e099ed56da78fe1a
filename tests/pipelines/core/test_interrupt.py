"""Ctrl-C that a library swallows, in a process of its own."""

import subprocess
import sys

import pytest

LOST = """
import os, signal
from pipelines.core.progress import remember_interrupts, track
remember_interrupts()
try:
    os.kill(os.getpid(), signal.SIGINT)
    for _ in range(10_000_000):
        pass
except:  # as libraries do while they are imported
    print("swallowed")
for number in track(range(3), 3, "work"):
    print("went on")
"""


def test_an_interrupt_that_was_swallowed_ends_the_next_long_work() -> None:
    code = "import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n" + LOST
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "swallowed\n"
    assert "KeyboardInterrupt" in done.stderr


def test_a_process_that_is_deaf_to_it_stays_so() -> None:
    code = "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n" + LOST
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "went on\n" * 3


CHANGED = """
import os, signal
from pipelines.core.progress import heed_interrupt, interrupts_first, remember_interrupts
remember_interrupts()
with interrupts_first():
    try:
        if {pressed}:
            os.kill(os.getpid(), signal.SIGINT)
        raise LookupError
    except BaseException as error:
        try:
            heed_interrupt()  # in work that goes on, and is swallowed again
        except KeyboardInterrupt:
            pass
        raise ValueError("Task run is not set") from error
"""


@pytest.mark.parametrize(("pressed", "raised"), [(True, "KeyboardInterrupt"), (False, "ValueError")])
def test_an_error_that_a_library_makes_of_an_interrupt_is_one_again(pressed: bool, raised: str) -> None:
    code = "import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n" + CHANGED.format(pressed=pressed)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1].startswith(raised)
