"""Cron lines and time zones: whether a clock knows them."""

from typing import Any
from zoneinfo import available_timezones

from flows.runtime.environment import prepare_environment
from pipelines.core.errors import CallError, offer_closest
from pipelines.core.paths import Project


def parse_schedule(project: Project, cron: str, timezone: str) -> Any:
    """Read a cron line as Prefect's schedule.

    Args:
        project: Whose Prefect is used; nothing is started.
        cron: Five fields, for example `0 2 * * 1`: Mondays at two.
        timezone: IANA name, for example Europe/Berlin.

    Returns:
        What a deployment takes.

    Raises:
        CallError: For a cron line or a time zone that does not exist.
    """
    prepare_environment(project)
    from prefect.schedules import Cron
    from pydantic import ValidationError

    if timezone not in available_timezones():
        raise CallError(
            f"no time zone '{timezone}'",
            hint=offer_closest("name one such as Europe/Berlin", timezone, available_timezones()),
        )
    try:
        return Cron(cron, timezone=timezone)
    except (ValidationError, ValueError) as error:
        raise CallError(f"'{cron}' is not a cron line", hint='write for example --cron "0 2 * * 1"') from error
