"""Where a version comes from, and back: from a data version to all models that saw it."""

from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from typing import ClassVar

from pydantic import Field

from pipelines.core.errors import CallError, ModelError
from pipelines.core.parsing import parse_json
from pipelines.core.paths import InsidePath, Project
from pipelines.core.records import Record
from pipelines.registry.decision_log import DecisionLog, records_of
from pipelines.registry.record import DecisionRecord
from pipelines.tracking.data import IMAGES
from pipelines.tracking.registry import ModelVersion
from pipelines.tracking.store import Tracking


class Image(Record):
    """An image that a version met, and in which split."""

    former: ClassVar[Mapping[str, str]] = {"part": "split"}
    former_values: ClassVar[Mapping[str, Mapping[str, str]]] = {
        "split": {"select": "validation", "calibrate": "calibration"}
    }

    path: InsidePath
    split: str
    label: str


class Lineage(Record):
    """All that made a version: data, images, code, parameters, runs, and the decisions about it.

    `counts` are the images by split; versions made before images were listed have none. `parent` is the
    version that it was adapted from.
    """

    surface: str
    version: int
    algorithm: str
    aliases: tuple[str, ...]
    data_version: str
    counts: dict[str, int] = Field(default_factory=dict)
    images: tuple[Image, ...] = ()
    git_commit: str
    parameters: dict[str, str] = Field(default_factory=dict)
    parent: str = ""
    run_id: str
    retrain_run_id: str = ""
    prefect_page: str = ""
    decisions: tuple[DecisionRecord, ...] = ()


class DataUser(Record):
    """A version that saw a data version: it was trained on it, or adapted from a version that was."""

    surface: str
    version: int
    algorithm: str
    aliases: tuple[str, ...]
    data_version: str
    adapted_from: str = ""


def trace(tracking: Tracking, surface: str, number: int) -> Lineage:
    """Trace a version back to what it was made from; decisions come with all their figures.

    Args:
        tracking: Store that knows the version.
        surface: Surface of the version; its files may be gone from the project.
        number: Version's number.

    Returns:
        The lineage; what was not kept, or can no longer be read, is empty in it.

    Raises:
        ModelError: If there is no such version.
    """
    version = next((v for v in tracking.versions(surface) if v.version == number), None)
    if version is None:
        raise ModelError(f"'{surface}' has no version {number}", hint=f"knotwatch models {surface} lists what there is")
    images: tuple[Image, ...] = ()
    with suppress(ModelError, ValueError, TypeError):
        images = tuple(Image.model_validate(row) for row in parse_json(tracking.read_text(version.run_id, IMAGES)))
    return Lineage(
        surface=surface,
        version=number,
        algorithm=version.algorithm,
        aliases=version.aliases,
        data_version=version.tags.get("data_version", ""),
        counts=dict(Counter(image.split for image in images)),
        images=images,
        git_commit=version.tags.get("git_commit", ""),
        parameters=tracking.params(version.run_id) if version.run_id else {},
        parent=version.tags.get("adapted_from", ""),
        run_id=version.run_id,
        retrain_run_id=(tracking.parent(version.run_id) or "") if version.run_id else "",
        prefect_page=version.tags.get("prefect_page", ""),
        decisions=tuple(_whole(tracking, record) for record in records_of(version)),
    )


def find_data_users(project: Project, tracking: Tracking, data: str) -> list[DataUser]:
    """Find all models of all surfaces that saw a data version.

    Args:
        project: Its surfaces are searched, besides all that have models.
        tracking: Store whose registry is searched.
        data: Data version, or a beginning of one.

    Returns:
        The versions that were trained on it, by surface and then the newest first; after them those adapted from one of
        these, at any remove.

    Raises:
        CallError: If no model saw such data.
    """
    known = [v for surface in _surfaces(project, tracking) for v in tracking.versions(surface)]
    found = [v for v in known if data and v.tags.get("data_version", "").startswith(data)]
    heirs = found
    while heirs:
        names = {f"{v.surface}/{v.version}" for v in heirs}
        heirs = [v for v in known if v.tags.get("adapted_from") in names and v not in found]
        found = found + heirs
    if not found:
        raise CallError(
            f"no model saw a data version '{data}'", hint="`knotwatch data show SURFACE` lists data versions"
        )
    return [_as_data_user(version) for version in found]


def _as_data_user(version: ModelVersion) -> DataUser:
    return DataUser(
        surface=version.surface,
        version=version.version,
        algorithm=version.algorithm,
        aliases=version.aliases,
        data_version=version.tags.get("data_version", ""),
        adapted_from=version.tags.get("adapted_from", ""),
    )


def _surfaces(project: Project, tracking: Tracking) -> list[str]:
    """Name the surfaces that have models, those whose files were removed included."""
    return sorted({*project.surface_names(), *tracking.model_names()})


def _whole(tracking: Tracking, record: DecisionRecord) -> DecisionRecord:
    try:
        return DecisionLog(tracking, record.surface).read_whole(record)
    except (ModelError, ValueError):
        return record


def why(tracking: Tracking, version: ModelVersion) -> str:
    """Say in one line why a version is in use or not: its last decision, or how its run ended.

    Args:
        tracking: Store that knows the version's run.
        version: With its tags, which hold the decisions.

    Returns:
        The line; empty where a finished version was never decided on.
    """
    records = records_of(version)
    if records:
        return records[-1].summary
    if not version.run_id or tracking.is_finished(version.run_id):
        return ""
    return f"version {version.version}: its run is under way, or was stopped"
