"""How a benchmark's command ends: what knotwatch itself refuses is one line and its exit code, no stack trace."""

import sys
from collections.abc import Callable
from typing import Any

import typer
from rich.console import Console

from pipelines.core.errors import KnotwatchError


def run_command(command: Callable[..., Any]) -> None:
    """Run a function as the command line says."""
    try:
        typer.run(command)
    except KnotwatchError as error:
        Console(stderr=True).print(f"Error: {error}", markup=False)
        sys.exit(error.exit_code)
