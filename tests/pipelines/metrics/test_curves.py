"""Areas from histograms with one bin a distinct score against scikit-learn on the scores themselves."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score

from pipelines.metrics.curves import aupro, auroc, average_precision, best_f1


def test_areas_agree_with_scikit_learn_under_ties_and_weights() -> None:
    generator = np.random.default_rng(0)
    scores, labels = generator.integers(0, 12, 200), generator.random(200) < 0.3
    weights = generator.integers(0, 4, (5, 200))
    normal = np.stack([np.bincount(scores, w * ~labels, minlength=12) for w in weights])
    defective = np.stack([np.bincount(scores, w * labels, minlength=12) for w in weights])
    for row, weight in enumerate(weights):
        assert auroc(normal, defective)[row] == pytest.approx(roc_auc_score(labels, scores, sample_weight=weight))
        expected = average_precision_score(labels, scores, sample_weight=weight)
        assert average_precision(normal, defective)[row] == pytest.approx(expected)
        precision, recall, _ = precision_recall_curve(labels, scores, sample_weight=weight)
        harmonic = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
        assert best_f1(normal, defective)[row] == pytest.approx(harmonic.max())


@pytest.mark.parametrize("area", [auroc, average_precision, best_f1, aupro])
def test_an_absent_class_gives_nan(area) -> None:
    some, none = np.array([1, 2, 0]), np.zeros(3)
    assert np.isnan(area(none, some))
    assert np.isnan(area(some, none))


def test_constant_scores_are_chance() -> None:
    normal, defective = np.array([0, 9]), np.array([0, 3])
    assert auroc(normal, defective) == 0.5
    assert average_precision(normal, defective) == 0.25
    # Both curves are the diagonal: the area up to 0.3 is 0.045, divided by 0.3.
    assert aupro(normal, defective) == pytest.approx(0.15)
