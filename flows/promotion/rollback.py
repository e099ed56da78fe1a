"""Rollback: back along the decisions to a champion before, and a hold on automatic promotion until it is released."""

from flows.promotion.decide import keep
from flows.promotion.requests import finish_moves
from flows.runtime.locks import moves_lock
from flows.runtime.session import Session
from pipelines.core.errors import CallError, GateError
from pipelines.detector.checksums import TAG
from pipelines.registry.checks import reproduce
from pipelines.registry.decision_log import DecisionLog
from pipelines.registry.record import DecisionRecord, champions


def roll_back(session: Session, to: int | None = None, reason: str = "") -> DecisionRecord:
    """Return to the champion before, or to version `to`; repeated, further back along the decisions.

    Retrains only propose from then on, until `release_hold`. What was moved by hand since is not gated first: a person
    who rolls back is in a hurry.

    Args:
        session: Open on the surface, which a retrain may hold meanwhile: it decides again where this overtakes it.
        to: Number of a registered version that is not champion; None is the champion before the present one.
        reason: A person's own, kept with the decision; may be empty.

    Returns:
        The decision, which was kept and carried out.

    Raises:
        BusyError: If another process moves the aliases for longer than a minute.
        CallError: If there is no champion to return to.
        ModelError: If there is no version `to`, or its files are gone.
        GateError: If the version does not load, or does not give its reference tiles' scores again.
    """
    surface, tracking = session.surface, session.tracking
    with moves_lock(session.project, surface):
        tracking.forget()
        versions = {v.version: v for v in tracking.versions(surface)}
        if not versions:
            raise CallError(f"'{surface}' has no registered version", hint=f"knotwatch retrain {surface}")
        finish_moves(session)
        decisions = DecisionLog(tracking, surface)
        named = tracking.aliases(surface).get("champion")
        earlier = [number for number in champions(decisions.read()) if number != named and number in versions]
        target = _choose(surface, to, named, earlier)
        version = tracking.version(surface, target)
        found = reproduce(tracking.folder(surface, target), version.tags.get(TAG, ""))
        if not found.ok:
            raise GateError(
                f"version {target} of '{surface}' is not returned to: {found.message}",
                hint="name another version with --to; `knotwatch models` lists them",
            )
        kept_before = earlier[: earlier.index(target)] if target in earlier else earlier
        record = DecisionRecord.returned(
            *(decisions.next_number(version), version, named, kept_before[-1] if kept_before else None),
            found=found.message,
            reason=reason,
        )
        # First the hold: a process that ends here leaves a champion that no schedule replaces.
        decisions.set_hold(f"held by the rollback from version {named} of {record.time:%d %B %Y, %H:%M UTC}")
        return keep(session, record)


def release_hold(session: Session) -> str:
    """Allow automatic promotion again, and return what had held it; empty where nothing did."""
    surface, tracking = session.surface, session.tracking
    with moves_lock(session.project, surface):
        if not tracking.versions(surface):
            raise CallError(f"'{surface}' has no registered version", hint=f"knotwatch retrain {surface}")
        decisions = DecisionLog(tracking, surface)
        held = decisions.hold()
        if held:
            decisions.set_hold("")
        return held


def _choose(surface: str, to: int | None, named: int | None, earlier: list[int]) -> int:
    if to is not None and to != named:
        return to
    if to is not None or not earlier:
        known = ", ".join(map(str, earlier)) or "none"
        raise CallError(
            f"'{surface}' has no earlier champion to return to (in use: {named or 'none'}, before it: {known})",
            hint="name a version with --to; `knotwatch models` lists them",
        )
    return earlier[-1]
