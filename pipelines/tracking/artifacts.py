"""Where artefacts lie: locations that move with the project folder. MLflow loads this file as a plug-in."""

from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import mlflow
from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository
from mlflow.store.artifact.mlflow_artifacts_repo import MlflowArtifactsRepository

from pipelines.core.errors import PathError, ToolError
from pipelines.core.paths import database_file, find_project, inside

SCHEME = "knotwatch"


class ProjectArtifacts(LocalArtifactRepository):
    """Resolve `knotwatch:/…` beside the tracking database, so that a moved project finds its artefacts.

    MLflow itself stores absolute locations for local artefacts. A client of a tracking server gets and sends them
    through that server, which keeps them in the same folder. Without a server and a database, the project around the
    current folder is meant.
    """

    def __new__(cls, artifact_uri: str, tracking_uri: str | None = None, registry_uri: str | None = None) -> Any:
        """Make what reaches the artefacts from here: the project's own folder, or the server's.

        Args:
            artifact_uri: `knotwatch:/PATH`, as the tracking database has it.
            tracking_uri: Of the store that the location comes from; None is the one that MLflow's settings name.
            registry_uri: Handed on.

        Returns:
            An artefact repository of MLflow.
        """
        uri = tracking_uri or mlflow.get_tracking_uri()
        if urlsplit(uri).scheme not in {"http", "https"}:
            return super().__new__(cls)
        path = quote(str(_relative(artifact_uri)))
        return MlflowArtifactsRepository(f"mlflow-artifacts:/{path}", uri, registry_uri)

    def __init__(self, artifact_uri: str, tracking_uri: str | None = None, registry_uri: str | None = None) -> None:
        uri = tracking_uri or mlflow.get_tracking_uri()
        database = database_file(uri)
        home = database.parent if database else find_project().state / "mlflow"
        relative = str(_relative(artifact_uri))
        try:
            folder = home / "artifacts" if relative == "." else inside(home / "artifacts", relative)
        except PathError as error:
            raise ToolError(
                f"the artefact location {artifact_uri!r} leaves {home}", hint="remove the run or version that names it"
            ) from error
        super().__init__(folder.resolve().as_uri(), tracking_uri, registry_uri)


def _relative(artifact_uri: str) -> PurePosixPath:
    return PurePosixPath(unquote(urlsplit(artifact_uri).path).lstrip("/"))
