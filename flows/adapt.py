"""The flow `adapt`: the same stages as `retrain`, for each algorithm by each transfer strategy."""

import hashlib
import logging
import time
from collections.abc import Sequence
from typing import Any

from prefect import flow

from flows.adapting.attempt import Attempt
from flows.adapting.attempts import Adapting, attempt_all
from flows.adapting.choice import Chosen, choose_attempt
from flows.adapting.jobs import draw_job, job_for
from flows.adapting.kept import forget_attempts
from flows.adapting.known import TAG, find_adapted, fingerprint_adaptation, keep_result, propose_again
from flows.adapting.origins import Origin, find_origins
from flows.adapting.report import describe, write_task
from flows.adapting.results import AdaptResult, AttemptResult, ChosenResult
from flows.operations.notify import tell_failure
from flows.promotion.signing import refuse_unsigned
from flows.runtime.cancelled import mark_cancelled
from flows.runtime.data_stages import refuse_bad
from flows.runtime.durations import FINISHING
from flows.runtime.locks import LONGEST_WAIT
from flows.runtime.session import Session, open_session
from flows.steps.algorithm import log_data, parent_run, train_algorithm
from flows.steps.job import Job, command_again, resolve_job
from flows.steps.opening import answer_requests, end_leftovers
from flows.steps.outlook import durations_of
from flows.steps.results import Champion
from flows.steps.tasks import decide_task, preprocess_task, validate_task
from pipelines.core.errors import CallError
from pipelines.core.progress import interrupts_first
from pipelines.core.records import Split, Strategy
from pipelines.core.results import Failure, VersionSummary
from pipelines.core.wording import count_in_words, flatten
from pipelines.data.prepared import read_index
from pipelines.data.versioning.versions import DataVersion
from pipelines.models.registry import find_algorithm
from pipelines.registry.descriptions import describe_retrain, shown_figures
from pipelines.training.transfer.shots import find_candidates, keep_tested

log = logging.getLogger(__name__)


@flow(name="adapt", flow_run_name="adapt {source} to {target}", on_failure=[tell_failure], on_crashed=[mark_cancelled])
def adapt(  # noqa: PLR0913, PLR0917 - a flow is called with what its command takes
    source: str,
    target: str,
    shots: list[int] | None = None,
    strategy: str = "auto",
    profile: str = "full",
    assignments: list[str] | None = None,
    force: bool = False,
    wait: float = LONGEST_WAIT,
) -> dict[str, Any]:
    """Bring the versions of `source` to `target` by a few images, compare the strategies, register and propose one.

    Where nothing changed since the same adaptation, its result is returned, and of one that was stopped or failed the
    attempts that were finished are taken; with `force` neither.

    Args:
        source: Surface whose versions are started from.
        target: Surface that the new version is registered under; nothing else changes it meanwhile.
        shots: Numbers of the target's images to use, those held out included, each 1 or more. The largest makes the
            version, the others show what fewer come to. None or empty: all that may be drawn, up to `adapt.most_shots`.
        strategy: `auto` compares all of them; a strategy's name compares that one with training from scratch.
        profile: Profile of params.yaml.
        assignments: KEY=VALUE words that change settings for this run; the later one wins.
        force: Try again although nothing changed.
        wait: Seconds to wait for another change of the target to end; 0 does not wait.

    Returns:
        An `AdaptResult` as JSON values; `seconds` are those of this call.

    Raises:
        ModelError: If the source has no version, or no strategy came to an end.
        CallError: If fewer images can be drawn than requested, or no algorithm knows the strategy.
        GateError: If validation stops the target's data.
        BusyError: If another process still changes the target after `wait` seconds.
    """
    started = time.monotonic()
    with interrupts_first(), open_session(target, "adapt", wait=wait) as session:
        refuse_unsigned(session.project, target, session.settings)
        end_leftovers(session)
        verdict = validate_task(session)
        refuse_bad(verdict, target)
        data = preprocess_task(session)
        answer_requests(session)
        job, origins = _resolve(session, source, profile, assignments or [], data)
        counts = _choose_counts(session, job, shots or [])
        fingerprint = fingerprint_adaptation(job, origins, counts, strategy)
        known = None if force else find_adapted(session.tracking, target, fingerprint)
        if known is not None:
            log.info("adapt %s: %s, data, settings and code are unchanged, nothing to train", target, source)
            result = propose_again(session, known)
        else:
            tags = {**job.tags(), "adapted_from": source, TAG: fingerprint}
            words = ["adapt", source, target, *(["--strategy", strategy] if strategy != "auto" else [])]
            words += [word for count in shots or [] for word in ("--shots", str(count))]
            again = command_again(words, profile, assignments)
            requested = None if strategy == "auto" else Strategy(strategy)
            with parent_run(session, job, verdict, f"adapt {source} {profile}", tags, again) as shared:
                result = _adapt_all(Adapting(shared, source, requested, force), origins, counts)
                keep_result(shared.parent, result)
            if not result.failed:
                forget_attempts(session)
    return result.model_copy(update={"seconds": time.monotonic() - started}).model_dump(mode="json")


