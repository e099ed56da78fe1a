"""The flow `retrain`: validate, preprocess; train, evaluate and register each algorithm; propose one, and decide."""

import logging
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from prefect import flow

from flows.operations.notify import tell_failure
from flows.runtime.cancelled import mark_cancelled
from flows.runtime.environment import log_stages, prepare_environment
from flows.runtime.leftovers import scratch_folder
from flows.runtime.locks import LONGEST_WAIT, surface_lock
from flows.steps import artifacts
from flows.steps.algorithm import Shared, describe_failure, log_data, train_algorithm
from flows.steps.job import Job, resolve_job
from flows.steps.opening import open_surface
from flows.steps.results import Champion, ModelResult, RetrainResult, SomeFailedError, ValidationCounts
from flows.steps.tasks import compare_task, decide_task
from flows.steps.unchanged import find_registered, find_unchanged, propose_among
from pipelines.core.paths import Project, find_project
from pipelines.core.progress import interrupts_first
from pipelines.core.results import Compared, Failure, Verdict
from pipelines.core.surface_settings import read_surface
from pipelines.core.wording import flatten
from pipelines.reports.comparison import Comparison
from pipelines.tracking.data import VERDICT
from pipelines.tracking.store import Tracking

log = logging.getLogger(__name__)


@flow(name="retrain", flow_run_name="retrain {surface}", on_failure=[tell_failure], on_crashed=[mark_cancelled])
def retrain(
    surface: str,
    profile: str = "full",
    assignments: list[str] | None = None,
    trial: str | None = None,
    force: bool = False,
    wait: float = LONGEST_WAIT,
) -> dict[str, Any]:
    """Train a surface's algorithms on its current data, evaluate and register them, propose one, and decide on it.

    `assignments` are KEY=VALUE words that change settings for this run. A `trial` is tracked and never registered.
    Without `force`, an algorithm whose data, settings and code are as they were is not trained again. `wait` is how
    many seconds to wait for another change of the surface to end.

    Raises:
        SomeFailedError: where an algorithm failed, after the others were registered.
    """
    started = time.monotonic()
    project = find_project()
    prepare_environment(project)
    log_stages()
    read_surface(project, surface)
    with interrupts_first(), surface_lock(project, surface, "retrain", wait=wait):
        tracking, verdict, data = open_surface(project, surface)
        job = resolve_job(project, surface, profile, assignments or [], trial, data)
        fresh = force or trial is not None
        unchanged = None if fresh else find_unchanged(project, tracking, surface, data.version, job.fingerprints)
        if unchanged is not None:
            log.info("retrain %s: data, settings and code are unchanged, nothing to train", surface)
        known = {} if fresh or unchanged else find_registered(tracking, surface, job.fingerprints)
        result = unchanged or _train_all(project, tracking, job, verdict, known)
    result = result.model_copy(update={"seconds": time.monotonic() - started})
    artifacts.publish_result(project, result, tracking)
    if result.failed:
        raise SomeFailedError(result)
    return result.model_dump(mode="json")


def _train_all(
    project: Project, tracking: Tracking, job: Job, verdict: Verdict, known: dict[str, Compared]
) -> RetrainResult:
    """Train what is not `known` under one parent run, which carries what brings the data back, and propose one."""
    name = f"trial {job.trial}" if job.trial else f"retrain {job.profile}"
    models: list[Compared] = []
    failed: list[Failure] = []
    with (
        tempfile.TemporaryDirectory(dir=scratch_folder(project, job.surface)) as scratch,
        tracking.run(job.surface, name, tags=job.tags()) as parent,
    ):
        shared = Shared(project, tracking, job, verdict, parent, Path(scratch))
        log_data(tracking, parent, project, job)
        parent.params(dict(flatten(job.settings.model_dump(mode="json"))))
        parent.text(verdict.model_dump_json(indent=1), VERDICT)
        for algorithm in job.settings.algorithms:
            if algorithm in known:
                log.info("retrain %s: %s version %s is as wanted", job.surface, algorithm, known[algorithm].version)
                models.append(known[algorithm])
                continue
            try:
                models.append(train_algorithm(shared, algorithm))
            except Exception as error:
                failed.append(describe_failure(algorithm, error))
        result = RetrainResult(
            surface=job.surface,
            data_version=job.data.version,
            skipped=False,
            validation=ValidationCounts(images=verdict.images, quarantined=len(verdict.quarantined)),
            models=tuple(ModelResult.of(model, reused=model.algorithm in known) for model in models),
            failed=tuple(failed),
            proposed=propose_among(models),
        )
        return _conclude(shared, result, models)


def _conclude(shared: Shared, result: RetrainResult, models: list[Compared]) -> RetrainResult:
    """Propose and decide, and compare what was trained on one page; the run fails where an algorithm did."""
    project, tracking, job, _, parent, _ = shared
    proposed, ruling = result.proposed, None
    if proposed:
        parent.tags({"proposed": proposed.algorithm, "proposed_reason": proposed.reason})
        if proposed.version is not None:
            parent.tags({"proposed_version": str(proposed.version)})
            ruling = decide_task(project, tracking, tracking.version(job.surface, proposed.version), proposed.reason)
    page = Comparison(
        surface=job.surface,
        data_version=job.data.version,
        git_commit=job.commit or None,
        profile=job.profile,
        date=datetime.now(UTC).strftime("%d %B %Y, %H:%M UTC"),
        models=tuple(models),
        failed=result.failed,
        reused=tuple(model.algorithm for model, found in zip(models, result.models, strict=True) if found.reused),
        proposed=proposed.algorithm if proposed else None,
        reason=proposed.reason if proposed else "",
        decided=ruling.summary if ruling else "",
    )
    report = compare_task(project, parent, page)
    if ruling:
        parent.tags({"decision": ruling.summary})
    if result.failed:
        parent.fail("; ".join(f"{f.algorithm}: {f.problem}" for f in result.failed))
    champion = tracking.champion(job.surface)
    return result.model_copy(
        update={
            "decision": ruling,
            "champion": Champion.of(champion),
            "report": str(report.relative_to(project.root)),
        }
    )
