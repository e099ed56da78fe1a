"""Surfaces for the server's addresses, without a registry behind them."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

from flows.serving.app import Served, Serving
from flows.serving.line import Line
from flows.serving.metrics import Metrics
from flows.serving.protocol import Limits


def hold(surface: str, loaded: Any = None) -> Any:
    """Hold version 1 of a surface."""
    current = loaded or SimpleNamespace(name=f"{surface}/1 (padim)", version=1)

    @contextmanager
    def lend(_heed: Any) -> Iterator[Any]:
        yield current

    return SimpleNamespace(surface=surface, problem=None, current=current, lend=lend)


def make_serving(line: Line, limits: Limits, **scorers: Any) -> Serving:
    """Serve a surface for each scorer."""
    served = {name: Served(hold(name), scorer) for name, scorer in scorers.items()}
    return Serving(served, line, limits, Metrics())
