"""What commands print: one JSON object for machines, tables and sentences for people."""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipelines.errors import KnotwatchError
from pipelines.records import Record, Verdict

# In a pipe or a file there is no width to keep to: a cut-off path would be of no use to anyone.
out = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 240)
err = Console(stderr=True, highlight=False, soft_wrap=True)


def print_json(value: Record | Mapping[str, object]) -> None:
    """Print one object on one line of standard output."""
    data = value.model_dump(mode="json") if isinstance(value, Record) else value
    # What is not finite has no name in JSON.
    finite = json.loads(json.dumps(data), parse_constant=lambda _: None)
    print(json.dumps(finite, allow_nan=False), flush=True)  # noqa: T201 - rich would wrap it


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table; cells are text, not markup."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold", min_width=max(map(len, column.split())))
    for row in rows:
        table.add_row(*(Text("" if cell is None else str(cell)) for cell in row))
    out.print(table)


def say(text: str, style: str = "") -> None:
    """Print a sentence; names from outside are not read as markup."""
    out.print(Text(text), style=style)


def print_verdict(verdict: Verdict) -> None:
    """Print what validation found, file by file."""
    say(f"{verdict.images} images, {verdict.usable} usable")
    for title, files in (("quarantined", verdict.quarantined), ("duplicate", verdict.duplicates)):
        for file in files:
            say(f"  {title}: {file.path}: {file.reason}", "yellow")
    for warning in verdict.warnings:
        say(f"  warning: {warning}", "yellow")


def print_error(error: KnotwatchError, *, as_json: bool) -> None:
    """Print an error for people, and for machines where they asked for JSON."""
    err.print(Text(f"knotwatch: {error}"), style="red")
    if as_json:
        print_json({"error": error.problem, "cure": error.cure, "exit_code": error.exit_code})
