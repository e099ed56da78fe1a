"""The pictures of a comparison: a few test images, scored again by each version of the retrain."""

import logging
from collections.abc import Sequence
from pathlib import Path

from flows.steps.algorithm import Shared, kept_model
from pipelines.core.errors import KnotwatchError
from pipelines.core.progress import waiting
from pipelines.core.results import Evaluation, VersionSummary
from pipelines.registry.register import EVALUATION
from pipelines.reports.side_by_side import ImageSeen, choose_disagreed, draw_side_by_side

_MOST = 3  # anomalous images

log = logging.getLogger(__name__)


def see_side_by_side(shared: Shared, models: Sequence[VersionSummary]) -> tuple[ImageSeen, ...]:
    """Show the images on which the versions disagree most; a page without pictures is no reason to fail a retrain.

    Args:
        shared: Of the flow run; its settings say how many pictures there may be.
        models: Versions of the same data, those that an earlier retrain had trained among them.

    Returns:
        The images; none with a single version, or where a version's files cannot be read.
    """
    tracking, most = shared.session.tracking, min(shared.job.settings.evaluation.pictures, _MOST)
    if len(models) < 2 or not most:
        return ()
    try:
        scored = {
            m.algorithm: Evaluation.model_validate_json(tracking.read_text(m.run_id, EVALUATION)).images for m in models
        }
        chosen = choose_disagreed(scored, {m.algorithm: m.image_threshold.threshold for m in models}, most)
        folders = {m.algorithm: _folder(shared, m) for m in models}
        with waiting("compare, pictures side by side"):
            return draw_side_by_side(shared.session.paths.prepared, chosen, folders)
    except (KnotwatchError, ValueError, OSError) as error:
        log.warning("compare %s: no pictures side by side: %s", shared.job.surface, error)
        return ()


def _folder(shared: Shared, model: VersionSummary) -> Path:
    if model.version is None:
        return kept_model(shared, model.algorithm)
    return shared.session.tracking.folder(shared.job.surface, model.version)
