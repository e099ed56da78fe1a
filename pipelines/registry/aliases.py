"""Stage: move a surface's aliases as a decision record says, in an order that leaves each naming a version at
any moment.
"""

import logging

from pipelines.registry.decision_log import DecisionLog
from pipelines.registry.record import DecisionRecord, Outcome
from pipelines.tracking.registry import ModelVersion
from pipelines.tracking.store import Tracking

log = logging.getLogger(__name__)


def propose(tracking: Tracking, version: ModelVersion, reason: str) -> None:
    """Mark the version that a retrain proposes as challenger; the champion is no challenger of its own.

    The reason is kept as a tag first: it tells a proposal from an alias that was set by hand.

    Args:
        tracking: The project's MLflow store, which is written to.
        version: Registered. Where it is champion, the surface has no challenger afterwards.
        reason: In words, for the tag `proposed_reason`.
    """
    tracking.tag_version(version.surface, version.version, {"proposed_reason": reason})
    if "champion" in tracking.version(version.surface, version.version).aliases:
        tracking.drop_alias(version.surface, "challenger")
    else:
        tracking.set_alias(version.surface, "challenger", version.version)
    log.info("propose %s: version %d (%s): %s", version.surface, version.version, version.algorithm, reason)


def carry_out(tracking: Tracking, record: DecisionRecord) -> None:
    """Move the aliases as a decision record that is kept already says; doing it again changes nothing.

    First `previous`, then `champion`, then `challenger` goes: wherever the process ends, the surface has a champion,
    and the decision record says what is left to do.

    Args:
        tracking: The project's MLflow store, which is written to.
        record: The surface's latest; it is noted as settled at the end.
    """
    surface, aliases = record.surface, tracking.aliases(record.surface)
    if record.moved:
        _point(tracking, surface, "previous", record.previous)
    if aliases.get("champion") != record.after:
        _point(tracking, surface, "champion", record.after)
    if record.outcome != Outcome.PROPOSED and aliases.get("challenger") == record.version:
        tracking.drop_alias(surface, "challenger")
    DecisionLog(tracking, surface).settle(record)
    log.info("promote %s: %s", surface, record.summary)


def _point(tracking: Tracking, surface: str, alias: str, version: int | None) -> None:
    if version is None:
        tracking.drop_alias(surface, alias)
    else:
        tracking.set_alias(surface, alias, version)
