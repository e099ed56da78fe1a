"""Steps of training on a GPU that is not there: fake tensors have a device and a size, no content.

An operation between a tensor of that device and one of the processor's fails as it would on a real one.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from pipelines.core.geometry import TilePlan
from pipelines.models.efficientad.model import EfficientAdTraining, TileEfficientAdModel
from pipelines.models.efficientad.settings import EfficientAdSettings
from pipelines.models.engine.anomalib import SmallPatchDescriptionNetwork
from pipelines.models.fastflow.model import make_model
from pipelines.models.fastflow.settings import FastflowSettings
from pipelines.models.fastflow.training import FastflowTraining
from pipelines.models.padim.model import TilePadimModel
from pipelines.models.padim.settings import PadimSettings

PLAN = TilePlan(mode="fit", tile_height=96, tile_width=128)

pytestmark = [
    pytest.mark.skipif(not torch.backends.cuda.is_built(), reason="this build of torch knows no GPU"),
    pytest.mark.filterwarnings("ignore:CUDA is not available"),
]


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[torch.device]:
    # Lightning asks for the number of a GPU wherever a module says that it is on one.
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    with FakeTensorMode(allow_non_fake_inputs=True):
        yield torch.device("cuda", 0)


class _Kept:
    """Rows of features of some shapes, on the processor as they are read from their file."""

    def __init__(self, shapes: Sequence[tuple[int, ...]]) -> None:
        self._shapes = shapes

    def get(self, rows: Sequence[int]) -> list[torch.Tensor]:
        return [torch.rand(len(rows), *shape) for shape in self._shapes]


class _Views:
    def __getitem__(self, _: int) -> torch.Tensor:
        return torch.rand(1, 3, 256, 256)


class _Penalty:
    def draw(self) -> Any:
        return np.zeros((256, 256, 3), np.uint8)


def _move(module: nn.Module, device: torch.device) -> None:
    """Move a module as `to` does, which has nothing to copy from a tensor without content."""
    for part in module.modules():
        for name, value in list(part._parameters.items()):
            if value is not None:
                moved = torch.empty(value.shape, dtype=value.dtype, device=device)
                part._parameters[name] = nn.Parameter(moved, requires_grad=value.requires_grad)
        for name, buffer in list(part._buffers.items()):
            if buffer is not None:
                part._buffers[name] = torch.empty(buffer.shape, dtype=buffer.dtype, device=device)
    if hasattr(module, "_device"):
        module._device = device


def test_padim_takes_in_what_a_gpu_computed(gpu: torch.device) -> None:
    model = TilePadimModel(PadimSettings(), 0)
    _move(model, gpu)
    model.train()
    assert model(torch.rand(2, 3, 96, 128, device=gpu)).device == gpu
    model(torch.rand(1, 3, 96, 128, device=gpu))
    assert model.moments is not None
    assert (model.moments.images, model.moments.mean.device.type) == (3, "cpu")


def test_a_step_of_fastflow_is_computed_on_a_gpu(gpu: torch.device) -> None:
    model = make_model(FastflowSettings(flow_steps=2), 0, PLAN)
    _move(model, gpu)
    layers = model.features(torch.rand(2, 3, 96, 128, device=gpu))
    kept: Any = _Kept([tuple(layer.shape[1:]) for layer in layers])
    module = FastflowTraining(model, kept, 1e-3)
    _move(module, gpu)
    model.use_bf16(True)
    assert [loss.device for loss in module.losses(kept, [0, 1])] == [gpu] * len(layers)


def test_a_step_of_efficientad_is_computed_on_a_gpu(gpu: torch.device) -> None:
    model = TileEfficientAdModel(SmallPatchDescriptionNetwork(64))
    views: Any = _Views()
    kept: Any = _Kept([(64, 56, 56)])
    penalty: Any = _Penalty()
    module = EfficientAdTraining(EfficientAdSettings()).attach(model, views, kept, penalty)
    _move(module, gpu)
    assert module.training_step([0]).device == gpu
    tile = torch.rand(1, 3, 256, 256)
    with pytest.raises(RuntimeError, match="device"):
        model.losses(tile, torch.rand(1, 64, 56, 56), tile)
