"""One way of bringing one algorithm to another surface, under an MLflow run of its own."""

import logging
import tempfile
from pathlib import Path

from flows.adapting.origins import Origin
from flows.runtime.session import Session
from flows.steps.job import Candidate, Job
from flows.steps.tasks import evaluate_task, train_task
from pipelines.core.geometry import TilePlan
from pipelines.core.records import Interval, Label, Record, Strategy
from pipelines.core.results import Promise, ScoredImage, Selection, Start
from pipelines.metrics.conformal import most_false_alarms
from pipelines.registry.register import log_version
from pipelines.tracking.runs import Run

log = logging.getLogger(__name__)


class Attempt(Record):
    """What came of one strategy: its network in `folder`, and what the held-back and the test photographs say.

    `alarming` says that more held-back sound photographs are marked than the promise allows; an estimate allows any.
    `likelier` is by how much held-back photographs are likelier than without the source, `densities` how likely they
    are.
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
    promise: Promise
    alarming: bool
    notes: dict[str, str]
    likelier: tuple[float, ...] = ()
    densities: tuple[float, ...] = ()
    seconds: float

    @property
    def labels(self) -> tuple[bool, ...]:
        """Say which test photographs are defective; empty where labels are missing."""
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


def attempt(session: Session, job: Job, origin: Origin, strategy: Strategy, folder: Path, parent: Run) -> Attempt:
    """Fit one algorithm by one strategy to `folder`, calibrate it and score what is held back and the test part."""
    shots = job.shots
    tags = {**job.tags(origin.algorithm), "strategy": strategy, "shots": str(shots)}
    start = Start(strategy=strategy, folder=origin.folder, plan=origin.plan, checked=False)
    name = f"{origin.algorithm} {strategy} {shots}"
    with (
        tempfile.TemporaryDirectory(dir=folder.parent) as maps,
        session.tracking.run(job.surface, name, parent=parent.id, tags=tags) as run,
    ):
        trained = train_task(session, job, origin.algorithm, folder, start)
        candidate = evaluate_task(session, job, trained, Path(maps))
        log_version(run, candidate.trained, candidate.info, candidate.selection, candidate.evaluation, job.settings)
        tested = len(candidate.evaluation.images)
        known = {"shots": shots, "tested": tested, "strategy": strategy}
        run.params({**known, "algorithm": origin.algorithm, "source": origin.name})
    found = _describe(candidate, strategy, shots, run)
    log.info("adapt %s: %s with %s, %s", job.surface, *_in_words(found))
    return found


def _describe(candidate: Candidate, strategy: Strategy, shots: int, run: Run) -> Attempt:
    trained, info = candidate.trained, candidate.info
    sound = [
        score
        for score, defect in zip(candidate.selection.scores, candidate.selection.holds_defect, strict=True)
        if not defect
    ]
    alarms = sum(score > info.image_threshold.threshold for score in sound)
    promise = info.image_threshold
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
        promise=promise,
        alarming=not promise.estimate and alarms > most_false_alarms(promise.rate, promise.images, len(sound)),
        notes=trained.notes,
        likelier=trained.likelier,
        densities=trained.densities,
        seconds=trained.seconds,
    )


def _in_words(found: Attempt) -> tuple[str, str, str]:
    planted, real = found.selection.metrics.get("image_auroc"), found.metrics.get("image_auroc")
    figures = [f"image AUROC {planted:.3f} on planted defects" if planted is not None else "nothing to choose on"]
    if real is not None:
        figures.append(f"{real.value:.3f} on the test part")
    shots = f"{found.shots} photograph{'s' if found.shots > 1 else ''}"
    return f"{found.algorithm} {found.strategy}", shots, ", ".join(figures)
