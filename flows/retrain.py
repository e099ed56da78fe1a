"""The flow `retrain`: validate, preprocess; train, evaluate and register each algorithm; propose one, and decide."""

import logging
import time
from collections.abc import Mapping
from typing import Any

from prefect import flow

from flows.operations.notify import tell_failure
from flows.promotion.signing import refuse_unsigned
from flows.runtime.cancelled import mark_cancelled
from flows.runtime.data_stages import refuse_bad
from flows.runtime.locks import LONGEST_WAIT
from flows.runtime.session import Session, open_session
from flows.steps.algorithm import log_data, parent_run, train_each
from flows.steps.artifacts import publish_result
from flows.steps.conclusion import Outcome, answer, compare_models, decide_on
from flows.steps.ensemble import add_ensemble
from flows.steps.job import Job, command_again, resolve_job
from flows.steps.opening import answer_requests, end_leftovers
from flows.steps.outlook import deciding_part, durations_of
from flows.steps.results import RetrainResult, SomeFailedError
from flows.steps.tasks import preprocess_task, validate_task
from flows.steps.unchanged import Known, find_known, propose_among
from pipelines.core.progress import interrupts_first
from pipelines.core.results import ValidationReport, VersionSummary
from pipelines.core.wording import flatten

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

    Args:
        surface: Surface whose data, settings and policy are used; nothing else changes it meanwhile.
        profile: Profile of params.yaml.
        assignments: KEY=VALUE words that change settings for this run; the later one wins.
        trial: Name of a run that is tracked and never registered; None registers.
        force: Train also an algorithm whose data, settings and code are as they were.
        wait: Seconds to wait for another change of the surface to end; 0 does not wait.

    Returns:
        A `RetrainResult` as JSON values; `seconds` are those of this call.

    Raises:
        SomeFailedError: If an algorithm failed, after the others were registered.
        GateError: If validation stops the data.
        BusyError: If another process still changes the surface after `wait` seconds.
    """
    started = time.monotonic()
    # Each line is a step: what comes out stands on the left, what goes in on the right.
    with interrupts_first(), open_session(surface, "retrain", wait=wait) as session:
        refuse_unsigned(session.project, session.surface, session.settings)
        end_leftovers(session)
        verdict = validate_task(session)
        refuse_bad(verdict, surface)
        data = preprocess_task(session)
        answer_requests(session)
        job = resolve_job(session, profile, assignments or [], trial, data)
        wanted = (data.version, job.fingerprints, job.settings.ensemble)
        known = Known() if force or trial is not None else find_known(session, *wanted)
        again = command_again(["retrain", surface], profile, assignments, {"--trial": trial or ""})
        result = known.result or _train(session, job, verdict, known.models, again)
    result = result.model_copy(update={"seconds": time.monotonic() - started})
    if result.skipped:
        log.info("retrain %s: data, settings and code are unchanged, nothing to train", surface)
    publish_result(session, result)
    if result.failed:
        raise SomeFailedError(result)
    return result.model_dump(mode="json")


def _train(
    session: Session, job: Job, verdict: ValidationReport, known: Mapping[str, VersionSummary], again: str
) -> RetrainResult:
    """Train what is not `known` under one parent run, which carries what brings the data back, and propose one."""
    name = f"trial {job.trial}" if job.trial else f"retrain {job.profile}"
    with parent_run(session, job, verdict, name, job.tags(), again) as shared:
        log_data(shared, shared.parent, job)
        shared.parent.params(dict(flatten(job.settings.model_dump(mode="json"))))
        models, failed = train_each(shared, known)
        add_ensemble(shared, models, failed, known)
        proposed = propose_among(session, models, job.settings.ensemble)
        with durations_of(session, job).timed(deciding_part(session)):
            record = decide_on(shared, proposed)
        outcome = Outcome(models, failed, known, proposed, record)
        report = compare_models(shared, outcome)
        return answer(shared, outcome, report)
