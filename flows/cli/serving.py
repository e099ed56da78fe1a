"""`schedule`, `serve`, `ui` and `doctor`."""

from typing import Annotated

import typer

from flows.cli.output import print_json, print_table, say
from pipelines.errors import CallError
from pipelines.paths import find_project


def schedule(
    surface: Annotated[str | None, typer.Argument(help="The surface; without one, all schedules are listed.")] = None,
    cron: Annotated[str | None, typer.Option(help='When, for example "0 2 * * 1": Mondays at two.')] = None,
    timezone: Annotated[str | None, typer.Option(help="The time zone of --cron; default: as before, or UTC.")] = None,
    profile: Annotated[str | None, typer.Option(help="quick or full; default: as before, or full.")] = None,
    pause: Annotated[bool, typer.Option("--pause", help="Keep the schedule, run nothing.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Run again by the clock.")] = False,
    remove: Annotated[bool, typer.Option("--remove", help="Remove the schedule.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")] = False,
) -> None:
    """Retrain a surface by the clock; list, pause, resume or remove schedules.

    The worker of `knotwatch ui` runs what is scheduled, one run at a time for each surface.
    """
    from flows import deployments
    from pipelines.config import read_surface, resolve_run

    project = find_project()
    wishes = [cron is not None, pause, resume, remove]
    if sum(wishes) > 1 or (any(wishes) and surface is None):
        raise CallError(
            "expected a surface and one of --cron, --pause, --resume, --remove",
            cure='knotwatch schedule wood-boards --cron "0 2 * * 1"',
        )
    if surface is not None and cron is not None:
        # A misspelt surface or profile would fail by the clock, at night.
        own = read_surface(project, surface)
        resolve_run(project, own, profile or "full", [])
        deployments.change_schedule(project, surface, cron, timezone, profile)
    elif surface is not None and (pause or resume):
        deployments.set_active(project, surface, active=resume)
    elif surface is not None and remove:
        deployments.remove_schedule(project, surface)
    found = [s for s in deployments.list_schedules(project) if surface in (None, s.surface)]
    if as_json:
        print_json({"schedules": [s.model_dump(mode="json") for s in found]})
        return
    rows = [(s.surface, s.cron, s.timezone, s.profile, "active" if s.active else "paused") for s in found]
    print_table(["surface", "cron", "time zone", "profile", "state"], rows)
    if found and not _is_served():
        say("These run while a worker runs: start `knotwatch ui` (the README says how to start it at boot).")


def _is_served() -> bool:
    import os

    from flows.environment import running_servers

    return running_servers(find_project()) is not None or "PREFECT_API_URL" in os.environ


def serve(
    surface: Annotated[str, typer.Argument(help="The surface's name, as `knotwatch data list` shows it.")],
    port: Annotated[int, typer.Option(help="The port on 127.0.0.1; 0 takes a free one.")] = 8400,
    most_images: Annotated[int, typer.Option(min=1, help="Photographs that one request may bring.")] = 64,
    most_mb: Annotated[int, typer.Option(min=1, help="Megabytes that one request may have.")] = 100,
    waiting: Annotated[int, typer.Option(min=0, help="Requests that may wait; more are told to come back.")] = 16,
) -> None:
    """Answer MLflow's scoring protocol with the surface's champion, until Ctrl-C; a new champion takes over by itself.

    POST /invocations takes {"dataframe_split": {"columns": ["image"], "data": [["BASE64"]]}, "params": {"maps": true}}.
    /ping, /health and /version say how it is. Ctrl-C answers what is under way and ends.
    """
    from flows.environment import log_to_terminal
    from flows.rest.protocol import Limits
    from flows.rest.server import serve as run

    def ready(address: str, model: str) -> None:
        say(f"{model}: {address}/invocations\nA new champion takes over by itself. Ctrl-C stops.")

    log_to_terminal()
    run(find_project(), surface, port, Limits(images=most_images, megabytes=most_mb, waiting=waiting), ready)


def ui(
    prefect_port: Annotated[int, typer.Option(help="Port of Prefect's pages.")] = 4200,
    mlflow_port: Annotated[
        int | None, typer.Option(help="Port of MLflow's pages; default: mlflow/server.yaml.")
    ] = None,
) -> None:
    """Start Prefect, MLflow and a worker on 127.0.0.1, until Ctrl-C."""
    from flows.environment import log_to_terminal
    from flows.servers import run_ui

    def ready(prefect: str, mlflow: str) -> None:
        say(f"Prefect: {prefect}\nMLflow:  {mlflow}\nA worker runs what is scheduled. Ctrl-C stops all three.")

    log_to_terminal()
    run_ui(find_project(), prefect_port, mlflow_port, ready)


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")] = False,
) -> None:
    """Check this machine and this project; exit with 1 where something must be mended."""
    from flows.doctor import examine

    found = examine(find_project())
    if as_json:
        print_json({"checks": [c.model_dump(mode="json") for c in found]})
    else:
        print_table(["check", "state", "found"], [(c.name, "ok" if c.good else "MEND", c.found) for c in found])
    if not all(c.good for c in found):
        raise typer.Exit(1)
