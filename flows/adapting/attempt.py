"""One transfer strategy of one algorithm, under an MLflow run of its own."""

import logging
import tempfile
from pathlib import Path

from flows.adapting.origins import Origin
from flows.steps.algorithm import Shared
from flows.steps.job import EvaluatedVersion, Job
from flows.steps.tasks import evaluate_task, train_task
from pipelines.core.geometry import TilePlan
from pipelines.core.records import Interval, Label, Record, Strategy
from pipelines.core.results import CalibratedThreshold, ScoredImage, Selection, Start
from pipelines.data.prepared import read_index
from pipelines.metrics.conformal import most_false_alarms
from pipelines.registry.register import log_version
from pipelines.tracking.runs import Run
from pipelines.training.transfer.shots import usual_size

log = logging.getLogger(__name__)


class Attempt(Record):
    """What came of one strategy: its network in `folder`, and what the held-out and the test images say.

    `alarming` says that more held-out normal images are flagged than the guarantee allows; an in-sample threshold
    allows any. `likelihood_gains` is by how much held-out images have a higher log-likelihood than without the source,
    `densities` how likely they are.
    """

    algorithm: str
    strategy: Strategy
    shots: int
    run_id: str
    folder: str
    plan: TilePlan
    metrics: dict[str, Interval]
    selection: Selection
    test: tuple[ScoredImage, ...]
    image_threshold: CalibratedThreshold
    alarming: bool
    notes: dict[str, str]
    likelihood_gains: tuple[float, ...] = ()
    densities: tuple[float, ...] = ()
    seconds: float

    @property
    def labels(self) -> tuple[bool, ...]:
        """Say which test images are defective; empty where labels are missing."""
        if any(image.label == Label.UNKNOWN for image in self.test):
            return ()
        return tuple(image.label == Label.ANOMALOUS for image in self.test)

    @property
    def scores(self) -> tuple[float, ...]:
        return tuple(image.score for image in self.test)

    def finished(self, notes: dict[str, str]) -> Start:
        """Return what makes the same network again, set against torch this time."""
        kept = {name: text for name, text in self.notes.items() if name != "export"}
        return Start(strategy=Strategy.REUSE, folder=self.folder, plan=self.plan, notes={**kept, **notes})


def attempt(shared: Shared, job: Job, origin: Origin, strategy: Strategy, folder: Path) -> Attempt:
    """Fit one algorithm by one strategy to `folder`, calibrate it and score what is held out and the test split.

    Args:
        shared: Of the adaptation, opened on the target, whose prepared images are read; maps are kept for the version.
        job: Its `splits` name the images that are used, and as what; test images that it leaves out are not scored.
        origin: Version of the source; its algorithm is fitted and its tile plan and state are gone on from.
        strategy: One that the algorithm knows.
        folder: Model folder to write; what lies there is removed. Its parent must exist, and holds the maps meanwhile.

    Returns:
        The figures, and `folder`, which must be kept until the chosen attempt is made again.
    """
    session, shots = shared.session, job.shots
    tags = {**job.tags(origin.algorithm), "strategy": strategy, "shots": str(shots)}
    size = usual_size(read_index(session.paths.prepared))
    start = Start(strategy=strategy, folder=origin.folder, plan=origin.plan, size=size, checked=False)
    name = f"{origin.algorithm} {strategy} {shots}"
    with (
        tempfile.TemporaryDirectory(dir=folder.parent) as maps,
        session.tracking.run(job.surface, name, parent=shared.parent.id, tags=tags) as run,
    ):
        trained = train_task(session, job, origin.algorithm, folder, start)
        candidate = evaluate_task(session, job, trained, Path(maps), wrap=shared.wrap)
        log_version(run, candidate.trained, candidate.info, candidate.selection, candidate.evaluation, job.settings)
        tested = len(candidate.evaluation.images)
        known = {"shots": shots, "tested": tested, "strategy": strategy}
        run.params({**known, "algorithm": origin.algorithm, "source": origin.name})
    found = _describe(candidate, strategy, shots, run)
    log.info("adapt %s: %s with %s, %s", job.surface, *_in_words(found))
    return found


def _describe(candidate: EvaluatedVersion, strategy: Strategy, shots: int, run: Run) -> Attempt:
    trained, info = candidate.trained, candidate.info
    normal = [
        score
        for score, defect in zip(candidate.selection.scores, candidate.selection.holds_defect, strict=True)
        if not defect
    ]
    alarms = sum(score > info.image_threshold.threshold for score in normal)
    calibrated = info.image_threshold
    return Attempt(
        algorithm=trained.algorithm,
        strategy=strategy,
        shots=shots,
        run_id=run.id,
        folder=trained.folder,
        plan=trained.plan,
        metrics=candidate.evaluation.metrics,
        selection=candidate.selection,
        test=candidate.evaluation.images,
        image_threshold=calibrated,
        alarming=not calibrated.in_sample
        and alarms > most_false_alarms(calibrated.achieved_rate, calibrated.images, len(normal)),
        notes=trained.notes,
        likelihood_gains=trained.likelihood_gains,
        densities=trained.densities,
        seconds=trained.seconds,
    )


def _in_words(found: Attempt) -> tuple[str, str, str]:
    synthetic, real = found.selection.metrics.get("image_auroc"), found.metrics.get("image_auroc")
    figures = [
        f"image AUROC {synthetic:.3f} on synthetic anomalies" if synthetic is not None else "nothing to choose on"
    ]
    if real is not None:
        figures.append(f"{real.value:.3f} on the test split")
    shots = f"{found.shots} image{'s' if found.shots > 1 else ''}"
    return f"{found.algorithm} {found.strategy}", shots, ", ".join(figures)
