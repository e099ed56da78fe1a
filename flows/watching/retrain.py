"""The part of a check that retrains: once for each data version, and only on data that no version was trained on."""

import logging
from collections.abc import Callable
from typing import Any

from flows.runtime.session import Session
from flows.watching.results import Retraining
from flows.watching.state import WatchState, write_state
from pipelines.core.errors import BusyError
from pipelines.core.progress import interrupts_first
from pipelines.data.versioning.versions import data_version

_TRIES = 3  # one that is killed each time, for want of memory, must not begin each minute for ever

# Trains a surface by a profile, and returns what the flow `retrain` does.
Train = Callable[[str, str], dict[str, Any]]

log = logging.getLogger(__name__)


def retrain_once(session: Session, state: WatchState, train: Train) -> tuple[Retraining | None, list[str]]:
    """Retrain by `train` where there is new data and the policy allows it; else say what is missing.

    Each data version is trained on once, however many reasons there are: a retrain that failed was told, and would
    fail again. One that was killed begins again, three times at most.

    Args:
        session: Open on the surface, which `train` holds.
        state: As written down last; what is tried is written down here, before and after.
        train: Called at most once.

    Returns:
        What came of the retrain, also where it failed, or None; and in words why there was none, where that is news.
    """
    project, surface, settings = session.project, session.surface, session.settings.policy.watch
    version = data_version(project, surface)
    if version is None or not _is_new(session, version, state):
        nothing = "no image was reviewed or added since, so there is nothing to retrain on"
        return None, [nothing] if state.noticed and settings.retrain_on_drift else []
    drifted = settings.retrain_on_drift and state.noticed is not None
    if not (settings.retrain_on_new_data or drifted):
        return None, [f"data version {version} is new; the policy leaves retraining to you"]
    reason = " and ".join(["new data"] * settings.retrain_on_new_data + [f"{state.noticed} drift"] * drifted)
    log.info("watch %s: retrain for %s", surface, reason)
    tries = state.tries + 1 if state.trying == version else 1
    write_state(project, surface, state.model_copy(update={"trying": version, "tries": tries}))
    try:
        retrained = _retrain(train, surface, settings.profile, version, reason)
    except BusyError as error:
        write_state(project, surface, state)
        return None, [f"a retrain waits: {error.problem}"]
    write_state(project, surface, state.model_copy(update={"tried": version, "trying": "", "tries": 0}))
    return retrained, []


def _is_new(session: Session, version: str, state: WatchState) -> bool:
    if version == state.trying:
        # It was killed, maybe after some of its algorithms were registered.
        return state.tries < _TRIES
    trained = {v.tags.get("data_version") for v in session.tracking.versions(session.surface)}
    return version != state.tried and version not in trained


def _retrain(train: Train, surface: str, profile: str, version: str, reason: str) -> Retraining:
    try:
        with interrupts_first():
            found = train(surface, profile)
    except BusyError:
        raise
    except Exception as error:
        # The flow's own hook told it; its run is on the page as failed.
        return Retraining(reason=reason, data_version=version, problem=str(error))
    champion = (found["champion"] or {}).get("version")
    return Retraining(reason=reason, data_version=found["data_version"], champion=champion, skipped=found["skipped"])
