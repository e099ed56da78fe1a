"""When the next runs of a schedule are."""

from contextlib import suppress
from datetime import datetime

from flows.operations.clock import find_runs
from flows.operations.deployments import NO_CRON, Schedule


class ListedSchedule(Schedule):
    """A schedule with the times of its next three runs, in this machine's zone; none while it is paused."""

    next_runs: tuple[datetime, ...] = ()


def add_runs(schedule: Schedule, start: datetime) -> ListedSchedule:
    """Add the next runs to a schedule.

    Args:
        schedule: As Prefect keeps it; one that was made on Prefect's page may follow no cron line, and gets no runs.
        start: With a zone; runs are at it or later.

    Returns:
        The schedule with its next three runs, or with none while it is paused.
    """
    runs: tuple[datetime, ...] = ()
    with suppress(ValueError):  # a time that never comes, which earlier versions took
        if schedule.active and schedule.cron != NO_CRON:
            runs = find_runs(schedule.cron, schedule.timezone, start)
    return ListedSchedule(**schedule.model_dump(), next_runs=runs)
