"""Where artefacts lie: locations that move with the project folder. MLflow loads this file as a plug-in."""

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

import mlflow
from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository

from pipelines.errors import ToolError
from pipelines.paths import find_project

SCHEME = "knotwatch"


class ProjectArtifacts(LocalArtifactRepository):
    """Resolve `knotwatch:/…` beside the tracking database, so that a moved project finds its artefacts.

    MLflow itself stores absolute locations for local artefacts. A server that has no such database of its own
    process (or a client of that server) falls back on the project around the current folder.
    """

    def __init__(self, artifact_uri: str, tracking_uri: str | None = None, registry_uri: str | None = None) -> None:
        uri = tracking_uri or mlflow.get_tracking_uri()
        database = re.match(r"sqlite:///(.+)$", uri)
        home = Path(database.group(1)).parent if database else find_project().state / "mlflow"
        relative = unquote(urlsplit(artifact_uri).path).lstrip("/")
        folder = (home / "artifacts" / relative).resolve()
        if not folder.is_relative_to((home / "artifacts").resolve()):
            raise ToolError(
                f"the artefact location {artifact_uri} leaves {home}", cure="remove the run or version that names it"
            )
        super().__init__(folder.as_uri(), tracking_uri, registry_uri)
