"""Schedules: Prefect deployments of `retrain`, one a surface, that a worker of this project runs."""

import io
from contextlib import redirect_stdout
from typing import Any
from zoneinfo import available_timezones

from flows.environment import prepare_environment
from pipelines.errors import CallError
from pipelines.paths import Project
from pipelines.records import Record

POOL = "knotwatch"
_FLOW = "retrain"


class Schedule(Record):
    """One surface's schedule; runs start while it is active and a worker runs."""

    surface: str
    cron: str
    timezone: str
    active: bool
    profile: str


def set_schedule(project: Project, surface: str, cron: str, timezone: str, profile: str) -> Schedule:
    """Deploy `retrain` for a surface so that the worker runs it by the clock, one at a time.

    Raises:
        CallError: for a cron line or a time zone that does not exist.
    """
    prepare_environment(project)
    from prefect import flow
    from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy

    when = _parse_schedule(cron, timezone)
    ensure_pool(project)
    deployed: Any = flow.from_source(source=str(project.root), entrypoint="flows/retrain.py:retrain")
    # Prefect prints a table of its own; standard output is for the command's answer.
    with redirect_stdout(io.StringIO()):
        deployed.deploy(
            name=surface,
            work_pool_name=POOL,
            parameters={"surface": surface, "profile": profile},
            schedule=when,
            # A second run of the same surface waits in line; the surface's lock would make it wait anyway.
            concurrency_limit=ConcurrencyLimitConfig(limit=1, collision_strategy=ConcurrencyLimitStrategy.ENQUEUE),
            job_variables={"working_dir": str(project.root), "env": {"KNOTWATCH_PROJECT": str(project.root)}},
            tags=["knotwatch", surface],
            build=False,
            print_next_steps=False,
            ignore_warnings=True,
        )
    return Schedule(surface=surface, cron=cron, timezone=timezone, active=True, profile=profile)


def change_schedule(project: Project, surface: str, cron: str, timezone: str | None, profile: str | None) -> Schedule:
    """Set a surface's schedule; what is not said stays as it was."""
    before = next((s for s in list_schedules(project) if s.surface == surface), None)
    zone = timezone or (before.timezone if before else "UTC")
    return set_schedule(project, surface, cron, zone, profile or (before.profile if before else "full"))


def list_schedules(project: Project) -> list[Schedule]:
    """List the schedules of all surfaces."""
    prepare_environment(project)
    return [schedule for deployment in _deployments() for schedule in _as_schedules(deployment)]


def _deployments() -> list[Any]:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterTags

    tagged = DeploymentFilter(tags=DeploymentFilterTags(all_=["knotwatch"]))
    with get_client(sync_client=True) as client:
        return sorted(client.read_deployments(deployment_filter=tagged), key=lambda d: str(d.name))


def _as_schedules(deployment: Any) -> list[Schedule]:
    return [
        Schedule(
            surface=deployment.name,
            cron=getattr(schedule.schedule, "cron", "?"),
            timezone=getattr(schedule.schedule, "timezone", None) or "UTC",
            active=schedule.active and not deployment.paused,
            profile=str(deployment.parameters.get("profile", "full")),
        )
        for schedule in deployment.schedules
    ]


def refresh_after_move(project: Project) -> list[str]:
    """Deploy again what was deployed from another folder, as after a move; return the surfaces.

    A deployment holds the folder that its runs start in, and nothing else that could go stale.
    """
    moved = []
    for deployment in _deployments():
        if (deployment.job_variables or {}).get("working_dir") == str(project.root):
            continue
        for found in _as_schedules(deployment):
            set_schedule(project, found.surface, found.cron, found.timezone, found.profile)
            if not found.active:
                set_active(project, found.surface, active=False)
            moved.append(found.surface)
    return moved


def set_active(project: Project, surface: str, *, active: bool) -> None:
    """Pause or resume a surface's schedule; raise CallError where it has none."""
    prepare_environment(project)
    from prefect.client.orchestration import get_client
    from prefect.exceptions import ObjectNotFound

    with get_client(sync_client=True) as client:
        try:
            deployment = client.read_deployment_by_name(f"{_FLOW}/{surface}")
        except ObjectNotFound as error:
            raise CallError(
                f"'{surface}' has no schedule", cure=f'knotwatch schedule {surface} --cron "0 2 * * 1"'
            ) from error
        for schedule in deployment.schedules:
            client.update_deployment_schedule(deployment.id, schedule.id, active=active)


def remove_schedule(project: Project, surface: str) -> None:
    """Remove a surface's deployment, where it has one."""
    prepare_environment(project)
    from prefect.client.orchestration import get_client
    from prefect.exceptions import ObjectNotFound

    with get_client(sync_client=True) as client:
        try:
            client.delete_deployment(client.read_deployment_by_name(f"{_FLOW}/{surface}").id)
        except ObjectNotFound as error:
            raise CallError(f"'{surface}' has no schedule", cure="`knotwatch schedule` lists them") from error


def ensure_pool(project: Project) -> None:
    """Make the work pool that this project's worker polls, where it is not there."""
    prepare_environment(project)
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound

    with get_client(sync_client=True) as client:
        try:
            client.read_work_pool(POOL)
        except ObjectNotFound:
            try:
                client.create_work_pool(WorkPoolCreate(name=POOL, type="process"))
            except ObjectAlreadyExists:
                return


def _parse_schedule(cron: str, timezone: str) -> Any:
    from prefect.schedules import Cron
    from pydantic import ValidationError

    if timezone not in available_timezones():
        raise CallError(f"no time zone '{timezone}'", cure="name one such as Europe/Berlin")
    try:
        return Cron(cron, timezone=timezone)
    except (ValidationError, ValueError) as error:
        raise CallError(f"'{cron}' is not a cron line", cure='write for example --cron "0 2 * * 1"') from error
