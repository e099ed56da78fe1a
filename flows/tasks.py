"""Prefect tasks: each hands over to one stage. Only what reads or writes elsewhere is retried."""

from pathlib import Path
from typing import Any

from prefect import State, task

from flows import artifacts
from flows.job import Candidate, Job
from flows.stages import run_preprocess, run_validate
from pipelines.calibrate import calibrate
from pipelines.errors import KnotwatchError
from pipelines.evaluate import evaluate
from pipelines.loader import Detector
from pipelines.paths import Project
from pipelines.prepared import read_index, read_region
from pipelines.promote import promote_first
from pipelines.records import Trained, Verdict
from pipelines.register import check_reproduction, model_card, register
from pipelines.reports.retrain import describe_run, write_pages
from pipelines.selection import score_selection
from pipelines.tracking.runs import Run
from pipelines.tracking.store import ModelVersion, Tracking
from pipelines.train import train_padim
from pipelines.versions import DataVersion

# Photographs that a registered version must give its evaluation's scores for, from their files.
_REPRODUCED = 8


def _may_pass(_task: object, _run: object, state: State[object]) -> bool:
    """Retry what may pass by itself; what knotwatch itself refuses will be refused again."""
    try:
        state.result()
    except KnotwatchError:
        return False
    except Exception:
        return True
    return False


_RETRY: Any = {"retries": 1, "retry_delay_seconds": 5, "retry_condition_fn": _may_pass}


@task(name="validate", task_run_name="validate {surface}", **_RETRY)
def validate_task(project: Project, surface: str) -> Verdict:
    verdict = run_validate(project, surface)
    artifacts.publish_verdict(surface, verdict)
    return verdict


@task(name="preprocess", task_run_name="preprocess {surface}", **_RETRY)
def preprocess_task(project: Project, surface: str) -> DataVersion:
    return run_preprocess(project, surface)


@task(name="train", task_run_name="train {job.surface}")
def train_task(project: Project, job: Job, folder: Path) -> Trained:
    prepared = project.surface(job.surface).prepared
    return train_padim(prepared, read_index(prepared), job.settings, folder)


@task(name="evaluate", task_run_name="evaluate {trained.algorithm}")
def evaluate_task(project: Project, job: Job, trained: Trained, maps: Path) -> Candidate:
    """Calibrate a fitted network, score the select and the test part; the test's region maps stay in `maps`."""
    prepared = project.surface(job.surface).prepared
    images = read_index(prepared)
    info = calibrate(trained, prepared, images, job.surface, job.own, job.data.version)
    detector = Detector(Path(trained.folder))
    settings, seed = job.settings.evaluation, job.settings.seed
    selection = score_selection(detector, prepared, images, settings.planted, seed)
    found = evaluate(detector, prepared, images, settings, seed, maps)
    return Candidate(trained=trained, info=info, selection=selection, evaluation=found)


@task(name="report", task_run_name="report {candidate.info.algorithm}")
def report_task(
    project: Project, job: Job, run: Run, verdict: Verdict, candidate: Candidate, maps: Path, version: int | None
) -> Path:
    """Write the pages of a run, put them on its MLflow run, and return the page."""
    info = candidate.info
    page = describe_run(
        surface=job.surface,
        version=version,
        data_version=job.data.version,
        trained=candidate.trained,
        selection=candidate.selection,
        evaluation=candidate.evaluation,
        verdict=verdict,
        promises=(info.image_threshold, info.pixel_threshold),
        settings=job.settings.model_dump(mode="json"),
        profile=job.profile,
        commit=job.commit,
    )
    folder = write_pages(
        project.surface(job.surface),
        run.id,
        page,
        info.pixel_threshold.threshold,
        maps,
        job.settings.evaluation.pictures,
    )
    run.files(folder)
    return folder / "index.html"


@task(name="register", task_run_name="register {candidate.info.algorithm}", **_RETRY)
def register_task(project: Project, job: Job, tracking: Tracking, run: Run, candidate: Candidate) -> ModelVersion:
    """Register a candidate, and see that the registered version gives its scores again."""
    template = project.root / "mlflow/model_card.md.j2"
    trained, info = candidate.trained, candidate.info
    card = model_card(template, info, trained, candidate.evaluation, job.settings, job.profile, job.commit)
    version = register(tracking, run, Path(trained.folder), info, job.tags(), card)
    paths = project.surface(job.surface)
    images = read_index(paths.prepared)[:_REPRODUCED]
    detector = Detector(Path(trained.folder))
    expected = [detector.scan_region(read_region(paths.prepared, image)).score for image in images]
    check_reproduction(version, [paths.source / image.path for image in images], expected)
    return version


@task(name="promote", task_run_name="promote {version.surface}", **_RETRY)
def promote_task(tracking: Tracking, version: ModelVersion) -> ModelVersion:
    return promote_first(tracking, version)
