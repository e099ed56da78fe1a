"""Intervals against a bootstrap that recomputes every resample, and their coverage against simulation."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from pipelines.metrics.curves import image_f1, image_f1_max
from pipelines.metrics.histograms import choose_edges
from pipelines.metrics.intervals import image_intervals, pixel_intervals, resample_weights, wilson_interval
from pipelines.metrics.pixels import PixelHistograms, PixelTable


def draw_scores(images: int = 60, seed: int = 4) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    labels = np.arange(images) % 3 == 0
    return (generator.normal(0, 1, images) + labels * 1.2).round(1), labels


def draw_table(images: int = 8) -> PixelTable:
    generator = np.random.default_rng(2)
    histograms = PixelHistograms(choose_edges([], []))
    for number in range(images):
        mask = np.zeros((24, 24), dtype=np.uint8)
        mask[5:9, 5:15] = number % 2 * (1 + number % 4)
        anomaly_map = (generator.lognormal(0, 0.4, (24, 24)) * (1 + 0.5 * (mask > 0))).astype(np.float32)
        histograms.add(anomaly_map, mask, np.ones((24, 24), dtype=bool))
    return histograms.table()


def test_image_intervals_equal_recomputing_every_resample() -> None:
    scores, labels = draw_scores()
    found = image_intervals(scores, labels, 0.9, resamples=40, seed=7)
    metrics = {
        "image_auroc": lambda s, y: roc_auc_score(y, s),
        "image_ap": lambda s, y: average_precision_score(y, s),
        "image_f1": lambda s, y: image_f1(s, y, 0.9),
        "image_f1_max": image_f1_max,
    }
    resamples = [np.repeat(np.arange(60), w) for w in resample_weights(labels, 40, seed=7)]
    for name, metric in metrics.items():
        draws = [metric(scores[rows], labels[rows]) for rows in resamples]
        assert [found[name].low, found[name].high] == pytest.approx(np.quantile(draws, [0.025, 0.975]))
        assert found[name].value == pytest.approx(metric(scores, labels))


def test_resamples_keep_both_classes_and_their_seed() -> None:
    labels = draw_scores()[1]
    weights = resample_weights(labels, 50, seed=1)
    assert (weights[:, labels].sum(axis=1) == 20).all()
    assert (weights[:, ~labels].sum(axis=1) == 40).all()
    assert (weights == resample_weights(labels, 50, seed=1)).all()
    assert (weights != resample_weights(labels, 50, seed=2)).any()


def test_image_auroc_interval_covers_the_truth() -> None:
    # Two unit normals 1.2 apart: AUROC = Phi(1.2 / sqrt 2) = 0.80193.
    generator = np.random.default_rng(9)
    labels = np.arange(80) % 2 == 0
    covered = 0
    for seed in range(200):
        scores = generator.normal(0, 1, 80) + labels * 1.2
        interval = image_intervals(scores, labels, 1, resamples=200, seed=seed)["image_auroc"]
        covered += interval.low <= 0.80193 <= interval.high
    assert 0.89 <= covered / 200 <= 0.99


def test_pixel_intervals_equal_recomputing_every_resample() -> None:
    table = draw_table()
    found = pixel_intervals(table, resamples=30, seed=3)
    weights = resample_weights(table.holds(0), 30, seed=3)
    for name, interval in found.items():
        draws = [float(table.select(np.repeat(np.arange(8), w)).metrics()[name]) for w in weights]
        assert [interval.low, interval.high] == pytest.approx(np.quantile(draws, [0.025, 0.975]))


def test_a_defect_type_is_judged_without_other_defects() -> None:
    table = draw_table()
    found = pixel_intervals(table, resamples=0, seed=0, defect=2)
    rows = np.array([0, 1, 2, 4, 5, 6])
    expected = table.select(rows).metrics(defect=2)
    assert {n: i.value for n, i in found.items()} == pytest.approx({n: float(v) for n, v in expected.items()})
    assert found["aupro"].low is None


def test_what_cannot_be_computed_is_absent() -> None:
    table = draw_table()
    assert pixel_intervals(table, resamples=5, seed=0, images=np.arange(8) % 2 == 0) == {}
    assert pixel_intervals(table, resamples=5, seed=0, defect=9) == {}
    assert set(image_intervals([0.1, 0.2], [False, False], 0.5, resamples=5, seed=0)) == {"false_positive_rate"}
    assert image_intervals([], [], 0.5, resamples=5, seed=0) == {}


def test_one_image_of_a_class_has_no_bounds() -> None:
    found = image_intervals([0.1, 0.4, 0.3], [False, False, True], 0.35, resamples=20, seed=0)["image_auroc"]
    assert (found.value, found.low, found.high) == (0.5, None, None)


@pytest.mark.parametrize(("hits", "trials"), [(0, 20), (3, 40), (20, 20)])
def test_wilson_interval_agrees_with_the_formula(hits: int, trials: int) -> None:
    # Wilson 1927: the roots of (p - share)^2 = z^2 p (1 - p) / n.
    z, share = 1.959963984540054, hits / trials
    roots = np.roots([1 + z**2 / trials, -(2 * share + z**2 / trials), share**2]).real
    found = wilson_interval(hits, trials)
    assert [found.low, found.high] == pytest.approx(sorted(roots), abs=1e-9)
    assert wilson_interval(0, 0) is None
