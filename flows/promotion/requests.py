"""Promotion: what may become champion, by a command, by a retrain, or by an alias that was set on MLflow's page."""

import logging
from collections.abc import Callable
from typing import TypeVar

from flows.promotion.decide import OvertakenError, judge, keep
from flows.runtime.locks import moves_lock
from flows.runtime.session import Session, hold
from pipelines.core.errors import CallError, ModelError
from pipelines.detector.scan import Wrap
from pipelines.registry.aliases import carry_out, propose
from pipelines.registry.decision_log import DecisionLog, records_of
from pipelines.registry.first_champion import find_excess
from pipelines.registry.record import DecisionRecord, Outcome, Trigger, last_of
from pipelines.tracking.registry import ModelVersion
from pipelines.tracking.store import Tracking

_TRIES = 3  # decisions that others overtake before one gives up

Found = TypeVar("Found")
log = logging.getLogger(__name__)


def decide_promotion(
    session: Session, number: int, *, dry_run: bool = False, force_reason: str | None = None
) -> DecisionRecord:
    """Let the gate decide on a version, keep the decision, and move the aliases as it says.

    Args:
        session: Open on the surface, which is held meanwhile.
        number: Version's number.
        dry_run: Write nothing and move nothing.
        force_reason: With one, a refused version becomes champion all the same, and the reason is kept.

    Returns:
        The decision with all figures.

    Raises:
        BusyError: If another process changes the surface.
        CallError: If the version is champion already.
        ModelError: If there is no such version.
    """
    with hold(session, "promote"):
        return _until_kept(lambda: _decide(session, number, dry_run, force_reason))


def _decide(session: Session, number: int, dry_run: bool, force_reason: str | None) -> DecisionRecord:
    surface, tracking = session.surface, session.tracking
    version = tracking.version(surface, number)
    if not dry_run:
        finish_moves(session)
        _settle_champion(session)
    champion = tracking.champion(surface)
    if champion and champion.version == number:
        raise CallError(f"version {number} of '{surface}' is champion already", hint="name another with --version")
    record = judge(session, version, champion, Trigger.PROMOTE)
    if force_reason and not record.accepted:
        record = record.forced(force_reason)
    return record if dry_run else keep(session, record)


def settle_requests(session: Session) -> list[DecisionRecord]:
    """Do what is left to do: end moves that a killed process began, and decide on aliases that were set by hand.

    A `challenger` set by hand is a request. A `champion` moved by hand is gated afterwards, and kept with a warning or
    put back as the policy says. A proposal that waits is decided once nothing holds it. Costs two look-ups where there
    is nothing to do.

    Raises:
        BusyError: where another process changes the surface.
    """
    with hold(session, "promote"), session.tracking.remembering():
        if not session.tracking.versions(session.surface):
            return []
        finish_moves(session)
        found = (_until_kept(lambda: _settle_champion(session)), _until_kept(lambda: _settle_challenger(session)))
        return [record for record in found if record]


def decide_proposal(
    session: Session, version: ModelVersion, reason: str, wrap: Wrap | None = None
) -> DecisionRecord | None:
    """Make a retrain's proposal challenger and decide on it, where promotion is automatic and not held.

    Args:
        session: Open on the version's surface, which is held meanwhile.
        version: What was decided on it before is not decided again.
        reason: In words, why it is proposed; kept with the version.
        wrap: Puts a network before each of the versions', such as one that knows the maps of a retrain. None: none.

    Returns:
        What was decided now or before, or that it waits and for what; None where the version is champion already.

    Raises:
        BusyError: If another process changes the surface.
    """
    with hold(session, "promote"):
        known = last_of(DecisionLog(session.tracking, session.surface).read(), version.version)
        if known and known.outcome != Outcome.PROPOSED:
            return known
        propose(session.tracking, version, reason)
        return _until_kept(lambda: _settle_challenger(session, wrap)) or known


def find_proposed(session: Session) -> int:
    """Find the version that `promote` decides on by itself: the challenger, else what a retrain proposed last.

    Raises:
        CallError: where there is none.
    """
    surface, versions = session.surface, session.tracking.versions(session.surface)
    proposed = [v for v in versions if "challenger" in v.aliases] or [
        v for v in versions if "proposed_reason" in v.tags and "champion" not in v.aliases
    ]
    if not proposed:
        raise CallError(
            f"'{surface}' has no challenger",
            hint=f"name a version with --version; `knotwatch models {surface}` lists them",
        )
    return proposed[0].version


def put_champion_back(session: Session) -> DecisionRecord | None:
    """Let the alias `champion`, where it names a version that is not there, name the decision log's champion again.

    Returns:
        The decision that was kept; None where the alias names what it should.

    Raises:
        BusyError: If another process changes the surface.
        ModelError: If the log's champion is gone as well.
    """
    with hold(session, "doctor"):
        finish_moves(session)
        return _settle_champion(session)


def _until_kept(act: Callable[[], Found]) -> Found:
    """Decide again where somebody rolled back, or moved an alias, while the gate was computing."""
    for _ in range(_TRIES - 1):
        try:
            return act()
        except OvertakenError as error:
            log.info("promote: %s; it is judged again", error.problem)
    return act()


