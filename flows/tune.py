"""The flow `tune`: validate, preprocess; try settings of one algorithm on the validation split, and name the best."""

import hashlib
import json
import logging
import time
from contextlib import closing
from typing import Any

from prefect import flow

from flows.operations.notify import tell_failure
from flows.runtime.cancelled import mark_cancelled
from flows.runtime.data_stages import refuse_bad
from flows.runtime.locks import LONGEST_WAIT
from flows.runtime.session import Session, open_session
from flows.steps.job import Job, resolve_job
from flows.steps.opening import answer_requests, end_leftovers
from flows.steps.tasks import preprocess_task, validate_task
from flows.tuning.apply import apply_values, choose_values, write_lines
from flows.tuning.results import TuneResult
from flows.tuning.search import Tuning, try_all
from flows.tuning.trial import check_judged
from pipelines.core.errors import CallError
from pipelines.core.progress import interrupts_first
from pipelines.models.registry import algorithms, find_algorithm
from pipelines.training.tuning.trials import Trials

log = logging.getLogger(__name__)


@flow(name="tune", flow_run_name="tune {surface}", on_failure=[tell_failure], on_crashed=[mark_cancelled])
def tune(
    surface: str,
    algorithm: str | None = None,
    number: int = 40,
    hours: float | None = None,
    profile: str = "full",
    apply: bool = False,
    wait: float = LONGEST_WAIT,
) -> dict[str, Any]:
    """Try settings of an algorithm; a call for the same data, settings and code goes on with the trials before it.

    Args:
        surface: Surface whose training and validation split are used; nothing else changes it meanwhile.
        algorithm: Name of a known algorithm; None takes the champion's, or the first that the surface trains.
        number: Trials that there are to be in the end, beside the settings as they are.
        hours: In which a trial may begin; None for ever.
        profile: Profile of params.yaml.
        apply: Write the best settings into the surface's YAML.
        wait: Seconds to wait for another change of the surface to end; 0 does not wait.

    Returns:
        A `TuneResult` as JSON values; `seconds` are those of this call.

    Raises:
        CallError: If the algorithm has nothing to be tuned, or there is no validation split.
        GateError: If validation stops the data.
        BusyError: If another process still changes the surface after `wait` seconds.
    """
    started = time.monotonic()
    with interrupts_first(), open_session(surface, "tune", wait=wait) as session:
        end_leftovers(session)
        verdict = validate_task(session)
        refuse_bad(verdict, surface)
        data = preprocess_task(session)
        answer_requests(session)
        chosen = _choose_algorithm(session, algorithm, profile)
        job = resolve_job(session, profile, [f"algorithms=[{chosen}]"], f"tune {chosen}", data)
        check_judged(session, job)
        with (
            closing(_open_trials(session, job, chosen)) as trials,
            session.tracking.run(surface, f"tune {chosen}", tags=job.tags(chosen), again=trials.run_id) as parent,
        ):
            trials.keep_run(parent.id)
            tuning = Tuning(session, chosen, profile, data, trials, parent)
            try_all(tuning, number, None if hours is None else hours * 3600)
            result = _conclude(tuning, apply=apply)
            parent.metrics({"validation/worth": round(result.best.worth.value, 4) if result.best.worth else 0.0})
            parent.describe(_in_words(result))
    return result.model_copy(update={"seconds": time.monotonic() - started}).model_dump(mode="json")


def _choose_algorithm(session: Session, wanted: str | None, profile: str) -> str:
    tuned = [name for name, known in algorithms().items() if known.search]
    if wanted is None:
        champion = session.tracking.champion(session.surface)
        names = [*([champion.algorithm] if champion else []), *session.run_settings(profile, []).algorithms]
        wanted = next((name for name in names if name in tuned), tuned[0])
    if not find_algorithm(wanted).search:
        raise CallError(f"{wanted} declares no settings to be tuned", hint=f"choose among {', '.join(tuned)}")
    return wanted


def _open_trials(session: Session, job: Job, algorithm: str) -> Trials:
    """Open the trials of all that makes them comparable: data, settings, code, and what is searched."""
    search = {key: space.model_dump(mode="json") for key, space in find_algorithm(algorithm).search.items()}
    evaluation = job.settings.evaluation.synthetic
    said = json.dumps([job.fingerprints[algorithm], search, evaluation], sort_keys=True)
    name = f"{algorithm} {hashlib.sha256(said.encode()).hexdigest()[:16]}"
    file = session.project.state / "tuning" / f"{session.surface}.db"
    return Trials(file, name, find_algorithm(algorithm).search, job.settings.seed)


def _conclude(tuning: Tuning, *, apply: bool) -> TuneResult:
    tried, best = tuning.trials.all(), tuning.trials.best()
    if best is None or best.worth is None:
        raise AssertionError("the settings as they are were judged")
    values = choose_values(tuning.algorithm, best, tried[0])
    if values and apply:
        apply_values(tuning.session, tuning.profile, values)
        log.info("tune %s: written to %s", tuning.session.surface, tuning.session.paths.settings.name)
    return TuneResult(
        surface=tuning.session.surface,
        algorithm=tuning.algorithm,
        data_version=tuning.data.version,
        told_by=best.worth.told_by,
        tried=tuple(tried),
        best=best,
        lines=write_lines(values),
        applied=bool(values) and apply,
        run_id=tuning.parent.id,
        seconds=0.0,
    )


def _in_words(result: TuneResult) -> str:
    lines = f"\n\n```yaml\n{result.lines}```" if result.lines else ""
    return f"{len(result.tried) - 1} trials on {result.told_by}; trial {result.best.number} is worth most.{lines}"
