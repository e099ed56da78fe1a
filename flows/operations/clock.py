"""Cron lines and time zones: whether a clock knows them, when it runs what, and when it is changed."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo, available_timezones

from flows.runtime.environment import prepare_environment
from pipelines.core.errors import CallError, offer_closest
from pipelines.core.paths import Project

_FIELDS = 5
_YEAR = 367
_HINT = 'write for example --cron "0 2 * * 1": Mondays at two'


def parse_schedule(project: Project, cron: str, timezone: str) -> Any:
    """Read a cron line as Prefect's schedule.

    Args:
        project: Whose Prefect is used; nothing is started.
        cron: Five fields, for example `0 2 * * 1`: Mondays at two. A sixth would be read as seconds.
        timezone: IANA name, for example Europe/Berlin.

    Returns:
        What a deployment takes.

    Raises:
        CallError: For a time zone that does not exist, a cron line that has not five fields or none of whose times
            ever comes.
    """
    prepare_environment(project)
    from prefect.schedules import Cron
    from pydantic import ValidationError

    if timezone not in available_timezones():
        raise CallError(
            f"no time zone '{timezone}'",
            hint=offer_closest("name one such as Europe/Berlin", timezone, available_timezones()),
        )
    fields = len(cron.split())
    if fields != _FIELDS:
        raise CallError(
            f"'{cron}' has {fields} field{'' if fields == 1 else 's'}, a cron line has five: minute, hour, day of the "
            "month, month, day of the week",
            hint=_HINT,
        )
    try:
        when = Cron(cron, timezone=timezone)
    except (ValidationError, ValueError) as error:
        raise CallError(f"'{cron}' is not a cron line", hint=_HINT) from error
    try:
        find_runs(cron, timezone, datetime.now(UTC), count=1)
    except ValueError as error:
        raise CallError(f"the time of '{cron}' never comes", hint=_HINT) from error
    return when


def find_runs(cron: str, timezone: str, start: datetime, count: int = 3) -> tuple[datetime, ...]:
    """Find the next runs of a schedule, as Prefect's own scheduler does: it knows what becomes of a skipped hour.

    Args:
        cron: Five fields.
        timezone: IANA name of the zone that `cron` is meant in.
        start: With a zone; runs are at it or later.
        count: How many runs.

    Returns:
        Times in this machine's zone, the next one first.
    """
    from prefect.server.schemas.schedules import CronSchedule

    found = asyncio.run(CronSchedule(cron=cron, timezone=timezone).get_dates(n=count, start=start))
    return tuple(datetime.fromtimestamp(run.timestamp()).astimezone() for run in found)


def describe_clock(cron: str, timezone: str, start: datetime) -> str:
    """Say which zone a schedule keeps to, and what becomes of its runs where the clocks there are changed.

    Args:
        cron: Five fields.
        timezone: IANA name of a zone.
        start: With a zone; changes of the year from then on count.

    Returns:
        One sentence without a full stop; it names a change of clocks only where it skips or repeats a run.

    >>> spring = datetime(2026, 3, 20, tzinfo=UTC)
    >>> describe_clock("0 2 * * 1", "UTC", spring)
    'the cron line is read in UTC, where clocks are not changed'
    >>> describe_clock("0 2 * * 1", "Europe/Berlin", spring)
    'the cron line is read in Europe/Berlin'
    """
    changes = list(_find_changes(ZoneInfo(timezone), start))
    if not changes:
        return f"the cron line is read in {timezone}, where clocks are not changed"
    moved = [change for change in changes if _runs_within(cron, change)]
    if not moved:
        return f"the cron line is read in {timezone}"
    days = " and ".join(f"{change.after:%a %d %B %Y}" for change in moved)
    kinds = {change.skips: change for change in moved}
    what = ["a run in the hour that is skipped comes an hour earlier"] * (True in kinds)
    what += ["one in the hour that comes twice runs once"] * (False in kinds)
    return f"the cron line is read in {timezone}, where clocks are changed on {days}: {', '.join(what)}"


class _Change(NamedTuple):
    """A change of clocks: what they show before it and after it, as times without a zone."""

    before: datetime
    after: datetime

    @property
    def skips(self) -> bool:
        return self.after > self.before


def _find_changes(zone: ZoneInfo, start: datetime) -> Iterator[_Change]:
    """Find the changes of a year, to the hour."""
    first = start.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    hours = (first + timedelta(hours=hour) for hour in range(24 * _YEAR))
    for hour, later in pairwise(hours):
        before, after = (time.astimezone(zone).utcoffset() or timedelta() for time in (hour, later))
        if before != after:
            at = later.replace(tzinfo=None)
            yield _Change(at + before, at + after)


def _runs_within(cron: str, change: _Change) -> bool:
    """Tell whether a cron line names a time that clocks skip, or show twice; in UTC there are no such times."""
    low, high = sorted(change)
    (run,) = find_runs(cron, "UTC", low.replace(tzinfo=UTC), count=1)
    return run < high.replace(tzinfo=UTC)
