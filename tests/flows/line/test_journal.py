"""What was judged is known for good, and each sink gets all of it, once, in order."""

from pathlib import Path

import pytest

from flows.line.journal import Journal
from flows.line.verdict import Verdict
from pipelines.core.errors import ToolError
from tests.flows.line.receivers import verdict


def test_each_sink_goes_on_where_it_was(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "line/journal.db")
    journal.join("a")
    assert [journal.add(f"k{n}", verdict).number for n in range(3)] == [1, 2, 3]
    journal.join("late")
    assert journal.next("a") == (1, verdict(1).model_dump_json())
    journal.advance("a", 1)
    journal.close()
    again = Journal(tmp_path / "line/journal.db")
    again.join("a")
    assert again.next("a") == (2, verdict(2).model_dump_json())
    assert (again.waiting("a"), again.next("late"), again.waiting("late")) == (2, None, 0)
    assert (again.knows("k2"), again.knows("k9")) == (True, False)


def refuse(number: int) -> Verdict:
    raise OSError(f"{number}: the disk is full")


def test_a_verdict_that_could_not_be_written_leaves_no_image_without_one(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.db")
    with pytest.raises(OSError, match="full"):
        journal.add("k", refuse)
    assert not journal.knows("k")
    assert journal.add("k", verdict).number == 1


def test_a_damaged_journal_is_named(tmp_path: Path) -> None:
    (tmp_path / "journal.db").write_bytes(b"no database" * 1000)
    with pytest.raises(ToolError, match=r"journal\.db cannot be used"):
        Journal(tmp_path / "journal.db")
