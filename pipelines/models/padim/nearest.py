"""Nearest neighbours over frozen features: what a memory of the tiles themselves reaches. For comparison alone."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from pipelines.core.errors import ModelError
from pipelines.imaging.tiling import TileSet
from pipelines.models.engine.anomalib import InferenceBatch
from pipelines.models.fitted import Fitted
from pipelines.models.padim.model import TilePadimModel, embed
from pipelines.models.padim.settings import PadimSettings

_MOST_KEPT = 8000


def fit_nearest(tiles: TileSet, settings: PadimSettings, seed: int) -> Fitted:
    """Keep the features of tiles, as PatchCore does (Roth et al. 2022) but at random.

    Args:
        tiles: Normal tiles; at least one. The features of all are held in memory at once.
        settings: Which features; nothing else of them is used.
        seed: For the channels, and of the up to 8,000 places that are kept.

    Returns:
        A network whose map is the Euclidean distance to the nearest kept place, of channels brought to variance 1; its
        state is empty.

    Raises:
        ModelError: If there is no tile, or the settings do not fit the backbone.
    """
    if not len(tiles):
        raise ModelError("no tile to compare with", hint="add normal images to the surface")
    frozen = TilePadimModel(settings, seed).eval()
    points = torch.cat([features.T for features in embed(frozen, tiles)])
    scale = points.std(0, correction=0).clamp_min(1e-6)
    drawn = torch.randperm(len(points), generator=torch.Generator().manual_seed(seed))[:_MOST_KEPT]
    model = _Nearest(frozen, points[drawn] / scale, scale).eval()
    return Fitted(model, notes={"kept": f"{len(drawn)} of {len(points)} places"})


class _Nearest(nn.Module):
    """Distances of a tile's features to the nearest of the kept ones."""

    kept: torch.Tensor
    scale: torch.Tensor
    lengths: torch.Tensor

    def __init__(self, frozen: TilePadimModel, kept: torch.Tensor, scale: torch.Tensor) -> None:
        super().__init__()
        self.frozen = frozen
        for name, value in (("kept", kept.T.contiguous()), ("scale", scale), ("lengths", kept.square().sum(1))):
            self.register_buffer(name, value)

    def forward(self, tiles: torch.Tensor) -> Any:
        """Score tiles (n, 3, h, w) in [0, 1]."""
        embedding = self.frozen.embed(tiles)
        count, _, height, width = embedding.shape
        points = embedding.permute(0, 2, 3, 1).flatten(0, 2) / self.scale
        squared = points.square().sum(1, keepdim=True) + self.lengths - 2 * points @ self.kept
        distance = squared.amin(1).clamp_min(0).sqrt().reshape(count, 1, height, width)
        anomaly_map = F.interpolate(distance, size=tiles.shape[-2:], mode="bilinear", align_corners=False)
        return InferenceBatch(pred_score=anomaly_map.amax(dim=(-2, -1)), anomaly_map=anomaly_map)
