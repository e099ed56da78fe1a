"""Streamed pixel metrics against torchmetrics and anomalib on the same pixels, all held at once."""

import numpy as np
import pytest
import torch
from anomalib.metrics.aupro import _AUPRO
from torchmetrics.functional.classification import binary_auroc, binary_average_precision

from pipelines.metrics.checks import MetricError
from pipelines.metrics.histograms import choose_edges
from pipelines.metrics.pixels import PixelHistograms, PixelTable

Image = tuple[np.ndarray, np.ndarray, np.ndarray]


def draw_images(images: int = 6, side: int = 64, seed: int = 1) -> list[Image]:
    """Draw maps with skewed noise, two kinds of defect, one touching the other by a corner, and a border left out."""
    generator = np.random.default_rng(seed)
    source_images = []
    for number in range(images):
        mask = np.zeros((side, side), dtype=np.uint8)
        if number % 3:
            top, left = generator.integers(0, side - 30, 2)
            mask[top : top + 12, left : left + 6] = 1
            mask[top + 12 : top + 15, left + 6 : left + 20] = 2
            mask[top + 24, left : left + 2] = 1
        anomaly_map = generator.lognormal(0, 0.5, (side, side)) * (1 + mask * 0.7)
        valid = np.zeros((side, side), dtype=bool)
        valid[:, 4:] = True
        source_images.append((anomaly_map.astype(np.float32), mask, valid))
    return source_images


def count(images: list[Image], edges: np.ndarray | None = None) -> PixelTable:
    if edges is None:
        maps, masks = (np.concatenate([p[i].ravel() for p in images]) for i in (0, 1))
        edges = choose_edges(maps[masks == 0][::3], maps[masks > 0][::3])
    histograms = PixelHistograms(edges)
    for image in images:
        histograms.add(*image)
    return histograms.table()


def reference(images: list[Image], defect: int = 0) -> list[float]:
    """Compute the three metrics from all pixels at once; other defects' pixels count nowhere."""
    maps, masks, valid = (np.stack(arrays) for arrays in zip(*images, strict=True))
    positive = masks == defect if defect else masks > 0
    counted = positive | (valid & (masks == 0))
    # torchmetrics squeezes scores beyond 1 through a sigmoid, in which they would become ties.
    preds, target = torch.tensor(maps[counted] / maps.max()), torch.tensor(positive[counted].astype(int))
    pro = _AUPRO()
    # anomalib knows no pixels that do not count: as background with the lowest score they come last in the curve,
    # beyond a limit that is rescaled by the larger number of background pixels.
    pro.fpr_limit = torch.tensor(0.3 * (~positive & counted).sum() / (~positive).sum())
    pro.update(torch.tensor(np.where(counted, maps, 0)), torch.tensor(positive.astype(int)))
    return [float(binary_auroc(preds, target)), float(binary_average_precision(preds, target)), float(pro.compute())]


@pytest.mark.parametrize("defect", [0, 1, 2])
def test_metrics_agree_with_torchmetrics_and_anomalib(defect: int) -> None:
    images = draw_images()
    found = count(images).metrics(defect=defect)
    assert list(found) == ["pixel_auroc", "pixel_ap", "aupro"]
    assert [float(v) for v in found.values()] == pytest.approx(reference(images, defect), abs=1e-3)


def test_one_bin_a_score_makes_metrics_exact() -> None:
    images = [(np.ceil(m * 8), mask, valid) for m, mask, valid in draw_images()]
    edges = np.arange(1, 200, dtype=np.float32)
    found = count(images, edges).metrics()
    assert [float(v) for v in found.values()] == pytest.approx(reference(images), abs=1e-6)


def test_weights_equal_counting_images_again() -> None:
    images = draw_images()
    table = count(images)
    weights = np.array([[2, 0, 1, 0, 3, 1], [1, 1, 1, 1, 1, 1]])
    repeated = [images[i] for i in np.repeat(np.arange(6), weights[0])]
    for defect in (0, 1, 2):
        found = table.metrics(weights, defect)
        again, once = count(repeated, table.edges).metrics(defect=defect), table.metrics(defect=defect)
        for name, values in found.items():
            assert values == pytest.approx([float(again[name]), float(once[name])])


def test_images_may_differ_in_size() -> None:
    images = draw_images(3, 48) + draw_images(3, 70)
    found = count(images).metrics()
    halves = [count(images[:3]), count(images[3:])]
    assert all(min(float(h.metrics()[n]) for h in halves) - 0.1 < found[n] < 1 for n in found)
    assert count(images).images == 6


def test_a_diagonal_line_is_one_region() -> None:
    mask = np.eye(9, dtype=np.uint8)
    table = count([(np.ones((9, 9), np.float32), mask, np.ones((9, 9), bool))], np.array([0.5], np.float32))
    assert table.overlap[0].sum() == pytest.approx(1)


def test_types_are_counted_apart() -> None:
    table = count(draw_images())
    assert table.holds(2).tolist() == [False, True, True] * 2
    assert table.images_for(7).tolist() == [1, 0, 0] * 2
    # Type 1 has two regions, type 2 one; the corner joins two of the three where types are not told apart.
    assert [table.overlap[v].sum() for v in (0, 1, 2)] == pytest.approx([8, 8, 4])
    assert np.isnan(table.metrics(defect=7)["aupro"])


def test_without_defects_or_images_metrics_are_nan() -> None:
    normal = [(m, np.zeros_like(mask), v) for m, mask, v in draw_images(2)]
    assert all(np.isnan(value) for value in count(normal, np.array([1], np.float32)).metrics().values())
    assert all(np.isnan(value) for value in PixelHistograms(choose_edges([], [])).table().metrics().values())


def test_exceedance_counts_normal_pixels_above() -> None:
    images = draw_images()
    images = [(m.round(1), mask, valid) for m, mask, valid in images]
    shares, thresholds = count(images, np.arange(1, 90, dtype=np.float32) / 10).exceedance()
    for row, (anomaly_map, mask, valid) in enumerate(images):
        normal = anomaly_map[valid & (mask == 0)]
        assert shares[row] == pytest.approx([(normal > t).mean() for t in thresholds])
    assert shares[:, -1].max() == 0
    assert thresholds[-1] == max(m[v & (k == 0)].max() for m, k, v in images)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -0.1])
def test_an_unusable_map_is_refused(bad: float) -> None:
    anomaly_map, mask, valid = draw_images(1)[0]
    anomaly_map[5, 5] = bad
    with pytest.raises(MetricError, match="NaN, infinite or negative"):
        count([(anomaly_map, mask, valid)], np.array([1], np.float32))


def test_shapes_that_differ_are_refused() -> None:
    anomaly_map, mask, valid = draw_images(1)[0]
    with pytest.raises(MetricError, match="height, width"):
        count([(anomaly_map, mask[1:], valid)], np.array([1], np.float32))
