"""`schedule`, `serve` and `ui`."""

from collections.abc import Sequence
from contextlib import nullcontext, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli.parameters import Json, complete_surface
from flows.cli.printing import print_json, print_table, say
from pipelines.core.errors import CallError
from pipelines.core.paths import Project, find_project

if TYPE_CHECKING:
    from flows.operations.upcoming import ListedSchedule


def schedule(
    surface: Annotated[
        str | None,
        typer.Argument(help="The surface; without one, all schedules are listed.", autocompletion=complete_surface),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="All surfaces; alone: --watch for each.")] = False,
    cron: Annotated[str | None, typer.Option(help='Retrain when, for example "0 2 * * 1": Mondays at two.')] = None,
    timezone: Annotated[str | None, typer.Option(help="The time zone of --cron; default: as before, or UTC.")] = None,
    profile: Annotated[str | None, typer.Option(help="quick or full; default: as before, or full.")] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Check each minute, as `knotwatch watch` does.")] = False,
    pause: Annotated[bool, typer.Option("--pause", help="Keep the schedules, run nothing.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Run again by the clock.")] = False,
    remove: Annotated[bool, typer.Option("--remove", help="Remove the schedules.")] = False,
    as_json: Json = False,
) -> None:
    """Retrain surfaces by the clock and check them each minute; list, pause, resume or remove schedules.

    The worker of `knotwatch ui` runs what is scheduled: trainings one by one, checks beside them. --pause, --resume and
    --remove mean both of a surface's schedules, with --watch the checks alone.
    """
    from flows.operations import deployments
    from flows.operations.upcoming import add_runs
    from pipelines.core.surface_settings import read_surface
    from pipelines.training.run_settings import resolve_run

    project = find_project()
    changes = [pause, resume, remove]
    requested = every or watch or cron is not None or any(changes)
    if sum(changes) > 1 or (any(changes) and cron is not None) or (requested and every == (surface is not None)):
        raise CallError(
            "expected a surface, or --all, with --cron and --watch, or with one of --pause, --resume, --remove",
            hint='knotwatch schedule wood-boards --cron "0 2 * * 1" --watch, or knotwatch schedule --all',
        )
    if cron is None and (timezone is not None or profile is not None):
        raise CallError(
            "--timezone and --profile change nothing without --cron",
            hint='knotwatch schedule wood-boards --cron "0 2 * * 1" --timezone Europe/Berlin --profile quick',
        )
    only = deployments.WATCH if watch else None
    names = project.surface_names() if every else [surface] if surface and requested else []
    for name in names:
        if any(changes):
            _change(project, name, only, every, resume=resume, remove=remove)
            continue
        # A misspelt surface or profile would fail by the clock, at night.
        resolve_run(project, read_surface(project, name), profile or "full", [])
        if cron is not None:
            deployments.change_schedule(project, name, cron, timezone, profile)
        if watch or every:
            deployments.set_watch(project, name)
    now = datetime.now(UTC)
    listed = deployments.list_schedules(project)
    found = [add_runs(s, now) for s in listed if surface in (None, s.surface)]
    if surface and not found:
        read_surface(project, surface)
    if as_json:
        print_json({"schedules": [s.model_dump(mode="json") for s in found]})
        return
    _print_schedules(found, surface)


def _print_schedules(found: "list[ListedSchedule]", surface: str | None) -> None:
    from flows.operations import deployments
    from flows.operations.clock import describe_clock

    if not found:
        say(f'no schedule; to make one: knotwatch schedule {surface or "--all"} --cron "0 2 * * 1" --watch')
        return
    rows = [(s.surface, s.flow, s.cron, s.timezone, s.profile, "active" if s.active else "paused") for s in found]
    print_table(["surface", "flow", "cron", "time zone", "profile", "state"], rows)
    for run in (run for s in found if surface and s.flow == deployments.RETRAIN for run in s.next_runs):
        say(f"next {deployments.RETRAIN}: {run:%a %d %B %Y, %H:%M %Z}")
    for s in (s for s in found if surface and s.next_runs and s.flow == deployments.RETRAIN):
        say(describe_clock(s.cron, s.timezone, datetime.now(UTC)))
    if not _is_served():
        say("These run while a worker runs: start `knotwatch ui` (docs/guides/operations.md: how to start it at boot).")


def _change(project: Project, surface: str, only: str | None, every: bool, *, resume: bool, remove: bool) -> None:
    """Pause, resume or remove; of all surfaces, those without a schedule are passed over."""
    from flows.operations import deployments

    with suppress(CallError) if every else nullcontext():
        if remove:
            deployments.remove_schedule(project, surface, only)
        else:
            deployments.set_active(project, surface, active=resume, flow_name=only)


def _is_served() -> bool:
    import os

    from flows.runtime.environment import running_servers

    return running_servers(find_project()) is not None or "PREFECT_API_URL" in os.environ


