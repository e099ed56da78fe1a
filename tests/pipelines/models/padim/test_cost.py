"""What a PaDiM fit is said to take, against the tensors that it makes."""

import pytest

from pipelines.core.geometry import TilePlan
from pipelines.models.moments import Moments
from pipelines.models.padim.cost import estimate_padim
from pipelines.models.padim.gaussian import WhiteningGaussian, estimate
from pipelines.models.padim.model import TilePadimModel
from pipelines.models.padim.settings import PadimSettings

FIT = TilePlan(mode="fit", tile_height=96, tile_width=128)


@pytest.mark.parametrize(
    ("layers", "stride", "gaussian"),
    [((1, 2, 3), 8, "pooled"), ((1, 2), 4, "shared"), ((2, 3), 4, "auto"), ((1, 3), 16, "pooled")],
)
def test_positions_and_bytes_are_those_of_a_fit(layers: tuple[int, ...], stride: int, gaussian: str) -> None:
    import torch

    settings = PadimSettings(layers=layers, stride=stride, gaussian=gaussian, features=20)
    concrete = settings.model_copy(update={"gaussian": "pooled"}) if gaussian == "auto" else settings
    model = TilePadimModel(concrete, 0).train()
    model(torch.rand(3, 3, FIT.tile_height, FIT.tile_width))
    assert isinstance(model.moments, Moments)
    cost = estimate_padim(FIT, settings)
    assert cost.positions == model.moments.positions
    whitening = WhiteningGaussian()
    whitening.set(*estimate(model.moments, concrete))
    state = model.state()
    stored = 2 * whitening.whitening.numel() + 4 * state["scatter"].numel()
    assert cost.version_mb == pytest.approx(stored / 1e6)
    assert cost.memory_mb == pytest.approx(3 * 8 * model.moments.scatter.numel() / 1e6)


def test_a_grid_shares_its_statistics() -> None:
    grid = TilePlan(mode="grid", tile_height=96, tile_width=128, stride_height=72, stride_width=96)
    fit = estimate_padim(FIT, PadimSettings())
    assert estimate_padim(grid, PadimSettings()).version_mb < fit.version_mb / 100
