"""Stage: move the alias `champion` to a version that has earned it."""

import logging

from pipelines.tracking.store import ModelVersion, Tracking

log = logging.getLogger(__name__)


def propose(tracking: Tracking, version: ModelVersion, reason: str) -> ModelVersion:
    """Mark the version that a retrain proposes, and return the surface's champion.

    It becomes champion where the surface has none, and challenger where another version is in use. The reason stays
    on the version as a tag.
    """
    tracking.tag_version(version.surface, version.version, {"proposed_reason": reason})
    champion = promote_first(tracking, version)
    if champion.version == version.version:
        tracking.drop_alias(version.surface, "challenger")
    else:
        tracking.set_alias(version.surface, "challenger", version.version)
    log.info("propose %s: version %d (%s): %s", version.surface, version.version, version.algorithm, reason)
    return champion


def promote_first(tracking: Tracking, version: ModelVersion) -> ModelVersion:
    """Make a version champion where the surface has none, and return the surface's champion.

    The version must have been seen to reproduce its scores before.
    """
    champion = tracking.champion(version.surface)
    if champion is not None:
        return champion
    tracking.set_alias(version.surface, "champion", version.version)
    log.info("promote %s: version %d is champion", version.surface, version.version)
    return version
