"""What a run is about to do, and how long the same took last time on this machine."""

import logging
from collections.abc import Sequence

from flows.runtime.durations import COMPARING, DECIDING, Durations
from flows.runtime.session import Session
from flows.steps.job import Job
from pipelines.core.wording import duration_in_words
from pipelines.training.ensemble.settings import ENSEMBLE

log = logging.getLogger(__name__)


def durations_of(session: Session, job: Job) -> Durations:
    """Return what is remembered of a surface's runs by the profile of a job.

    Args:
        session: Open on the surface.
        job: Says the profile.

    Returns:
        Durations by part, to be read and added to.
    """
    return Durations(session.project, job.surface, job.profile)


def deciding_part(session: Session) -> str:
    """Name the last part of a retrain: with a champion it takes much longer."""
    return COMPARING if session.tracking.champion(session.surface) else DECIDING


def list_parts(job: Job, known: Sequence[str], deciding: str) -> list[str]:
    """List what a retrain has to do: what is not known, the ensemble after its members, and the decision.

    Args:
        job: Has a fingerprint of each algorithm, and of the ensemble if one is wanted.
        known: Names that are not trained again.
        deciding: Name of the last part.

    Returns:
        Parts in their order; a trial makes no ensemble and decides nothing.
    """
    names = [name for name in job.fingerprints if name not in known]
    if job.trial:
        return [name for name in names if name != ENSEMBLE]
    return [*names, deciding]


def say_outlook(what: str, parts: Sequence[str], durations: Durations) -> None:
    """Say before long work what it is, and how long each of its parts took together last time.

    Args:
        what: In words, with the surface.
        parts: Names that durations are remembered by.
        durations: Of the surface and the profile.
    """
    seconds, whole = durations.expect(parts)
    last = f"took {duration_in_words(seconds)} last time" if whole else "no such run here yet"
    log.info("%s; %s", what, last)


def say_left(what: str, done: int, parts: Sequence[str], durations: Durations, fallback: float | None = None) -> None:
    """Say after a part how much is left.

    Args:
        what: In words, with the surface.
        done: Number of parts that are done.
        parts: All of them, in their order.
        durations: Of the surface and the profile.
        fallback: Seconds that are left where some part was never run here; None counts those that were.
    """
    seconds, whole = durations.expect(parts[done:])
    if not whole and fallback is not None:
        seconds, whole = fallback, True
    time = f", {'about' if whole else 'more than'} {duration_in_words(seconds)} left" if seconds else ""
    log.info("%s: %d of %d steps done%s", what, done, len(parts), time)


def algorithms_in_words(parts: Sequence[str]) -> str:
    """Write what a retrain trains.

    >>> algorithms_in_words(["padim", "anomalydino", "ensemble", "decide"])
    'padim, anomalydino, then the ensemble'
    >>> algorithms_in_words(["decide"])
    'nothing to train, a decision is left'
    """
    words = ", ".join(part for part in parts if part not in {ENSEMBLE, DECIDING, COMPARING})
    if ENSEMBLE in parts:
        return f"{words}, then the ensemble" if words else "the ensemble"
    return words or "nothing to train, a decision is left"
