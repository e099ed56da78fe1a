"""The job of an adaptation for a number of images, and how an algorithm uses these."""

import math

from flows.runtime.session import Session
from flows.steps.job import Job
from pipelines.core.records import Split
from pipelines.data.prepared import read_index
from pipelines.models.registry import find_algorithm
from pipelines.training.transfer.shots import draw_shots, hold_none_out


def draw_job(session: Session, job: Job, shots: int) -> Job:
    """Draw images of the target, and say what each is for.

    Args:
        session: Open on the target, whose prepared images are read.
        job: Of the adaptation.
        shots: How many images.

    Returns:
        The job for these images, in which some are held out.

    Raises:
        CallError: If there are not as many.
    """
    return job.model_copy(update={"splits": draw_shots(read_index(session.paths.prepared), shots, job.settings.seed)})


def job_for(job: Job, algorithm: str) -> Job:
    """Return the job as an algorithm is to use its images; one that memorises learns from all of them.

    Each image is then judged without itself (pipelines/training/cross_fit.py). Enough synthetic anomalies are added to
    choose by, however few are judged.

    Args:
        job: With `splits`, as `draw_job` returns it.
        algorithm: Name of a known algorithm.

    Returns:
        The job with that algorithm's splits and number of synthetic anomalies.
    """
    splits = job.splits or {}
    judged = Split.VALIDATION
    if find_algorithm(algorithm).memorises:
        splits, judged = hold_none_out(splits), Split.TRAIN
    count = sum(split == judged for split in splits.values())
    evaluation = job.settings.evaluation
    if count:
        synthetic = max(evaluation.synthetic, math.ceil(job.settings.adapt.synthetic / count))
        evaluation = evaluation.model_copy(update={"synthetic": synthetic})
    settings = job.settings.model_copy(update={"evaluation": evaluation})
    return job.model_copy(update={"splits": splits, "settings": settings})
