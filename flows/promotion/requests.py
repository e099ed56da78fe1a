"""Promotion: what may become champion, by a command, by a retrain, or by an alias that was set on MLflow's page."""

import logging

from flows.promotion.decide import judge, keep
from flows.runtime.locks import surface_lock
from pipelines.core.errors import CallError, ModelError
from pipelines.core.paths import Project
from pipelines.core.surface_settings import GateSettings, read_surface
from pipelines.registry.aliases import carry_out, propose
from pipelines.registry.decision import Asked, Ruling, Verdict, last_of, now
from pipelines.registry.decision_log import DecisionLog, rulings_of
from pipelines.tracking.store import ModelVersion, Tracking

log = logging.getLogger(__name__)


def decide_promotion(
    project: Project,
    tracking: Tracking,
    surface: str,
    number: int,
    *,
    dry_run: bool = False,
    force_reason: str | None = None,
) -> Ruling:
    """Let the gate decide on a version, keep the decision, and move the aliases as it says.

    A `dry_run` writes nothing. With `force_reason` a refused version becomes champion all the same, and the reason is
    kept.

    Raises:
        BusyError: where another process changes the surface.
        CallError: where the version is champion already.
        ModelError: where there is no such version.
    """
    with surface_lock(project, surface, "promote"):
        version = tracking.version(surface, number)
        if not dry_run:
            finish_moves(tracking, surface)
            _settle_champion(project, tracking, surface)
        champion = tracking.champion(surface)
        if champion and champion.version == number:
            raise CallError(f"version {number} of '{surface}' is champion already", cure="name another with --version")
        ruling = judge(project, tracking, version, champion, Asked.PROMOTE)
        if force_reason and not ruling.accepted:
            ruling = ruling.model_copy(update={"after": number, "reason": force_reason})
        return ruling if dry_run else keep(project, tracking, ruling)


def settle_requests(project: Project, tracking: Tracking, surface: str) -> list[Ruling]:
    """Do what is left to do: end moves that a killed process began, and decide on aliases that were set by hand.

    A `challenger` set by hand is a request. A `champion` moved by hand is gated afterwards, and kept with a warning or
    put back as the policy says. A proposal that waits is decided once nothing holds it. Costs two look-ups where there
    is nothing to do.

    Raises:
        BusyError: where another process changes the surface.
    """
    with surface_lock(project, surface, "promote"):
        if not tracking.versions(surface):
            return []
        finish_moves(tracking, surface)
        found = (_settle_champion(project, tracking, surface), _settle_challenger(project, tracking, surface))
        return [ruling for ruling in found if ruling]


def decide_proposal(project: Project, tracking: Tracking, version: ModelVersion, reason: str) -> Ruling | None:
    """Make a retrain's proposal challenger and decide on it, where promotion is automatic and not held.

    What was decided before is not decided again; None where the proposed version is champion already.
    """
    with surface_lock(project, version.surface, "promote"):
        known = last_of(DecisionLog(tracking, version.surface).read(), version.version)
        if known and known.verdict != Verdict.PROPOSED:
            return known
        propose(tracking, version, reason)
        return _settle_challenger(project, tracking, version.surface) or known


def find_proposed(tracking: Tracking, surface: str) -> int:
    """Find the version that `promote` decides on by itself: the challenger, else what a retrain proposed last.

    Raises:
        CallError: where there is none.
    """
    versions = tracking.versions(surface)
    proposed = [v for v in versions if "challenger" in v.aliases] or [
        v for v in versions if "proposed_reason" in v.tags and "champion" not in v.aliases
    ]
    if not proposed:
        raise CallError(
            f"'{surface}' has no challenger",
            cure=f"name a version with --version; `knotwatch models {surface}` lists them",
        )
    return proposed[0].version


def finish_moves(tracking: Tracking, surface: str) -> None:
    """Move the aliases of a ruling whose process was ended in between."""
    decisions = DecisionLog(tracking, surface)
    ruling = decisions.unsettled()
    if ruling is None:
        return
    named = tracking.aliases(surface).get("champion")
    expected = {ruling.before, ruling.after} | ({ruling.version} if ruling.asked == Asked.CHAMPION else set())
    if named in expected:
        carry_out(tracking, ruling)
    else:
        # Somebody moved it since: that is gated as any other move by hand.
        decisions.settle(ruling)


