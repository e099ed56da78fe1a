"""Areas under curves from histograms, for any number of weightings at once.

Every function takes counts per score bin, bins along the last axis in rising order, and treats all scores of one bin
as tied. With one bin a distinct score the figures are exact; with wider bins the AUROC is off by at most half of
sum(normal share * defective share), the sum running over the bins. A class without counts gives NaN.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import average_precision_score, f1_score, precision_recall_curve, roc_auc_score

from pipelines.core.results import Confusion
from pipelines.metrics.checks import check_labels, check_scores

Counts = NDArray[np.floating[Any]] | NDArray[np.integer[Any]]
Floats = NDArray[np.float64]


def _from_top(counts: Counts) -> Floats:
    """Count what lies in each bin or above, highest bin first."""
    total: Floats = np.cumsum(np.flip(counts, axis=-1), axis=-1, dtype=np.float64)
    return total


def _divide(above: Floats, below: Floats) -> Floats:
    """Divide, with NaN where there is nothing to divide by."""
    filled = np.full(np.broadcast_shapes(above.shape, below.shape), np.nan)
    return np.asarray(np.divide(above, below, out=filled, where=below > 0))


def auroc(normal: Counts, defective: Counts) -> Floats:
    """Compute the area under the ROC curve.

    Args:
        normal: Counts (..., bins) of normal images or pixels, bins in rising order of score.
        defective: Counts (..., bins) of defective ones over the same bins.

    Returns:
        Areas (...), 0 to 1; NaN where a class has no counts.

    >>> auroc(np.array([3, 1, 0]), np.array([0, 1, 1])).item()
    0.9375
    """
    positives = np.asarray(defective, dtype=np.float64)
    negatives = np.asarray(normal, dtype=np.float64)
    below = np.cumsum(negatives, axis=-1) - negatives / 2
    pairs = positives.sum(axis=-1) * negatives.sum(axis=-1)
    return _divide((positives * below).sum(axis=-1), pairs)


def average_precision(normal: Counts, defective: Counts) -> Floats:
    """Compute the average precision, as a step function without interpolation.

    Args:
        normal: Counts (..., bins) of normal images or pixels, bins in rising order of score.
        defective: Counts (..., bins) of defective ones, the positive class, over the same bins.

    Returns:
        Average precisions (...), 0 to 1; NaN where a class has no counts.

    >>> average_precision(np.array([3, 1, 0]), np.array([0, 1, 1])).round(4).item()
    0.8333
    """
    hits, alarms = _from_top(defective), _from_top(normal)
    precision = np.nan_to_num(_divide(hits, hits + alarms))
    gained = np.flip(np.asarray(defective, dtype=np.float64), axis=-1)
    area = _divide((precision * gained).sum(axis=-1), hits[..., -1])
    return np.where(alarms[..., -1] > 0, area, np.nan)


def best_f1(normal: Counts, defective: Counts) -> Floats:
    """Compute the highest F1 over all thresholds.

    Args:
        normal: Counts (..., bins) of normal images or pixels, bins in rising order of score.
        defective: Counts (..., bins) of defective ones, the positive class, over the same bins.

    Returns:
        F1 (...), 0 to 1, of the best edge of a bin as threshold; NaN where a class has no counts.

    >>> best_f1(np.array([3, 1, 0]), np.array([0, 1, 1])).item()
    0.8
    """
    hits, alarms = _from_top(defective), _from_top(normal)
    positives = hits[..., -1:]
    best: Floats = _divide(2 * hits, hits + alarms + positives).max(axis=-1, initial=0)
    return np.where((positives[..., 0] > 0) & (alarms[..., -1] > 0), best, np.nan)


def aupro(normal: Counts, overlap: Counts, limit: float = 0.3) -> Floats:
    """Compute the area under the per-region overlap curve up to the false-positive rate `limit`, divided by it.

    Bergmann et al. 2021, "The MVTec Anomaly Detection Dataset", IJCV 129, section 5.2; the curve is interpolated
    linearly at the limit.

    Args:
        normal: Counts (..., bins) of normal pixels, bins in rising order of score.
        overlap: Sums (..., bins) over regions of each region's share of pixels in a bin, so that the bins add up to the
            number of regions and no region counts more for being large.
        limit: False-positive rate where the curve ends, above 0 and up to 1.

    Returns:
        Areas (...), 0 to 1; NaN where there is no normal pixel or no region.

    >>> aupro(np.array([8, 1, 1]), np.array([0.0, 0.5, 0.5])).round(4).item()
    0.6667
    """
    alarms, overlaps = _from_top(normal), _from_top(overlap)
    rate = _with_origin(_divide(alarms, alarms[..., -1:]))
    share = _with_origin(_divide(overlaps, overlaps[..., -1:]))
    start, end = rate[..., :-1], rate[..., 1:]
    low, high = share[..., :-1], share[..., 1:]
    width = np.clip(end, None, limit) - np.clip(start, None, limit)
    slope = np.nan_to_num(_divide(high - low, end - start))
    area = (width * (low + slope * width / 2)).sum(axis=-1)
    return np.where(np.isnan(rate[..., -1] + share[..., -1]), np.nan, area / limit)


def _with_origin(curve: Floats) -> Floats:
    return np.concatenate([np.zeros_like(curve[..., :1]), curve], axis=-1)


def _has_both(anomalous: ArrayLike) -> bool:
    return np.unique(np.asarray(anomalous, dtype=bool)).size == 2


def image_auroc(scores: ArrayLike, anomalous: ArrayLike) -> float | None:
    """Compute the area under the ROC curve.

    Args:
        scores: One score an image (images,), higher is worse, on any scale.
        anomalous: Labels (images,) in the same order, true for anomalous.

    Returns:
        The area, 0 to 1; None where a class has no image.

    Raises:
        MetricError: If a score is not finite, or the number of labels differs.

    >>> image_auroc([0.1, 0.4, 0.35, 0.8], [False, False, True, True])
    0.75
    """
    found = check_scores(scores)
    labels = check_labels(anomalous, found.size)
    return float(roc_auc_score(labels, found)) if _has_both(labels) else None


def image_ap(scores: ArrayLike, anomalous: ArrayLike) -> float | None:
    """Compute the average precision with anomalous as the positive class.

    Args:
        scores: One score an image (images,), higher is worse, on any scale.
        anomalous: Labels (images,) in the same order, true for anomalous.

    Returns:
        The average precision, 0 to 1; None where a class has no image.

    Raises:
        MetricError: If a score is not finite, or the number of labels differs.
    """
    found = check_scores(scores)
    labels = check_labels(anomalous, found.size)
    return float(average_precision_score(labels, found)) if _has_both(labels) else None


def image_f1(scores: ArrayLike, anomalous: ArrayLike, threshold: float) -> float | None:
    """Compute F1 of the verdict `score > threshold`.

    Args:
        scores: One score an image (images,), higher is worse.
        anomalous: Labels (images,) in the same order, true for anomalous: the positive class.
        threshold: Image threshold, on the scale of `scores`.

    Returns:
        F1, 0 to 1, and 0 where no defective image is found; None where a class has no image.

    Raises:
        MetricError: If a score is not finite, or the number of labels differs.
    """
    found = check_scores(scores)
    labels = check_labels(anomalous, found.size)
    return float(f1_score(labels, found > threshold, zero_division=0)) if _has_both(labels) else None


def image_f1_max(scores: ArrayLike, anomalous: ArrayLike) -> float | None:
    """Compute the highest F1 that any threshold reaches on these images: an upper bound, not a result.

    Args:
        scores: One score an image (images,), higher is worse, on any scale.
        anomalous: Labels (images,) in the same order, true for anomalous: the positive class.

    Returns:
        F1, 0 to 1; None where a class has no image.

    Raises:
        MetricError: If a score is not finite, or the number of labels differs.

    >>> image_f1_max([0.1, 0.4, 0.35, 0.8], [False, False, True, True])
    0.8
    """
    found = check_scores(scores)
    labels = check_labels(anomalous, found.size)
    if not _has_both(labels):
        return None
    precision, recall, _ = precision_recall_curve(labels, found)
    total = precision + recall
    return float(np.divide(2 * precision * recall, total, out=np.zeros_like(total), where=total > 0).max())


def confusion(scores: ArrayLike, anomalous: ArrayLike, threshold: float) -> Confusion:
    """Count verdicts `score > threshold` against labels.

    Args:
        scores: One score an image (images,), higher is worse; may be empty.
        anomalous: Labels (images,) in the same order, true for anomalous: the positive class.
        threshold: Image threshold, on the scale of `scores`.

    Returns:
        The four counts, which add up to the number of images.

    Raises:
        MetricError: If a score is not finite, or the number of labels differs.
    """
    found = check_scores(scores)
    labels = check_labels(anomalous, found.size)
    flagged = found > threshold
    return Confusion(
        true_positive=int((flagged & labels).sum()),
        false_positive=int((flagged & ~labels).sum()),
        true_negative=int((~flagged & ~labels).sum()),
        false_negative=int((~flagged & labels).sum()),
    )


def false_positive_rate(scores: ArrayLike, anomalous: ArrayLike, threshold: float) -> float | None:
    """Compute the share of normal images with `score > threshold`.

    Args:
        scores: One score an image (images,), higher is worse.
        anomalous: Labels (images,) in the same order, true for anomalous.
        threshold: Image threshold, on the scale of `scores`.

    Returns:
        The share, 0 to 1; None without a normal image.

    Raises:
        MetricError: If a score is not finite, or the number of labels differs.

    >>> false_positive_rate([0.2, 0.9, 0.8], [False, False, True], 0.5)
    0.5
    """
    counts = confusion(scores, anomalous, threshold)
    normals = counts.false_positive + counts.true_negative
    return counts.false_positive / normals if normals else None
