"""The page of all results, brought up to date at the end of whatever changes something."""

import base64
import logging
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import yaml
from filelock import FileLock

from flows.runtime.environment import mlflow_address, plain_address, running_servers
from pipelines.core.errors import ModelError
from pipelines.core.paths import Project, SurfacePaths
from pipelines.core.results import ValidationReport, VersionSummary
from pipelines.reports.folders import EXAMPLE, PAGE, find_folder, read_note
from pipelines.reports.overview.surface_card import (
    ChampionNote,
    DataNote,
    DecisionNote,
    DriftNote,
    InspectionNote,
    ModelsNote,
    read_card,
    write_card,
)

if TYPE_CHECKING:
    from pipelines.reports.overview.index_page import Servers
    from pipelines.tracking.registry import ModelVersion
    from pipelines.tracking.store import Tracking

_DECISIONS = 5
_PATIENCE = 10.0  # seconds that another process may take to write the page
# Of versions of before there was an example: any picture of their run.
_PICTURES = (EXAMPLE, "pictures/typical-hits-1.jpg", "pictures/worst-misses-1.jpg", "pictures/worst-false-alarms-1.jpg")

log = logging.getLogger(__name__)


def index_path(project: Project) -> Path:
    return project.root / "data/reports" / PAGE


def update_index(
    project: Project,
    surface: str | None = None,
    tracking: "Tracking | None" = None,
    *,
    look: bool = False,
    inspection: InspectionNote | None = None,
    drift: DriftNote | None = None,
) -> None:
    """Bring the page of all results up to date; it never fails what it is called after.

    MLflow is asked only where this process changed what is registered, or nothing is known of the surface's versions.

    Args:
        project: All its surfaces are shown.
        surface: The one that something was done with; None where that was none.
        tracking: MLflow's store, where it is open.
        look: Ask MLflow in any case.
        inspection: What came of an inspection just now.
        drift: What a check of a batch found just now.
    """
    started = time.monotonic()
    try:
        paths = project.surface(surface) if surface else None
        if paths and paths.settings.is_file():
            _update_card(project, paths, tracking, look, inspection, drift)
        reports = index_path(project).parent
        with FileLock(_lock_file(project), timeout=_PATIENCE):
            from pipelines.reports.overview.index_page import write_index_page

            cards = [read_card(project.surface(name).reports) for name in project.surface_names()]
            write_index_page(reports, cards, find_servers(project))
    except Exception as error:
        log.warning("%s is not up to date: %s", index_path(project).relative_to(project.root), error)
    log.debug("page of all results: %.2f s", time.monotonic() - started)


def find_servers(project: Project) -> "Servers":
    """Return where links into MLflow and Prefect lead: to what runs, else to where `knotwatch ui` would put them."""
    from pipelines.reports.overview.index_page import Servers

    running = running_servers(project) or {"prefect": ""}
    own = {name: os.environ.get(name, "") for name in ("PREFECT_UI_URL", "PREFECT_API_URL")}
    prefect = running["prefect"] or own["PREFECT_UI_URL"] or own["PREFECT_API_URL"] or "http://127.0.0.1:4200"
    mlflow = mlflow_address(project) or f"http://127.0.0.1:{_mlflow_port(project)}"
    return Servers(mlflow, plain_address(prefect).removesuffix("/api"))


def _mlflow_port(project: Project) -> int:
    return int(yaml.safe_load((project.root / "mlflow/server.yaml").read_text("utf-8"))["port"])


def _lock_file(project: Project) -> Path:
    folder = project.state / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / "_reports.lock"


def _update_card(
    project: Project,
    paths: SurfacePaths,
    tracking: "Tracking | None",
    look: bool,
    inspection: InspectionNote | None,
    drift: DriftNote | None,
) -> None:
    with FileLock(_lock_file(project), timeout=_PATIENCE):
        known = read_card(paths.reports)
        models = known.models
        if tracking and (look or tracking.written or models is None):
            models = _read_models(tracking, paths, models)
        card = known.model_copy(
            update={
                "models": models,
                "data": _read_data(project, paths, known.data),
                "inspection": inspection or known.inspection,
                "drift": drift or known.drift,
            }
        )
        if card != known:
            write_card(paths.reports, card)


def _read_models(tracking: "Tracking", paths: SurfacePaths, known: ModelsNote | None) -> ModelsNote:
    from pipelines.registry.decision_log import DecisionLog

    with tracking.remembering():
        versions = tracking.versions(paths.name)
        decisions = DecisionLog(tracking, paths.name)
        champion = next((v for v in versions if "champion" in v.aliases), None)
        return ModelsNote(
            versions=len(versions),
            champion=_read_champion(tracking, paths, champion, known.champion if known else None) if champion else None,
            challenger=next((v.version for v in versions if "challenger" in v.aliases), None),
            hold=decisions.hold() if versions else "",
            decisions=tuple(
                DecisionNote(number=r.number, time=r.time, summary=r.summary) for r in decisions.read()[-_DECISIONS:]
            ),
        )


def _read_champion(
    tracking: "Tracking", paths: SurfacePaths, champion: "ModelVersion", known: ChampionNote | None
) -> ChampionNote:
    if known and (known.version, known.run_id) == (champion.version, champion.run_id) and known.summary:
        return known
    summary = None
    with suppress(ModelError, ValueError):
        from pipelines.tracking.data import SUMMARY

        summary = VersionSummary.model_validate_json(tracking.read_text(champion.run_id, SUMMARY))
    folder = find_folder(paths.reports, champion.run_id)
    note = read_note(folder) if folder else None
    return ChampionNote(
        version=champion.version,
        algorithm=champion.algorithm,
        run_id=champion.run_id,
        data_version=champion.tags.get("data_version", ""),
        summary=summary,
        page=folder.name if folder else "",
        experiment=note.experiment if note else "",
        picture=_read_picture(folder) if folder else "",
    )


def _read_picture(folder: Path) -> str:
    picture = next((folder / name for name in _PICTURES if (folder / name).is_file()), None)
    # As `pipelines.imaging` writes it, which takes a second to import.
    return f"data:image/jpeg;base64,{base64.b64encode(picture.read_bytes()).decode('ascii')}" if picture else ""


def _read_data(project: Project, paths: SurfacePaths, known: DataNote | None) -> DataNote | None:
    lock = project.dvc_lock
    seen = lock.stat().st_mtime_ns if lock.is_file() else 0
    if known and known.seen_ns == seen:
        return known
    from pipelines.data.versioning.versions import data_version

    version = data_version(project, paths.name)
    if version is None or not paths.verdict.is_file():
        return None
    verdict = ValidationReport.model_validate_json(paths.verdict.read_bytes())
    return DataNote(version=version, images=verdict.images, usable=verdict.usable, seen_ns=seen)
