"""One algorithm's way from prepared images to the registry, under an MLflow run of its own."""

import logging
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from flows.local_servers.lost import explain_lost_server
from flows.runtime.disk import explain_by_disk
from flows.runtime.leftovers import scratch_folder
from flows.runtime.session import Session
from flows.steps.job import Job, read_images
from flows.steps.outlook import algorithms_in_words, deciding_part, durations_of, list_parts, say_left, say_outlook
from flows.steps.pages import open_folder
from flows.steps.tasks import evaluate_task, register_task, report_task, train_task
from pipelines.core.errors import KnotwatchError
from pipelines.core.progress import heed_interrupt, is_interrupted
from pipelines.core.results import Failure, Start, Trained, ValidationReport, VersionSummary
from pipelines.detector.cache import RunCache
from pipelines.detector.scan import Wrap
from pipelines.registry.descriptions import describe_run, describe_surface
from pipelines.registry.register import log_types, log_version
from pipelines.reports.comparison import folder_size_mb, summarise
from pipelines.reports.overview.unfinished_page import STOPPED, end_unfinished, write_unfinished
from pipelines.tracking.data import ARTIFACT, IMAGES, SUMMARY, VERDICT
from pipelines.tracking.runs import Run

log = logging.getLogger(__name__)


class Shared(NamedTuple):
    """What the steps of one run have in common.

    In its own folder `scratch`, what names types is learnt once, and `cache` keeps maps of tiles, which an ensemble and
    the gate ask for again; a trial has neither, and no cache.
    """

    session: Session
    job: Job
    verdict: ValidationReport
    parent: Run
    scratch: Path
    cache: RunCache | None = None

    @property
    def wrap(self) -> Wrap | None:
        return self.cache.wrap if self.cache else None


@contextmanager
def parent_run(
    session: Session, job: Job, verdict: ValidationReport, name: str, tags: Mapping[str, str], again: str
) -> Iterator[Shared]:
    """Open the MLflow run that all of one flow run hangs below, and a folder that goes with it.

    Args:
        session: Open on the job's surface, and held.
        job: What the flow run is about.
        verdict: Of the job's data; handed on to all steps.
        name: Of the MLflow run, as its page shows it.
        tags: Of the MLflow run.
        again: Command that goes on where this run is stopped; its page says so.

    Yields:
        What all steps have in common. The run ends with the block, as failed where an error leaves it.
    """
    with (
        tempfile.TemporaryDirectory(dir=scratch_folder(session.project, job.surface)) as scratch,
        session.tracking.run(job.surface, name, tags=tags) as parent,
    ):
        session.tracking.describe_experiment(job.surface, describe_surface(job.surface))
        cache = None if job.trial else RunCache(Path(scratch) / "maps")
        with _ending_page(open_folder(session, parent, again=again)):
            yield Shared(session, job, verdict, parent, Path(scratch), cache)


@contextmanager
def _ending_page(folder: Path) -> Iterator[None]:
    """Where the block is stopped or fails, say so on the run's page."""
    try:
        yield
    except BaseException as error:
        stopped = is_interrupted() or not isinstance(error, Exception)
        problem = error.problem if isinstance(error, KnotwatchError) else f"{type(error).__name__}: {error}"
        # A disk that takes no more may be the very reason.
        with suppress(OSError):
            end_unfinished(folder, STOPPED if stopped else f"failed: {problem}")
        raise


def log_data(shared: Shared, run: Run, job: Job) -> None:
    """Put on a run what brings its data back, which images it saw, by split and label, and the verdict on them.

    Args:
        shared: Of the flow run; its verdict is put on the run.
        run: The parent run, or one algorithm's own.
        job: Says which images, and in which splits; need not be the one of `shared`.
    """
    run.text(job.data.model_dump_json(indent=1), ARTIFACT)
    images = read_images(shared.session, job)
    table = pd.DataFrame([{"path": i.path, "split": i.split.value, "label": i.label.value} for i in images])
    run.text(table.to_json(orient="records", indent=0), IMAGES)
    shared.session.tracking.log_input(run, table, job.surface, job.data.version, "training")
    run.text(shared.verdict.model_dump_json(indent=1), VERDICT)


def train_each(shared: Shared, known: Mapping[str, VersionSummary]) -> tuple[list[VersionSummary], list[Failure]]:
    """Train the job's algorithms; one that fails loses the others nothing.

    Args:
        shared: Of the flow run.
        known: By algorithm, versions that are as wanted: these are not trained again.

    Returns:
        The versions, known ones among them, and the failures; both in the order of the settings.

    Raises:
        KeyboardInterrupt: For Ctrl-C and SIGTERM, which are no failures.
    """
    job, durations = shared.job, durations_of(shared.session, shared.job)
    parts = list_parts(job, list(known), deciding_part(shared.session))
    what = f"retrain {job.surface}"
    say_outlook(f"{what}: {algorithms_in_words(parts)}", parts, durations)
    models: list[VersionSummary] = []
    failed: list[Failure] = []
    for algorithm in job.settings.algorithms:
        if algorithm in known:
            log.info("retrain %s: %s version %s is as wanted", job.surface, algorithm, known[algorithm].version)
            models.append(known[algorithm])
            continue
        try:
            with durations.timed(algorithm):
                models.append(train_algorithm(shared, algorithm))
        except Exception as error:
            failed.append(describe_failure(algorithm, error))
        say_left(what, parts.index(algorithm) + 1, parts, durations)
    return models, failed


