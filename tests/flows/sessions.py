"""Sessions for tests of what is done with one: a surface without files, and a stand-in for its MLflow store."""

from typing import Any

from flows.runtime.session import Session
from pipelines.core.paths import Project
from pipelines.core.records import Layout
from pipelines.core.surface_settings import PolicySettings, SourceSettings, SurfaceSettings, WatchSettings


def looking_at(project: Project, surface: str, tracking: object, **watch: Any) -> Session:
    """Return a session of a surface whose policy watches as told, and whose store is `tracking`."""
    policy = PolicySettings(watch=WatchSettings.model_validate(watch))
    session = Session(project, surface, SurfaceSettings(source=SourceSettings(layout=Layout.FOLDER), policy=policy))
    vars(session)["tracking"] = tracking
    return session
