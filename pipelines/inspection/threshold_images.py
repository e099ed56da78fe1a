"""Which calibration images a version's image threshold rests on, and what it would be without one of them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from pipelines.core.records import Split
from pipelines.data.prepared import PreparedImage, read_region
from pipelines.detector.detector import Detector
from pipelines.detector.version import TOLERANCES, read_drift_reference
from pipelines.metrics.conformal import conformal_threshold

_CHECKED = 2  # images that are scored again


def name_calibration_scores(detector: Detector, prepared: Path, images: Sequence[PreparedImage]) -> dict[str, float]:
    """Say which image each calibration score of a version is of.

    A version keeps its scores in the order of images, without names: that the split is still the one it was calibrated
    on is seen by scoring the images of the highest scores again.

    Args:
        detector: The version's.
        prepared: The surface's prepared folder.
        images: Its images of all splits, in the order of the index.

    Returns:
        Scores on the version's scale, by the path of the image; empty where the version was calibrated on other images
        or on none.
    """
    reference = read_drift_reference(detector.folder)
    scores = reference.scores if reference else ()
    held_out = [image for image in images if image.split == Split.CALIBRATION]
    if not scores or len(scores) != len(held_out):
        return {}
    tolerance = TOLERANCES[detector.info.precision]
    for number in np.argsort(scores)[::-1][:_CHECKED]:
        again = detector.scan_region(read_region(prepared, held_out[number])).score
        if abs(again - scores[number]) > tolerance * abs(scores[number]):
            return {}
    return {image.path: score for image, score in zip(held_out, scores, strict=True)}


def threshold_without(scores: Mapping[str, float], path: str, rate: float) -> float | None:
    """Return what the threshold would be without one image; None where it would be no lower.

    Args:
        scores: Of the calibration images, by path.
        path: The one that is left out.
        rate: Target false-positive rate, 0 to 1.

    Returns:
        On the scale of `scores`.

    >>> threshold_without({"a": 1.0, "b": 3.0, "c": 2.0}, "b", 0.01)
    2.0
    >>> threshold_without({"a": 1.0, "b": 3.0, "c": 2.0}, "a", 0.01)
    """
    left = [score for name, score in scores.items() if name != path]
    if path not in scores or not left:
        return None
    found = conformal_threshold(left, rate).threshold
    return found if found < conformal_threshold(list(scores.values()), rate).threshold else None
