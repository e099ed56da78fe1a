"""`watch` and `line`."""

import math
import time
from typing import Annotated

import typer

from flows.cli.parameters import Json, Surface
from flows.cli.printing import print_json, say
from flows.line.source import Behind
from pipelines.core.errors import CallError
from pipelines.core.paths import find_project

_LONGEST = 31_536_000.0  # a year


def watch(
    surface: Surface,
    once: Annotated[bool, typer.Option("--once", help="Check once, then end.")] = False,
    every: Annotated[float, typer.Option(min=1, max=_LONGEST, help="Seconds between two checks.")] = 60.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a check instead of text.")] = False,
) -> None:
    """Check for new images and drift; retrain where the surface's policy says so.

    Without --once it checks again and again until Ctrl-C. `knotwatch schedule SURFACE --watch` has the worker do it.
    """
    from flows.commands.train import call_watch

    if math.isnan(every):
        raise CallError("--every nan is no number of seconds", hint="give 1 or more")
    while True:
        result = call_watch(surface)
        if as_json:
            print_json(result)
        else:
            for line in result.lines or ("nothing new",):
                say(f"{time.strftime('%H:%M:%S')} {surface}: {line}")
        if once:
            break
        time.sleep(every)
    if result.retrained and result.retrained.problem:
        raise typer.Exit(1)


def line(
    surface: Surface,
    came: Annotated[
        str,
        typer.Option(
            "--source", metavar="SOURCE", help="folder:PATH, video:FILE, camera:0, rtsp://HOST or http://HOST."
        ),
    ] = "",
    sink: Annotated[
        list[str] | None,
        typer.Option(metavar="SINK", help="mqtt://HOST/TOPIC, https://HOST/PATH or folder:PATH; may be repeated."),
    ] = None,
    leave: Annotated[bool, typer.Option("--leave", help="Leave judged images where they are, not in done/.")] = False,
    settle: Annotated[float, typer.Option(min=0.0, max=60.0, help="Seconds that a file must have stood still.")] = 0.5,
    frozen_after: Annotated[
        float, typer.Option(min=0.0, help="Seconds of the same picture that are a fault; 0: never.")
    ] = 10.0,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the page on this machine; 0 takes any.")] = 8410,
    no_page: Annotated[bool, typer.Option("--no-page", help="Serve no page.")] = False,
    rate: Annotated[float, typer.Option(min=0.0, help="Frames a second at most, of cameras; 0: all.")] = 0.0,
    behind: Annotated[
        Behind | None, typer.Option(help="Of frames that come too fast. Default: drop-oldest; of videos: block.")
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="Judge what is there, deliver it, end.")] = False,
    as_json: Json = False,
) -> None:
    """Judge each image that a camera writes and hand the verdict to machines, until Ctrl-C; a new champion takes over.

    A verdict is good, anomalous or uninspectable. What a sink misses is kept and delivered later, in order; a restart
    loses and doubles nothing. Secrets are read from KNOTWATCH_MQTT_USER, KNOTWATCH_MQTT_PASSWORD and
    KNOTWATCH_WEBHOOK_KEY, or from the files that these names with _FILE name. Addresses may stand in the surface's
    YAML, under `line`.
    """
    from flows.line.run import LineOptions, run_line
    from flows.runtime.environment import log_to_terminal
    from pipelines.core.surface_settings import read_surface

    own = read_surface(find_project(), surface).line
    source, sinks = came or own.source, sink or list(own.sinks)
    if not source or not sinks:
        raise CallError(
            "a line needs a source and a sink",
            hint="--source folder:/camera --sink mqtt://broker/line1/boards, or `line` in the surface's YAML",
        )
    log_to_terminal()
    options = LineOptions(settle=settle, move=not leave, frozen_after=frozen_after, once=once, rate=rate, behind=behind)
    if not (once or no_page):
        options = options.model_copy(update={"port": port})
    counts = run_line(find_project(), surface, source, sinks, options, lambda address: say(f"page: {address}"))
    if as_json:
        print_json({"surface": surface, **counts})
        return
    say(f"{surface}: " + ", ".join(f"{number} {answer}" for answer, number in counts.items()))
