"""FastFlow's network on tiles: anomalib's flow blocks on any backbone and layers."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from pipelines.core.geometry import TilePlan
from pipelines.models.engine.anomalib import FastflowModel, InferenceBatch, create_fast_flow_block
from pipelines.models.fastflow.settings import FastflowSettings
from pipelines.models.features.backbone import Features, JointFeatures, make_features
from pipelines.models.moments import ChannelMoments
from pipelines.models.openvino.compiled import CompiledNetwork

# Added to a channel's variance, as a share of the mean variance: a channel that is silent on normal tiles must not turn
# rounding into alarms.
_VARIANCE_FLOOR = 0.01


def make_model(settings: FastflowSettings, seed: int, plan: TilePlan) -> "TileFastflowModel":
    """Make a flow that has learnt nothing.

    Args:
        settings: Which features, also of an auxiliary backbone, and the flow's depth and width.
        seed: For weights and permutations; torch's global generator is left as it was.
        plan: Gives the tile's sides in pixels, which bound how much of its border can be left out.

    Returns:
        A model on the CPU whose channels are not standardised yet.

    Raises:
        ModelError: If the settings do not fit the backbone.
    """
    # anomalib's blocks draw weights and permutations from torch's global generator.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        features: Features = make_features(settings.backbone, settings.layers)
        if settings.auxiliary:
            features = JointFeatures(features, make_features(settings.auxiliary.backbone, settings.auxiliary.layers))
        return TileFastflowModel(features, settings, plan.tile_height, plan.tile_width)


class _Standard(nn.Module):
    """Bring every channel to mean 0 and variance 1 over the training tiles.

    It has nothing to train: a trainable norm, as anomalib has, raises the likelihood by shrinking the features.
    """

    mean: torch.Tensor
    scale: torch.Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(1, channels, 1, 1))
        self.register_buffer("scale", torch.ones(1, channels, 1, 1))

    def set(self, moments: ChannelMoments) -> None:
        mean, variance = moments.estimate()
        floored = variance + _VARIANCE_FLOOR * variance.mean() + 1e-6
        self.mean.copy_(mean.view_as(self.mean))
        self.scale.copy_(floored.rsqrt().view_as(self.scale))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return (features - self.mean) * self.scale


class _Subnet(nn.Sequential):
    """A coupling's network, in bf16 while training where that is faster: what it is added to stays float32."""

    bf16 = False

    def forward(self, passive: torch.Tensor) -> torch.Tensor:
        with torch.autocast(passive.device.type, torch.bfloat16, enabled=self.bf16):
            found: torch.Tensor = super().forward(passive)
        return found.float()


class TileFastflowModel(FastflowModel):
    """anomalib's FastFlow on any backbone and layers, without the places near the tile's border.

    There convolutions see padding, and the likelihood tells of that: `settings.border` cells of the coarsest layer are
    cut off on every side (fewer where the tile has no more), and the map goes on there as it is beside them.
    """

    def __init__(self, features: Features, settings: FastflowSettings, tile_height: int, tile_width: int) -> None:
        # Not FastflowModel's own, which knows four backbones and one tile size.
        nn.Module.__init__(self)
        self.feature_extractor = features
        channels, strides = features.channels, features.strides
        coarsest = max(strides)
        cells = [min(settings.border, (side // coarsest - 1) // 2) for side in (tile_height, tile_width)]
        self._borders = [tuple(count * coarsest // stride for count in cells) for stride in strides]
        self.standards = nn.ModuleList(_Standard(count) for count in channels)
        self.fast_flow_blocks = nn.ModuleList(
            # Height and width are only counted by the blocks, not used.
            create_fast_flow_block([count, 1, 1], settings.conv3x3_only, settings.hidden_ratio, settings.flow_steps)
            for count in channels
        )
        for flow in self.fast_flow_blocks:
            for block in flow.module_list:
                block.subnet = _Subnet(*block.subnet)
                block.global_scale_activation = _global_scale
                block.permute_function = _permute

    def use_bf16(self, wanted: bool) -> None:
        """Compute the couplings' networks in bf16, or in float32."""
        for module in self.modules():
            if isinstance(module, _Subnet):
                module.bf16 = wanted

    def features(self, tiles: torch.Tensor, compiled: CompiledNetwork | None = None) -> list[torch.Tensor]:
        """Return the inner features of tiles, without the border that sees padding.

        Args:
            tiles: (n, 3, h, w) in [0, 1], of the plan's size.
            compiled: Stands for the backbone, with tiles on the CPU; None for the backbone itself.

        Returns:
            One (n, c, h', w') a layer, from fine to coarse; an auxiliary backbone's come last.
        """
        layers = (compiled or self.feature_extractor)(tiles)
        return [_crop(layer, border) for layer, border in zip(layers, self._borders, strict=True)]

    def flow(self, features: Sequence[torch.Tensor]) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """Return latent variables (n, c, h', w') and logarithms of the Jacobian's determinant (n,), one a layer."""
        found = list(self.flows(features))
        return [latent for latent, _ in found], [jacobian for _, jacobian in found]

    def flows(self, features: Sequence[torch.Tensor]) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield what `flow` returns, layer by layer."""
        for flow, standard, layer in zip(self.fast_flow_blocks, self.standards, features, strict=True):
            # Sums over thousands of places do not fit into bf16's 8 bits.
            with torch.autocast(layer.device.type, enabled=False):
                found = flow(standard(layer.float()))
            yield found

    def forward(self, input_tensor: torch.Tensor) -> Any:
        """Score tiles (n, 3, h, w) in [0, 1]; in training, return latent variables and log-determinants."""
        latents, jacobians = self.flow(self.features(input_tensor))
        if self.training:
            return latents, jacobians
        size = input_tensor.shape[-2:]
        maps = [_enlarge(_energy(latent), border, size) for latent, border in zip(latents, self._borders, strict=True)]
        anomaly_map = torch.stack(maps).mean(0)
        return InferenceBatch(pred_score=anomaly_map.amax(dim=(-2, -1)), anomaly_map=anomaly_map)

    def state(self) -> dict[str, torch.Tensor]:
        """Return what a later fit can go on from: flows and channel statistics, not the backbone."""
        return {name: value for name, value in self.state_dict().items() if not name.startswith("feature_extractor.")}


def _permute(channels: torch.Tensor, matrix: torch.Tensor) -> torch.Tensor:
    """Permute channels as anomalib's convolution by a matrix of zeros and ones does, without its arithmetic."""
    return channels.index_select(1, matrix[:, :, 0, 0].argmax(1))


def _global_scale(parameter: torch.Tensor) -> torch.Tensor:
    """Compute anomalib's scale, 0.1 softplus with a beta of 0.5, of which OpenVINO 2026.4 would drop the beta."""
    return 0.2 * F.softplus(0.5 * parameter)


def _energy(latent: torch.Tensor) -> torch.Tensor:
    """Return -log N(z; 0, 1) a channel without its constant, (n, 1, h, w); anomalib's exp of it saturates."""
    return latent.square().mean(1, keepdim=True) / 2


def _crop(layer: torch.Tensor, border: tuple[int, ...]) -> torch.Tensor:
    rows, columns = border
    return layer[..., rows : layer.shape[-2] - rows, columns : layer.shape[-1] - columns]


def _enlarge(cells: torch.Tensor, border: tuple[int, ...], size: Any) -> torch.Tensor:
    """Give the border its neighbours' values and enlarge the whole to the tile."""
    rows, columns = border
    whole = F.pad(cells, (columns, columns, rows, rows), mode="replicate")
    return F.interpolate(whole, size=size, mode="bilinear", align_corners=False)
