"""How long runs took here: what is remembered, and what is no guess."""

import logging

import pytest

from flows.runtime.durations import COMPARING, DECIDING, Durations, usual_seconds
from flows.steps.outlook import say_left, say_outlook
from pipelines.core.paths import Project


def test_the_last_run_of_each_part_is_the_guess(project: Project, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    durations = Durations(project, "oak", "quick")
    assert durations.expect(["padim"]) == (0.0, False)
    durations.remember("padim", 500.0)
    Durations(project, "oak", "quick").remember("padim", 140.0)
    durations.remember("ensemble", 60.0)
    assert durations.expect(["padim", "ensemble"]) == (200.0, True)
    assert durations.expect(["padim", "fastflow"]) == (140.0, False)
    assert Durations(project, "oak", "full").expect(["padim"]) == (0.0, False)
    say_outlook("retrain oak: padim, then the ensemble", ["padim", "ensemble"], durations)
    say_left("retrain oak", 1, ["padim", "ensemble"], durations)
    say_left("retrain oak", 1, ["padim", "ensemble", "decide"], durations)
    say_left("retrain oak", 2, ["padim", "ensemble", "decide"], durations)
    say_left("adapt oak", 2, ["padim", "ensemble", "decide"], durations, fallback=8.0)
    assert caplog.messages == [
        "retrain oak: padim, then the ensemble; took 3 min 20 s last time",
        "retrain oak: 1 of 2 steps done, about 1 min 0 s left",
        "retrain oak: 1 of 3 steps done, more than 1 min 0 s left",
        "retrain oak: 2 of 3 steps done",
        "adapt oak: 2 of 3 steps done, about 8 s left",
    ]


def test_what_is_left_follows_the_pace_of_what_was_done(project: Project) -> None:
    last = Durations(project, "oak", "quick")
    for part, seconds in {"padim": 20.0, "fastflow": 40.0, "decide": 10.0}.items():
        last.remember(part, seconds)
    now = Durations(project, "oak", "quick")
    assert now.expect(["fastflow", "decide"]).seconds == 50.0
    now.remember("padim", 60.0)
    # Three times as slow by a part of 20 s, drawn towards last time's pace by 50 / 3 s.
    assert now.expect(["fastflow", "decide"]).seconds == pytest.approx(50 * (60 + 50 / 3) / (20 + 50 / 3))
    now.remember("fastflow", 120.0)
    assert now.expect(["decide"]).seconds == pytest.approx(10 * (180 + 10 / 3) / (60 + 10 / 3))
    odd = Durations(project, "oak", "quick")
    odd.remember("decide", 9000.0)
    assert odd.expect(["padim"]).seconds == 240.0


def test_a_decision_against_a_champion_is_expected_apart(project: Project) -> None:
    durations = Durations(project, "oak", "quick")
    durations.remember("padim", 20.0)
    durations.remember(DECIDING, 5.0)
    assert durations.expect([COMPARING]) == (0.0, False)
    assert usual_seconds(project, "oak", adapting=False) == 25.0
    durations.remember(COMPARING, 40.0)
    assert usual_seconds(project, "oak", adapting=False) == 60.0


def test_what_failed_or_is_damaged_is_no_guess(project: Project) -> None:
    durations = Durations(project, "oak", "quick")
    with pytest.raises(ValueError, match="no memory"), durations.timed("padim"):
        raise ValueError("no memory")
    assert not durations.expect(["padim"]).whole
    with durations.timed("padim"):
        pass
    assert durations.expect(["padim"]).whole
    (file,) = (project.state / "durations").rglob("*.json")
    file.write_text('{"padim": "soon", "fastflow": -1}')
    assert durations.expect(["padim", "fastflow"]) == (0.0, False)
    file.write_text("no JSON")
    assert not durations.expect(["padim"]).whole
