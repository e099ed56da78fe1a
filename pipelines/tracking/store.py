"""A project's MLflow store: runs, models and aliases."""

import functools
import logging
import os
import re
import warnings
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from importlib.metadata import version as installed_version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import mlflow
from filelock import FileLock

from pipelines.core.errors import ModelError, ToolError
from pipelines.core.paths import Project
from pipelines.core.progress import interrupts_first
from pipelines.core.records import Record
from pipelines.core.renamed import metric_names
from pipelines.detector.checksums import TAG, check_list, write_checksums
from pipelines.tracking.artifacts import SCHEME
from pipelines.tracking.closing import close_stopped
from pipelines.tracking.runs import MOST_TAG, PROCESS, Run, process_tag

LOADER = "pipelines.loader"
log = logging.getLogger(__name__)
_RUNTIME = ("numpy", "opencv-python-headless", "openvino", "pandas", "pillow", "pydantic", "imagehash")


class ModelVersion(Record):
    """A registered version as the registry knows it."""

    surface: str
    version: int
    run_id: str
    algorithm: str
    tags: dict[str, str]
    aliases: tuple[str, ...]


class Tracking:
    """A project's MLflow store: the user's own server where MLFLOW_TRACKING_URI says so, else a local database."""

    def __init__(self, project: Project) -> None:
        # MLflow's and alembic's migration lines are of no use to a person who waits for a model.
        for noisy in ("alembic", "mlflow"):
            logging.getLogger(noisy).setLevel(logging.WARNING)
        # A bar for each small file that is read would bury the stages' own lines.
        os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
        home = project.state / "mlflow"
        # MLflow itself writes the variable when an address is set, so its presence alone says nothing.
        self._remembered: dict[Hashable, Any] | None = None
        self.uri = os.environ.get("MLFLOW_TRACKING_URI") or local_uri(project)
        self._local = self.uri == local_uri(project)
        if self._local:
            home.mkdir(parents=True, exist_ok=True)
        mlflow.set_tracking_uri(self.uri)
        mlflow.set_registry_uri(self.uri)
        try:
            self._client = mlflow.MlflowClient(self.uri, self.uri)
            # Two processes that both make the tables of a new database would fail.
            with FileLock(home / "open.lock") if self._local else nullcontext():
                self._client.search_experiments(max_results=1)
        except Exception as error:
            remote = "start that server, or unset MLFLOW_TRACKING_URI to use the project's own store"
            local = "end what holds the database, or put it back from a copy; `knotwatch doctor` says what is wrong"
            raise ToolError(
                f"MLflow at {self.uri} does not answer: {error}", hint=local if self._local else remote
            ) from error

    @property
    def client(self) -> "mlflow.MlflowClient":
        """MLflow's client, for the other files of this room."""
        return self._client

    @property
    def local(self) -> bool:
        """Tell whether the store is the project's own."""
        return self._local

    @contextmanager
    def remembering(self) -> Iterator[None]:
        """Ask the registry once for what is read within the block, and again after this object writes to it.

        Not around what takes minutes, nor in threads: what others write meanwhile goes unseen.
        """
        before, self._remembered = self._remembered, {} if self._remembered is None else self._remembered
        try:
            yield
        finally:
            self._remembered = before

    def _ask(self, what: Hashable, ask: "Callable[[], Any]") -> Any:
        if self._remembered is None:
            return ask()
        if what not in self._remembered:
            self._remembered[what] = ask()
        return self._remembered[what]

    def _forget(self) -> None:
        if self._remembered is not None:
            self._remembered.clear()

    def experiment(self, surface: str) -> str:
        """Return the id of the surface's experiment, made on first use."""
        found = self._client.get_experiment_by_name(surface)
        if found is not None:
            return str(found.experiment_id)
        location = f"{SCHEME}:/{surface}" if self._local else None
        return str(self._client.create_experiment(surface, artifact_location=location))

    @contextmanager
    def run(self, surface: str, name: str, *, parent: str | None = None, tags: Mapping[str, str]) -> Iterator[Run]:
        """Open a run and close it as what it became: finished, failed, or killed by Ctrl-C or SIGTERM."""
        nested = {"mlflow.parentRunId": parent} if parent else {}
        known = {**tags, **nested, PROCESS: process_tag()}
        made = self._client.create_run(self.experiment(surface), run_name=name, tags=known)
        run = Run(self._client, made.info.run_id)
        try:
            with interrupts_first():
                yield run
        except Exception as error:
            run.fail(f"{type(error).__name__}: {error}")
            self._client.set_terminated(run.id, "FAILED")
            raise
        except BaseException:
            close_stopped(self._client, run.id)
            raise
        self._client.set_terminated(run.id, "FAILED" if run.failed else "FINISHED")

    def log_input(self, run: Run, table: "Any", name: str, digest: str, context: str) -> None:
        """Record a data set on a run: its table, and the data version as digest."""
        from mlflow.data.sources import LocalArtifactDatasetSource
        from mlflow.entities import DatasetInput, InputTag

        # MLflow's digest column holds 36 characters.
        source = LocalArtifactDatasetSource(f"{name}.csv")  # a plain name fits two kinds, and MLflow warns
        data = mlflow.data.from_pandas(table, source=source, name=name, digest=digest[:36])
        tagged = DatasetInput(data._to_mlflow_entity(), [InputTag("mlflow.data.context", context)])
        self._client.log_inputs(run.id, [tagged])

    def register(self, run: Run, surface: str, folder: Path, tags: Mapping[str, str], card: str) -> ModelVersion:
        """Store a model folder as data only and register it under the surface's name, with its files' checksums."""
        registered = write_checksums(folder)
        self._forget()
        with mlflow.start_run(run_id=run.id, log_system_metrics=False), warnings.catch_warnings():
            # An example input would be an image of the user's, kept a second time; the signature is explicit.
            warnings.filterwarnings("ignore", ".*An input example was not provided", UserWarning)
            warnings.filterwarnings("ignore", ".*Any type hint is inferred as AnyType", UserWarning)
            logged = mlflow.pyfunc.log_model(
                name="model",
                loader_module=LOADER,
                data_path=str(folder),
                signature=_signature(),
                pip_requirements=[f"{name}=={installed_version(name)}" for name in ("knotwatch", *_RUNTIME)],
            )
        # Leaving the block above has ended the run, which goes on.
        self._client.update_run(run.id, status="RUNNING")
        if not self._client.search_registered_models(f"name = '{surface}'"):
            self._client.create_registered_model(surface)
        made = self._client.create_model_version(
            surface,
            source=logged.model_uri,
            run_id=run.id,
            tags={**tags, TAG: registered},
            description=card,
            model_id=logged.model_id,
        )
        return self.version(surface, int(made.version))

    def version(self, surface: str, version: int) -> ModelVersion:
        """Look a version up; raise ModelError where there is none."""
        from mlflow.exceptions import MlflowException

        if self._remembered is not None:
            known = next((v for v in self.versions(surface) if v.version == version), None)
            if known is not None:
                return known
        try:
            found = self._client.get_model_version(surface, str(version))
        except MlflowException as error:
            raise ModelError(
                f"'{surface}' has no version {version}", hint=f"knotwatch models {surface} lists what there is"
            ) from error
        return _as_version(found)

    def versions(self, surface: str) -> list[ModelVersion]:
        """List a surface's versions, newest first. Aliases are filled in."""
        found = self._ask(("versions", surface), lambda: self._client.search_model_versions(f"name = '{surface}'"))
        aliases = self.aliases(surface) if found else {}
        named = {int(v.version): tuple(sorted(a for a, n in aliases.items() if n == int(v.version))) for v in found}
        return sorted((_as_version(v, named[int(v.version)]) for v in found), key=lambda v: -v.version)

    def aliases(self, surface: str) -> dict[str, int]:
        """Map a registered surface's aliases to the versions that they name."""
        return {a: int(number) for a, number in self._model(surface).aliases.items()}

    def model_tag(self, surface: str, name: str) -> str:
        """Return a tag of a registered surface; empty where it has none."""
        return str(self._model(surface).tags.get(name, ""))

    def tag_model(self, surface: str, name: str, value: str) -> None:
        """Tag a registered surface; with an empty value the tag is taken away."""
        self._forget()
        if value:
            self._client.set_registered_model_tag(surface, name, value[:MOST_TAG])
        else:
            self._client.delete_registered_model_tag(surface, name)

    def _model(self, surface: str) -> Any:
        return self._ask(("model", surface), lambda: self._client.get_registered_model(surface))

    def _run(self, run_id: str) -> Any:
        return self._ask(("run", run_id), lambda: self._client.get_run(run_id))

    def model_names(self) -> list[str]:
        """Name the surfaces that have registered versions."""
        return sorted(str(model.name) for model in self._client.search_registered_models())

    def champion(self, surface: str) -> ModelVersion | None:
        """Return the version in use, or None."""
        return next((v for v in self.versions(surface) if "champion" in v.aliases), None)

    def set_alias(self, surface: str, alias: str, version: int) -> None:
        self._forget()
        self._client.set_registered_model_alias(surface, alias, str(version))

    def drop_alias(self, surface: str, alias: str) -> None:
        """Take an alias away, where it is given."""
        if any(alias in version.aliases for version in self.versions(surface)):
            self._forget()
            self._client.delete_registered_model_alias(surface, alias)

    def tag_version(self, surface: str, version: int, tags: Mapping[str, str]) -> None:
        self._forget()
        for name, value in tags.items():
            self._client.set_model_version_tag(surface, str(version), name, value[:MOST_TAG])

    def folder(self, surface: str, version: int) -> Path:
        """Return a version's model folder, fetched into MLflow's cache where the store is remote.

        Its list of checksums is the one that was registered; that the files are as listed is seen when they are loaded.

        Raises:
            ModelError: where the files are gone, or the list is not the registry's.
        """
        from mlflow.exceptions import MlflowException

        try:
            uri = self._client.get_model_version_download_uri(surface, str(version))
            local = Path(mlflow.artifacts.download_artifacts(uri))
        except (MlflowException, OSError) as error:
            raise ModelError(
                f"the files of {surface} version {version} cannot be read: {error}",
                hint="restore MLflow's artefacts, or retrain",
            ) from error
        data = local / "data"
        inner = [p for p in data.iterdir() if (p / "model.json").is_file()] if data.is_dir() else []
        if not inner:
            raise ModelError(f"{surface} version {version} holds no model.json under {data}", hint="retrain")
        registered = self.version(surface, version).tags.get(TAG, "")
        if not registered:
            _warn_unchecked(self.uri, surface, version)
        check_list(inner[0], registered)
        return inner[0]

    def metrics(self, run_id: str) -> dict[str, float]:
        return metric_names(self._run(run_id).data.metrics)

    def params(self, run_id: str) -> dict[str, str]:
        return dict(self._run(run_id).data.params)

    def parent(self, run_id: str) -> str | None:
        """Return the id of the run that a run hangs below."""
        found: str | None = self._run(run_id).data.tags.get("mlflow.parentRunId")
        return found

    def is_finished(self, run_id: str) -> bool:
        """Tell whether a run came to its end and was not deleted."""
        from mlflow.exceptions import MlflowException

        try:
            found = self._run(run_id).info
        except MlflowException:
            return False
        return str(found.lifecycle_stage) == "active" and str(found.status) == "FINISHED"

    def tag_values(self, surface: str, tag: str, start: str) -> dict[str, str]:
        """Map the values of a tag that begin with `start`, among a surface's finished runs, to their newest run."""
        found = self._client.get_experiment_by_name(surface)
        if found is None:
            return {}
        runs = self._client.search_runs(
            [found.experiment_id], f"attributes.status = 'FINISHED' and tags.`{_plain(tag)}` LIKE '{_plain(start)}%'"
        )
        return {run.data.tags[tag]: str(run.info.run_id) for run in reversed(runs)}

    def read_text(self, run_id: str, name: str) -> str:
        """Read a run's text file; raise ModelError where the run or the file is gone."""
        from mlflow.exceptions import MlflowException

        try:
            # Without a folder of ours, MLflow copies the file into a temporary one that nobody removes.
            with TemporaryDirectory(prefix="knotwatch-") as folder:
                place = f"{self._run(run_id).info.artifact_uri}/{name}"
                copy = mlflow.artifacts.download_artifacts(artifact_uri=place, dst_path=folder)
                return Path(copy).read_text("utf-8")
        except (MlflowException, OSError) as error:
            raise ModelError(
                f"{name} of MLflow run {run_id} cannot be read: {error}", hint="restore MLflow's artefacts, or retrain"
            ) from error


