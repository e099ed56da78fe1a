"""One trial after the other, each under an MLflow run of its own: each uses all cores."""

import logging
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from flows.runtime.leftovers import scratch_folder
from flows.runtime.session import Session
from flows.steps.algorithm import describe_failure
from flows.steps.job import Job, resolve_job
from flows.tuning.trial import Judged, trial_task
from pipelines.core.progress import watching_steps
from pipelines.core.wording import duration_in_words
from pipelines.data.versioning.versions import DataVersion
from pipelines.models.registry import find_algorithm
from pipelines.registry.descriptions import shown_figures
from pipelines.tracking.runs import Run
from pipelines.training.choosing.figures import flatten_selection
from pipelines.training.tuning.trials import HopelessError, Open, Trials

log = logging.getLogger(__name__)


class Tuning(NamedTuple):
    """What all trials of one call have in common."""

    session: Session
    algorithm: str
    profile: str
    data: DataVersion
    trials: Trials
    parent: Run

    def job(self, number: int, settings: dict[str, str]) -> Job:
        """Resolve what one trial is about; its export is float32, which says most of the fit itself.

        Args:
            number: Of the trial.
            settings: By dotted key inside the algorithm's section, as YAML has them.

        Returns:
            The job, which is never registered.
        """
        name = self.algorithm
        words = [f"{name}.{key}={text}" for key, text in settings.items()]
        fixed = [f"algorithms=[{name}]", "export.precision=f32"]
        return resolve_job(self.session, self.profile, [*fixed, *words], f"tune {name} {number}", self.data)


def try_all(tuning: Tuning, number: int, seconds: float | None) -> None:
    """Try settings until there are as many trials as wanted, those of earlier calls included, or the time is over.

    Args:
        tuning: What is tried.
        number: Trials, beside the settings as they are.
        seconds: In which a trial may begin; None for ever.
    """
    trials, surface, started = tuning.trials, tuning.session.surface, time.monotonic()
    done = trials.all()
    if not done:
        _try_as_is(tuning)
        done = trials.all()
    elif len(done) <= number:
        log.info("tune %s: goes on after %d of %d trials", surface, len(done) - 1, number)
    while len(done) <= number and (seconds is None or time.monotonic() - started < seconds):
        with trials.one() as opened:
            _try(tuning, len(done), opened)
        done = trials.all()
        best, last = trials.best(), done[-1]
        told = f"{last.worth.value:.4f}" if last.worth else f"{last.outcome}{': ' * bool(last.problem)}{last.problem}"
        usual = sum(t.seconds for t in done) / len(done) * (number + 1 - len(done))
        left = usual if seconds is None else min(usual, started + seconds - time.monotonic())
        log.info(
            "tune %s: trial %d of %d: %s (best %.4f, trial %d)%s",
            *(surface, last.number, number, told, best.worth.value if best and best.worth else 0.0),
            best.number if best else 0,
            f", about {duration_in_words(left)} left" if left > 0 else "",
        )


def _try_as_is(tuning: Tuning) -> None:
    """Judge the settings as they are, with which all others are compared; where that fails, nothing is tried."""
    started = time.monotonic()
    job = tuning.job(0, {})
    judged = _judge(tuning, job, {})
    section = job.settings.of(tuning.algorithm).model_dump(mode="json")
    search = find_algorithm(tuning.algorithm).search
    tuning.trials.keep_as_is({key: _pick(section, key) for key in search}, judged.worth, time.monotonic() - started)
    log.info("tune %s: the settings as they are: %.4f", tuning.session.surface, judged.worth.value)


def _pick(section: object, key: str) -> object:
    for name in key.split("."):
        section = section[name]  # type: ignore[index] # a mapping, down to the last name
    return section


def _try(tuning: Tuning, number: int, opened: Open) -> None:
    try:
        with watching_steps(opened.note_step):
            opened.worth = _judge(tuning, tuning.job(number, opened.settings), opened.settings).worth
    except HopelessError:
        raise
    except Exception as error:
        describe_failure(tuning.algorithm, error)
        raise


def _judge(tuning: Tuning, job: Job, settings: dict[str, str]) -> Judged:
    """Run a trial; one that is stopped early or fails ends its MLflow run as failed, with the reason."""
    session, name = tuning.session, tuning.algorithm
    with (
        tempfile.TemporaryDirectory(dir=scratch_folder(session.project, session.surface)) as scratch,
        session.tracking.run(session.surface, str(job.trial), parent=tuning.parent.id, tags=job.tags(name)) as run,
    ):
        run.params({f"{name}.{key}": text for key, text in settings.items()})
        judged = trial_task(session, job, name, Path(scratch) / "model")
        run.metrics(shown_figures({}, flatten_selection(judged.selection)))
        run.metrics({
            "validation/worth": round(judged.worth.value, 4),
            "cost/train_seconds": round(judged.trained.seconds, 1),
            "cost/peak_rss_mb": round(judged.trained.peak_rss_mb),
        })  # fmt: skip
        run.curves(judged.trained.curves)
    return judged
