"""What `knotwatch tune` may choose a setting from; each algorithm declares it beside its settings."""

import json
from collections.abc import Mapping
from typing import Any

from pydantic import model_validator

from pipelines.core.records import FiniteRecord, Record

_DIGITS = 3  # significant ones: no setting is worth more, and its line in a YAML stays short


class Whole(Record):
    """A whole number from `low` to `high`; with `log` a double of it is one step, wherever it is."""

    low: int
    high: int
    log: bool = False

    @model_validator(mode="after")
    def _has_a_range(self) -> "Whole":
        if self.low >= self.high or (self.log and self.low < 1):
            raise ValueError("expected low < high, and with log low >= 1")
        return self


class Real(FiniteRecord):
    """A number from `low` to `high`, of three significant digits; with `log` a double of it is one step."""

    low: float
    high: float
    log: bool = False

    @model_validator(mode="after")
    def _has_a_range(self) -> "Real":
        if self.low >= self.high or (self.log and self.low <= 0):
            raise ValueError("expected low < high, and with log low > 0")
        return self


class Choice(Record):
    """One of some values, as YAML has them; they have no order."""

    values: tuple[Any, ...]


Space = Whole | Real | Choice
# By dotted key inside the algorithm's section.
Search = Mapping[str, Space]


def write_value(space: Space, value: Any) -> str:
    """Write a value as it stands in YAML.

    Args:
        space: What it is from; a `Choice` takes what this function wrote, too.
        value: A number, or one of the choice's values.

    Returns:
        JSON, which is YAML on one line.

    >>> write_value(Real(low=0.01, high=1), 0.123456), write_value(Choice(values=([1, 2], [2])), [1, 2])
    ('0.123', '[1, 2]')
    """
    if isinstance(space, Choice):
        return value if isinstance(value, str) and value in texts(space) else json.dumps(value)
    return json.dumps(int(value) if isinstance(space, Whole) else float(f"{value:.{_DIGITS}g}"))


def texts(space: Choice) -> tuple[str, ...]:
    """Write all values of a choice, in their order."""
    return tuple(json.dumps(value) for value in space.values)
