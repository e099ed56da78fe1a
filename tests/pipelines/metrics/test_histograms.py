"""The choice of bins: distinct rising edges, and fine where the sample's tail is."""

import numpy as np
import pytest

from pipelines.metrics.checks import MetricError
from pipelines.metrics.curves import auroc
from pipelines.metrics.histograms import choose_edges


def test_edges_rise_and_resolve_a_narrow_sample() -> None:
    generator = np.random.default_rng(0)
    normal, defective = generator.normal(0.98, 0.004, 50_000), generator.normal(0.99, 0.004, 5_000)
    edges = choose_edges(normal, defective)
    assert (np.diff(edges) > 0).all()
    assert edges[0] > 0
    assert 2000 < edges.size < 4096
    shares = np.bincount(np.searchsorted(edges, normal.astype(np.float32), side="right")) / normal.size
    assert shares.max() < 2 / 1024


def test_a_grid_serves_where_no_sample_is() -> None:
    generator = np.random.default_rng(0)
    normal, defective = generator.lognormal(0, 0.4, 40_000), generator.lognormal(0.6, 0.4, 4_000)
    edges = choose_edges([], [])
    counts = [
        np.bincount(np.searchsorted(edges, s, side="right"), minlength=edges.size + 1) for s in (normal, defective)
    ]
    exact = (np.searchsorted(np.sort(normal), defective) / normal.size).mean()
    assert auroc(*counts) == pytest.approx(exact, abs=1e-4)


@pytest.mark.parametrize("sample", [[np.nan, 1.0], [-1.0]])
def test_unusable_samples_are_refused(sample: list[float]) -> None:
    with pytest.raises(MetricError, match="NaN or negative"):
        choose_edges(sample, [])
