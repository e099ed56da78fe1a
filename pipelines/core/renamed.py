"""Former names of keys: stored data is read silently, a user's settings with a line that names the old and the new."""

import logging
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, ClassVar, get_args

import yaml
from pydantic import BaseModel, model_validator

log = logging.getLogger(__name__)


class Renamed(BaseModel):
    """A model that also reads what was written under former names; docs/renamed.md lists them.

    `former` maps a former key to the present one, `former_values` a key's former words to the present ones.
    `metric_fields` are mappings by names of metrics, which have former names of their own.
    """

    former: ClassVar[Mapping[str, str]] = {}
    former_values: ClassVar[Mapping[str, Mapping[str, str]]] = {}
    metric_fields: ClassVar[tuple[str, ...]] = ()

    @model_validator(mode="before")
    @classmethod
    def _read_former(cls, data: Any) -> Any:
        return present_names(cls, data) if isinstance(data, Mapping) else data


def present_names(model: type[Renamed], values: Mapping[Any, Any]) -> dict[Any, Any]:
    """Return values under their present names.

    Args:
        model: Whose keys these are.
        values: As they were read, under former or present names; not changed. Nested ones are left as they are, but for
            mappings by names of metrics.

    Returns:
        Values by key. Of a key that stands under both names the former one stays, to be refused.
    """
    found = {}
    for key, value in values.items():
        name = model.former.get(key, key)
        found[key if name in values else name] = value
    for name, words in model.former_values.items():
        if isinstance(found.get(name), str):
            found[name] = words.get(found[name], found[name])
    for name in model.metric_fields:
        if isinstance(found.get(name), Mapping):
            found[name] = metric_names(found[name])
    return found


def metric_names(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return metrics under their present names.

    >>> metric_names({"select_image_auroc": 0.9, "false_alarm_rate_low": 0.1, "aupro": 0.5})
    {'validation_image_auroc': 0.9, 'false_positive_rate_low': 0.1, 'aupro': 0.5}
    """
    return {_metric_name(name): value for name, value in metrics.items()}


def _metric_name(name: str) -> str:
    present = name.replace("false_alarm_rate", "false_positive_rate")
    return f"validation_{present.removeprefix('select_')}" if present.startswith("select_") else present


def modernise(model: type[Renamed], values: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Bring a user's settings under their present names, and log one line for each former one.

    Args:
        model: Whose keys these are; nested models are followed.
        values: As they were read, not merged with others yet; not changed.
        where: Names the place they come from in the line that is logged, once a process for each place and name.

    Returns:
        Values by key. Of a key that stands under both names the former one stays, to be refused.
    """
    for old, new in _former_in(model, values):
        _tell(where, old, new)
    found = present_names(model, values)
    for name, value in found.items():
        inner = section(model, name)
        if inner is not None and isinstance(value, Mapping):
            found[name] = modernise(inner, value, f"{where}, {name}")
    return found


def present_text(model: type[Renamed], text: str) -> str:
    """Write the keys of a YAML text by their present names; everything else, comments included, stays as it is.

    Args:
        model: Whose keys these are, at the top of the text; nested models are followed.
        text: Valid YAML.

    Returns:
        The text, equal to what it was where no former name stands in it.

    Raises:
        yaml.YAMLError: If the text is no YAML.
    """
    edits = sorted(_edits(model, yaml.compose(text, Loader=yaml.SafeLoader)), reverse=True)
    for start, end, name in edits:
        text = text[:start] + name + text[end:]
    return text


def _former_in(model: type[Renamed], values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for key, value in values.items():
        if key in model.former:
            yield key, model.former[key]
        words = model.former_values.get(model.former.get(key, key), {})
        if isinstance(value, str) and value in words:
            yield f"{key}: {value}", f"{model.former.get(key, key)}: {words[value]}"


@cache
def _tell(where: str, old: str, new: str) -> None:
    log.warning("%s: `%s` is now called `%s`; the former name is still read", where, old, new)


def section(model: type[Renamed], name: str) -> type[Renamed] | None:
    """Find the model of a nested section.

    Args:
        model: Whose field the section is.
        name: The field's present name.

    Returns:
        The model; None where there is no such field, or it holds no section.
    """
    field = model.model_fields.get(name)
    kinds = () if field is None else (field.annotation, *get_args(field.annotation))
    return next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Renamed)), None)


def _edits(model: type[Renamed], node: yaml.Node | None) -> Iterator[tuple[int, int, str]]:
    if not isinstance(node, yaml.MappingNode):
        return
    for key, value in node.value:
        name = model.former.get(key.value, key.value)
        if name != key.value:
            yield key.start_mark.index, key.end_mark.index, name
        words = model.former_values.get(name, {})
        if isinstance(value, yaml.ScalarNode) and value.value in words:
            yield value.start_mark.index, value.end_mark.index, words[value.value]
        inner = section(model, name)
        if inner is not None:
            yield from _edits(inner, value)
