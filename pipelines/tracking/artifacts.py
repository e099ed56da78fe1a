"""Where artefacts lie: locations that move with the project folder. MLflow loads this file as a plug-in."""

import re
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

import mlflow
from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository

from pipelines.core.errors import PathError, ToolError
from pipelines.core.paths import find_project, inside

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
        relative = str(PurePosixPath(unquote(urlsplit(artifact_uri).path).lstrip("/")))
        try:
            folder = home / "artifacts" if relative == "." else inside(home / "artifacts", relative)
        except PathError as error:
            raise ToolError(
                f"the artefact location {artifact_uri!r} leaves {home}", hint="remove the run or version that names it"
            ) from error
        super().__init__(folder.resolve().as_uri(), tracking_uri, registry_uri)
