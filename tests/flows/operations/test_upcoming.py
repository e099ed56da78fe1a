"""The next runs that `schedule` tells."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from flows.operations.deployments import NO_CRON, RETRAIN, Schedule
from flows.operations.upcoming import add_runs
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


@pytest.mark.services
@pytest.mark.usefixtures("new_york")
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_schedule_tells_the_next_three_runs(served: Project, capsys: pytest.CaptureFixture[str]) -> None:
    write_surface(served, "oak", SurfaceSettings(source=SourceSettings(layout=Layout.FOLDER, path="/nowhere")))
    try:
        said = call_knotwatch(capsys, "schedule", "oak", "--cron", "30 6 1 7 *", "--watch").out.splitlines()
        told = [line for line in said if line.startswith("next retrain: ")]
        assert len(told) == 3
        assert all(line.endswith(", 02:30 EDT") and " 01 July 20" in line for line in told)
        listed = call_knotwatch(capsys, "schedule", "oak", "--json").json["schedules"]
        assert [len(found["next_runs"]) for found in listed] == [3, 3]
        assert listed[0]["next_runs"][0].endswith("-07-01T02:30:00-04:00")
    finally:
        removed = call_knotwatch(capsys, "schedule", "oak", "--remove").out
    assert removed.startswith("no schedule; to make one: knotwatch schedule oak --cron")
