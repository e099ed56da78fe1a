"""What all settings have in common: frozen, no unknown keys, read from YAML with errors that name file and key."""

import functools
import re
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args

import yaml
from pydantic import ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from pipelines.core.errors import SettingsError, UnknownNameError, find_closest, offer
from pipelines.core.parsing import MalformedError, parse_yaml
from pipelines.core.renamed import Renamed, section

_WIDTH = 110  # characters of a comment in YAML

# What torch and numpy both take as a seed.
Seed = Annotated[int, Field(ge=0, lt=2**32)]


class Settings(Renamed):
    """Frozen settings that refuse unknown keys, so that a misspelt key stops before work starts.

    Numbers are finite, and neither true nor false.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _truth_is_no_number(cls, value: Any, info: ValidationInfo) -> Any:
        inner = value if isinstance(value, list | tuple) else (value,)
        if any(isinstance(v, bool) for v in inner) and _is_number(cls.model_fields[str(info.field_name)].annotation):
            raise ValueError("Input should be a number, not true or false")
        return value


def _is_number(annotation: Any) -> bool:
    return annotation in (int, float) or any(_is_number(inner) for inner in get_args(annotation))


_Model = TypeVar("_Model", bound=Settings)
_MOST_FAULTS = 20  # that are told at once


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file that holds a mapping; raise SettingsError, which names the file, where it does not."""
    try:
        found = parse_yaml(path.read_text(encoding="utf-8"))
    except (MalformedError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is not valid YAML: {error}", hint="mend the line it names") from error
    if not isinstance(found, dict):
        raise SettingsError(f"{path} holds no mapping of keys to values", hint="restore it from git")
    return found


def check_settings(model: type[_Model], values: Mapping[str, Any], where: str) -> _Model:
    """Make settings of values that come from `where`.

    Args:
        model: The settings to make.
        values: By key, under former or present names, nested as the settings are; what is left out takes its default.
        where: File, profile or command that the error names.

    Returns:
        The settings, checked.

    Raises:
        SettingsError: If a key is unknown or missing, or its value is wrong; up to 20 such keys are named, and
            for a key or word that is close to a known one the hint offers that.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        lines = [f"{'.'.join(str(k) for k in e['loc']) or '(top)'}: {e['msg']}" for e in error.errors()[:_MOST_FAULTS]]
        raise SettingsError(f"{where}: " + "; ".join(lines), hint=_hint(model, error)) from error


def _hint(model: type[Settings], error: ValidationError) -> str:
    faults = error.errors()[:_MOST_FAULTS]
    return offer("correct or remove these keys", (name for fault in faults for name in _meant(model, fault)))


def _meant(model: type[Settings], fault: Mapping[str, Any]) -> Iterator[str]:
    """Yield what an unknown key, by its full name, or an unknown word was probably meant to be."""
    *above, last = (str(part) for part in (fault["loc"] or ("",)))
    context = fault.get("ctx", {})
    if fault["type"] == "extra_forbidden":
        names = find_closest(last, _keys(model, above))
        yield from filter(None, [names and ".".join([*above, names])])
    elif fault["type"] in {"enum", "literal_error"}:
        yield from filter(None, [find_closest(str(fault["input"]), re.findall(r"'([^']*)'", context["expected"]))])
    elif isinstance(wrong := context.get("error"), UnknownNameError):
        yield from filter(None, [find_closest(wrong.found, wrong.known)])


def _keys(model: type[Renamed], above: list[str]) -> list[str]:
    for name in above:
        inner = section(model, name)
        if inner is None:
            return []
        model = inner
    return list(model.model_fields)


@functools.cache
def read_meanings() -> Mapping[str, str]:
    """Read what each setting means, by its dotted key."""
    found: dict[str, str] = yaml.safe_load(Path(__file__).with_name("meanings.yaml").read_text("utf-8"))
    return found


def put_values(text: str, values: Mapping[str, Any]) -> str:
    """Write values into a YAML text; everything else, comments included, stays as it is.

    Args:
        text: Valid YAML that holds a mapping.
        values: By key; nested mappings are sections, of which other keys stay.

    Returns:
        The text that reads back as what it was with these values laid on it.

    Raises:
        yaml.YAMLError: If the text is no YAML.

    >>> print(put_values("a: 1  # one\\ntrain: {}\\n", {"train": {"padim": {"ridge": 0.5}}}), end="")
    a: 1  # one
    train:
      padim:
        ridge: 0.5
    """
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    if not isinstance(root, yaml.MappingNode) or root.flow_style:
        return _dump({**(parse_yaml(text) or {}), **values})
    # From the end: what comes before stays where it was found.
    for start, end, words in sorted(_changes(text, root, values, 0), reverse=True):
        text = text[:start] + words + text[end:]
    return text


def _changes(
    text: str, node: yaml.MappingNode, values: Mapping[str, Any], indent: int
) -> Iterator[tuple[int, int, str]]:
    """Yield what is to stand in place of which characters."""
    found = {key.value: value for key, value in node.value}
    colons = {key.value: text.index(":", key.end_mark.index) for key, _ in node.value}
    added = {key: value for key, value in values.items() if key not in found}
    for key, value in values.items():
        old = found.get(key)
        if old is None:
            continue
        if isinstance(value, Mapping) and isinstance(old, yaml.MappingNode) and not old.flow_style:
            yield from _changes(text, old, value, old.start_mark.column)
            continue
        start = colons[key] + 1
        end = start + len(text[start : _last(old) + 1].rstrip())
        if isinstance(value, Mapping):
            # `{}`, or another section on one line, or nothing: what it holds stays.
            kept = parse_yaml(text[start:end]) if text[start:end] else {}
            merged = _lay(kept if isinstance(kept, Mapping) else {}, value)
            yield start, end, "\n" + textwrap.indent(_dump(merged), " " * (indent + 2)).rstrip("\n")
        else:
            yield start, end, f" {_on_one_line(value)}"
    if added:
        end = text.find("\n", _last(node))
        lines = textwrap.indent(_dump(added), " " * indent)
        yield (len(text), len(text), f"\n{lines}") if end < 0 else (end + 1, end + 1, lines)


def _lay(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    both = {key: _lay(base[key], over[key]) for key in base.keys() & over.keys() if isinstance(over[key], Mapping)}
    return {**base, **over, **both}


def _last(node: yaml.Node) -> int:
    """Return the place of the last character that is of a node itself; a block's own end lies behind comments."""
    if node.value and isinstance(node, yaml.MappingNode) and not node.flow_style:
        return _last(node.value[-1][1])
    if node.value and isinstance(node, yaml.SequenceNode) and not node.flow_style:
        return _last(node.value[-1])
    return int(node.end_mark.index) - 1


def _on_one_line(value: Any) -> str:
    return yaml.safe_dump(value, default_flow_style=True, width=_WIDTH * 10).removesuffix("\n").removesuffix("\n...")


def _dump(values: Mapping[str, Any]) -> str:
    """Write sections as blocks, and lists on one line."""
    made = ""
    for key, value in values.items():
        name = _on_one_line(key)
        if isinstance(value, Mapping) and value:
            made += f"{name}:\n{textwrap.indent(_dump(value), '  ')}"
        else:
            made += f"{name}: {_on_one_line(value)}\n"
    return made


def explain_yaml(values: Mapping[str, Any], meanings: Mapping[str, str]) -> str:
    """Write settings as YAML with a comment above each key that has a meaning.

    Args:
        values: Of what YAML knows; nested mappings are sections.
        meanings: By dotted key.

    Returns:
        A text that reads back as `values`.

    >>> print(explain_yaml({"gate": {"ratio": 1.5}}, {"gate.ratio": "Largest ratio."}), end="")
    gate:
      # Largest ratio.
      ratio: 1.5
    """
    return "".join(f"{line}\n" for line in _lines(values, meanings, ""))


def _lines(values: Mapping[str, Any], meanings: Mapping[str, str], prefix: str) -> Iterator[str]:
    for key, value in values.items():
        for line in textwrap.wrap(meanings.get(f"{prefix}{key}", ""), _WIDTH):
            yield f"# {line}"
        if isinstance(value, Mapping) and value:
            yield yaml.safe_dump({key: {}}).removesuffix(" {}\n")
            yield from (f"  {line}" for line in _lines(value, meanings, f"{prefix}{key}."))
        else:
            yield from yaml.safe_dump({key: value}, sort_keys=False).splitlines()
