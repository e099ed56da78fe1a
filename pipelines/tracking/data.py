"""Data versions in MLflow: every run carries what brings its data back."""

import re

from pydantic import ValidationError

from pipelines.core.errors import CallError, ToolError, offer_closest
from pipelines.core.parsing import first_fault
from pipelines.core.paths import Project
from pipelines.data.versioning.versions import DataVersion, kept_versions
from pipelines.tracking.store import Tracking

ARTIFACT, IMAGES, VERDICT = "data_version.json", "images.json", "verdict.json"
SUMMARY = "summary.json"  # a version in figures


def find_data_version(project: Project, surface: str, version: str) -> DataVersion:
    """Find a data version among a surface's runs.

    Args:
        project: Whose MLflow store is asked.
        surface: Name of the surface.
        version: 1 to 16 lower-case hex digits, with which exactly one data version begins.

    Returns:
        The version as its newest finished run carries it; not checked to name only files of the surface.

    Raises:
        CallError: If no version begins so, naming those that are known, or more than one.
        ToolError: If the run's record of it is damaged, or MLflow does not answer.
        ModelError: If the run's record of it is gone.
    """
    tracking = Tracking(project)
    if not re.fullmatch("[0-9a-f]{1,16}", version):
        raise CallError(f"'{version}' is no data version", hint="give the 4 to 16 hex digits that `data show` lists")
    found = tracking.tag_values(surface, "data_version", version)
    if len(found) > 1:
        raise CallError(f"'{version}' begins {', '.join(sorted(found))}", hint="give more digits")
    run_id = next(iter(found.values()), None)
    if run_id is None:
        known = ", ".join(kept_versions(project, surface)) or "none"
        raise CallError(
            f"no data version '{version}' of '{surface}' is known here or in MLflow (here: {known})",
            hint=offer_closest(
                f"`knotwatch data show {surface}` and MLflow's runs name the versions", surface, project.surface_names()
            ),
        )
    try:
        return DataVersion.model_validate_json(tracking.read_text(run_id, ARTIFACT))
    except ValidationError as error:
        raise ToolError(
            f"{ARTIFACT} of MLflow run {run_id} is damaged: {first_fault(error)}", hint="use another data version"
        ) from error
