"""What `--json` answers, from the records that the commands print."""

import json
from importlib import import_module
from typing import Any

from pieces import code, table
from pydantic import BaseModel

# Command, and where the record lives that it prints.
_ANSWERS = (
    ("retrain", "flows.steps.results", "RetrainResult"),
    ("inspect", "flows.steps.results", "InspectResult"),
    ("adapt", "flows.adapting.results", "AdaptResult"),
    ("tune", "flows.tuning.results", "TuneResult"),
    ("watch", "flows.watching.results", "WatchResult"),
    ("promote, rollback", "pipelines.registry.record", "DecisionRecord"),
    ("models --lineage", "flows.promotion.lineage", "Lineage"),
    ("models (each of `models`)", "flows.steps.results", "ModelLine"),
    ("data add, data update", "flows.dataset.surface", "DataChange"),
    ("data add-types", "flows.dataset.surface", "TypesChange"),
    ("data review", "flows.dataset.review", "ReviewChange"),
    ("data suspects", "flows.dataset.suspects", "SuspectsResult"),
    ("data show", "flows.dataset.overview", "SurfaceOverview"),
    ("schedule (each of `schedules`)", "flows.operations.upcoming", "ListedSchedule"),
    ("doctor (each of `checks`)", "flows.upkeep.doctor", "Check"),
)


def answers() -> str:
    """Write each answer with its fields and JSON schema, and then the records inside them, once each."""
    records = [(command, _find(modules, names)) for command, modules, names in _ANSWERS]
    schemas = [(command, _schema(record)) for command, record in records]
    inner = {name: found for _, schema in schemas for name, found in schema.get("$defs", {}).items()}
    made = "".join(
        f"## {command}\n\n{_said(schema)}\n{_fields(schema)}{_folded(schema)}\n" for command, schema in schemas
    )
    made += "## Records inside the answers\n\n"
    return made + "".join(_record(name, inner[name]) for name in sorted(inner))


def _schema(record: type[BaseModel]) -> dict[str, Any]:
    # pydantic writes the schema of what is sent; fields with a default are always in it.
    return record.model_json_schema(mode="serialization", by_alias=True)


def _record(name: str, schema: dict[str, Any]) -> str:
    if "properties" in schema:
        return f"### {name}\n\n{_said(schema)}\n{_fields(schema)}"
    return f"### {name}\n\n{_said(schema)} {_type(schema)}\n\n"


def _find(modules: str, names: str) -> type[BaseModel]:
    """Find a record; of several names that it may have, the first that is there."""
    found = [import_module(module) for module in modules.split("|")]
    record: type[BaseModel] = next(getattr(m, n) for n in names.split("|") for m in found if hasattr(m, n))
    return record


def _said(schema: dict[str, Any]) -> str:
    return " ".join(str(schema.get("description", "")).split())


def _fields(schema: dict[str, Any]) -> str:
    return table(("field", "type"), [(code(name), _type(field)) for name, field in schema["properties"].items()])


def _type(field: dict[str, Any]) -> str:  # noqa: PLR0911 - one line a form that JSON schema has
    if "$ref" in field:
        name = str(field["$ref"]).rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if isinstance(options := field.get("anyOf"), list):
        return " or ".join(_type(option) for option in options)
    if field.get("type") == "array":
        items = field.get("items") or field.get("prefixItems")
        if isinstance(items, list):
            places = [str(item["title"]).lower() for item in items if "title" in item]
            return f"list of {len(items)}: {_type(items[0])}" + (f" ({', '.join(places)})" if places else "")
        return f"list of {_type(items)}" if isinstance(items, dict) and items else "list"
    if field.get("type") == "object":
        values = field.get("additionalProperties")
        return f"object of {_type(values)}" if isinstance(values, dict) else "object"
    if "const" in field or "enum" in field:
        return ", ".join(code(str(v)) for v in field.get("enum", [field.get("const")]))
    return str(field.get("format") or field.get("type") or "any")


def _folded(schema: dict[str, Any]) -> str:
    text = json.dumps(schema, indent=1)
    return f"<details><summary>JSON schema</summary>\n\n```json\n{text}\n```\n\n</details>\n"
