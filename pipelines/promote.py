"""Stage: move the alias `champion` to a version that has earned it."""

import logging

from pipelines.tracking.store import ModelVersion, Tracking

log = logging.getLogger(__name__)


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