def train_algorithm(shared: Shared, algorithm: str, start: Start | None = None) -> VersionSummary:
    """Train, evaluate and register one algorithm and write its page; a trial is not registered.

    Nothing but the run's and the version's own files is left, also where it fails or is stopped.

    Args:
        shared: Of the flow run; the job's splits and settings are used.
        algorithm: One of the job's settings, with a fingerprint in the job.
        start: Version to go on from; None trains from the images alone.

    Returns:
        The figures, which are kept with the run too; a trial has no version.

    Raises:
        ToolError: If the training split is empty.
        ModelError: If a precision that the settings force does not agree with torch, or the registered version does not
            give its scores again.
    """

    def fit(folder: Path) -> Trained:
        return train_task(shared.session, shared.job, algorithm, folder, start)

    return make_version(shared, algorithm, fit)


def make_version(shared: Shared, name: str, fit: Callable[[Path], Trained]) -> VersionSummary:
    """Fit, evaluate and register one version under an MLflow run of its own, and write its page.

    Args:
        shared: Of the flow run; the job's splits and settings are used.
        name: Of the run: an algorithm, or the ensemble. The job has its fingerprint.
        fit: Writes a model folder, without thresholds yet.

    Returns:
        The figures, which are kept with the run too; a trial has no version.

    Raises:
        ModelError: If the registered version does not give its scores again.
    """
    session, job, verdict, parent, shared_files, _ = shared
    with (
        tempfile.TemporaryDirectory(dir=scratch_folder(session.project, job.surface)) as scratch,
        session.tracking.run(job.surface, name, parent=parent.id, tags=job.tags(name)) as run,
    ):
        maps = Path(scratch) / "maps"
        log_data(shared, run, job)
        trained = fit(Path(scratch) / "model")
        candidate = evaluate_task(session, job, trained, maps, shared_files, shared.wrap)
        log_version(run, candidate.trained, candidate.info, candidate.selection, candidate.evaluation, job.settings)
        if candidate.types:
            log_types(run, candidate.types)
        version = None if job.trial else register_task(session, job, run, candidate)
        number = version.version if version else None
        open_folder(session, run, parent)
        report_task(session, job, run, verdict, candidate, maps, number)
        found = summarise(
            run_id=run.id,
            version=number,
            trained=candidate.trained,
            selection=candidate.selection,
            evaluation=candidate.evaluation,
            image_threshold=candidate.info.image_threshold,
            folder_mb=folder_size_mb(Path(trained.folder)),
            latency_ms=candidate.latency_ms,
            busy=candidate.load.message if candidate.load and candidate.load.is_busy else "",
        )
        run.metrics({"cost/folder_mb": round(found.folder_mb, 1)})
        if found.latency_ms is not None:
            run.metrics({"cost/latency_ms": round(found.latency_ms, 1)})
        if candidate.load is not None:
            run.metrics({"cost/load_average": round(candidate.load.average, 2)})
        run.describe(describe_run(run, job.surface, job.data.version, found))
        run.text(found.model_dump_json(indent=1), SUMMARY)
        if version is None:
            shutil.move(trained.folder, kept_model(shared, name))
    write_unfinished(open_folder(session, parent))
    return found


def kept_model(shared: Shared, algorithm: str) -> Path:
    """Return where the model of a trial, which the registry does not have, stays until the flow run ends.

    Args:
        shared: Of the flow run.
        algorithm: Of the trial.

    Returns:
        A path in the flow run's folder, which goes with it.
    """
    folder = shared.scratch / "models"
    folder.mkdir(exist_ok=True)
    return folder / algorithm


def describe_failure(algorithm: str, error: Exception) -> Failure:
    """Log a failure at once, since the others take their time; where it is no refusal of ours, with its traceback.

    Args:
        algorithm: Whose training or attempt failed.
        error: Explained by the disk where that is behind it.

    Returns:
        The problem in words, and what to do.

    Raises:
        KeyboardInterrupt: If it was Ctrl-C: Prefect's engine, stopped while it sets up a task, raises ValueError.
        ToolError: If MLflow's or Prefect's server is gone: whatever comes next would fail, after minutes of training.
    """
    heed_interrupt()
    if (lost := explain_lost_server(error)) is not None:
        raise lost from error
    if not isinstance(error, KnotwatchError):
        error = explain_by_disk(error) or error
    if isinstance(error, KnotwatchError):
        log.error("%s failed: %s", algorithm, error)
        return Failure(algorithm=algorithm, problem=error.problem, hint=error.hint)
    log.error("%s failed", algorithm, exc_info=error)
    problem = f"{type(error).__name__}: {error}"
    return Failure(algorithm=algorithm, problem=problem, hint="read the log above; report it if it comes again")
