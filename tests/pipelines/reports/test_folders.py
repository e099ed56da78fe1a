"""Folders of reports: names that people recognise, found by the run that they are of."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipelines.reports.folders import RunNote, claim_folder, find_folder, list_runs, list_unnamed

MORNING = datetime(2026, 11, 30, 9, 15, 4, tzinfo=UTC)


def note(run_id: str, title: str = "retrain full", started: datetime = MORNING) -> RunNote:
    return RunNote(run_id=run_id, title=title, started=started)


def test_runs_of_one_minute_get_folders_of_their_own_and_each_is_found(tmp_path: Path) -> None:
    claimed = [claim_folder(tmp_path, note(run_id)) for run_id in ("a" * 32, "b" * 32, "c" * 32)]
    assert [folder.name for folder in claimed] == [
        *("2026-11-30-0915-retrain-full", "2026-11-30-0915-retrain-full-2", "2026-11-30-0915-retrain-full-3")
    ]
    assert [find_folder(tmp_path, run_id * 32) for run_id in "abc"] == claimed
    assert claim_folder(tmp_path, note("b" * 32)) == claimed[1], "a run that has a folder got another"
    claim_folder(tmp_path, note("d" * 32, "adapt oak quick", MORNING.replace(hour=10)))
    assert [found.note.run_id[0] for found in list_runs(tmp_path)] == ["d", "c", "b", "a"]


@pytest.mark.parametrize("title", ["../../out", "/etc", "trial ..", "\0", "a" * 400, "Straße <b>", "con.aux\\x"])
def test_no_title_leads_out_of_the_reports(tmp_path: Path, title: str) -> None:
    folder = claim_folder(tmp_path / "reports", note("a" * 32, title))
    assert folder.parent == tmp_path / "reports"
    assert [path.name for path in tmp_path.iterdir()] == ["reports"]
    assert len(folder.name.encode()) < 120


def test_a_folder_named_after_its_run_is_found_and_nothing_outside_is(tmp_path: Path) -> None:
    old = tmp_path / "reports" / ("0" * 32)
    for folder in (old, tmp_path / "outside"):
        folder.mkdir(parents=True)
        (folder / "index.html").touch()
    assert find_folder(tmp_path / "reports", "0" * 32) == old
    assert list_unnamed(tmp_path / "reports") == [old]
    assert [find_folder(tmp_path / "reports", name) for name in ("../outside", "", "..", str(tmp_path))] == [None] * 4


def test_a_note_that_was_changed_is_passed_over(tmp_path: Path) -> None:
    folder = claim_folder(tmp_path, note("a" * 32))
    (folder / "run.json").write_text('{"run_id": "b')
    assert find_folder(tmp_path, "a" * 32) is None
    assert claim_folder(tmp_path, note("a" * 32)).name == "2026-11-30-0915-retrain-full-2"
