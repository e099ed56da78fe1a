"""anomalib's own modules, as its documentation trains and exports them: the reference.

Backbone, weights, layers, number of features, input scale, batch size and images are ours, so that only the
algorithms differ. Neither side has a post-processor, an evaluator, a logger or checkpoints.
"""

import logging
import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.drawn_images import SIDE
from pipelines.imaging.tiling import TileSet
from pipelines.models.padim.settings import PadimSettings

_BATCH = 8


def fit_plain(tiles: TileSet, ours: PadimSettings | None = None) -> Any:
    """Fit anomalib's Padim with `Engine().fit`; return the module, which takes float tiles (n, 3, h, w) in [0, 1]."""
    with hushed():
        module = _make_module(ours or PadimSettings())
    return train_plainly(module, tiles, _BATCH)


def train_plainly(module: Any, tiles: TileSet, batch: int, steps: int | None = None) -> Any:
    """Train a module of anomalib's with its `Engine().fit`, for so many steps or for as long as it sees fit."""
    with tempfile.TemporaryDirectory() as folder, hushed():
        from anomalib.callbacks import ModelCheckpoint
        from anomalib.engine import Engine
        from torch.utils.data import DataLoader

        engine = Engine(
            default_root_dir=folder,
            logger=False,
            # anomalib adds a checkpoint callback where it finds none; this one saves nothing.
            callbacks=[ModelCheckpoint(dirpath=folder, save_top_k=0)],
            enable_progress_bar=False,
            enable_model_summary=False,
            **({} if steps is None else {"max_steps": steps, "max_epochs": -1}),
        )
        stepwise = steps is not None
        loader = DataLoader(_Items(tiles), batch_size=batch, shuffle=stepwise, collate_fn=_collate)
        engine.fit(module, train_dataloaders=loader)
    return module.cpu().eval()


@contextmanager
def hushed() -> Iterator[None]:
    """Silence what the libraries say of their own defaults: no one can act on it here."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)


def _make_module(ours: PadimSettings) -> Any:
    from anomalib.models import Padim
    from anomalib.pre_processing import PreProcessor
    from torchvision.transforms.v2 import Normalize

    from pipelines.models.features.backbone import find_backbone, load_imagenet

    module = Padim(
        backbone=find_backbone(ours.backbone).timm_name,
        layers=list(ours.layers),
        pre_trained=False,
        n_features=ours.features,
        pre_processor=PreProcessor(transform=Normalize([0.5] * 3, [0.5] * 3)),
        post_processor=False,
        evaluator=False,
        visualizer=False,
    )
    load_imagenet(module.model.feature_extractor.feature_extractor, ours.backbone)
    return module


class _Items:
    """Tiles as anomalib's items, read when asked for."""

    def __init__(self, tiles: TileSet) -> None:
        self._tiles = tiles

    def __len__(self) -> int:
        return len(self._tiles)

    def __getitem__(self, index: int) -> Any:
        from anomalib.data import ImageItem

        return ImageItem(image=to_float(self._tiles[index]))


def _collate(items: list[Any]) -> Any:
    from anomalib.data import ImageBatch

    return ImageBatch.collate(items)


def to_float(tile: NDArray[np.uint8]) -> Any:
    """Turn a tile (h, w, 3) into a float tensor (3, h, w) in [0, 1]."""
    import torch

    return (torch.tensor(tile).permute(2, 0, 1).float() / 255).contiguous()


def export_plain(module: Any, folder: Path) -> tuple[Path, str]:
    """Export to OpenVINO with float32 constants; return the .xml and how it was made.

    anomalib's own export goes through ONNX and needs onnxscript, which knotwatch does not install; without it the
    same module goes through OpenVINO's converter.
    """
    if find_spec("onnxscript") is not None:
        return module.to_openvino(folder, input_size=(SIDE, SIDE)), "its own OpenVINO export"
    import openvino
    import torch

    with torch.no_grad(), hushed():
        example = torch.zeros(1, 3, SIDE, SIDE)
        converted = openvino.convert_model(_two_outputs(module), example_input=example, input=list(example.shape))
    path = folder / "model.xml"
    openvino.save_model(converted, path, compress_to_fp16=False)
    return path, "converted by OpenVINO (no onnxscript here)"


def _two_outputs(module: Any) -> Any:
    """Return score and map alone: the converter does not take the empty fields of an InferenceBatch."""
    import torch

    class Exported(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.module = module

        def forward(self, tiles: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            found = self.module(tiles)
            return found.pred_score, found.anomaly_map

    return Exported().eval()


def compile_plain(path: Path, precision: str | None) -> Any:
    """Compile for the processor with the properties of our own runtime, but for the precision hint (None: default)."""
    import openvino

    properties: dict[str, str | int] = {
        "INFERENCE_NUM_THREADS": len(os.sched_getaffinity(0)),
        "PERFORMANCE_HINT": "LATENCY",
    }
    if precision is not None:
        properties["INFERENCE_PRECISION_HINT"] = precision
    return openvino.Core().compile_model(str(path), "CPU", properties)