@functools.cache
def _warn_unchecked(_uri: str, surface: str, version: int) -> None:
    """Say once that nothing tells whether a version's files are those that were registered."""
    log.warning(
        "%s version %d was registered without checksums: damage to its files goes unnoticed until the next retrain",
        surface,
        version,
    )


def _plain(value: str) -> str:
    """Refuse what could end a quoted value in MLflow's filter language."""
    if not re.fullmatch(r"[A-Za-z0-9-]+(_[a-z]+)?", value):
        raise ToolError(f"'{value}' cannot be searched for", hint="give letters, digits, '.', '_' and '-' only")
    return value


def local_uri(project: Project) -> str:
    """Name the project's own tracking database."""
    return f"sqlite:///{project.state / 'mlflow' / 'mlflow.db'}"


def load_pyfunc(surface: str, version: int) -> Any:
    """Load a registered version the way any MLflow client would."""
    return mlflow.pyfunc.load_model(f"models:/{surface}/{version}")


def _signature() -> Any:
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema

    return ModelSignature(
        inputs=Schema([ColSpec(DataType.binary, "image")]),
        outputs=Schema([ColSpec(DataType.double, "score"), ColSpec(DataType.boolean, "anomalous")]),
    )


def _as_version(found: Any, aliases: tuple[str, ...] | None = None) -> ModelVersion:
    return ModelVersion(
        surface=found.name,
        version=int(found.version),
        run_id=found.run_id or "",
        algorithm=found.tags.get("algorithm", ""),
        tags=dict(found.tags),
        aliases=tuple(sorted(found.aliases)) if aliases is None else aliases,
    )
