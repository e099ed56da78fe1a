"""What is read of DVC's own files, dvc.lock and the pointers to raw data: they may have come from somebody else."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, ValidationError

from pipelines.errors import ToolError
from pipelines.inside import InsidePath
from pipelines.parsing import first_fault, parse_yaml

_CURE = "restore it from git, or remove it and run `knotwatch data update` for each surface"


class DvcFile(BaseModel):
    """A file or folder that DVC keeps; what else DVC says of it is its own affair."""

    path: InsidePath
    md5: str | int = ""


class DvcStage(BaseModel):
    """A stage in dvc.lock, or a DVC file, which has outs of the same shape."""

    outs: tuple[DvcFile, ...] = ()
    deps: tuple[DvcFile, ...] = ()


class _Lock(BaseModel):
    """What is read of dvc.lock. Stages of the user's own may say anything."""

    stages: dict[str, dict[str, Any]] = Field(default_factory=dict)


def read_lock(path: Path) -> dict[str, Any]:
    """Read dvc.lock, an empty one where there is none; raise ToolError where it is damaged."""
    if not path.is_file():
        return {"schema": "2.0"}
    try:
        found = parse_yaml(path.read_text("utf-8")) or {"schema": "2.0"}
        _Lock.model_validate(found)
    except ValidationError as error:
        raise ToolError(f"{path} is damaged: {first_fault(error)}", cure=_CURE) from error
    except ValueError as error:
        raise ToolError(f"{path} is damaged: {error}", cure=_CURE) from error
    return dict(found)


def read_stage(entry: object, where: str) -> DvcStage:
    """Read one stage of a lock file; raise ToolError, which says where, for one that names files outside."""
    try:
        return DvcStage.model_validate(entry)
    except ValidationError as error:
        raise ToolError(f"{where}: {first_fault(error)}", cure=_CURE) from error


def points_beside(name: str, text: str) -> bool:
    """Tell whether the DVC file `name` names what lies beside it under its own name, and nothing else."""
    try:
        found = parse_yaml(text)
        outs = DvcStage.model_validate({"outs": found.get("outs", [])}).outs if isinstance(found, dict) else ()
    except ValueError:
        return False
    return [out.path for out in outs] == [name.removesuffix(".dvc")] and "wdir" not in found
