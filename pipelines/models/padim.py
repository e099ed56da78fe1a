"""PaDiM on tiles: anomalib's algorithm and training loop with a bundled backbone and steadier statistics."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from pipelines.config import PadimSettings
from pipelines.errors import ModelError
from pipelines.imaging.tiling import TileSet
from pipelines.models.anomalib_api import AnomalyMapGenerator, InferenceBatch, Padim, PadimModel
from pipelines.models.backbone import find_backbone, load_imagenet
from pipelines.models.gaussian import WhiteningGaussian, estimate_plain, estimate_shared, estimate_steady
from pipelines.models.moments import Moments
from pipelines.models.training import train_on_tiles

_ESTIMATES = {"steady": estimate_steady, "per-position": estimate_plain, "shared": estimate_shared}
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
    train_on_tiles(module, tiles, _BATCH)
    return module.model.cpu().eval()


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
        self.gaussian = WhiteningGaussian()
        self.moments: Moments | None = None
        self._estimate = _ESTIMATES[settings.gaussian]
        self.anomaly_map_generator = _DistanceMap()
        self._reductions = tuple(self.feature_extractor.reductions)

    def forward(self, input_tensor: torch.Tensor) -> Any:
        """Score tiles (n, 3, h, w) in [0, 1]; in training, take their embeddings into the moments instead."""
        with torch.no_grad():
            embedding = self.generate_embedding(self.feature_extractor((input_tensor - 0.5) / 0.5))
        if self.training:
            if self.moments is None:
                self.moments = Moments(*embedding.shape[1:])
            self.moments.update(embedding)
            return embedding
        anomaly_map = self.anomaly_map_generator(
            embedding=embedding,
            mean=self.gaussian.mean,
            whitening=self.gaussian.whitening,
            image_size=input_tensor.shape[-2:],
        )
        return InferenceBatch(pred_score=anomaly_map.amax(dim=(-2, -1)), anomaly_map=anomaly_map)

    def fit(self) -> None:
        """Estimate the Gaussians from the moments of all that was seen in training."""
        if self.moments is None:
            raise ModelError("PaDiM saw no tile", cure="train before fitting")
        self.gaussian.set(*self._estimate(self.moments))
        self.moments = None

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