def _resolve(
    session: Session, source: str, profile: str, assignments: list[str], data: DataVersion
) -> tuple[Job, list[Origin]]:
    """Resolve the settings, those of the network as the source was trained with; the call's own come last."""
    wanted = resolve_job(session, profile, assignments, None, data)
    origins = find_origins(session.tracking, source, wanted.settings.algorithms, session.surface)
    structure = [word for origin in origins for word in origin.structure]
    return resolve_job(session, profile, [*structure, *assignments], None, data), origins


def _choose_counts(session: Session, job: Job, requested: Sequence[int]) -> list[int]:
    images = read_index(session.paths.prepared)
    most = len(find_candidates(images, job.settings.seed))
    if not most:
        raise CallError(f"'{job.surface}' has no image to adapt with", hint="add images of normal pieces")
    return sorted(set(requested)) or [min(most, job.settings.adapt.most_shots)]


def _adapt_all(adapting: Adapting, origins: Sequence[Origin], counts: Sequence[int]) -> AdaptResult:
    session, job, _, parent, *_ = adapting.shared
    jobs = {shots: draw_job(session, job, shots) for shots in counts}
    final = jobs[max(counts)]
    images, tested = read_index(session.paths.prepared), job.settings.adapt.tested
    reported = {
        shots: drawn.model_copy(update={"splits": keep_tested(images, drawn.splits or {}, tested)})
        for shots, drawn in jobs.items()
    }
    log_data(adapting.shared, parent, final)
    parent.params(
        dict(flatten(job.settings.model_dump(mode="json"))) | {"shots": max(counts), "source": adapting.source}
    )
    attempts, failed = attempt_all(adapting, origins, reported)
    most = [a for a in attempts if a.shots == max(counts)]
    chosen = choose_attempt(most, adapting.requested, job.settings.seed, job.own.policy.propose)
    origin = next(o for o in origins if o.algorithm == chosen.attempt.algorithm)
    final = job_for(final, origin.algorithm)
    with durations_of(session, job).timed(FINISHING):
        model = _finish(adapting, final, origin, chosen)
    return _conclude(adapting, final, attempts, failed, chosen, model)


def _finish(adapting: Adapting, job: Job, origin: Origin, chosen: Chosen) -> VersionSummary:
    """Make the chosen network again from its own state, set its export against torch, evaluate and register it."""
    found = chosen.attempt
    lineage = {"adapted_from": origin.name, "strategy": found.strategy, "shots": str(found.shots)}
    fingerprint = hashlib.sha256(f"{job.fingerprints[found.algorithm]}{sorted(lineage.items())}".encode()).hexdigest()[
        :16
    ]
    final = job.model_copy(update={"lineage": lineage, "fingerprints": {found.algorithm: fingerprint}})
    used = _used(job, found.algorithm)
    notes = {"adapted": f"from {origin.name} by {found.strategy}, with {used}"}
    start = found.finished(notes)
    return train_algorithm(adapting.shared._replace(job=final), found.algorithm, start)


def _used(job: Job, algorithm: str) -> str:
    if find_algorithm(algorithm).memorises and job.shots > 1:
        return f"{job.shots} images (all trained on, each judged without itself)"
    counts = {split: sum(p == split for p in (job.splits or {}).values()) for split in Split}
    uses = ((Split.TRAIN, "trained on"), (Split.VALIDATION, "chosen on"), (Split.CALIBRATION, "calibrated on"))
    said = ", ".join(f"{counts[split]} {use}" for split, use in uses if counts[split])
    return f"{count_in_words(job.shots, 'image')} ({said})"


def _conclude(
    adapting: Adapting, job: Job, attempts: list[Attempt], failed: list[Failure], chosen: Chosen, model: VersionSummary
) -> AdaptResult:
    """Write the page, mark and propose the version, and answer."""
    session, _, _, parent, *_ = adapting.shared
    if model.version is None:
        raise AssertionError("an adaptation is no trial")
    page = describe(adapting.source, job, attempts, failed, chosen, model, _used(job, model.algorithm))
    report = write_task(session, parent, page)
    gain = {} if chosen.gain is None else {"transfer/gain_over_scratch": round(chosen.gain.value, 4)}
    parent.metrics({**shown_figures(model.metrics, model.validation), **gain, "transfer/shots": job.shots})
    parent.tags({"proposed": model.algorithm, "proposed_reason": page.reason, "proposed_version": str(model.version)})
    parent.tags({"summary": page.lead})
    version = session.tracking.version(job.surface, model.version)
    record = decide_task(session, version, page.reason, adapting.shared.wrap)
    if record:
        parent.tags({"decision": record.summary})
    said = "; ".join([page.lead.rstrip("."), *([record.summary] if record else [])])
    parent.describe(describe_retrain(parent, job.surface, job.data.version, said))
    champion = session.tracking.champion(job.surface)
    return AdaptResult(
        source=adapting.source,
        target=job.surface,
        shots=job.shots,
        results=tuple(AttemptResult.of(found) for found in attempts),
        failed=tuple(failed),
        chosen=ChosenResult(
            algorithm=model.algorithm, strategy=chosen.attempt.strategy, version=model.version, reason=page.reason
        ),
        gain_over_scratch=chosen.gain,
        summary=page.lead,
        guarantee=page.guarantee,
        chosen_with_labels=chosen.with_labels,
        decision=record,
        champion=Champion.of(champion),
        report=str(report.relative_to(session.project.root)),
    )
