"""`inspect --table`: killed and repeated, in the memory of a small batch."""

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd

from benchmarks.fresh_process import peak_mb
from pipelines.core.paths import Project
from pipelines.inspection.history import read_history
from tests.conftest import run_knotwatch

COLUMNS = [
    *("path", "score", "anomalous", "width", "height", "version", "error", "overlay", "map"),
    *("defects", "normal_regions", "out_of_distribution"),
]


def test_a_killed_batch_gives_the_table_of_one_that_was_not(in_use: Project, boards: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for board in boards.iterdir():
        shutil.copy2(board, tmp_path / "in")
    (tmp_path / "in/wood-0099.png").write_bytes(b"torn")
    words = ("inspect", "drawn", str(tmp_path / "in"), "--maps", str(tmp_path / "maps"), "--no-pictures")
    killed, whole = tmp_path / "killed.parquet", tmp_path / "whole.parquet"
    process = subprocess.Popen(
        [sys.executable, "-c", "from flows.cli import main; main()", *words, "--table", str(killed)],
        cwd=in_use.root,
        stderr=subprocess.DEVNULL,
    )
    journal = tmp_path / "killed.part.jsonl"
    deadline = time.monotonic() + 120
    while not journal.is_file() or journal.read_bytes().count(b"\n") < 6:
        assert time.monotonic() < deadline
        assert process.poll() is None, "it ended before it could be killed"
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not killed.exists()
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "maps").glob("*.tiff")}
    assert len(before) < 81, "it was killed too late"
    seen = len(read_history(in_use.surface("drawn").history))

    resumed = run_knotwatch(in_use.root, *words, "--table", str(killed), "--json", expect=1).json
    assert (resumed["total"], resumed["unreadable"], resumed["images"]) == (82, 1, [])
    assert 5 <= resumed["before"] <= len(before)
    again = sum(p.stat().st_mtime_ns != written for p, written in before.items())
    assert again <= 1, "at most the image that the kill fell on is looked at twice"
    run_knotwatch(in_use.root, *words, "--table", str(whole), expect=1)
    tables = [pd.read_parquet(path) for path in (killed, whole)]
    pd.testing.assert_frame_equal(*tables)
    assert list(tables[0].columns) == COLUMNS
    assert len(read_history(in_use.surface("drawn").history)) == seen + 2 * 82
    assert not list(tmp_path.glob("*.jsonl"))


def inspect_in(root: str, folder: str, table: str) -> None:
    """Run one batch; called in a process of its own."""
    import os

    from flows.cli.app import run

    os.chdir(root)
    assert run(["inspect", "drawn", folder, "--table", table, "--no-pictures"]) == 0


def test_memory_does_not_grow_with_the_batch(in_use: Project, boards: Path, tmp_path: Path) -> None:
    for copies in (1, 7):
        folder = tmp_path / f"in{copies}"
        folder.mkdir()
        for board in boards.iterdir():
            for copy in range(copies):
                (folder / f"{board.stem}-{copy}.png").symlink_to(board)
    few, many = (
        peak_mb(
            "tests.flows.commands.test_inspect:inspect_in",
            str(in_use.root),
            str(tmp_path / name),
            f"{tmp_path}/{name}.parquet",
        )
        for name in ("in1", "in7")
    )
    assert len(pd.read_parquet(tmp_path / "in7.parquet")) == 7 * 81
    # The pixels of 456 boards more would be 34 MB, their maps 45 MB.
    assert many - few < 12


def test_what_cannot_go_together_is_refused(in_use: Project, boards: Path, tmp_path: Path) -> None:
    words = ("inspect", "drawn", str(boards), "--table", str(tmp_path / "t.parquet"))
    assert "--coco" in run_knotwatch(in_use.root, *words, "--coco", str(tmp_path / "c.json"), expect=2).err
    assert "contradict" in run_knotwatch(in_use.root, *words, "--no-pictures", "--out", "x", expect=2).err
    assert not list(tmp_path.iterdir())
