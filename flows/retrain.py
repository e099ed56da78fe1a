"""The flow `retrain`: validate -> preprocess -> train -> evaluate -> register -> promote."""

import logging
import tempfile
import time
from pathlib import Path
from typing import Any

import pandas as pd
from prefect import flow

from flows import artifacts
from flows.environment import log_stages, prepare_environment
from flows.job import Job, resolve_job
from flows.locks import surface_lock
from flows.results import Champion, ModelResult, RetrainResult, ValidationCounts
from flows.stages import refuse_bad
from flows.tasks import (
    evaluate_task,
    preprocess_task,
    promote_task,
    register_task,
    report_task,
    train_task,
    validate_task,
)
from flows.unchanged import find_unchanged
from pipelines.config import read_surface
from pipelines.paths import Project, find_project
from pipelines.prepared import read_index
from pipelines.records import Verdict
from pipelines.register import log_version
from pipelines.tracking.data import ARTIFACT
from pipelines.tracking.runs import Run
from pipelines.tracking.store import ModelVersion, Tracking

log = logging.getLogger(__name__)

# How long a scheduled run waits for another change of its surface to end, seconds.
_WAIT = 3600.0


@flow(name="retrain", flow_run_name="retrain {surface}")
def retrain(
    surface: str,
    profile: str = "full",
    assignments: list[str] | None = None,
    trial: str | None = None,
    force: bool = False,
    wait: float = _WAIT,
) -> dict[str, Any]:
    """Train a surface's models on its current data, evaluate and register them.

    `assignments` are KEY=VALUE words that change settings for this run. A `trial` is tracked and never registered.
    Without `force`, nothing is trained where data, settings and code are as they were. `wait` is how many seconds
    to wait for another change of the surface to end.
    """
    started = time.monotonic()
    project = find_project()
    prepare_environment(project)
    log_stages()
    read_surface(project, surface)
    with surface_lock(project, surface, "retrain", wait=wait):
        verdict = validate_task(project, surface)
        refuse_bad(verdict, surface)
        data = preprocess_task(project, surface)
        tracking = Tracking(project)
        job = resolve_job(project, surface, profile, assignments or [], trial, data)
        unchanged = (
            None if force or trial else find_unchanged(project, tracking, surface, data.version, job.fingerprint)
        )
        if unchanged is not None:
            log.info("retrain %s: data, settings and code are unchanged, nothing to train", surface)
        result = unchanged or _train(project, tracking, job, verdict)
    result = result.model_copy(update={"seconds": time.monotonic() - started})
    artifacts.publish_result(project, result, tracking)
    return result.model_dump(mode="json")


def _train(project: Project, tracking: Tracking, job: Job, verdict: Verdict) -> RetrainResult:
    """Train under one parent run, which carries what brings the data back."""
    name = f"trial {job.trial}" if job.trial else f"retrain {job.profile}"
    with tracking.run(job.surface, name, tags=job.tags()) as parent:
        _log_data(tracking, parent, project, job)
        parent.text(verdict.model_dump_json(indent=1), "verdict.json")
        with tempfile.TemporaryDirectory(prefix="run-", dir=project.state) as scratch:
            model, page = _train_one(project, tracking, job, verdict, parent, Path(scratch))
    champion = tracking.champion(job.surface)
    return RetrainResult(
        surface=job.surface,
        data_version=job.data.version,
        skipped=False,
        validation=ValidationCounts(images=verdict.images, quarantined=len(verdict.quarantined)),
        models=(model,),
        champion=Champion(algorithm=champion.algorithm, version=champion.version) if champion else None,
        report=str(page.relative_to(project.root)),
    )


def _log_data(tracking: Tracking, run: Run, project: Project, job: Job) -> None:
    """Put on a run what brings its data back, and which images it saw, by part and label."""
    run.text(job.data.model_dump_json(indent=1), ARTIFACT)
    images = read_index(project.surface(job.surface).prepared)
    table = pd.DataFrame([{"path": i.path, "part": i.part.value, "label": i.label.value} for i in images])
    tracking.log_input(run, table, job.surface, job.data.version, "training")


def _train_one(
    project: Project, tracking: Tracking, job: Job, verdict: Verdict, parent: Run, scratch: Path
) -> tuple[ModelResult, Path]:
    """Take one algorithm from prepared images to the registry, under a run of its own."""
    version: ModelVersion | None = None
    with tracking.run(job.surface, "padim", parent=parent.id, tags={**job.tags(), "algorithm": "padim"}) as run:
        _log_data(tracking, run, project, job)
        trained = train_task(project, job, scratch / "model")
        candidate = evaluate_task(project, job, trained, scratch / "maps")
        log_version(run, candidate.trained, candidate.info, candidate.selection, candidate.evaluation, job.settings)
        if not job.trial:
            version = register_task(project, job, tracking, run, candidate)
            promote_task(tracking, version)
        number = version.version if version else None
        page = report_task(project, job, run, verdict, candidate, scratch / "maps", number)
    figures = {name: figure.value for name, figure in candidate.evaluation.metrics.items()}
    figures |= {f"select_{name}": value for name, value in candidate.selection.metrics.items()}
    model = ModelResult(
        algorithm=trained.algorithm,
        version=version.version if version else None,
        run_id=run.id,
        metrics=figures,
        seconds=trained.seconds,
        peak_rss_mb=trained.peak_rss_mb,
    )
    return model, page
