"""One algorithm's way from prepared images to the registry, under an MLflow run of its own."""

import logging
import tempfile
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from flows.runtime.disk import explain_by_disk
from flows.runtime.leftovers import scratch_folder
from flows.steps.job import Job, read_images
from flows.steps.tasks import evaluate_task, register_task, report_task, train_task
from flows.steps.unchanged import SUMMARY
from pipelines.core.errors import KnotwatchError
from pipelines.core.paths import Project
from pipelines.core.progress import heed_interrupt
from pipelines.core.results import Compared, Failure, Start, Verdict
from pipelines.registry.register import log_types, log_version
from pipelines.reports.comparison import compare, folder_size_mb
from pipelines.tracking.data import ARTIFACT, IMAGES, VERDICT
from pipelines.tracking.runs import Run
from pipelines.tracking.store import Tracking


def log_data(tracking: Tracking, run: Run, project: Project, job: Job) -> None:
    """Put on a run what brings its data back, and which images it saw, by part and label."""
    run.text(job.data.model_dump_json(indent=1), ARTIFACT)
    images = read_images(project, job)
    table = pd.DataFrame([{"path": i.path, "part": i.part.value, "label": i.label.value} for i in images])
    run.text(table.to_json(orient="records", indent=0), IMAGES)
    tracking.log_input(run, table, job.surface, job.data.version, "training")


class Shared(NamedTuple):
    """What the steps of one run have in common; in its own folder `scratch`, what names types is learnt once."""

    project: Project
    tracking: Tracking
    job: Job
    verdict: Verdict
    parent: Run
    scratch: Path


def train_algorithm(shared: Shared, algorithm: str, start: Start | None = None) -> Compared:
    """Train, evaluate and register one algorithm and write its page; a trial is not registered.

    Nothing but the run's and the version's own files is left, also where it fails or is stopped.
    """
    project, tracking, job, verdict, parent, shared_files = shared
    tags = job.tags(algorithm)
    with (
        tempfile.TemporaryDirectory(dir=scratch_folder(project, job.surface)) as scratch,
        tracking.run(job.surface, algorithm, parent=parent.id, tags=tags) as run,
    ):
        maps = Path(scratch) / "maps"
        log_data(tracking, run, project, job)
        run.text(verdict.model_dump_json(indent=1), VERDICT)
        trained = train_task(project, job, algorithm, Path(scratch) / "model", start)
        candidate = evaluate_task(project, job, trained, maps, shared_files)
        log_version(run, candidate.trained, candidate.info, candidate.selection, candidate.evaluation, job.settings)
        if candidate.types:
            log_types(run, candidate.types)
        version = None if job.trial else register_task(project, job, tracking, run, candidate)
        number = version.version if version else None
        report_task(project, job, run, verdict, candidate, maps, number)
        found = compare(
            run_id=run.id,
            version=number,
            trained=candidate.trained,
            selection=candidate.selection,
            evaluation=candidate.evaluation,
            promise=candidate.info.image_threshold,
            folder_mb=folder_size_mb(Path(trained.folder)),
        )
        run.metrics({"folder_mb": found.folder_mb})
        run.text(found.model_dump_json(indent=1), SUMMARY)
    return found


log = logging.getLogger(__name__)


def describe_failure(algorithm: str, error: Exception) -> Failure:
    """Log a failure at once, since the others take their time; where it is no refusal of ours, with its traceback.

    Raises KeyboardInterrupt where it was Ctrl-C: Prefect's engine, stopped while it sets up a task, raises ValueError.
    """
    heed_interrupt()
    if not isinstance(error, KnotwatchError):
        error = explain_by_disk(error) or error
    if isinstance(error, KnotwatchError):
        log.error("%s failed: %s", algorithm, error)
        return Failure(algorithm=algorithm, problem=error.problem, cure=error.cure)
    log.error("%s failed", algorithm, exc_info=error)
    problem = f"{type(error).__name__}: {error}"
    return Failure(algorithm=algorithm, problem=problem, cure="read the log above; report it if it comes again")
