"""What is read of DVC's own files, dvc.lock and the pointers to raw data: they may have come from somebody else."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from pipelines.core.errors import ToolError
from pipelines.core.parsing import first_fault, parse_yaml
from pipelines.core.paths import InsidePath

_HINT = "restore it from git, or remove it and run `knotwatch data update` for each surface"


class _Listed(BaseModel):
    """A file of a folder that DVC keeps."""

    relpath: InsidePath
    md5: str = ""


# What DVC writes into a pointer. `deps` of an import from git lead to that repository.
_POINTER = {"md5", "outs", "deps", "frozen", "desc", "meta"}
_LISTING = TypeAdapter(tuple[_Listed, ...])


class DvcFile(BaseModel):
    """A file or folder that DVC keeps; what else DVC says of it is its own affair."""

    path: InsidePath
    # Part of a path in DVC's cache.
    md5: Annotated[str, Field(pattern=r"^[0-9A-Za-z]*(\.dir)?$")] | int = ""
    files: tuple[_Listed, ...] = ()


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
        raise ToolError(f"{path} is damaged: {first_fault(error)}", hint=_HINT) from error
    except ValueError as error:
        raise ToolError(f"{path} is damaged: {error}", hint=_HINT) from error
    return dict(found)


def read_stage(entry: object, where: str) -> DvcStage:
    """Read one stage of a lock file.

    Args:
        entry: What the lock file holds under the stage's name, as parsed YAML.
        where: Names the file and the stage in an error.

    Returns:
        The stage's outs and deps, by paths relative to the project; both may be empty.

    Raises:
        ToolError: If the entry has another shape, or names files outside of the project.
    """
    try:
        return DvcStage.model_validate(entry)
    except ValidationError as error:
        raise ToolError(f"{where}: {first_fault(error)}", hint=_HINT) from error


def read_pointer(name: str, text: str, where: str) -> tuple[DvcFile, ...]:
    """Read a DVC file that points at one folder or file.

    Args:
        name: The DVC file's own name, such as source.dvc.
        text: Its content, YAML.
        where: Names the file in an error.

    Returns:
        Its one out.

    Raises:
        ToolError: If it names anything but what lies beside it under its own name, or DVC would fetch that from
            somewhere by itself: only an import from git may stand there, which waits for `dvc update`.

    >>> read_pointer("source.dvc", "outs: [{path: source, md5: 0f.dir}]", "wood/source.dvc")[0].md5
    '0f.dir'
    """
    try:
        found = parse_yaml(text)
        outs = DvcStage.model_validate({"outs": found.get("outs", [])}).outs if isinstance(found, dict) else ()
    except ValueError:
        outs = ()
    if [out.path for out in outs] != [name.removesuffix(".dvc")] or not found.keys() <= _POINTER or _fetches(found):
        raise ToolError(f"{where} does not point at what lies beside it: {text[:80]!r}", hint="do not use this data")
    return outs


def _fetches(pointer: dict[str, Any]) -> bool:
    """Tell whether DVC would copy a file of this machine's, or from an address, whenever it reproduces a stage."""
    deps = pointer.get("deps") or []
    imported = isinstance(deps, list) and all(
        isinstance(dep, dict) and isinstance(dep.get("repo"), dict) for dep in deps
    )
    return bool(deps) and not (imported and pointer.get("frozen") is True)


def check_listings(cache: Path, folders: Iterable[DvcFile]) -> None:
    """Refuse folders of which DVC's cache lists a file that lies outside: DVC itself would write it.

    Args:
        cache: DVC's cache folder.
        folders: Outs that are folders (their hash ends with `.dir`); one that the cache lacks passes.

    Raises:
        ToolError: If a listing is damaged, or names a file outside of its folder.
    """
    for out in folders:
        name = str(out.md5)
        for place in (cache / "files/md5", cache):  # DVC's since version 3, and before
            listing = place / name[:2] / name[2:]
            try:
                if listing.is_file():
                    _LISTING.validate_json(listing.read_bytes())
            except ValidationError as error:
                raise ToolError(
                    f"DVC's cache lists files of {out.path} that cannot be its own: {first_fault(error)}",
                    hint="do not use this data: it was made to write outside of the project",
                ) from error


def read_listing(path: Path) -> list[str]:
    """Read the hashes of the files that a folder has which DVC keeps; see `read_members`."""
    return [md5 for _, md5 in read_members(path)]


def read_members(path: Path) -> list[tuple[str, str]]:
    """Read which files a folder has that DVC keeps.

    Args:
        path: The folder's list in DVC's cache.

    Returns:
        Their paths in the folder and hashes; none where the cache lacks the list.

    Raises:
        ToolError: If the list is damaged.
    """
    if not path.is_file():
        return []
    try:
        return [(file.relpath, file.md5) for file in _LISTING.validate_json(path.read_bytes())]
    except ValidationError as error:
        hint = "remove it, then fetch it again with `knotwatch data pull`"
        raise ToolError(f"{path} is damaged: {first_fault(error)}", hint=hint) from error
