"""Long work says how far it is, also where nobody watches a terminal."""

import logging

import pytest

from pipelines.core import progress
from pipelines.core.progress import Pace, track


def test_a_line_every_thirty_seconds_says_what_is_left(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    now = 0.0
    pace = Pace("scan", 100, lambda: now)
    for done in range(1, 101):
        now += 2.0
        pace.note(done)
    assert caplog.messages[:2] == ["scan: 15 of 100, about 170 s left", "scan: 30 of 100, about 140 s left"]
    assert len(caplog.messages) == 6, "not one for each item, and none when all is done"


def test_items_come_through_and_quick_work_says_nothing(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    assert list(track(range(50), 50, "scan")) == list(range(50))
    assert not caplog.messages
    monkeypatch.setattr(progress, "_EVERY", 0.0)
    assert list(track(iter("abc"), 3, "scan")) == ["a", "b", "c"]
    assert len(caplog.messages) == 2
