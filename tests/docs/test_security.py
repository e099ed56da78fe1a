"""Each promise of SECURITY.md names tests that are there."""

import re

from tests.conftest import ROOT


def test_every_promise_names_tests_that_are_there() -> None:
    text = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    rows = [row for row in text.partition("tries to break it\n")[2].splitlines() if row.startswith("| ")][2:]
    assert len(rows) >= 10
    for row in rows:
        named = re.findall(r"tests/[\w/.]+", row.split("|")[2])
        assert named, f"no test behind: {row}"
        assert [name for name in named if not (ROOT / name).exists()] == []
