"""Schedules: Prefect deployments of `retrain` and `watch`, one each a surface, that a worker of this project runs."""

import io
from contextlib import redirect_stdout
from typing import Any

from flows.local_servers.temporary import ensure_server
from flows.operations.automations import remove_automation, set_automation
from flows.operations.clock import parse_schedule
from flows.operations.pool import POOL, ensure_pool
from pipelines.core.errors import CallError
from pipelines.core.paths import Project
from pipelines.core.records import Record
from pipelines.core.surface_settings import read_surface

RETRAIN, WATCH = "retrain", "watch"
NO_CRON = "?"  # of a schedule that was made on Prefect's page
_EACH_MINUTE = "* * * * *"


class Schedule(Record):
    """One flow's schedule for a surface; runs start while it is active and a worker runs. Checks have no profile."""

    surface: str
    flow: str
    cron: str
    timezone: str
    active: bool
    profile: str | None = None


def set_schedule(project: Project, surface: str, cron: str, timezone: str, profile: str) -> Schedule:
    """Deploy `retrain` for a surface so that the worker runs it by the clock, one at a time.

    Args:
        project: Folder that the runs start in.
        surface: Surface to retrain; a schedule that it has is replaced.
        cron: Five fields, for example `0 2 * * 1`: Mondays at two.
        timezone: IANA name, for example Europe/Berlin.
        profile: Profile of params.yaml, looked up when a run begins.

    Returns:
        The schedule as it was deployed.

    Raises:
        CallError: For a cron line or a time zone that does not exist.
        ToolError: If the surface's policy names a notification block that Prefect does not have.
    """
    _deploy(project, surface, RETRAIN, parse_schedule(project, cron, timezone), {"profile": profile})
    return Schedule(surface=surface, flow=RETRAIN, cron=cron, timezone=timezone, active=True, profile=profile)


def set_watch(project: Project, surface: str) -> Schedule:
    """Deploy `watch` for a surface so that the worker checks each minute; one that is there stays, paused or not.

    Who is told of crashed runs is taken from the policy anew.

    Args:
        project: Folder that the runs start in.
        surface: Surface to check.

    Returns:
        The schedule that there is now.

    Raises:
        ToolError: If the surface's policy names a notification block that Prefect does not have.
    """
    found = next((s for s in list_schedules(project) if (s.surface, s.flow) == (surface, WATCH)), None)
    if found is None:
        _deploy(project, surface, WATCH, parse_schedule(project, _EACH_MINUTE, "UTC"), {})
        return Schedule(surface=surface, flow=WATCH, cron=_EACH_MINUTE, timezone="UTC", active=True)
    set_automation(project, surface)
    return found


def _deploy(project: Project, surface: str, flow_name: str, when: Any, parameters: dict[str, Any]) -> None:
    ensure_server(project)
    from prefect import flow
    from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy

    ensure_pool(project)
    # A second retrain of the same surface waits in line; the surface's lock would make it wait anyway. Checks that were
    # missed are not made up for: the next one sees all there is.
    second = ConcurrencyLimitStrategy.ENQUEUE if flow_name == RETRAIN else ConcurrencyLimitStrategy.CANCEL_NEW
    deployed: Any = flow.from_source(source=str(project.root), entrypoint=entrypoint(flow_name))
    # Prefect prints a table of its own; standard output is for the command's answer.
    with redirect_stdout(io.StringIO()):
        deployed.deploy(
            name=surface,
            work_pool_name=POOL,
            work_queue_name=flow_name,
            parameters={"surface": surface, **parameters},
            schedule=when,
            concurrency_limit=ConcurrencyLimitConfig(limit=1, collision_strategy=second),
            job_variables=job_variables(project),
            tags=["knotwatch", surface],
            build=False,
            print_next_steps=False,
            ignore_warnings=True,
        )
    set_automation(project, surface)


def entrypoint(flow_name: str) -> str:
    return f"flows/{flow_name}.py:{flow_name}"


def job_variables(project: Project) -> dict[str, Any]:
    """Return what a deployment tells the worker of the process to start."""
    return {"working_dir": str(project.root), "env": {"KNOTWATCH_PROJECT": str(project.root)}}


