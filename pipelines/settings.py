"""What all settings have in common: frozen, no unknown keys, read from YAML with errors that name file and key."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from pipelines.errors import SettingsError


class Settings(BaseModel):
    """Frozen settings that refuse unknown keys, so that a misspelt key stops before work starts."""

    model_config = ConfigDict(frozen=True, extra="forbid")


_Model = TypeVar("_Model", bound=Settings)


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file that holds a mapping; raise SettingsError, which names the file, where it does not."""
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is not valid YAML: {error}", cure="mend the line it names") from error
    if not isinstance(found, dict):
        raise SettingsError(f"{path} holds no mapping of keys to values", cure="restore it from git")
    return found


def check_settings(model: type[_Model], values: Mapping[str, Any], where: str) -> _Model:
    """Make settings of values that come from `where`; raise SettingsError with each key that is wrong."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        lines = [f"{'.'.join(str(k) for k in e['loc']) or '(top)'}: {e['msg']}" for e in error.errors()]
        raise SettingsError(f"{where}: " + "; ".join(lines), cure="correct or remove these keys") from error
