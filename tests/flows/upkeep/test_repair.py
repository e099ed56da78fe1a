"""Damage that `doctor` names and `doctor --repair` mends: of data, aliases, runs and what killed processes left."""

import hashlib
import os
import socket
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from flows.upkeep.doctor import examine, repair
from flows.upkeep.remains import find_remains
from pipelines.core.paths import Project
from pipelines.registry.decision_log import DecisionLog
from pipelines.tracking.store import Tracking
from tests.conftest import call_knotwatch
from tests.flows.projects import SURFACE, work_in_copy


def cached(project: Project, path: Path) -> Path:
    name = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
    return project.root / ".dvc/cache/files/md5" / name[:2] / name[2:]


def spoil(path: Path) -> None:
    path.chmod(0o644)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 255
    path.write_bytes(data)


def told(project: Project) -> str:
    return "\n".join(f"{check.name}: {check.found}: {check.todo}" for check in examine(project) if not check.good)


def test_damaged_data_are_not_brought_back_and_mended_where_a_copy_is_left(
    added_once: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    project = work_in_copy(added_once, tmp_path / "project", monkeypatch)
    boards = sorted((project.surface(SURFACE).source / "images").iterdir())
    whole = {board: board.read_bytes() for board in boards}
    entries = [cached(project, board) for board in boards]
    version = call_knotwatch(capsys, "data", "list", "--json").json["surfaces"][0]["data_version"]
    (project.root / ".dvc/tmp/rwlock").write_text("")  # as a full disk leaves DVC's own note
    spoil(entries[0])
    entries[1].unlink()
    boards[2].unlink()
    spoil(boards[3])
    refused = call_knotwatch(capsys, "data", "checkout", SURFACE, version, expect=1).err
    assert str(entries[0]) in refused or "lacks 1 files" in refused
    assert "Traceback" not in refused
    assert "DVC's cache lacks 1 file of 'drawn' and holds 1 changed" in told(project)
    done = repair(project)
    assert any("2 files restored in DVC's cache, 1 damaged one moved to .knotwatch/damaged" in line for line in done)
    assert any("1 file brought back" in line for line in done)
    # What differs from its data version may be somebody's work.
    left = told(project)
    assert f"hold 1 file unlike its data version, e.g. {boards[3].relative_to(project.root)}" in left
    assert f"knotwatch data checkout {SURFACE} {version}" in left
    call_knotwatch(capsys, "data", "checkout", SURFACE, version)
    assert {board: board.read_bytes() for board in boards} == whole
    assert told(project) == ""
    entries[4].unlink()
    boards[4].unlink()
    assert all(line.startswith("not repaired: ") for line in repair(project))
    assert "restore a backup" in told(project)


def change(project: Project, *texts: str, process: str) -> None:
    with closing(sqlite3.connect(project.state / "mlflow" / "mlflow.db")) as connection:
        for text in texts:
            connection.execute(text)
        connection.execute("update tags set value = ? where key = 'process'", [process])
        connection.commit()


def test_a_dangling_champion_is_put_back_with_a_decision_and_orphans_are_ended(
    trained_once: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    project = work_in_copy(trained_once, tmp_path / "project", monkeypatch)
    champion = Tracking(project).aliases(SURFACE)["champion"]
    change(
        project,
        "update registered_model_aliases set version = 9",
        "insert into registered_model_aliases (name, alias, version) values ('drawn', 'challenger', 8)",
        "update runs set status = 'RUNNING'",
        process=f"{socket.gethostname()} 999999999 1.0",
    )
    (project.state / "scratch" / SURFACE / "model").mkdir(parents=True)
    said = call_knotwatch(capsys, "doctor", "--json", expect=1).json
    assert said["repaired"] == []
    found = [check["found"] for check in said["checks"] if not check["good"]]
    for words in ("runs in MLflow that no process writes", "champion of 'drawn' names version 9", "challenger of"):
        assert any(words in text for text in found), (words, found)
    assert call_knotwatch(capsys, "doctor", "--repair", "--json").json["repaired"]
    tracking = Tracking(project)
    assert tracking.aliases(SURFACE) == {"champion": champion}
    last = DecisionLog(tracking, SURFACE).read()[-1]
    assert (last.after, "named version 9, which is not there" in last.message) == (champion, True)
    assert not list((project.state / "scratch" / SURFACE).glob("*"))


def test_leftovers_are_found_once_nobody_writes_them_and_a_torn_page_is_named(project: Project) -> None:
    reports = project.root / "data/reports"
    reports.mkdir(parents=True)
    half = [reports / ".index.html.a1b2c3d4", project.state / "scratch/backup/tmp1"]
    half[1].mkdir(parents=True)
    half[0].write_text("<ht")
    mine = reports / ".notes.txt"
    mine.write_text("mine")
    (reports / "report.html").write_text("<html><p>cut of")
    assert [fault.found for fault in find_remains(project, None)] == [f"{reports / 'report.html'} is half written"]
    for path in (*half, mine):
        os.utime(path, (time.time() - 7200,) * 2)
    leftovers, page = find_remains(project, None)
    assert "2 leftovers" in leftovers.found
    assert leftovers.mend is not None
    leftovers.mend()
    assert not any(path.exists() for path in half)
    assert mine.read_text() == "mine"
    assert page.mend is None
