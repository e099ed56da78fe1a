import pytest
import torch

from pipelines.models.engine.anomalib import AnomalyMapGenerator
from pipelines.models.engine.enlarge import enlarge


@pytest.mark.parametrize(("cells", "size"), [((8, 12), (64, 96)), ((16, 9), (64, 72)), ((5, 5), (33, 40))])
def test_enlarging_is_anomalibs_bilinear_and_gaussian(cells: tuple[int, int], size: tuple[int, int]) -> None:
    theirs = AnomalyMapGenerator()
    on_grid = torch.rand(2, 1, *cells, generator=torch.Generator().manual_seed(0))
    wanted = theirs.smooth_anomaly_map(theirs.up_sample(on_grid, torch.Size(size)))
    torch.testing.assert_close(enlarge(on_grid, size, theirs.blur), wanted, rtol=1e-4, atol=1e-5)
