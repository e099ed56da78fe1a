"""Fill `<!-- generate: NAME -->` on a page with Markdown that is made from the code."""

import re
from collections.abc import Callable
from typing import Any

import command_line
import json_answers
import mlflow_names
import setting_tables
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError

_MARK = re.compile(r"^<!-- generate: ([a-z-]+) -->$", re.MULTILINE)
_MADE: dict[str, Callable[[], str]] = {
    "run-settings": setting_tables.run_settings,
    "surface-settings": setting_tables.surface_settings,
    "commands": command_line.commands,
    "json-answers": json_answers.answers,
    "mlflow-tags": mlflow_names.tags,
    "mlflow-metrics": mlflow_names.metrics,
}


def _fill(_app: Sphinx, page: str, source: list[str]) -> None:
    def made(found: re.Match[str]) -> str:
        if found[1] not in _MADE:
            raise ExtensionError(f"{page}: nothing makes '{found[1]}', expected one of {', '.join(_MADE)}")
        return _MADE[found[1]]()

    source[0] = _MARK.sub(made, source[0])


def setup(app: Sphinx) -> dict[str, Any]:
    """Have Sphinx fill the pages as it reads them."""
    app.connect("source-read", _fill)
    return {"parallel_read_safe": True}
