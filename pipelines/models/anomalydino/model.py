"""AnomalyDINO on tiles: anomalib's model with tokens of chosen blocks, at several scales, and banks of bounded size."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from pipelines.core.errors import ModelError
from pipelines.models.anomalydino.settings import AnomalydinoSettings
from pipelines.models.engine.anomalib import AnomalyDINOModel, AnomalyMapGenerator, InferenceBatch
from pipelines.models.engine.enlarge import enlarge
from pipelines.models.features.backbone import make_features


class Tokens(nn.Module):
    """A frozen transformer: tiles (n, 3, h, w) in [0, 1] give unit vectors (n, c, rows, columns), one map a scale."""

    def __init__(self, settings: AnomalydinoSettings) -> None:
        """Make the features that the settings name.

        Raises:
            ModelError: If the backbone is unknown, has no such blocks, or its layers differ in stride.
        """
        super().__init__()
        self.network = make_features(settings.backbone, settings.layers)
        strides = set(self.network.strides)
        if len(strides) > 1:
            raise ModelError(
                f"layers {list(settings.layers)} of '{settings.backbone}' have strides {sorted(strides)}",
                hint="choose a vision transformer, such as dinov2, or one layer",
            )
        (self.stride,) = strides
        self.channels = sum(self.network.channels)
        self.scales = settings.scales

    def forward(self, tiles: torch.Tensor) -> list[torch.Tensor]:
        scaled = (self._scale(tiles, scale) for scale in self.scales)
        return [F.normalize(torch.cat(list(self.network(pictures)), 1), dim=1) for pictures in scaled]

    def _scale(self, tiles: torch.Tensor, scale: float) -> torch.Tensor:
        if scale == 1:
            return tiles
        size = [max(2, round(int(side) * scale / self.stride)) * self.stride for side in tiles.shape[-2:]]
        return F.interpolate(tiles, size=size, mode="bilinear", antialias=True)


class TokenBankModel(AnomalyDINOModel):
    """AnomalyDINO (Damm et al. 2025): the cosine distance of each token to the nearest ones of normal images.

    anomalib takes the last block's tokens, of a network that it downloads, and keeps all of them, or a coreset that
    needs them all at once.
    """

    def __init__(self, tokens: Tokens, banks: Sequence[torch.Tensor], neighbours: int) -> None:
        """Compare with the tokens of normal images.

        Args:
            tokens: Frozen, with as many scales as there are banks.
            banks: Unit vectors (tokens, channels), one bank a scale.
            neighbours: How many of the nearest are averaged; no more than the smallest bank holds are.
        """
        # Not AnomalyDINOModel's own: it makes a network that downloads its weights.
        nn.Module.__init__(self)
        self.tokens = tokens
        self.num_neighbours = min(neighbours, *(len(bank) for bank in banks))
        # Which enlarges bilinearly, as the paper does; that of anomalib's AnomalyDINO repeats the nearest value.
        self.anomaly_map_generator = AnomalyMapGenerator()
        for number, bank in enumerate(banks):
            self.register_buffer(f"bank_{number}", bank.T.contiguous())

    def forward(self, input_tensor: torch.Tensor) -> Any:
        """Score tiles (n, 3, h, w) in [0, 1]; the map is the mean over the scales, each in [0, 2]."""
        size = input_tensor.shape[-2:]
        maps = [self._distances(found, number) for number, found in enumerate(self.tokens(input_tensor))]
        blur = self.anomaly_map_generator.blur
        anomaly_map = sum(enlarge(found, size, blur) for found in maps) / len(maps)
        return InferenceBatch(pred_score=anomaly_map.amax(dim=(-2, -1)), anomaly_map=anomaly_map)

    def _distances(self, tokens: torch.Tensor, number: int) -> torch.Tensor:
        """Return the distances (n, 1, rows, columns) of tokens (n, c, rows, columns) to a bank's nearest."""
        points = tokens.flatten(2).transpose(1, 2)
        similarity = points @ getattr(self, f"bank_{number}")
        if self.num_neighbours == 1:
            nearest = similarity.amax(-1)
        else:
            nearest = similarity.topk(self.num_neighbours, dim=-1).values.mean(-1)
        return (1 - nearest).clamp(0, 2).unflatten(-1, tokens.shape[-2:]).unsqueeze(1)
