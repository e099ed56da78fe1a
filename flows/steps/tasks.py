"""Prefect tasks: each hands over to one stage. Only what reads or writes elsewhere is retried."""

import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prefect import State, task

from flows.promotion.requests import decide_proposal
from flows.runtime.data_stages import run_preprocess, run_validate
from flows.runtime.session import Session
from flows.steps import artifacts
from flows.steps.job import EvaluatedVersion, Job, read_images
from flows.steps.pages import links_of_run, open_folder, publish_folder
from pipelines.core.errors import KnotwatchError
from pipelines.core.progress import waiting
from pipelines.core.records import TYPES, Label, Split
from pipelines.core.results import Start, Trained, ValidationReport
from pipelines.data.prepared import PreparedImage, read_index, read_region
from pipelines.data.review_ledger import raw_file
from pipelines.data.versioning.versions import DataVersion
from pipelines.detector.detector import Detector
from pipelines.detector.scan import Wrap
from pipelines.models.registry import find_algorithm
from pipelines.registry.load import latency_in_words
from pipelines.registry.record import DecisionRecord
from pipelines.registry.register import check_reproduction, register
from pipelines.registry.timing import time_version
from pipelines.reports.charts.curves import CHARTS, write_charts, write_training
from pipelines.reports.comparison import ComparisonPage, write_comparison
from pipelines.reports.folders import PAGE
from pipelines.reports.model_card import model_card
from pipelines.reports.pictures import write_pages
from pipelines.reports.run_page import describe_run
from pipelines.tracking.registry import ModelVersion
from pipelines.tracking.runs import Run
from pipelines.training.agreeing import calibrate_agreeing
from pipelines.training.choosing.selection import score_selection
from pipelines.training.cross_fit import forget_folds, open_folds
from pipelines.training.ensemble.assemble import assemble
from pipelines.training.ensemble.choose import MemberChoice
from pipelines.training.evaluate import evaluate
from pipelines.training.memory import reset_peak
from pipelines.training.run_settings import RunSettings
from pipelines.training.train import choose_tile_plan, is_unlabelled, train
from pipelines.training.types.train import name_types

# Images that a registered version must give its evaluation's scores for, from their files.
_REPRODUCED = 8

log = logging.getLogger(__name__)


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


@task(name="validate", task_run_name="validate {session.surface}", **_RETRY)
def validate_task(session: Session) -> ValidationReport:
    verdict = run_validate(session.project, session.surface, session.settings)
    artifacts.publish_verdict(session.surface, verdict)
    return verdict


@task(name="preprocess", task_run_name="preprocess {session.surface}", **_RETRY)
def preprocess_task(session: Session) -> DataVersion:
    return run_preprocess(session.project, session.surface)


@task(name="train", task_run_name="train {algorithm}")
def train_task(session: Session, job: Job, algorithm: str, folder: Path, start: Start | None = None) -> Trained:
    """Fit one algorithm; the peak memory that is measured is of this fit alone, where the system counts it anew.

    Args:
        session: Open on the surface.
        job: Says which images are trained on, and by which settings.
        algorithm: One of the job's settings.
        folder: Model folder to write; what lies there is removed.
        start: Version to go on from; None trains from the images alone.

    Returns:
        The fit, in `folder`, without thresholds yet.

    Raises:
        ToolError: If the training split is empty.
        ModelError: If a precision that the settings force does not agree with torch.
    """
    images = read_images(session, job)
    if start is None or start.checked:
        _log_cost(algorithm, images, job.settings, start)
    reset_peak()
    return train(algorithm, session.paths.prepared, images, job.settings, folder, start)


