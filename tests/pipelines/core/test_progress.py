"""Long work says how far it is, also where nobody watches a terminal."""

import logging
import threading
import time

import pytest

from pipelines.core import progress
from pipelines.core.progress import Pace, track, waiting


def test_a_line_every_thirty_seconds_says_what_is_left(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    now = 0.0
    pace = Pace("scan", 100, lambda: now)
    for done in range(1, 101):
        now += 2.0
        pace.note(done)
    assert caplog.messages[:2] == ["scan: 15 of 100, about 170 s left", "scan: 30 of 100, about 140 s left"]
    assert len(caplog.messages) == 6, "not one for each item, and none when all is done"


def test_what_cannot_be_counted_says_that_it_still_works(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    said = threading.Event()
    caplog.handler.addFilter(lambda _: said.set() or True)
    monkeypatch.setattr(progress, "_EVERY", 0.0)
    monkeypatch.setattr(progress, "_SHORT", 0.0)
    with waiting("quantise"):
        assert said.wait(60), "nothing was said"
    assert caplog.messages[0] == "quantise: 0 s so far"
    assert "waiting" not in [thread.name for thread in threading.enumerate()]


def test_steps_that_are_short_by_themselves_are_no_long_silence_together(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    said = threading.Event()
    caplog.handler.addFilter(lambda _: said.set() or True)
    monkeypatch.setattr(progress, "_SHORT", 0.01)
    monkeypatch.setattr(progress._Voice, "last", time.monotonic() - 31)
    with waiting("load"):
        assert said.wait(20), "nothing was said in the 31st second"
    with waiting("compare"):
        time.sleep(0.05)
    assert [message.partition(":")[0] for message in caplog.messages] == ["load"], "the next line has 30 seconds"


def test_items_come_through_and_quick_work_says_nothing(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    assert list(track(range(50), 50, "scan")) == list(range(50))
    assert not caplog.messages
    monkeypatch.setattr(progress, "_EVERY", 0.0)
    assert list(track(iter("abc"), 3, "scan")) == ["a", "b", "c"]
    assert len(caplog.messages) == 2