def finish_moves(session: Session) -> None:
    """Move the aliases of a decision record whose process was ended in between."""
    decisions = DecisionLog(session.tracking, session.surface)
    # Where nothing was begun, nothing is asked again.
    if decisions.unsettled() is not None:
        with moves_lock(session.project, session.surface):
            session.tracking.forget()
            _finish_moves(session, decisions)


def _finish_moves(session: Session, decisions: DecisionLog) -> None:
    surface, tracking = session.surface, session.tracking
    record = decisions.unsettled()
    if record is None:
        return
    named = tracking.aliases(surface).get("champion")
    expected = {record.before, record.after} | ({record.version} if record.trigger == Trigger.CHAMPION else set())
    if named in expected:
        carry_out(tracking, record)
    else:
        # Somebody moved it since: that is gated as any other move by hand.
        decisions.settle(record)


def _settle_champion(session: Session) -> DecisionRecord | None:
    """Notice a champion that was moved by hand, and gate it afterwards against the one before it."""
    surface, tracking = session.surface, session.tracking
    records, expected, named = _read_champion(tracking, surface)
    if named == expected:
        return None
    # Not between a decision of another process and the move that follows it.
    with moves_lock(session.project, surface):
        tracking.forget()
        records, expected, named = _read_champion(tracking, surface)
    if named == expected:
        return None
    before = _find(tracking, surface, expected)
    back = session.settings.policy.gate.on_alias_moved == "revert" and before is not None
    if records and named is not None and _find(tracking, surface, named) is None:
        # Nobody can have wanted that: MLflow lets no hand set it.
        how = f"named version {named}, which is not there"
        return _note_removal(session, records[-1], before, back=before is not None, how=how)
    if named is None:
        return _note_removal(session, records[-1], before, back=back, how="was taken away by hand")
    record = judge(session, tracking.version(surface, named), before, Trigger.CHAMPION)
    if not record.accepted:
        what = f"version {expected} is put back" if back else "it stays in use all the same, because it was set by hand"
        log.warning("promote %s: %s; %s", surface, record.message, what)
        record = record.moved_by_hand(expected if back else named, what)
    return keep(session, record)


def _read_champion(tracking: Tracking, surface: str) -> tuple[list[DecisionRecord], int | None, int | None]:
    """Return the decisions, the champion that the last of them made, and the one that the alias names."""
    records = list(DecisionLog(tracking, surface).read())
    return records, records[-1].after if records else None, tracking.aliases(surface).get("champion")


def _note_removal(
    session: Session, last: DecisionRecord, before: ModelVersion | None, *, back: bool, how: str
) -> DecisionRecord:
    """Put a champion back whose alias is gone, or note that there is none."""
    about = before or session.tracking.version(last.surface, last.version)
    what = "it is put back" if back else "nothing is in use"
    log.warning("promote %s: the alias champion %s; %s", last.surface, how, what)
    number = DecisionLog(session.tracking, last.surface).next_number(about)
    message = f"the alias champion {how}; {what} (policy.gate.on_alias_moved)"
    return keep(
        session, DecisionRecord.noted(number, about, last.after, back=back, gone=before is None, message=message)
    )


def _settle_challenger(session: Session, wrap: Wrap | None = None) -> DecisionRecord | None:
    """Decide on the challenger: a request by hand at once, a retrain's proposal where it may be promoted."""
    surface, tracking = session.surface, session.tracking
    named = tracking.aliases(surface).get("challenger")
    if named is None:
        return None
    version, champion = _find(tracking, surface, named), tracking.champion(surface)
    if version is None:
        log.warning("promote %s: the alias challenger named version %d, which is not there", surface, named)
    if version is None or (champion and champion.version == named):
        tracking.drop_alias(surface, "challenger")
        return None
    records = records_of(version)
    is_proposal = "proposed_reason" in version.tags and (not records or records[-1].outcome == Outcome.PROPOSED)
    waits = _why_it_waits(session) if is_proposal else ""
    most = session.settings.policy.max_false_positive_rate
    if is_proposal and not waits and records and (records[-1].flagged_share or 0) > most:
        return None
    if not waits:
        trigger = Trigger.RETRAIN if is_proposal else Trigger.CHALLENGER
        record = judge(session, version, champion, trigger, wrap)
        return keep(session, _wait_for_a_person(record, most) if is_proposal else record)
    if records:
        return None
    number = DecisionLog(tracking, surface).next_number(version)
    return keep(session, DecisionRecord.proposed(number, version, champion.version if champion else None, waits))


def _why_it_waits(session: Session) -> str:
    if not session.settings.policy.gate.automatic:
        return "policy.gate.automatic is false"
    return DecisionLog(session.tracking, session.surface).hold()


def _wait_for_a_person(record: DecisionRecord, most: float) -> DecisionRecord:
    """Have an accepted first champion wait where it flags a larger share of good images than the policy says."""
    if not record.accepted or record.decision is None:
        return record
    evidence = record.decision.evidence
    reason = find_excess(evidence, most)
    return record.waiting(reason, evidence.false_alarms / evidence.images.normal) if reason else record


def _find(tracking: Tracking, surface: str, number: int | None) -> ModelVersion | None:
    """Look a version up that may have been deleted since."""
    try:
        return None if number is None else tracking.version(surface, number)
    except ModelError:
        return None
