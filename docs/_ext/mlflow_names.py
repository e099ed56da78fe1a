"""Tables of the tags and metrics that runs and versions carry, as they are found in the code itself."""

import ast
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import yaml
from pieces import code, table
from sphinx.util import logging

log = logging.getLogger(__name__)
_SAID: dict[str, dict[str, str]] = yaml.safe_load(
    Path(__file__).with_name("mlflow_names.yaml").read_text(encoding="utf-8")
)


def tags() -> str:
    """Write every tag that the code sets on a run, a version or a registered model."""
    from pipelines.registry import decision_log
    from pipelines.tracking.runs import PROCESS

    record = f"{decision_log._HIDDEN}{decision_log._TAG}NNNN"
    fixed = [PROCESS, decision_log._SETTLED, decision_log._HOLD, record, "note NAME"]
    return table(("tag", "meaning"), [(code(n), _said("tags", n)) for n in sorted({*_dict_keys("tags"), *fixed})])


def metrics() -> str:
    """Write every metric of a run: those of the test split, those of the validation split, and costs."""
    from pipelines.core.wording import METRIC_NAMES
    from pipelines.registry.descriptions import TEST, VALIDATION

    rows = [(code(f"test/{name}"), f"{METRIC_NAMES[name]}, on the test split.") for name in TEST]
    for name in VALIDATION:
        against = "labelled" if name.startswith("labelled_") else "synthetic"
        title = METRIC_NAMES[name.removeprefix("labelled_")]
        rows.append((code(f"validation/{name}"), f"{title}, on the validation split, against {against} anomalies."))
    others = sorted({*_dict_keys("metrics", assigned=False), "transfer/gain_over_scratch"})
    rows += [(code(name), _said("metrics", name)) for name in others]
    rows += [(code(name), text) for name, text in _SAID["patterns"].items()]
    return table(("metric", "meaning"), rows)


def _said(kind: str, name: str) -> str:
    if name not in _SAID[kind]:
        log.warning("`%s` is set in MLflow and has no meaning: add it to mlflow_names.yaml under %s", name, kind)
    return _SAID[kind].get(name, "")


def _trees(*packages: str) -> Iterator[ast.Module]:
    for package in packages:
        spec = find_spec(package)
        for folder in (spec.submodule_search_locations or []) if spec else []:
            for path in sorted(Path(folder).rglob("*.py")):
                yield ast.parse(path.read_text(encoding="utf-8"))


def _dict_keys(what: str, *, assigned: bool = True) -> Iterator[str]:
    """Find the keys of dictionaries that are logged by `run.what`, or that are `assigned` to or handed on as `what`."""
    for tree in _trees("flows", "pipelines.registry", "pipelines.tracking"):
        for node in ast.walk(tree):
            yield from (key for found in _dicts(node, what, assigned) for key in _keys(found))


def _dicts(node: ast.AST, what: str, assigned: bool) -> Iterator[ast.Dict]:
    values: list[ast.expr] = []
    if isinstance(node, ast.Assign) and assigned:
        values = [node.value] if any(isinstance(t, ast.Name) and t.id == what for t in node.targets) else []
    elif isinstance(node, ast.Call):
        values = [k.value for k in node.keywords if k.arg == what and assigned]
        logs_run = isinstance(node.func, ast.Attribute) and node.func.attr == what and _is_run(node.func.value)
        values += node.args[:1] if logs_run else []
    yield from (value for value in values if isinstance(value, ast.Dict))


def _is_run(value: ast.expr) -> bool:
    return isinstance(value, ast.Name) and value.id in ("run", "parent")


def _keys(found: ast.Dict) -> Iterator[str]:
    for key in found.keys:
        if isinstance(key, ast.Constant) and isinstance(key.value, str):
            yield key.value
