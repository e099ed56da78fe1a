"""What the labelled anomalies of the validation split say of a version, against the split's normal images."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from pipelines.core.records import Interval, Label, Split
from pipelines.data.prepared import PreparedImage
from pipelines.detector.detector import Detector
from pipelines.detector.scan import Wrap
from pipelines.metrics.intervals import image_intervals, pixel_intervals, recall_intervals
from pipelines.training.evaluate import score_test

# In the order in which pages show them; those at the threshold tell of the calibration split as well.
_SHOWN = ("image_auroc", "image_ap", "image_recall", "pixel_auroc", "pixel_ap", "aupro")


def choose_labelled_images(images: Sequence[PreparedImage]) -> list[PreparedImage]:
    """Choose the validation images that somebody gave a label; none where a label is absent from them.

    Args:
        images: All of the surface, in any order; those of other splits are left out.

    Returns:
        Images in the order of their paths, with at least one of each label or empty.
    """
    told = (i for i in images if i.split == Split.VALIDATION and i.label != Label.UNKNOWN)
    chosen = sorted(told, key=lambda i: i.path)
    return chosen if len({i.label for i in chosen}) > 1 else []


def score_labelled(
    detector: Detector,
    prepared: Path,
    chosen: Sequence[PreparedImage],
    resamples: int,
    seed: int,
    scratch: Path | None,
    wrap: Wrap | None = None,
) -> dict[str, Interval]:
    """Score labelled images and compute what choices are made by.

    Args:
        detector: The version; scores and maps are on its scale.
        prepared: The surface's prepared folder.
        chosen: As `choose_labelled_images` returns them; may be empty.
        resamples: Bootstrap resamples behind 95 % intervals; 0 gives none.
        seed: Draws the resamples.
        scratch: Folder that region maps lie in meanwhile; None takes the system's.
        wrap: Puts a network before each of the version's, such as one that knows tiles already. None: none.

    Returns:
        Figures 0 to 1 by the names of `Evaluation.metrics`; those of pixels only where anomalies have masks.

    Raises:
        ScoreError: If a score or map is not finite.
    """
    if not chosen:
        return {}
    with tempfile.TemporaryDirectory(dir=scratch) as spool:
        found = score_test(detector, prepared, chosen, Path(spool), "validation, labelled", wrap)
    threshold = detector.info.image_threshold.threshold
    metrics = {
        **image_intervals(found.scores, found.anomalous, threshold, resamples, seed),
        **recall_intervals(found.scores, found.anomalous, {"image_recall": threshold}),
        **pixel_intervals(found.table, resamples, seed),
    }
    return {name: metrics[name] for name in _SHOWN if name in metrics}