def _settle_champion(project: Project, tracking: Tracking, surface: str) -> Ruling | None:
    """Notice a champion that was moved by hand, and gate it afterwards against the one before it."""
    rulings = DecisionLog(tracking, surface).read()
    expected = rulings[-1].after if rulings else None
    named = tracking.aliases(surface).get("champion")
    if named == expected:
        return None
    policy = read_surface(project, surface).policy.gate
    before = _find(tracking, surface, expected)
    if named is None:
        return _note_removal(project, tracking, rulings[-1], before, policy)
    ruling = judge(project, tracking, tracking.version(surface, named), before, Asked.CHAMPION)
    if not ruling.accepted:
        back = policy.on_alias_moved == "revert" and before is not None
        what = f"version {expected} is put back" if back else "it stays in use all the same, because it was set by hand"
        log.warning("promote %s: %s; %s", surface, ruling.words, what)
        ruling = ruling.model_copy(
            update={
                "after": expected if back else named,
                "words": f"{ruling.words}; {what} (policy.gate.on_alias_moved)",
            }
        )
    return keep(project, tracking, ruling)


def _note_removal(
    project: Project, tracking: Tracking, last: Ruling, before: ModelVersion | None, policy: GateSettings
) -> Ruling | None:
    """Put a champion back whose alias was taken away, or note that there is none."""
    about = before or tracking.version(last.surface, last.version)
    back = policy.on_alias_moved == "revert" and before is not None
    what = "it is put back" if back else "nothing is in use"
    log.warning("promote %s: the alias champion was taken away by hand; %s", last.surface, what)
    ruling = Ruling(
        number=DecisionLog(tracking, last.surface).next_number(about),
        surface=last.surface,
        version=about.version,
        algorithm=about.algorithm,
        time=now(),
        asked=Asked.CHAMPION,
        verdict=Verdict.NOTED,
        before=last.after,
        after=last.after if back else None,
        previous=last.after if before else None,
        words=f"the alias champion was taken away by hand; {what} (policy.gate.on_alias_moved)",
    )
    return keep(project, tracking, ruling)


def _settle_challenger(project: Project, tracking: Tracking, surface: str) -> Ruling | None:
    """Decide on the challenger: a request by hand at once, a retrain's proposal where it may be promoted."""
    named = tracking.aliases(surface).get("challenger")
    if named is None:
        return None
    version, champion = tracking.version(surface, named), tracking.champion(surface)
    if champion and champion.version == named:
        tracking.drop_alias(surface, "challenger")
        return None
    rulings = rulings_of(version)
    is_proposal = "proposed_reason" in version.tags and (not rulings or rulings[-1].verdict == Verdict.PROPOSED)
    waits = _why_it_waits(project, tracking, surface) if is_proposal else ""
    if not waits:
        asked = Asked.RETRAIN if is_proposal else Asked.CHALLENGER
        return keep(project, tracking, judge(project, tracking, version, champion, asked))
    if rulings:
        return None
    before = champion.version if champion else None
    ruling = Ruling(
        number=DecisionLog(tracking, surface).next_number(version),
        surface=surface,
        version=version.version,
        algorithm=version.algorithm,
        time=now(),
        asked=Asked.RETRAIN,
        verdict=Verdict.PROPOSED,
        before=before,
        after=before,
        words=f"version {version.version} ({version.algorithm}) is proposed and waits: {waits}",
    )
    return keep(project, tracking, ruling)


def _why_it_waits(project: Project, tracking: Tracking, surface: str) -> str:
    if not read_surface(project, surface).policy.gate.automatic:
        return "policy.gate.automatic is false"
    return DecisionLog(tracking, surface).hold()


def _find(tracking: Tracking, surface: str, number: int | None) -> ModelVersion | None:
    """Look a version up that may have been deleted since."""
    try:
        return None if number is None else tracking.version(surface, number)
    except ModelError:
        return None
