"""Which versions of a surface are measured: the newest of each algorithm that was trained on the current data."""

from pipelines.core.paths import Project
from pipelines.data.versioning.versions import data_version
from pipelines.tracking.registry import ModelVersion
from pipelines.tracking.store import Tracking


def newest_versions(project: Project, tracking: Tracking, surface: str) -> dict[str, ModelVersion]:
    """Find each algorithm's newest version that was trained on the whole of the current data, by its name."""
    data = data_version(project, surface)
    of_data = (v for v in tracking.versions(surface) if v.tags.get("data_version") == data)
    return {v.algorithm: v for v in sorted(of_data, key=lambda v: v.version) if "adapted_from" not in v.tags}
