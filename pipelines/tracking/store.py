"""A project's MLflow store: experiments and runs, and by inheritance the registry."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import mlflow
from mlflow.utils.mlflow_tags import MLFLOW_RUN_NOTE

from pipelines.core.errors import ModelError, ToolError
from pipelines.core.progress import interrupts_first
from pipelines.core.renamed import metric_names
from pipelines.tracking.artifacts import SCHEME
from pipelines.tracking.closing import close_failed, close_stopped, close_unheard
from pipelines.tracking.registry import Registry
from pipelines.tracking.runs import PROCESS, Run, process_tag, without_groups


class Tracking(Registry):
    """All that knotwatch asks of a project's MLflow store, by one connection."""

    def experiment(self, surface: str) -> str:
        """Return the id of the surface's experiment, made on first use."""
        found = self._client.get_experiment_by_name(surface)
        if found is not None:
            return str(found.experiment_id)
        location = f"{SCHEME}:/{surface}" if self._local else None
        # Where MLflow's pages know kinds of experiments, this is the one that trains models.
        kind = {"mlflow.experimentKind": "custom_model_development"}
        return str(self._client.create_experiment(surface, artifact_location=location, tags=kind))

    def describe_experiment(self, surface: str, text: str) -> None:
        """Say in Markdown what the surface's experiment is, on its page; nothing is written where it says so already.

        Args:
            surface: Its experiment, made on first use.
            text: Replaces what was there.
        """
        experiment = self.experiment(surface)
        if self._client.get_experiment(experiment).tags.get(MLFLOW_RUN_NOTE) != text:
            self._client.set_experiment_tag(experiment, MLFLOW_RUN_NOTE, text)

    @contextmanager
    def run(
        self, surface: str, name: str, *, parent: str | None = None, tags: Mapping[str, str], again: str = ""
    ) -> Iterator[Run]:
        """Open a run and close it as what it became: finished, failed, or killed by Ctrl-C or SIGTERM.

        Args:
            surface: Its experiment, made on first use.
            name: What MLflow shows; it need not be unique.
            parent: Id of the run that this one hangs below; None for none.
            tags: Set when it is opened, besides the tag that says which process writes it.
            again: Id of a run that ended, to go on with where it is there still; empty for none.

        Yields:
            The open run. One whose `fail` was called ends as failed without an error.
        """
        nested = {"mlflow.parentRunId": parent} if parent else {}
        known = {**tags, **nested, PROCESS: process_tag()}
        experiment = self.experiment(surface)
        try:
            made = self._open_again(again, known) or self._client.create_run(experiment, run_name=name, tags=known)
        except BaseException:
            # A stop may come once it is made and before its id is told.
            close_unheard(self._client, experiment, name, known)
            raise
        run = Run(self._client, made, parent or "")
        try:
            with interrupts_first():
                yield run
        except Exception as error:
            close_failed(self._client, run, f"{type(error).__name__}: {error}")
            raise
        except BaseException:
            close_stopped(self._client, run.id)
            raise
        self._client.set_terminated(run.id, "FAILED" if run.failed else "FINISHED")

    def _open_again(self, run_id: str, tags: Mapping[str, str]) -> "mlflow.entities.Run | None":
        from mlflow.exceptions import MlflowException

        try:
            found = self._client.get_run(run_id) if run_id else None
        except MlflowException:
            return None
        if found is None or str(found.info.lifecycle_stage) != "active":
            return None
        self.forget()
        self._client.update_run(run_id, status="RUNNING")
        for name, text in tags.items():
            self._client.set_tag(run_id, name, text)
        return found

    def log_input(self, run: Run, table: "Any", name: str, digest: str, context: str) -> None:
        """Record a data set on a run: its table, and the data version as digest.

        Args:
            run: The open run.
            table: A pandas data frame; MLflow keeps its columns and a profile, not its rows.
            name: What MLflow calls the data set, a plain name without a path.
            digest: Cut at 36 characters, which is what MLflow's column holds.
            context: What the data set is for, such as `training`.
        """
        from mlflow.data.sources import LocalArtifactDatasetSource
        from mlflow.entities import DatasetInput, InputTag

        # MLflow's digest column holds 36 characters.
        source = LocalArtifactDatasetSource(f"{name}.csv")  # a plain name fits two kinds, and MLflow warns
        data = mlflow.data.from_pandas(table, source=source, name=name, digest=digest[:36])
        tagged = DatasetInput(data._to_mlflow_entity(), [InputTag("mlflow.data.context", context)])
        self._client.log_inputs(run.id, [tagged])

    def _run(self, run_id: str) -> Any:
        return self._ask(("run", run_id), lambda: self._client.get_run(run_id))

    def metrics(self, run_id: str) -> dict[str, float]:
        return metric_names(without_groups(self._run(run_id).data.metrics))

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
        """Map the values of a tag to the newest run that has each, among a surface's finished runs.

        Args:
            surface: Name of the surface; one without an experiment has no runs.
            tag: The tag's name: letters, digits and `-`, at most one `_`, before a last word of lower-case letters.
            start: What the values begin with, not empty, of the same characters.

        Returns:
            Ids of runs by value; may be empty.

        Raises:
            ToolError: If `tag` or `start` holds other characters.
        """
        found = self._client.get_experiment_by_name(surface)
        if found is None:
            return {}
        runs = self._client.search_runs(
            [found.experiment_id], f"attributes.status = 'FINISHED' and tags.`{_plain(tag)}` LIKE '{_plain(start)}%'"
        )
        return {run.data.tags[tag]: str(run.info.run_id) for run in reversed(runs)}

    def read_text(self, run_id: str, name: str) -> str:
        """Read a run's text file.

        Args:
            run_id: MLflow's id of the run.
            name: POSIX path among the run's artefacts; the file is UTF-8.

        Returns:
            The whole text.

        Raises:
            ModelError: If the run or the file is gone.
        """
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


def _plain(value: str) -> str:
    """Refuse what could end a quoted value in MLflow's filter language."""
    if not re.fullmatch(r"[A-Za-z0-9-]+(_[a-z]+)?", value):
        raise ToolError(f"'{value}' cannot be searched for", hint="give letters, digits, '.', '_' and '-' only")
    return value
