"""`watch`."""

import math
import time
from typing import Annotated

import typer

from flows.cli.parameters import Surface
from flows.cli.printing import print_json, say
from pipelines.core.errors import CallError

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
