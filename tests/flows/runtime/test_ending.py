"""The end of a process that does not end: with all that it started, and at once with a second signal if it serves."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.flows.processes import until

STUBBORN = """
import subprocess, sys, time
from contextlib import nullcontext
from pathlib import Path
from flows.runtime import ending
from pipelines.core.progress import remember_interrupts

remember_interrupts()
ending._SECONDS = {seconds}
ending.watch_over_end()
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
with ending.bound_interrupts(lambda: Path("last").touch()) if {serves} else nullcontext():
    Path("here").write_text(str(child.pid))
    while True:
        try:
            time.sleep(600)
        except KeyboardInterrupt:
            Path("told").touch()
"""


@contextmanager
def stubborn(folder: Path, *, seconds: float, serves: bool) -> Iterator["subprocess.Popen[bytes]"]:
    code = STUBBORN.format(seconds=seconds, serves=serves)
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=folder,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # noqa: PLW1509 - no threads yet
    )
    try:
        until((folder / "here").exists, "the process", process)
        yield process
    finally:
        process.kill()
        process.wait()


def child_lives(folder: Path) -> bool:
    number = int((folder / "here").read_text())
    return psutil.pid_exists(number) and psutil.Process(number).status() != psutil.STATUS_ZOMBIE


def test_sigterm_ends_what_does_not_end_with_all_that_it_started(tmp_path: Path) -> None:
    with stubborn(tmp_path, seconds=0.5, serves=False) as process:
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 143
    assert (tmp_path / "told").exists(), "it had its chance"
    assert not child_lives(tmp_path)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_server_ends_at_once_with_a_second_signal(tmp_path: Path, number: signal.Signals) -> None:
    with stubborn(tmp_path, seconds=600, serves=True) as process:
        process.send_signal(number)
        until((tmp_path / "told").exists, "the first", process)
        process.send_signal(number)
        assert process.wait(timeout=30) == 128 + number
    assert (tmp_path / "last").exists()
    assert not child_lives(tmp_path)
