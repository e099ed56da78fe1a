"""The next runs that `schedule` tells."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from flows.operations.clock import describe_clock, find_runs, parse_schedule
from flows.operations.deployments import NO_CRON, RETRAIN, Schedule
from flows.operations.upcoming import add_runs
from pipelines.core.errors import CallError
from pipelines.core.paths import Project
from pipelines.core.records import Layout
from pipelines.core.surface_settings import SourceSettings, SurfaceSettings, write_surface
from tests.conftest import call_knotwatch

MONDAYS = Schedule(surface="oak", flow=RETRAIN, cron="0 2 * * 1", timezone="Europe/Berlin", active=True)
START = datetime(2026, 3, 20, tzinfo=UTC)


@pytest.fixture
def new_york(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("new_york")
def test_runs_keep_to_the_schedules_zone_and_are_told_in_the_machines() -> None:
    """Between the first two, Berlin's clocks go forward."""
    runs = add_runs(MONDAYS, START).model_dump(mode="json")["next_runs"]
    assert runs == ["2026-03-22T21:00:00-04:00", "2026-03-29T20:00:00-04:00", "2026-04-05T20:00:00-04:00"]


@pytest.mark.parametrize("change", [{"active": False}, {"cron": NO_CRON}])
def test_what_is_paused_or_follows_no_cron_line_has_no_next_run(change: dict[str, object]) -> None:
    assert add_runs(MONDAYS.model_copy(update=change), START).next_runs == ()


@pytest.mark.parametrize(
    ("cron", "problem"),
    [
        ("0 2 * * 1 0", "has 6 fields, a cron line has five"),
        ("@daily", "has 1 field, a cron line has five"),
        ("", "has 0 fields"),
        ("61 * * * *", "is not a cron line"),
        ("0 2 30 2 *", "never comes"),
    ],
)
def test_a_cron_line_has_five_fields_and_a_time_that_comes(tmp_path: Path, cron: str, problem: str) -> None:
    """A sixth field would be seconds: sixty runs instead of one."""
    with pytest.raises(CallError, match=problem):
        parse_schedule(Project(tmp_path), cron, "UTC")


@pytest.mark.parametrize(
    ("start", "day", "runs"),
    [
        (datetime(2026, 3, 28, 12, tzinfo=UTC), "Sun 29 March 2026", ["2026-03-29T00:30", "2026-03-30T00:30"]),
        (datetime(2026, 10, 24, 12, tzinfo=UTC), "Sun 25 October 2026", ["2026-10-25T00:30", "2026-10-26T01:30"]),
    ],
)
def test_the_change_of_clocks_is_named_and_is_as_prefect_has_it(start: datetime, day: str, runs: list[str]) -> None:
    """At 2:30 in Berlin: an hour earlier where there is no such time, and once where there are two."""
    said = describe_clock("30 2 * * *", "Europe/Berlin", start)
    assert day in said
    assert "a run in the hour that is skipped comes an hour earlier, one in the hour that comes twice runs once" in said
    july = describe_clock("30 2 * 7 *", "Europe/Berlin", start)
    assert july == describe_clock("0 3 * * *", "Europe/Berlin", start) == "the cron line is read in Europe/Berlin"
    found = find_runs("30 2 * * *", "Europe/Berlin", start, count=2)
    assert [run.astimezone(UTC).isoformat()[:16] for run in found] == runs


@pytest.mark.services
@pytest.mark.usefixtures("new_york")
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_schedule_tells_the_next_three_runs(served: Project, capsys: pytest.CaptureFixture[str]) -> None:
    write_surface(served, "oak", SurfaceSettings(source=SourceSettings(layout=Layout.FOLDER, path="/nowhere")))
    try:
        said = call_knotwatch(capsys, "schedule", "oak", "--cron", "30 6 1 7 *", "--watch").out.splitlines()
        told = [line for line in said if line.startswith("next retrain: ")]
        assert len(told) == 3
        assert any(line.startswith("the cron line is read in UTC") for line in said)
        assert all(line.endswith(", 02:30 EDT") and " 01 July 20" in line for line in told)
        listed = call_knotwatch(capsys, "schedule", "oak", "--json").json["schedules"]
        assert [len(found["next_runs"]) for found in listed] == [3, 3]
        assert listed[0]["next_runs"][0].endswith("-07-01T02:30:00-04:00")
    finally:
        removed = call_knotwatch(capsys, "schedule", "oak", "--remove").out
    assert removed.startswith("no schedule; to make one: knotwatch schedule oak --cron")
