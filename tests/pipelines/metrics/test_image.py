"""Image metrics against torchmetrics, and where a class is absent."""

import numpy as np
import pytest
import torch
from torchmetrics.functional.classification import (
    binary_auroc,
    binary_average_precision,
    binary_confusion_matrix,
    binary_f1_score,
)

from pipelines.metrics import curves as image
from pipelines.metrics.checks import MetricError


@pytest.fixture(params=["continuous", "tied", "constant"])
def scored(request: pytest.FixtureRequest) -> tuple[np.ndarray, np.ndarray]:
    """Draw 60 scores in [0, 1] of which the 20 anomalous ones tend to be higher."""
    generator = np.random.default_rng(3)
    labels = np.arange(60) % 3 == 0
    scores = generator.random(60) * 0.7 + labels * 0.25
    return {"continuous": scores, "tied": scores.round(1), "constant": np.full(60, 0.5)}[request.param], labels


def test_metrics_agree_with_torchmetrics(scored: tuple[np.ndarray, np.ndarray]) -> None:
    scores, labels = scored
    preds, target = torch.tensor(scores), torch.tensor(labels.astype(int))
    assert image.image_auroc(scores, labels) == pytest.approx(float(binary_auroc(preds, target)))
    assert image.image_ap(scores, labels) == pytest.approx(float(binary_average_precision(preds, target)))
    assert image.image_f1(scores, labels, 0.55) == pytest.approx(float(binary_f1_score(preds, target, 0.55)))
    counts = image.confusion(scores, labels, 0.55)
    matrix = [[counts.true_negative, counts.false_positive], [counts.false_negative, counts.true_positive]]
    assert matrix == binary_confusion_matrix(preds, target, 0.55).tolist()


def test_best_f1_is_the_best_over_every_threshold(scored: tuple[np.ndarray, np.ndarray]) -> None:
    scores, labels = scored
    tried = [image.image_f1(scores, labels, t) or 0 for t in [-1.0, *scores]]
    assert image.image_f1_max(scores, labels) == pytest.approx(max(tried))


@pytest.mark.parametrize("label", [True, False])
def test_one_class_leaves_metrics_absent(label: bool) -> None:
    scores, labels = [0.2, 0.9], [label, label]
    assert image.image_auroc(scores, labels) is None
    assert image.image_ap(scores, labels) is None
    assert image.image_f1(scores, labels, 0.5) is None
    assert image.image_f1_max(scores, labels) is None
    assert image.false_positive_rate(scores, labels, 0.5) == (None if label else 0.5)


def test_no_image_leaves_metrics_absent() -> None:
    assert image.image_auroc([], []) is None
    assert image.false_positive_rate([], [], 0.5) is None


@pytest.mark.parametrize(
    ("scores", "labels"), [([0.1, np.nan], [True, False]), ([0.1, 0.2], [True]), ([[0.1]], [True])]
)
def test_unusable_scores_are_refused(scores: list[float], labels: list[bool]) -> None:
    with pytest.raises(MetricError, match=r"expected|finite"):
        image.image_auroc(scores, labels)


def test_a_score_at_the_threshold_is_no_alarm() -> None:
    assert image.false_positive_rate([0.5, 0.6], [False, False], 0.5) == 0.5
