"""How long runs took here: what is remembered, and what is no guess."""

import logging

import pytest

from flows.runtime.durations import Durations
from flows.steps.outlook import say_left, say_outlook
from pipelines.core.paths import Project


def test_the_last_run_of_each_part_is_the_guess(project: Project, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    durations = Durations(project, "oak", "quick")
    assert durations.expect(["padim"]) is None
    durations.remember("padim", 500.0)
    Durations(project, "oak", "quick").remember("padim", 140.0)
    durations.remember("ensemble", 60.0)
    assert durations.expect(["padim", "ensemble"]) == 200.0
    assert durations.expect(["padim", "fastflow"]) is None
    assert Durations(project, "oak", "full").expect(["padim"]) is None
    say_outlook("retrain oak: padim, then the ensemble", ["padim", "ensemble"], durations)
    say_left("retrain oak", 1, ["padim", "ensemble"], durations)
    assert caplog.messages == [
        "retrain oak: padim, then the ensemble; the last such run took 3 min 20 s",
        "retrain oak: 1 of 2 steps done, about 1 min 0 s left",
    ]


def test_what_is_left_follows_the_pace_of_what_was_done(project: Project) -> None:
    last = Durations(project, "oak", "quick")
    for part, seconds in {"padim": 20.0, "fastflow": 40.0, "decide": 10.0}.items():
        last.remember(part, seconds)
    now = Durations(project, "oak", "quick")
    assert now.expect(["fastflow", "decide"]) == 50.0
    now.remember("padim", 60.0)
    assert now.expect(["fastflow", "decide"]) == 150.0
    now.remember("fastflow", 60.0)
    assert now.expect(["decide"]) == 20.0
    odd = Durations(project, "oak", "quick")
    odd.remember("decide", 9000.0)
    assert odd.expect(["padim"]) == 240.0


def test_what_failed_or_is_damaged_is_no_guess(project: Project) -> None:
    durations = Durations(project, "oak", "quick")
    with pytest.raises(ValueError, match="no memory"), durations.timed("padim"):
        raise ValueError("no memory")
    assert durations.expect(["padim"]) is None
    with durations.timed("padim"):
        pass
    assert durations.expect(["padim"]) is not None
    (file,) = (project.state / "durations").rglob("*.json")
    file.write_text('{"padim": "soon", "fastflow": -1}')
    assert (durations.expect(["padim"]), durations.expect(["fastflow"])) == (None, None)
    file.write_text("no JSON")
    assert durations.expect(["padim"]) is None
