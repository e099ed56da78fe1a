"""Metrics of image scores against labels. A metric that needs a class which is absent is None."""

import numpy as np
from numpy.typing import ArrayLike
from sklearn.metrics import average_precision_score, f1_score, precision_recall_curve, roc_auc_score

from pipelines.metrics.checks import check_labels, check_scores
from pipelines.records import Confusion


def _has_both(anomalous: ArrayLike) -> bool:
    return np.unique(np.asarray(anomalous, dtype=bool)).size == 2


def image_auroc(scores: ArrayLike, anomalous: ArrayLike) -> float | None:
    """Compute the area under the ROC curve.

    >>> image_auroc([0.1, 0.4, 0.35, 0.8], [False, False, True, True])
    0.75
    """
    found = check_scores(scores)
    labels = check_labels(anomalous, found.size)
    return float(roc_auc_score(labels, found)) if _has_both(labels) else None


def image_ap(scores: ArrayLike, anomalous: ArrayLike) -> float | None:
    """Compute the average precision with anomalous as the positive class."""
    found = check_scores(scores)
    labels = check_labels(anomalous, found.size)
    return float(average_precision_score(labels, found)) if _has_both(labels) else None


def image_f1(scores: ArrayLike, anomalous: ArrayLike, threshold: float) -> float | None:
    """Compute F1 of the verdict `score > threshold`; 0 where no defective image is found."""
    found = check_scores(scores)
    labels = check_labels(anomalous, found.size)
    return float(f1_score(labels, found > threshold, zero_division=0)) if _has_both(labels) else None


def image_f1_max(scores: ArrayLike, anomalous: ArrayLike) -> float | None:
    """Compute the highest F1 that any threshold reaches on these images: an upper bound, not a result.

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
    """Count verdicts `score > threshold` against labels."""
    found = check_scores(scores)
    labels = check_labels(anomalous, found.size)
    marked = found > threshold
    return Confusion(
        true_positive=int((marked & labels).sum()),
        false_positive=int((marked & ~labels).sum()),
        true_negative=int((~marked & ~labels).sum()),
        false_negative=int((~marked & labels).sum()),
    )


def false_alarm_rate(scores: ArrayLike, anomalous: ArrayLike, threshold: float) -> float | None:
    """Compute the share of normal images with `score > threshold`."""
    counts = confusion(scores, anomalous, threshold)
    normals = counts.false_positive + counts.true_negative
    return counts.false_positive / normals if normals else None
