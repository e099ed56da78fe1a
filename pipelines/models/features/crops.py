"""Crops to vectors: pooled features of a frozen ImageNet network, exported for the room that infers."""

from pathlib import Path

import torch
from torch import nn

from pipelines.imaging.crops import CROP_SIDE
from pipelines.models.features.backbone import ImagenetFeatures, make_features
from pipelines.models.openvino.compiled import convert_network
from pipelines.models.openvino.quantize import write_ir

_BACKBONE = "lite0"
# Strides 4 to 32: the finest show texture, the coarsest what a thing is.
_LAYERS = (1, 2, 3, 4)


class PooledFeatures(nn.Module):
    """Crops, uint8 (n, h, w, 3), give (n, 2 * channels): mean and standard deviation of every feature map.

    The deviation tells a thin crack from an even stain of the same mean (texture statistics, as in Gatys et al. 2015).
    """

    def __init__(self, features: ImagenetFeatures) -> None:
        super().__init__()
        self.features = features

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        maps = self.features(crops.permute(0, 3, 1, 2).float() / 255)
        pooled = []
        for found in maps:
            mean = found.mean((2, 3))
            deviation = (found - mean[:, :, None, None]).square().mean((2, 3)).sqrt()
            pooled += [mean, deviation]
        return torch.cat(pooled, 1)


def export_embedding(folder: Path) -> None:
    """Write the network that `TileModel` runs on crops: uint8 (n, 128, 128, 3) in, float32 (n, 992) out."""
    network = PooledFeatures(make_features(_BACKBONE, _LAYERS))
    # Whatever float16 does to the features, the head is fitted to what this very export gives.
    write_ir(convert_network(network, (CROP_SIDE, CROP_SIDE, 3), torch.uint8), folder, halve=True)
