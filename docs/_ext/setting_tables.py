"""Lists of settings from the pydantic models: key, values, default, and what it means.

A field's own `description` says what it means; where it has none, `pipelines/core/meanings.yaml` does. A field with
neither is a warning, and so an error of `make docs`, so that no setting stays unexplained.
"""

import types
from collections.abc import Iterator
from enum import Enum
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types
from pieces import code, definitions
from pydantic import AliasChoices, BaseModel
from pydantic.fields import FieldInfo
from sphinx.util import logging

from pipelines.core.settings import read_meanings

log = logging.getLogger(__name__)

_MEANINGS = read_meanings()
_BOUNDS = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<", "multiple_of": "multiple of"}
_NAMES = {int: "integer", float: "number", str: "text", bool: "true or false"}


def run_settings() -> str:
    """Write all settings of a training run, as in params.yaml."""
    from pipelines.training.run_settings import RunSettings

    return _sections(RunSettings, "the run")


def surface_settings() -> str:
    """Write all settings of a surface's own YAML."""
    from pipelines.core.surface_settings import SurfaceSettings

    return _sections(SurfaceSettings, "the surface")


def _sections(model: type[BaseModel], title: str) -> str:
    defaults = {name: field.get_default(call_default_factory=True) for name, field in model.model_fields.items()}
    own = [_row(n, _keys([""], n, f), f, defaults[n]) for n, f in model.model_fields.items() if _section_of(f) is None]
    made = f"### Of {title} as a whole\n" + definitions(own)
    for name, field in model.model_fields.items():
        if section := _section_of(field):
            keys = _keys([""], name, field)
            rows = list(_rows(section, keys, defaults[name]))
            made += f"### `{name}`\n\n{_meaning(keys, field)}\n" + definitions(rows)
    return made


def _rows(model: type[BaseModel], prefixes: list[str], default: Any) -> Iterator[tuple[str, str]]:
    for name, field in model.model_fields.items():
        keys = _keys([f"{prefix}." for prefix in prefixes], name, field)
        value = getattr(default, name) if isinstance(default, BaseModel) else field.get_default()
        section = _section_of(field)
        # A section that may be left out is one value to its reader; its keys follow all the same.
        if section is None or value is None:
            yield _row(keys[0], keys, field, value)
        if section is not None:
            yield from _rows(section, keys, value)


def _keys(prefixes: list[str], name: str, field: FieldInfo) -> list[str]:
    """Return a field's key, and behind it those that it had before."""
    return [prefix + each for prefix in prefixes for each in dict.fromkeys([name, *_aliases(field)])]


def _row(key: str, keys: list[str], field: FieldInfo, default: Any) -> tuple[str, str]:
    usual = "required" if field.is_required() else f"default {_shown(default)}"
    return code(key), f"{_meaning(keys, field)} *{_values(field)}*; {usual}."


def _meaning(keys: list[str], field: FieldInfo) -> str:
    # FastFlow is set twice, by the same model.
    known = [*keys, *(key.replace("fastflow_dinov2.", "fastflow.") for key in keys)]
    said = field.description or next((_MEANINGS[key] for key in known if key in _MEANINGS), None)
    if not said:
        log.warning("the setting `%s` has no meaning: describe its field, or add it to meanings.yaml", keys[0])
    name = keys[0].rpartition(".")[2]
    old = [alias for alias in _aliases(field) if alias != name]
    return (said or "") + (f" Still read under its old name: {', '.join(map(code, old))}." if old else "")


def _aliases(field: FieldInfo) -> list[str]:
    found = field.validation_alias
    return [str(a) for a in found.choices] if isinstance(found, AliasChoices) else []


def _section_of(field: FieldInfo) -> type[BaseModel] | None:
    kinds = (field.annotation, *get_args(field.annotation))
    return next((k for k in kinds if isinstance(k, type) and issubclass(k, BaseModel)), None)


def _values(field: FieldInfo) -> str:
    bounds = [
        f"{sign}\N{NO-BREAK SPACE}{_number(value)}"
        for item in field.metadata
        for name, sign in _BOUNDS.items()
        if isinstance(item, annotated_types.BaseMetadata) and (value := getattr(item, name, None)) is not None
    ]
    return ", ".join([_type(field.annotation), *bounds])


def _number(value: float) -> str:
    """Write a bound; the ends of 64-bit integers are known by their power.

    >>> [_number(value) for value in (0.4, 1e9, -(2**63), 2**63)]
    ['0.4', '1000000000', '-2^63', '2^63']
    """
    if abs(value) == 2**63:
        return "-2^63" if value < 0 else "2^63"
    return f"{value:g}" if isinstance(value, float) and value < 1e6 else f"{value:.0f}"


def _type(kind: Any) -> str:  # noqa: PLR0911 - one line a kind of type
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Literal:
        return ", ".join(str(v) for v in inner)
    if origin is Annotated:
        return _type(inner[0])
    if origin in (Union, types.UnionType):
        return " or ".join("none" if k is type(None) else _type(k) for k in inner)
    if origin in (tuple, list):
        return "list of " + _type(inner[0])
    if origin is dict:
        return "keys and values"
    if isinstance(kind, type) and issubclass(kind, Enum):
        return ", ".join(str(v.value) for v in kind)
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return "a section"
    return _NAMES.get(kind, str(kind))


def _shown(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return code(str(value).lower())
    if isinstance(value, tuple | list):
        return code(f"[{', '.join(str(v.value if isinstance(v, Enum) else v) for v in value)}]")
    if isinstance(value, dict):
        return code("{}")
    return code(str(value.value if isinstance(value, Enum) else value))
