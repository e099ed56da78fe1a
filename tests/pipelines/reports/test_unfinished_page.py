"""A run that was stopped has a page: what is finished, and the command that goes on."""

from datetime import UTC, datetime
from pathlib import Path

from pipelines.reports.folders import PAGE, RunNote, claim_folder, read_note, write_note
from pipelines.reports.overview.unfinished_page import KILLED, end_killed, end_unfinished, write_unfinished

NINE = datetime(2026, 11, 30, 9, 15, tzinfo=UTC)
AGAIN = "knotwatch retrain oak --profile full --set 'a=<b>'"


def _begin(reports: Path, run_id: str = "a" * 32, parent: str = "", again: str = AGAIN) -> Path:
    title = "retrain full padim" if parent else "retrain full"
    return claim_folder(reports, RunNote(run_id=run_id, title=title, started=NINE, parent=parent, again=again))


def test_a_stopped_run_says_what_is_finished_and_how_to_go_on(tmp_path: Path) -> None:
    run = _begin(tmp_path / "oak")
    write_unfinished(run)
    assert "Under way" in (run / PAGE).read_text()
    version = _begin(tmp_path / "oak", "b" * 32, "a" * 32, "")
    (version / PAGE).touch()
    _begin(tmp_path / "oak", "c" * 32, "a" * 32, "")
    end_unfinished(run, "stopped")
    said = (run / PAGE).read_text()
    assert "Not finished: stopped" in said
    assert said.count("<li>") == 1, "a version without a page is not finished"
    assert f'href="../{version.name}/index.html">padim' in said
    assert "retrain oak --profile full --set &#39;a=&lt;b&gt;&#39;" in said


def test_a_stopped_adaptation_says_that_its_strategies_are_kept(tmp_path: Path) -> None:
    for run_id, title in (("a" * 32, "adapt oak quick"), ("b" * 32, "retrain quick")):
        run = claim_folder(tmp_path / "ash", RunNote(run_id=run_id, title=title, started=NINE, again=AGAIN))
        end_unfinished(run, "stopped")
        assert ("Strategies that were finished are kept" in (run / PAGE).read_text()) == title.startswith("adapt")


def test_what_a_killed_process_left_is_ended_and_a_page_of_its_own_stays(tmp_path: Path) -> None:
    killed, stopped, whole = (_begin(tmp_path / "oak", name * 32) for name in "abc")
    end_unfinished(stopped, "stopped")
    write_note(whole, RunNote(run_id="c" * 32, title="retrain full", started=NINE, outcome="padim is proposed"))
    (whole / PAGE).write_text("compared")
    end_killed(tmp_path / "oak")
    end_unfinished(whole, "failed: afterwards")
    notes = [read_note(folder) for folder in (killed, stopped, whole)]
    assert [note and note.outcome for note in notes] == [KILLED, "stopped", "padim is proposed"]
    assert KILLED in (killed / PAGE).read_text()
    assert (whole / PAGE).read_text() == "compared"