def serve(
    surfaces: Annotated[
        list[str],
        typer.Argument(help="One surface, or several that share the memory.", autocompletion=complete_surface),
    ],
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port; 0 takes a free one.")] = 8400,
    host: Annotated[str, typer.Option(help="Where to listen; another address needs --allow-remote.")] = "127.0.0.1",
    allow_remote: Annotated[
        bool, typer.Option("--allow-remote", help="Let other machines ask; each request then needs a token.")
    ] = False,
    replicas: Annotated[int, typer.Option(min=1, max=256, help="Processes that share the port.")] = 1,
    memory: Annotated[
        int | None, typer.Option(min=1, help="Megabytes for loaded champions; default: all stay loaded.")
    ] = None,
    most_images: Annotated[int, typer.Option(min=1, help="Images that one request may bring.")] = 64,
    most_mb: Annotated[int, typer.Option(min=1, help="Megabytes that one request may have.")] = 100,
    waiting: Annotated[int, typer.Option(min=0, help="Requests that may wait; more are told to come back.")] = 64,
    most_mp: Annotated[
        float | None,
        typer.Option(min=0.01, help="Megapixels of an image; default: 16 times those trained on, at most 50."),
    ] = None,
    most_request_mp: Annotated[
        float | None, typer.Option(min=0.01, help="Megapixels of one request; default: four times --most-mp.")
    ] = None,
    seconds: Annotated[float, typer.Option(min=0.1, help="Seconds until a request is given up.")] = 60.0,
    connections: Annotated[int, typer.Option(min=1, help="Connections that may be open; idle ones make room.")] = 256,
) -> None:
    """Answer MLflow's scoring protocol with surfaces' champions, until Ctrl-C; a new champion takes over by itself.

    POST /invocations, or /SURFACE/invocations where there are several, takes {"dataframe_split": {"columns": ["image"],
    "data": [["BASE64"]]}, "params": {"maps": true}}. GET / tells what there is; /live, /ready, /health, /version and
    /metrics say how it is. With --memory the champions asked for least recently are unloaded, and loaded again when
    they are asked for. Ctrl-C and SIGTERM answer what is under way for four seconds, give up the rest and end within
    ten; a second one ends at once. After SIGTERM /ready says 503 for two seconds while requests are still taken in.
    With --allow-remote each request needs the header `Authorization: Bearer TOKEN`: that of KNOTWATCH_SERVE_TOKEN, else
    of .knotwatch/serve-token. There is no TLS: put a proxy before it.
    """
    from flows.runtime.environment import log_to_terminal
    from flows.serving.access import choose_access
    from flows.serving.protocol import Limits

    def ready(address: str, models: Sequence[str]) -> None:
        for name, model in zip(names, models, strict=True):
            say(f"{model}: {address}/{f'{name}/' if len(names) > 1 else ''}invocations")
        if access.token:
            say(f"Each request needs the token of {access.kept_in}.")
        say("A new champion takes over by itself. Ctrl-C stops.")

    log_to_terminal()
    project, names = find_project(), list(dict.fromkeys(surfaces))
    access = choose_access(project, host, allow_remote=allow_remote)
    limits = Limits(
        images=most_images,
        megabytes=most_mb,
        waiting=waiting,
        megapixels=most_mp,
        request_megapixels=most_request_mp,
        seconds=seconds,
        connections=connections,
        memory=memory and memory * 10**6,
    )
    if replicas > 1:
        from flows.serving.replicas.supervisor import supervise

        supervise(project, names, port, limits, ready, access, replicas)
    else:
        from flows.serving.server import serve as run

        run(project, names, port, limits, ready, access)


def ui(
    prefect_port: Annotated[int, typer.Option(min=1, max=65535, help="Port of Prefect's pages.")] = 4200,
    mlflow_port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Port of MLflow's pages; default: mlflow/server.yaml.")
    ] = None,
    link: Annotated[bool, typer.Option("--link", help="Print new links to the servers that run, and end.")] = False,
) -> None:
    """Start Prefect, MLflow and a worker on 127.0.0.1, until Ctrl-C."""
    from flows.commands.links import link_surfaces
    from flows.local_servers.door import MINUTES
    from flows.operations.servers import find_links, run_ui
    from flows.runtime.environment import log_to_terminal

    def tell(prefect: str, mlflow: str) -> None:
        while_it_lasts = f"(lets a browser in for {MINUTES} minutes; it remembers)"
        say(f"Prefect: {prefect} {while_it_lasts}\nMLflow:  {mlflow}")
        for surface, page in link_surfaces(find_project(), mlflow):
            say(f"  runs of {surface}: {page}")

    def ready(prefect: str, mlflow: str) -> None:
        tell(prefect, mlflow)
        say("A worker runs what is scheduled. Ctrl-C stops all three.")

    if link:
        tell(*find_links(find_project()))
        return
    log_to_terminal()
    run_ui(find_project(), prefect_port, mlflow_port, ready)
