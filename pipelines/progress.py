"""Progress on long work: a bar on a terminal, silence elsewhere (a stage logs once, at its end)."""

import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

from pipelines.interrupt import heed_interrupt

_Item = TypeVar("_Item")


def track(items: Iterable[_Item], total: int, label: str) -> Iterator[_Item]:
    """Yield the items, with a bar on a terminal where there are more than a few; a Ctrl-C that was lost ends it."""
    if total < 20 or not sys.stderr.isatty():
        yield from _heeding(items)
        return
    from rich.console import Console
    from rich.progress import track as rich_track

    yield from rich_track(_heeding(items), description=label, total=total, console=Console(stderr=True), transient=True)


def _heeding(items: Iterable[_Item]) -> Iterator[_Item]:
    for item in items:
        heed_interrupt()
        yield item
