"""PaDiM on tiles: anomalib's algorithm and training loop with a bundled backbone and steadier statistics."""

import sys
import tempfile
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from anomalib.callbacks import ModelCheckpoint
from anomalib.data import ImageBatch, ImageItem, InferenceBatch
from anomalib.engine import Engine
from anomalib.models import Padim
from anomalib.models.image.padim.anomaly_map import AnomalyMapGenerator
from anomalib.models.image.padim.torch_model import PadimModel
from torch import nn
from torch.utils.data import DataLoader, Dataset

from pipelines.config import PadimSettings
from pipelines.errors import ModelError
from pipelines.imaging.tiling import TileSet
from pipelines.models.backbone import find_backbone, load_imagenet
from pipelines.models.gaussian import SteadyGaussian

# Statistics are kept at this stride: at 4 they take four times the room and rank no better.
_GRID_STRIDE = 8
_BATCH = 8


def fit_padim(tiles: TileSet, settings: PadimSettings, seed: int) -> nn.Module:
    """Fit PaDiM (Defard et al. 2021) to sound tiles; the same seed gives the same model.

    The result takes float tiles (n, 3, h, w) in [0, 1], whose sides are multiples of 32 and those of the plan,
    and returns anomalib's InferenceBatch with `anomaly_map` (n, 1, h, w), raw: a distance >= 0.

    Raises:
        ModelError: where there is no tile, or the settings do not fit the backbone.
    """
    if not len(tiles):
        raise ModelError("no tile to fit PaDiM to", cure="add normal photographs to the surface")
    module = _TilePadim(settings, seed)
    loader = DataLoader(_Tiles(tiles), batch_size=_BATCH, collate_fn=_collate)
    with tempfile.TemporaryDirectory() as folder:
        engine = Engine(
            default_root_dir=folder,
            logger=False,
            accelerator="auto",
            # anomalib adds a checkpoint callback where it finds none; this one saves nothing.
            callbacks=[ModelCheckpoint(dirpath=folder, save_top_k=0)],
            enable_progress_bar=sys.stderr.isatty(),
            enable_model_summary=False,
        )
        engine.fit(module, train_dataloaders=loader)
    return module.model.cpu().eval()


class _Tiles(Dataset[Any]):
    def __init__(self, tiles: TileSet) -> None:
        self._tiles = tiles

    def __len__(self) -> int:
        return len(self._tiles)

    def __getitem__(self, index: int) -> Any:
        pixels = torch.from_numpy(np.array(self._tiles[index])).permute(2, 0, 1)
        return ImageItem(image=pixels.float() / 255)


def _collate(items: Sequence[Any]) -> Any:
    return ImageBatch.collate(list(items))


class _TilePadim(Padim):
    """anomalib's training module around our model; tiles come prepared, so it needs no processors."""

    def __init__(self, settings: PadimSettings, seed: int) -> None:
        super(Padim, self).__init__(pre_processor=False, post_processor=False, evaluator=False, visualizer=False)
        self.model = TilePadimModel(settings, seed)


class TilePadimModel(PadimModel):
    """PaDiM with bundled ImageNet features, channels drawn with a seed, and statistics at stride 8."""

    def __init__(self, settings: PadimSettings, seed: int) -> None:
        layers = sorted(set(settings.layers))
        try:
            super().__init__(
                backbone=find_backbone(settings.backbone).timm_name,
                layers=layers,
                pre_trained=False,
                n_features=settings.features,
            )
        except (ValueError, IndexError, AssertionError) as error:
            raise ModelError(
                f"padim.layers {layers} and padim.features {settings.features} do not fit backbone "
                f"'{settings.backbone}': {error}",
                cure="lower padim.features, or choose layers of 0 to 4",
            ) from error
        load_imagenet(self.feature_extractor.feature_extractor, settings.backbone)
        generator = torch.Generator().manual_seed(seed)
        drawn = torch.randperm(self.n_features_original, generator=generator)[: settings.features]
        self.idx = drawn.sort().values
        self.gaussian = SteadyGaussian()
        self.anomaly_map_generator = _DistanceMap()
        self._reductions = tuple(self.feature_extractor.reductions)

    def forward(self, input_tensor: torch.Tensor) -> Any:
        """Score tiles (n, 3, h, w) in [0, 1]; in training, keep their embeddings for the fit instead."""
        with torch.no_grad():
            embedding = self.generate_embedding(self.feature_extractor((input_tensor - 0.5) / 0.5))
        if self.training:
            self.memory_bank.append(embedding)
            return embedding
        anomaly_map = self.anomaly_map_generator(
            embedding=embedding,
            mean=self.gaussian.mean,
            whitening=self.gaussian.whitening,
            image_size=input_tensor.shape[-2:],
        )
        return InferenceBatch(pred_score=anomaly_map.amax(dim=(-2, -1)), anomaly_map=anomaly_map)

    def generate_embedding(self, features: dict[Any, torch.Tensor]) -> torch.Tensor:
        """Bring all layers to one grid (finer ones averaged, coarser ones repeated) and keep the drawn channels."""
        stride = max(_GRID_STRIDE, self._reductions[0])
        finest = features[self.layers[0]]
        factor = stride // self._reductions[0]
        size = (finest.shape[-2] // factor, finest.shape[-1] // factor)
        on_grid = [
            F.avg_pool2d(features[layer], stride // reduction)
            if reduction < stride
            else F.interpolate(features[layer], size=size, mode="nearest")
            for layer, reduction in zip(self.layers, self._reductions, strict=True)
        ]
        return torch.index_select(torch.cat(on_grid, 1), 1, self.idx)


class _DistanceMap(AnomalyMapGenerator):
    """Mahalanobis distance (Defard et al. 2021, equation 2), enlarged to the tile and smoothed by anomalib's sigma."""

    def forward(self, **kwargs: Any) -> torch.Tensor:
        embedding, mean = kwargs["embedding"], kwargs["mean"]
        count, _, height, width = embedding.shape
        delta = (embedding.flatten(2) - mean).permute(2, 0, 1)
        # A length cannot turn negative by rounding, as anomalib's quadratic form can.
        distance = (delta @ kwargs["whitening"]).square().sum(2).sqrt()
        on_grid = distance.T.reshape(count, 1, height, width)
        return self.smooth_anomaly_map(self.up_sample(on_grid, kwargs["image_size"]))