def change_schedule(project: Project, surface: str, cron: str, timezone: str | None, profile: str | None) -> Schedule:
    """Set a surface's schedule; what is not said stays as it was.

    Args:
        project: Folder that the runs start in.
        surface: Surface to retrain; it may have no schedule yet.
        cron: Five fields.
        timezone: IANA name; None is as before, or UTC.
        profile: Profile of params.yaml; None is as before, or `full`.

    Returns:
        The schedule as it was deployed.

    Raises:
        CallError: For a cron line or a time zone that does not exist.
    """
    before = next((s for s in list_schedules(project) if (s.surface, s.flow) == (surface, RETRAIN)), None)
    zone = timezone or (before.timezone if before else "UTC")
    return set_schedule(project, surface, cron, zone, profile or (before.profile if before else None) or "full")


def list_schedules(project: Project) -> list[Schedule]:
    """List the schedules of all surfaces."""
    ensure_server(project)
    return [schedule for deployment, flow_name in _deployments() for schedule in _as_schedules(deployment, flow_name)]


def _deployments(surface: str | None = None) -> list[tuple[Any, str]]:
    """Find this project's deployments with the names of their flows, by surface."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterTags

    tagged = DeploymentFilter(tags=DeploymentFilterTags(all_=["knotwatch"]))
    with get_client(sync_client=True) as client:
        found = client.read_deployments(deployment_filter=tagged)
    # The entry point names the flow, so that it need not be looked up.
    named = [(d, str(d.entrypoint or "").rpartition(":")[2]) for d in found if surface in {None, d.name}]
    return sorted(named, key=lambda pair: (str(pair[0].name), pair[1]))


def _as_schedules(deployment: Any, flow_name: str) -> list[Schedule]:
    return [
        Schedule(
            surface=deployment.name,
            flow=flow_name,
            cron=getattr(schedule.schedule, "cron", NO_CRON),
            timezone=getattr(schedule.schedule, "timezone", None) or "UTC",
            active=schedule.active and not deployment.paused,
            profile=deployment.parameters.get("profile"),
        )
        for schedule in deployment.schedules
    ]


def refresh_after_move(project: Project) -> list[str]:
    """Deploy again what was deployed from another folder, as after a move; return the surfaces.

    A deployment holds the folder that its runs start in, and nothing else that could go stale.
    """
    moved = []
    for deployment, flow_name in _deployments():
        if (deployment.job_variables or {}).get("working_dir") == str(project.root):
            continue
        for found in _as_schedules(deployment, flow_name):
            when = parse_schedule(project, found.cron, found.timezone)
            _deploy(project, found.surface, flow_name, when, {"profile": found.profile} if found.profile else {})
            if not found.active:
                set_active(project, found.surface, active=False, flow_name=flow_name)
            moved.append(found.surface)
    return sorted(set(moved))


def set_active(project: Project, surface: str, *, active: bool, flow_name: str | None = None) -> None:
    """Pause or resume a surface's schedules, or one flow's alone.

    A deployment that was paused as a whole on Prefect's page is resumed too.

    Args:
        project: Project whose Prefect server keeps the schedules.
        surface: Surface that has a schedule.
        active: True resumes, False pauses.
        flow_name: `retrain` or `watch`; None is both.

    Raises:
        CallError: If the surface has no such schedule.
    """
    ensure_server(project)
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        for deployment in _own(project, surface, flow_name):
            if active:
                client.resume_deployment(deployment.id)
            for schedule in deployment.schedules:
                client.update_deployment_schedule(deployment.id, schedule.id, active=active)


def remove_schedule(project: Project, surface: str, flow_name: str | None = None) -> None:
    """Remove a surface's deployments, or one flow's alone; with the last one its automation goes.

    Args:
        project: Project whose Prefect server keeps the deployments.
        surface: May have no settings any more.
        flow_name: `retrain` or `watch`; None is both.

    Raises:
        CallError: If the surface has no such schedule.
    """
    ensure_server(project)
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        for deployment in _own(project, surface, flow_name):
            client.delete_deployment(deployment.id)
    if not _deployments(surface):
        remove_automation(project, surface)


def _own(project: Project, surface: str, flow_name: str | None) -> list[Any]:
    found = [deployment for deployment, name in _deployments(surface) if flow_name in {None, name}]
    if not found:
        # A misspelt name is told as such.
        read_surface(project, surface)
        raise CallError(
            f"'{surface}' has no schedule", hint=f'knotwatch schedule {surface} --cron "0 2 * * 1", or --watch'
        )
    return found
