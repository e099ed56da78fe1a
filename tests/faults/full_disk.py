"""A disk that is full when a command begins, or fills up while it works: a sentence, and nothing torn."""

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from pipelines.core.paths import Project
from tests.faults.invariants import find_faults, find_left_running, fingerprint
from tests.faults.project import COMMANDS, copy_base, make_base, shelf, start

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="only root may mount a small disk")

_LARGE = 4 << 30  # bytes


class Disk(NamedTuple):
    """A disk in memory, whose size can be changed."""

    folder: Path

    def leave(self, room: int) -> None:
        """Let no more than `room` bytes be free."""
        found = os.statvfs(self.folder)
        self._resize((found.f_blocks - found.f_bfree) * found.f_frsize + room)

    def empty(self) -> None:
        self._resize(_LARGE)

    def _resize(self, size: int) -> None:
        subprocess.run(["mount", "-o", f"remount,size={size}", str(self.folder)], check=True)


@contextmanager
def mounted(folder: Path) -> Iterator[Disk]:
    folder.mkdir(parents=True)
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={_LARGE}", "tmpfs", str(folder)], check=False)
    if done.returncode:
        pytest.skip("no disk can be mounted here")
    try:
        yield Disk(folder)
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return make_base(tmp_path_factory.mktemp("full") / "base")


@pytest.mark.parametrize(
    ("name", "room", "after"),
    [
        ("data add", 0, 0.0),
        ("data add", 300_000, 0.0),
        ("data update", 50_000, 0.0),
        ("inspect --table", 4_000, 0.0),
        ("backup", 100_000, 0.0),
        ("retrain", 110 << 20, 0.0),
        ("retrain", 200_000, 8.0),
    ],
)
def test_a_full_disk_ends_a_command_in_a_sentence_and_the_next_call_completes(
    base: Project, tmp_path: Path, name: str, room: int, after: float
) -> None:
    """`room` bytes are left, from so many seconds `after` the beginning on."""
    with mounted(tmp_path / "disk") as disk:
        check(base, disk, tmp_path / "said.log", name, room, after)


def check(base: Project, disk: Disk, log: Path, name: str, room: int, after: float) -> None:
    command, project = COMMANDS[name], copy_base(base, disk.folder / "project")
    command.before(project)
    sources = fingerprint(shelf(project))
    if not after:
        disk.leave(room)
    process = start(project, command, log)
    if after:
        time.sleep(after)
        disk.leave(room)
    code = process.wait(timeout=1200)
    said = log.read_text(errors="replace")
    disk.empty()
    assert code in {0, 1}, said
    assert "Traceback" not in said
    assert find_faults(project, sources) == []
    again = start(project, command, log).wait(timeout=1200)
    assert again in command.again, log.read_text(errors="replace")[-1500:]
    assert find_faults(project, sources) == []
    deadline = time.monotonic() + 15
    while (left := find_left_running(project)) and time.monotonic() < deadline:
        time.sleep(0.5)
    assert left == []