def _log_cost(algorithm: str, images: list[PreparedImage], settings: RunSettings, start: Start | None) -> None:
    """Say before a fit what it will take, where settings can make it outgrow the machine."""
    trained_on = [i for i in images if i.split == Split.TRAIN]
    if trained_on and not is_unlabelled(trained_on):
        plan = choose_tile_plan(algorithm, trained_on, settings, start)
        cost = find_algorithm(algorithm).estimate_cost(plan, settings.of(algorithm))
        if cost is not None:
            log.info(
                "train %s: %s, about %.0f MB of memory while fitting, %.0f MB a version",
                *(algorithm, cost.what, cost.memory_mb, cost.version_mb),
            )


@task(name="evaluate", task_run_name="evaluate {trained.algorithm}")
def evaluate_task(
    session: Session, job: Job, trained: Trained, maps: Path, types: Path | None = None, wrap: Wrap | None = None
) -> EvaluatedVersion:
    """Calibrate a fitted network, score the validation and the test split.

    Args:
        session: Open on the surface.
        job: The one that the network was trained by.
        trained: Its folder gets thresholds, reference tiles and, with `types`, what names defects.
        maps: Folder that the test images' region maps stay in, numbered as the evaluation's images.
        types: Folder where what names defects is learnt once for all of a run's algorithms; None for what is not to be
            registered.
        wrap: Puts a network before each of the version's: what the run's versions have in common is computed once.

    Returns:
        What may be registered; without figures of types where the surface has too few examples.

    Raises:
        ParityError: If the exported network does not judge as the fitted one does, in no precision that is allowed.
    """
    prepared = session.paths.prepared
    images = read_images(session, job)
    said = (job.surface, job.own, job.settings, job.data.version)
    by_image = open_folds(trained, job.settings, wrap) or wrap
    trained, info = calibrate_agreeing(trained, prepared, images, *said, by_image)
    detector = Detector(Path(trained.folder))
    settings, seed = job.settings.evaluation, job.settings.seed
    figures = name_types(prepared, images, types, settings.bootstrap, seed) if types else None
    if types and figures:
        shutil.copytree(types / TYPES, Path(trained.folder) / TYPES)
    selection = score_selection(
        *(detector, prepared, images, settings.synthetic, seed),
        resamples=settings.bootstrap,
        scratch=maps.parent,
        wrap=by_image,
    )
    found = evaluate(detector, prepared, images, settings, seed, maps, wrap)
    timed = time_version(detector, prepared, images) if types else None
    return EvaluatedVersion(
        trained=trained,
        info=info,
        selection=selection,
        evaluation=found,
        types=figures,
        latency_ms=timed.milliseconds if timed else None,
        load=timed.load if timed else None,
    )


@task(name="assemble", task_run_name="assemble {session.surface}")
def assemble_task(
    session: Session, job: Job, choice: MemberChoice, versions: Mapping[str, int], folder: Path
) -> Trained:
    """Make the model folder of an ensemble out of registered versions.

    Args:
        session: Open on the surface.
        job: Its settings say how much each member counts.
        choice: The members, and why others stay out.
        versions: Numbers of the members' versions, by name.
        folder: Model folder to write; what lies there is removed.

    Returns:
        The ensemble as a fit, in `folder`, without thresholds yet.

    Raises:
        ModelError: If a member's files are gone or were changed.
    """
    places = {name: session.tracking.folder(session.surface, versions[name]) for name in choice.members}
    return assemble(places, folder, job.settings.ensemble.members, choice.notes(versions))


