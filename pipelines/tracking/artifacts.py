"""Where artefacts lie: locations that move with the project folder. MLflow loads this file as a plug-in."""

from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import mlflow
from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository
from mlflow.store.artifact.mlflow_artifacts_repo import MlflowArtifactsRepository

from pipelines.core.errors import ModelError, PathError, ToolError
from pipelines.core.parsing import parse_yaml
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


def find_model(local: Path, name: str) -> Path:
    """Find the model folder in what MLflow keeps of a version.

    Args:
        local: Folder that was fetched, or the one in which MLflow keeps it.
        name: Names the version in an error.

    Returns:
        The folder that holds model.json.

    Raises:
        ModelError: If there is none.
    """
    data = local / "data"
    found = [p for p in data.iterdir() if (p / "model.json").is_file()] if data.is_dir() else []
    if not found:
        raise ModelError(f"{name} holds no model.json under {data}", hint="retrain")
    return found[0]


def check_loader(local: Path, loader: str, name: str) -> None:
    """Refuse what MLflow would load with another module than ours: its file MLmodel names any, and code beside it.

    Args:
        local: Folder that holds MLmodel, in which the model's own checksums do not lie.
        loader: Python's name of the one module that may be imported.
        name: Names the version in an error.

    Raises:
        ModelError: If MLmodel is gone or damaged, or names another module, code, or data outside of the folder.
    """
    file = local / "MLmodel"
    try:
        flavour = parse_yaml(file.read_text("utf-8"))["flavors"]["python_function"]
        inside(local, flavour["data"])
        fits = flavour["loader_module"] == loader and not flavour.get("code")
    except (OSError, ValueError, LookupError, TypeError, AttributeError, PathError) as error:
        raise ModelError(f"{name} is damaged: {file} cannot be read ({error!r})", hint="retrain") from error
    if not fits:
        raise ModelError(
            f"{name} is not loaded: {file} names code that is not ours to run",
            hint="do not use this version; find out who changed it, then retrain",
        )
