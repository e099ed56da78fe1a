"""What may enter a metric, and what is refused."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pipelines.core.errors import KnotwatchError

Mask = NDArray[np.uint8] | NDArray[np.bool_]


class MetricError(KnotwatchError):
    """Scores, labels or maps that no metric can be computed from."""


def check_scores(scores: ArrayLike) -> NDArray[np.float64]:
    """Return image scores as (n,) float64; raise MetricError where they are not finite or not one a row."""
    found = np.asarray(scores, dtype=np.float64)
    if found.ndim != 1:
        raise MetricError(
            f"expected one score an image, found an array of shape {found.shape}", hint="pass (n,) scores"
        )
    bad = int(np.count_nonzero(~np.isfinite(found)))
    if bad:
        raise MetricError(
            f"{bad} of {found.size} scores are not finite",
            hint="look at the version's maps: it overflowed or was trained on NaN",
        )
    return found


def check_labels(anomalous: ArrayLike, images: int) -> NDArray[np.bool_]:
    """Return labels as bool.

    Args:
        anomalous: One label an image, true for anomalous.
        images: How many labels there must be: one a score.

    Returns:
        Labels, bool, shape (images,).

    Raises:
        MetricError: If their number differs.
    """
    found = np.asarray(anomalous, dtype=bool)
    if found.shape != (images,):
        raise MetricError(f"expected {images} labels, found shape {found.shape}", hint="pass one label a score")
    return found


def check_map(anomaly_map: NDArray[np.float32], mask: Mask, valid: NDArray[np.bool_]) -> None:
    """Check that a map, its mask and its valid pixels can be counted.

    Args:
        anomaly_map: Map, float32, shape (height, width), finite and >= 0.
        mask: Mask of that shape; its values are not looked at.
        valid: Pixels that count, of that shape too.

    Raises:
        MetricError: If the shapes differ or are not (height, width), or the map holds NaN, infinite or negative values.
    """
    shapes = (anomaly_map.shape, mask.shape, valid.shape)
    if anomaly_map.ndim != 2 or len(set(shapes)) != 1:
        raise MetricError(
            f"expected one (height, width) for map, mask and valid, found {shapes}",
            hint="bring the map to the image's size before it is counted",
        )
    if anomaly_map.size and not (np.isfinite(anomaly_map).all() and anomaly_map.min() >= 0):
        raise MetricError(
            "an anomaly map holds NaN, infinite or negative values; expected finite and >= 0",
            hint="check the version's scale and its training: such a map cannot be compared",
        )


def check_rate(rate: float) -> float:
    """Return the rate; raise MetricError unless it lies between 0 and 1."""
    if not 0 < rate < 1:
        raise MetricError(f"expected a rate between 0 and 1, found {rate}", hint="write 0.01 for 1 %")
    return rate