@task(name="report", task_run_name="report {candidate.info.algorithm}")
def report_task(
    session: Session,
    job: Job,
    run: Run,
    verdict: ValidationReport,
    candidate: EvaluatedVersion,
    maps: Path,
    version: int | None,
) -> Path:
    """Write the pages of a run, put them on its MLflow run, and return the page.

    Args:
        session: Open on the surface, whose reports folder has one of the run's.
        job: The one that the candidate was trained by.
        run: The candidate's own, not ended yet.
        verdict: Of the job's data.
        candidate: Its evaluation says which images are shown.
        maps: Folder of region maps, as `evaluate_task` left it.
        version: Number in the registry; None in a trial.

    Returns:
        The HTML file, inside the project.
    """
    info, folder = candidate.info, open_folder(session, run)
    page = describe_run(
        surface=job.surface,
        version=version,
        data_version=job.data.version,
        trained=candidate.trained,
        selection=candidate.selection,
        evaluation=candidate.evaluation,
        verdict=verdict,
        thresholds=(info.image_threshold, info.pixel_threshold),
        settings=job.settings.model_dump(mode="json"),
        profile=job.profile,
        commit=job.commit,
        types=candidate.types,
        latency=latency_in_words(candidate.latency_ms, candidate.load),
        links=links_of_run(session, run, folder),
    )
    pictures = job.settings.evaluation.pictures
    with waiting(f"report {info.algorithm}"):
        path = write_pages(session.paths.prepared, folder, page, info.pixel_threshold.threshold, maps, pictures)
        scores = page.scores(Label.NORMAL), page.scores(Label.ANOMALOUS)
        write_charts(folder / CHARTS, *scores, info.image_threshold.threshold)
        write_training(folder / CHARTS, candidate.trained.curves)
        publish_folder(session, run, folder)
    return path


@task(name="register", task_run_name="register {candidate.info.algorithm}", **_RETRY)
def register_task(session: Session, job: Job, run: Run, candidate: EvaluatedVersion) -> ModelVersion:
    """Register a candidate, and see that the registered version gives its scores again.

    Args:
        session: Open on the surface; its project has the template of the model card.
        job: The one that the candidate was trained by; its tags become the version's.
        run: The candidate's own, not ended yet.
        candidate: Its folder is copied into the registry, with checksums.

    Returns:
        The registered version, without an alias.

    Raises:
        ModelError: If the score of one of the first eight images differs by more than 1e-6 of it. It stays registered.
    """
    template = session.project.root / "mlflow/model_card.md.j2"
    trained, info = candidate.trained, candidate.info
    said = (candidate.selection, candidate.evaluation, job.profile, job.commit, candidate.types)
    card = model_card(template, info, trained, *said, latency_in_words(candidate.latency_ms, candidate.load))
    forget_folds(Path(trained.folder))
    version = register(session.tracking, run, Path(trained.folder), info, job.tags(trained.algorithm), card)
    paths = session.paths
    images = read_index(paths.prepared)[:_REPRODUCED]
    with waiting(f"register, version {version.version} gives its scores again"):
        detector = Detector(Path(trained.folder))
        regions = [read_region(paths.prepared, image) for image in images]
        expected = [detector.judge(region, detector.scan_region(region)).score for region in regions]
        files = [raw_file(paths.source, image.path) for image in images]
        check_reproduction(session.tracking, version, files, expected)
    return version


@task(name="compare", task_run_name="compare {page.surface}")
def compare_task(session: Session, run: Run, page: ComparisonPage, folder: Path) -> Path:
    """Write the page of a retrain, put it on the parent run, and return it.

    Args:
        session: Open on the surface.
        run: Parent run of the retrain, not ended yet.
        page: What it says.
        folder: Of the run's reports.

    Returns:
        The HTML file, inside the project.
    """
    path = write_comparison(page, folder / PAGE)
    publish_folder(session, run, folder)
    return path


@task(name="decide", task_run_name="decide {version.surface}", **_RETRY)
def decide_task(
    session: Session, version: ModelVersion, reason: str, wrap: Wrap | None = None
) -> DecisionRecord | None:
    """Propose a version, and let the gate decide on it where that is automatic.

    Args:
        session: Open on the version's surface.
        version: Registered version; what was decided on it before stands.
        reason: In words, why it is proposed.
        wrap: Puts a network before each of the versions', such as one that knows the maps of a retrain. None: none.

    Returns:
        What was decided, or that it waits; None where the version is champion already.

    Raises:
        BusyError: If another process changes the surface.
    """
    return decide_proposal(session, version, reason, wrap)
