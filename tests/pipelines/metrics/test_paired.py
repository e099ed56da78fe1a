"""Paired differences against a bootstrap that recomputes every resample, and their coverage against simulation."""

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from pipelines.metrics.checks import MetricError
from pipelines.metrics.histograms import choose_edges
from pipelines.metrics.intervals import image_intervals, recall_intervals, resample_weights
from pipelines.metrics.paired import (
    aupro_difference,
    image_auroc_difference,
    recall,
    recall_difference,
    synthetic_auroc,
    synthetic_auroc_difference,
)
from pipelines.metrics.pixels import PixelHistograms, PixelTable


def draw_pair(images: int, seed: int, shift: float = 0.6) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw scores of a candidate, shifted by `shift` for defects, and of a champion, by 1.2; they share their noise."""
    generator = np.random.default_rng(seed)
    labels = np.arange(images) % 2 == 0
    shared = generator.normal(0, 0.8, images)
    candidate, champion = (shared + generator.normal(0, 0.6, images) + labels * by for by in (shift, 1.2))
    return candidate, champion, labels


def draw_table(strength: float, images: int = 8, seed: int = 2) -> PixelTable:
    generator = np.random.default_rng(seed)
    histograms = PixelHistograms(choose_edges([], []))
    for number in range(images):
        mask = np.zeros((24, 24), dtype=np.uint8)
        mask[5:9, 5:15] = mask[15:17, 2:4] = number % 2
        anomaly_map = (generator.lognormal(0, 0.4, (24, 24)) * (1 + strength * (mask > 0))).astype(np.float32)
        histograms.add(anomaly_map, mask, np.ones((24, 24), dtype=bool))
    return histograms.table()


def test_image_auroc_difference_equals_recomputing_every_resample() -> None:
    candidate, champion, labels = draw_pair(50, seed=4)
    candidate, champion = candidate.round(1), champion.round(1)  # with ties
    found = image_auroc_difference(candidate, champion, labels, resamples=40, seed=7)
    resamples = [np.repeat(np.arange(50), w) for w in resample_weights(labels, 40, seed=7)]
    draws = [roc_auc_score(labels[r], candidate[r]) - roc_auc_score(labels[r], champion[r]) for r in resamples]
    assert [found.low, found.high] == pytest.approx(np.quantile(draws, [0.025, 0.975]))
    assert found.value == pytest.approx(roc_auc_score(labels, candidate) - roc_auc_score(labels, champion))


def test_aupro_difference_equals_recomputing_every_resample() -> None:
    candidate, champion = draw_table(0.3), draw_table(0.8, seed=5)
    found = aupro_difference(candidate, champion, resamples=30, seed=3)
    resamples = [np.repeat(np.arange(8), w) for w in resample_weights(candidate.holds(0), 30, seed=3)]
    draws = [float(candidate.select(r).metrics()["aupro"] - champion.select(r).metrics()["aupro"]) for r in resamples]
    assert [found.low, found.high] == pytest.approx(np.quantile(draws, [0.025, 0.975]))
    assert found.value == pytest.approx(float(candidate.metrics()["aupro"] - champion.metrics()["aupro"]))
    assert found.high < 0, "a map that hardly shows the defects was not told apart"


def test_recall_equals_recomputing_every_resample_of_whole_groups() -> None:
    generator = np.random.default_rng(5)
    candidate, champion = generator.random((30, 4)) < 0.4, generator.random((30, 4)) < 0.8
    resamples = [np.repeat(np.arange(30), w) for w in resample_weights([False] * 30, 40, seed=7)]
    own = [candidate[r].mean() for r in resamples]
    apart = [candidate[r].mean() - champion[r].mean() for r in resamples]
    for found, value, draws in (
        (recall(candidate, 40, 7), candidate.mean(), own),
        (recall_difference(candidate, champion, 40, 7), candidate.mean() - champion.mean(), apart),
    ):
        assert found.value == pytest.approx(value)
        assert [found.low, found.high] == pytest.approx(np.quantile(draws, [0.025, 0.975]))
    assert recall(np.zeros((0, 1), bool), 40, 7) is None
    # Of single images all that are found leave room for one that is not, as everywhere else.
    assert recall([[True]] * 8, 40, 7) == recall_intervals([2.0] * 8, [True] * 8, {"recall": 1})["recall"]


def test_versions_that_rank_alike_differ_by_nothing() -> None:
    scores, _, labels = draw_pair(40, seed=1)
    same = image_auroc_difference(scores, np.exp(scores), labels, resamples=50, seed=0)
    assert (same.value, same.low, same.high) == (0, 0, 0)
    table = draw_table(0.5)
    maps = aupro_difference(table, draw_table(0.5), resamples=50, seed=0)
    assert (maps.value, maps.low, maps.high) == (0, 0, 0)


def test_the_interval_covers_the_truth_and_gains_from_pairing() -> None:
    # Unit normals 0.6 and 1.2 apart: AUROC = Phi(shift / sqrt 2).
    truth = norm.cdf(0.6 / np.sqrt(2)) - norm.cdf(1.2 / np.sqrt(2))
    covered, widths, alone = 0, [], []
    for seed in range(150):
        candidate, champion, labels = draw_pair(80, seed)
        found = image_auroc_difference(candidate, champion, labels, resamples=200, seed=seed)
        covered += found.low <= truth <= found.high
        widths.append(found.high - found.low)
        if seed < 20:
            one = image_intervals(candidate, labels, 1, resamples=200, seed=seed)["image_auroc"]
            alone.append(one.high - one.low)
    assert 0.89 <= covered / 150 <= 0.99
    # Scores correlate by 0.64, so the difference of two is less uncertain than either version by itself.
    assert np.mean(widths) < np.mean(alone)


def test_what_cannot_be_compared_is_absent_or_refused() -> None:
    assert image_auroc_difference([0.1, 0.2], [0.3, 0.4], [False, False], resamples=5, seed=0) is None
    one = image_auroc_difference([0.1, 0.2, 0.3], [5, 9, 7], [False, False, True], resamples=5, seed=0)
    assert (one.value, one.low, one.high) == (0.5, None, None)
    with pytest.raises(MetricError, match="expected 2 labels"):
        image_auroc_difference([0.3, 0.4, 0.5], [0.1, 0.2], [False, True, True], resamples=5, seed=0)
    table = draw_table(0.5)
    assert aupro_difference(*[table.select(np.array([0, 2]))] * 2, resamples=5, seed=0) is None
    with pytest.raises(MetricError, match="same images"):
        aupro_difference(table, table.select(np.array([1, 0, 2, 3, 4, 5, 6, 7])), resamples=5, seed=0)


def test_synthetic_difference_draws_an_image_with_all_that_was_added_into_it() -> None:
    generator = np.random.default_rng(11)
    light = generator.normal(0, 1, (12, 1))  # what all scores of an image share
    candidate, champion = (light + generator.normal(by, 0.5, (12, 4)) * [0, 1, 1, 1] for by in (1.0, 0.4))
    found = synthetic_auroc_difference(candidate, champion, resamples=40, seed=5)
    labels = np.tile([False, True, True, True], 12)
    resamples = [np.repeat(np.arange(12), w) for w in resample_weights(np.zeros(12, bool), 40, seed=5)]
    draws = [
        roc_auc_score(labels, candidate[r].ravel()) - roc_auc_score(labels, champion[r].ravel()) for r in resamples
    ]
    assert [found.low, found.high] == pytest.approx(np.quantile(draws, [0.025, 0.975]))
    alone = synthetic_auroc(candidate, resamples=0, seed=5)
    assert (alone.value, alone.low) == (pytest.approx(roc_auc_score(labels, candidate.ravel())), None)
    assert synthetic_auroc(np.zeros((0, 0)), 10, 0) is None
    with pytest.raises(MetricError, match="same images"):
        synthetic_auroc_difference(candidate, champion[:5], 0, 0)
