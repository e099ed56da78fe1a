"""A second user on one checkout, who may read it and write nothing there: a sentence for each command, and no harm."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.core.paths import Project
from tests.faults.invariants import fingerprint
from tests.flows.projects import SURFACE, copy_project

_NOBODY = 65534


def _as_nobody(root: Path, home: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", "from flows.cli import main; main()", *words],
        cwd=root,
        env={"PATH": os.environ["PATH"], "HOME": str(home)},
        user=_NOBODY,
        group=_NOBODY,
        extra_groups=[],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def _may_run() -> bool:
    """Tell whether another user can run this interpreter at all, whose folder may be closed."""
    if os.getuid() != 0:
        return False
    try:
        done = subprocess.run([sys.executable, "-c", "import pydantic"], user=_NOBODY, capture_output=True, check=False)
    except OSError:
        return False
    return done.returncode == 0


pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not _may_run(), reason="only root may be another user, who must be able to run this Python"),
]


@pytest.fixture(scope="module")
def shared(trained_once: Project) -> Iterator[Project]:
    """A project that everybody may read, and only its owner write."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield copy_project(trained_once, Path(folder) / "project")


@pytest.fixture
def home() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        shutil.chown(folder, _NOBODY, _NOBODY)
        yield Path(folder)


@pytest.mark.parametrize(
    "words",
    [
        ("retrain", SURFACE, "--profile", "quick", "--force"),
        ("data", "update", SURFACE),
        ("promote", SURFACE, "--version", "1"),
        ("schedule", SURFACE, "--cron", "0 3 * * 1"),
        ("backup", "saved.zip"),
        ("inspect", SURFACE, "data/raw/drawn/source"),
        ("ui",),
    ],
    ids=lambda words: " ".join(words[:2]),
)
def test_what_may_not_be_written_ends_a_command_in_a_sentence(
    shared: Project, home: Path, words: tuple[str, ...]
) -> None:
    before = fingerprint(shared.root)
    done = _as_nobody(shared.root, home, *words)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert "it belongs to root" in done.stderr
    assert "What to do" in done.stderr
    assert len(done.stderr.splitlines()) <= 4, done.stderr
    assert fingerprint(shared.root) == before
