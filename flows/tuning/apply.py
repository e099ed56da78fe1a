"""The best settings as lines of a surface's YAML, and their way into it."""

import json
from collections.abc import Mapping
from typing import Any

import yaml

from flows.runtime.session import Session
from pipelines.core.errors import SettingsError
from pipelines.core.files import write_whole
from pipelines.core.settings import put_values
from pipelines.core.surface_settings import read_surface
from pipelines.training.run_settings import resolve_run
from pipelines.training.tuning.trials import Tried


def choose_values(algorithm: str, best: Tried, as_is: Tried) -> dict[str, Any]:
    """Choose what of the best trial differs from the settings as they are.

    Args:
        algorithm: Whose settings these are.
        best: The trial that is worth most.
        as_is: The trial of the settings as they are.

    Returns:
        What belongs into the surface's YAML, from `train` down; empty where nothing differs.
    """
    changed = {key: text for key, text in best.settings.items() if text != as_is.settings.get(key)}
    found: dict[str, Any] = {}
    for key, text in changed.items():
        *above, last = key.split(".")
        section = found
        for name in ("train", algorithm, *above):
            section = section.setdefault(name, {})
        section[last] = json.loads(text)
    return found


def write_lines(values: Mapping[str, Any]) -> str:
    """Write values as lines of a YAML, lists on one line; empty where there are none."""
    return put_values("", values) if values else ""


def apply_values(session: Session, profile: str, values: Mapping[str, Any]) -> None:
    """Write values into a surface's YAML, whose comments and other lines stay.

    Args:
        session: Open on the surface, and held.
        profile: Profile by which they were tried.
        values: From `choose_values`.

    Raises:
        SettingsError: If the file cannot be changed so; it is left as it was.
    """
    path = session.paths.settings
    before = path.read_text(encoding="utf-8")
    changed = put_values(before, values)
    if yaml.safe_load(changed) != _lay(yaml.safe_load(before), values):
        raise SettingsError(f"{path} cannot be changed without losing a part", hint="put the lines there by hand")
    write_whole(path, changed)
    try:
        resolve_run(session.project, read_surface(session.project, session.surface), profile, [])
    except SettingsError:
        write_whole(path, before)
        raise


def _lay(base: Any, over: Any) -> Any:
    if not (isinstance(base, Mapping) and isinstance(over, Mapping)):
        return over
    return {**base, **{key: _lay(base.get(key), value) for key, value in over.items()}}
