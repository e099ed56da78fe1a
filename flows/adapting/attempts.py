"""All attempts of an adaptation, one after another: each uses all cores."""

import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from flows.adapting.attempt import Attempt, attempt
from flows.adapting.jobs import job_for
from flows.adapting.kept import find_attempt, fingerprint_attempt, keep_attempt
from flows.adapting.origins import Origin
from flows.runtime.durations import FINISHING
from flows.steps.algorithm import Shared, describe_failure
from flows.steps.job import Job
from flows.steps.outlook import durations_of, say_left, say_outlook
from pipelines.core.errors import CallError
from pipelines.core.records import Strategy
from pipelines.core.results import Failure
from pipelines.models.registry import find_algorithm
from pipelines.training.transfer.shots import LEAST_HELD_OUT


class Adapting(NamedTuple):
    """What all steps of one adaptation need."""

    shared: Shared
    source: str
    requested: Strategy | None
    force: bool


class _Method(NamedTuple):
    shots: int
    origin: Origin
    strategy: Strategy

    @property
    def part(self) -> str:
        return f"adapt {self.origin.algorithm} {self.strategy} {self.shots}"


def attempt_all(
    adapting: Adapting, origins: Sequence[Origin], jobs: Mapping[int, Job]
) -> tuple[list[Attempt], list[Failure]]:
    """Try every strategy; one that fails loses the others nothing, and one that an earlier call finished is taken.

    Args:
        adapting: The adaptation.
        origins: Versions that are started from.
        jobs: By number of images.

    Returns:
        The attempts and the failures, in the order of numbers, origins and strategies.

    Raises:
        CallError: If no algorithm knows the strategy that was requested.
    """
    job = adapting.shared.job
    methods = [
        _Method(shots, origin, strategy)
        for shots in jobs
        for origin in origins
        for strategy in _strategies(origin, shots, adapting.requested)
    ]
    if adapting.requested and all(method.strategy != adapting.requested for method in methods):
        raise CallError(
            f"no algorithm can be brought to '{job.surface}' by '{adapting.requested}'",
            hint=f"choose another --strategy, or at least {LEAST_HELD_OUT} --shots",
        )
    kept = [None if adapting.force else _find(adapting, jobs, method) for method in methods]
    todo = [method.part for method, known in zip(methods, kept, strict=True) if known is None]
    durations, what = durations_of(adapting.shared.session, job), f"adapt {job.surface}"
    before = f", {len(methods) - len(todo)} of them finished before" if len(todo) < len(methods) else ""
    outlook = f"{what}: {len(methods)} strategies from {', '.join(o.name for o in origins)}{before}"
    say_outlook(outlook, [*todo, FINISHING], durations)
    found: list[Attempt] = []
    failed: list[Failure] = []
    seconds: list[float] = []
    for method, known in zip(methods, kept, strict=True):
        if known is not None:
            found.append(known)
            continue
        started = time.monotonic()
        try:
            with durations.timed(method.part):
                found.append(_try(adapting, jobs, method))
        except Exception as error:
            failed.append(describe_failure(method.origin.algorithm, error))
        seconds.append(time.monotonic() - started)
        fallback = sum(seconds) / len(seconds) * (len(todo) - len(seconds))
        say_left(what, len(seconds), [*todo, FINISHING], durations, fallback)
    return found, failed


def _job_of(jobs: Mapping[int, Job], method: _Method) -> Job:
    job = job_for(jobs[method.shots], method.origin.algorithm)
    return job.model_copy(update={"lineage": {"adapted_from": method.origin.name}})


def _find(adapting: Adapting, jobs: Mapping[int, Job], method: _Method) -> Attempt | None:
    fingerprint = fingerprint_attempt(_job_of(jobs, method), method.origin, method.strategy)
    return find_attempt(adapting.shared.session, fingerprint)


def _try(adapting: Adapting, jobs: Mapping[int, Job], method: _Method) -> Attempt:
    """Try a strategy, and keep what came of it until the adaptation has come to its end."""
    shared = adapting.shared
    shots, origin, strategy = method
    job = _job_of(jobs, method)
    folder = shared.scratch / f"{origin.algorithm}-{strategy}-{shots}"
    found = attempt(shared, job, origin, strategy, folder)
    return keep_attempt(shared.session, fingerprint_attempt(job, origin, strategy), found)


def _strategies(origin: Origin, shots: int, requested: Strategy | None) -> list[Strategy]:
    """List what is tried; what is requested is compared with training from scratch."""
    if origin.stranger:
        return [Strategy.SCRATCH]
    # With nothing held out, nothing would say when to stop.
    known = [
        s for s in find_algorithm(origin.algorithm).strategies if s != Strategy.FINETUNE or shots >= LEAST_HELD_OUT
    ]
    return known if requested is None else [s for s in known if s in (requested, Strategy.SCRATCH)]
