"""One trial: an algorithm fitted by some settings, and what the validation split says of it."""

from collections.abc import Sequence
from pathlib import Path

import psutil
from prefect import task

from flows.runtime.session import Session
from flows.steps.job import Job, read_images
from pipelines.core.errors import CallError, ModelError
from pipelines.core.records import Record, Split
from pipelines.core.results import Selection, Trained
from pipelines.data.prepared import PreparedImage
from pipelines.detector.cache import RunCache
from pipelines.detector.detector import Detector
from pipelines.models.registry import find_algorithm
from pipelines.training.agreeing import calibrate_agreeing
from pipelines.training.choosing.figures import flatten_selection
from pipelines.training.choosing.selection import score_selection, validation_normals
from pipelines.training.memory import reset_peak
from pipelines.training.train import choose_tile_plan, train
from pipelines.training.tuning.worth import Worth, weigh


class Judged(Record):
    """A fit, what the validation split says of it, and what that is worth."""

    trained: Trained
    selection: Selection
    worth: Worth


def check_judged(session: Session, job: Job) -> None:
    """See that trials can be judged.

    Args:
        session: Open on the surface.
        job: Whose images these are.

    Raises:
        CallError: If no normal image is in the validation split.
    """
    if not validation_normals(read_images(session, job)):
        raise CallError(
            f"'{job.surface}' has no normal image in its validation split, which trials are judged on",
            hint=f"add normal images; `knotwatch data show {job.surface}` says how many there are",
        )


@task(name="trial", task_run_name="trial {job.trial}")
def trial_task(session: Session, job: Job, algorithm: str, folder: Path) -> Judged:
    """Fit an algorithm and judge it on the validation split; no image of calibration or test split is looked at.

    Args:
        session: Open on the surface.
        job: Its settings are those of the trial.
        algorithm: One of the job's settings.
        folder: Model folder to write, in a folder of the trial's own, which gets its maps too.

    Returns:
        The fit, which is never registered: its export was not set against torch, and its thresholds are none.

    Raises:
        ModelError: If the fit would take more memory than is free, or the settings do not fit the network.
    """
    images, prepared = read_images(session, job), session.paths.prepared
    _refuse_too_large(algorithm, images, job)
    # Maps of the validation split's normal images are asked for three times.
    cache = RunCache(folder.parent / "maps")
    reset_peak()
    trained = train(algorithm, prepared, images, job.settings, folder, checked=False)
    said = (job.surface, job.own, job.settings, job.data.version)
    trained, _ = calibrate_agreeing(trained, prepared, _only_validation(images), *said, cache.wrap)
    selection = score_selection(
        Detector(folder), prepared, images, job.settings.evaluation.synthetic, job.settings.seed,
        scratch=folder.parent, wrap=cache.wrap,
    )  # fmt: skip
    worth = weigh(flatten_selection(selection))
    if worth is None:
        raise ModelError(
            "the validation split says nothing of it", hint="set evaluation.synthetic to 1 or more, or add images"
        )
    return Judged(trained=trained, selection=selection, worth=worth)


def _only_validation(images: Sequence[PreparedImage]) -> list[PreparedImage]:
    """Have the validation split calibrate too: a version must have a scale and thresholds, which rank nothing."""
    known = [image for image in images if image.split == Split.VALIDATION]
    return [*known, *(image.model_copy(update={"split": Split.CALIBRATION}) for image in known)]


def _refuse_too_large(algorithm: str, images: Sequence[PreparedImage], job: Job) -> None:
    trained_on = [image for image in images if image.split == Split.TRAIN]
    if not trained_on:
        return
    plan = choose_tile_plan(algorithm, trained_on, job.settings)
    cost = find_algorithm(algorithm).estimate_cost(plan, job.settings.of(algorithm))
    free = psutil.virtual_memory().available / 1e6
    if cost is not None and cost.memory_mb > free:
        raise ModelError(
            f"{cost.what} would take about {cost.memory_mb:.0f} MB while fitting, {free:.0f} MB are free",
            hint="end other programs",
        )
