"""Reading YAML and JSON that anybody may have written: all that can go wrong is one kind of error."""

import json
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from pipelines.core.errors import KnotwatchError, ToolError

_DEEPEST = 50
_LONGEST = 10_000_000  # characters; the lock file of a thousand surfaces has one million
_DIGITS = 100  # of a number
_Model = TypeVar("_Model", bound=BaseModel)


class MalformedError(ValueError):
    """Say why a text is not what it should be."""


class _Loader(yaml.SafeLoader):
    """Reads plain YAML: without anchors, by which a few lines become gigabytes, and not deeper than anyone writes."""

    _depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if getattr(self.peek_event(), "anchor", None):  # type: ignore[no-untyped-call]  # the stubs leave it out
            raise MalformedError("anchors and aliases (&, *) are not read; write the value out")
        self._depth += 1
        if self._depth > _DEEPEST:
            raise MalformedError(f"it is nested more than {_DEEPEST} deep")
        try:
            return super().compose_node(parent, index)
        finally:
            self._depth -= 1


def _read_whole(loader: _Loader, node: yaml.ScalarNode) -> int:
    """Read a whole number. `59:59:59` is one to base 60, and a megabyte of it takes PyYAML hours."""
    if len(node.value) > _DIGITS:
        raise MalformedError(f"a number of {len(node.value):,} characters is none that anything here can have")
    return int(loader.construct_yaml_int(node))


_Loader.add_constructor("tag:yaml.org,2002:int", _read_whole)


def parse_yaml(text: str) -> Any:
    """Read a YAML text; raise MalformedError for anything that is none."""
    if len(text) > _LONGEST:
        raise MalformedError(f"it has {len(text):,} characters, at most {_LONGEST:,} are read")
    try:
        return yaml.load(text, _Loader)  # noqa: S506 - derived from the safe loader
    except yaml.YAMLError as error:
        raise MalformedError(str(error)) from error
    except MalformedError:
        raise
    # A date of month 13, a number of a million digits, !!int without one: each is another error of PyYAML's.
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError) as error:
        raise MalformedError(f"a value cannot be read ({error})") from error


def parse_json(text: str | bytes) -> Any:
    """Read a JSON text; raise MalformedError for anything that is none, NaN and Infinity included."""
    try:
        found = json.loads(text, parse_constant=_refuse)
        # Python reads deeper than it writes.
        json.dumps(found)
    except RecursionError as error:
        raise MalformedError("it is nested too deep") from error
    except ValueError as error:
        raise MalformedError(str(error)) from error
    return found


def _refuse(word: str) -> None:
    raise MalformedError(f"{word} is no number in JSON")


def first_fault(error: ValidationError) -> str:
    """Say what a record refused first, and where in it."""
    first = error.errors(include_url=False, include_context=False)[0]
    where = ".".join(str(key) for key in first["loc"])
    words = str(first["msg"]).removeprefix("Value error, ")
    return _printable(f"{where[:200]}: {words}" if where else words)


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def read_record(model: type[_Model], path: Path, hint: str, kind: type[KnotwatchError] = ToolError) -> _Model:
    """Read a record that a file holds as JSON.

    Args:
        model: What the file must hold.
        path: The file; the error names it.
        hint: What a person can do about a missing or damaged one.
        kind: Which error it is for the caller.

    Returns:
        The record, checked.

    Raises:
        KnotwatchError: Of `kind`, if the file cannot be read or holds another thing.
    """
    try:
        return model.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise kind(f"{path} is damaged: {first_fault(error)}", hint=hint) from error
    except OSError as error:
        raise kind(f"{path} cannot be read: {error.strerror}", hint=hint) from error
