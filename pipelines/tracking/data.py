"""Data versions in MLflow: every run carries what brings its data back."""

from pipelines.errors import CallError
from pipelines.paths import Project
from pipelines.tracking.store import Tracking
from pipelines.versions import DataVersion, kept_versions

ARTIFACT = "data_version.json"


def find_data_version(project: Project, surface: str, version: str) -> DataVersion:
    """Find a data version among a surface's runs; raise CallError, naming those that are known."""
    tracking = Tracking(project)
    run_id = tracking.find_finished(surface, {"data_version": version}, like="data_version")
    if run_id is None:
        known = ", ".join(kept_versions(project, surface)) or "none"
        raise CallError(
            f"no data version '{version}' of '{surface}' is known here or in MLflow (here: {known})",
            cure=f"`knotwatch data show {surface}` and MLflow's runs name the versions",
        )
    return DataVersion.model_validate_json(tracking.read_text(run_id, ARTIFACT))
