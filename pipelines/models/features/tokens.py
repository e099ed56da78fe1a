"""Features of a vision transformer: its patches' tokens after chosen blocks, as maps like those of convolutions."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from torch import nn

from pipelines.core.errors import ModelError
from pipelines.models.features.dinov2 import TIMM_NAME, find_dinov2, read_dinov2

# Pixels from one token to the next. With patches of 14 or 16 px a tile is hardly scaled, and its sides, multiples of
# 32, are a whole number of patches.
STRIDE = 16


class TokenFeatures(nn.Module):
    """A frozen transformer: tiles (n, 3, h, w) in [0, 1] give maps (n, width, h / 16, w / 16), one a block.

    Each token is brought to mean 0 and variance 1 over its channels, as the next block sees it: what blocks add to
    each other would grow from one to the next.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, network: Any, blocks: Sequence[int], mean: Sequence[float], std: Sequence[float]) -> None:
        """Take a `VisionTransformer` of timm that was made with `dynamic_img_size`; blocks, in order, count from 0.

        Raises:
            ValueError: where it has no such blocks.
        """
        super().__init__()
        if not blocks or not 0 <= min(blocks) <= max(blocks) < len(network.blocks):
            raise ValueError(f"its blocks are 0 to {len(network.blocks) - 1}")
        self.blocks = list(blocks)
        network.prune_intermediate_layers(self.blocks, prune_norm=True, prune_head=True)
        self.network = network.eval().requires_grad_(False)
        self.patch: tuple[int, int] = network.patch_embed.patch_size
        self.channels = (int(network.embed_dim),) * len(self.blocks)
        self.strides = (STRIDE,) * len(self.blocks)
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1))

    def forward(self, tiles: torch.Tensor) -> list[torch.Tensor]:
        grid = [side // STRIDE for side in tiles.shape[-2:]]
        size = [cells * patch for cells, patch in zip(grid, self.patch, strict=True)]
        pictures = F.interpolate((tiles - self.mean) / self.std, size=size, mode="bilinear", antialias=True)
        embed = self.network.patch_embed
        tokens = self._embed(embed.norm(embed.proj(pictures).flatten(2).transpose(1, 2)), grid)
        maps = []
        for number, block in enumerate(self.network.blocks):
            tokens = block(tokens)
            if number in self.blocks:
                normed = F.layer_norm(tokens[:, self.network.num_prefix_tokens :], tokens.shape[-1:])
                maps.append(normed.transpose(1, 2).unflatten(2, grid))
        return maps

    def _embed(self, patches: torch.Tensor, grid: list[int]) -> torch.Tensor:
        """Put the transformer's own tokens before the patches (n, hw, c), and add their places: timm's `_pos_embed`.

        The places are a constant to the tracer: OpenVINO 2026.4 resamples them otherwise than torch does, by 40 % of
        their deviation, and scores would differ.
        """
        from timm.layers import resample_abs_pos_embed

        network = self.network
        apart = 0 if network.no_embed_class else network.num_prefix_tokens
        resampled = resample_abs_pos_embed(network.pos_embed, grid, num_prefix_tokens=apart)
        places = torch.from_numpy(resampled.detach().cpu().numpy()).to(patches.device)
        # Not `expand`, whose count of tiles would be a constant to the tracer, too.
        each = torch.zeros_like(patches[:, :1])
        own = [each + token for token in (network.cls_token, network.reg_token) if token is not None]
        tokens = torch.cat([*own, patches + places], 1) if not apart else torch.cat([*own, patches], 1) + places
        embedded: torch.Tensor = network.norm_pre(tokens)
        return embedded

    def train(self, mode: bool = True) -> "TokenFeatures":  # noqa: ARG002 - torch's signature
        """Stay in eval mode: nothing is dropped."""
        super().train(False)
        return self


def make_dinov2(blocks: Sequence[int]) -> TokenFeatures:
    """Make the features of DINOv2's small transformer, whose weights an installed package carries.

    Raises:
        ModelError: where the package is missing, or it has no such blocks.
    """
    import timm

    config = timm.models.get_pretrained_cfg(TIMM_NAME)
    network = timm.create_model(TIMM_NAME, dynamic_img_size=True, num_classes=0)
    network.load_state_dict(read_dinov2(find_dinov2()))
    return _take(network, "dinov2", blocks, config)


def is_transformer(name: str) -> bool:
    """Say whether a network of timm is a plain vision transformer."""
    from timm.models import is_model_in_modules

    return bool(is_model_in_modules(name.split(".", maxsplit=1)[0], ["vision_transformer"]))


def make_cached(name: str, blocks: Sequence[int], config: Any, weights: Path) -> TokenFeatures:
    """Make the features of a vision transformer of timm from a file of its weights.

    Args:
        name: timm's name of the network.
        blocks: Whose tokens become maps: ascending, from 0 on.
        config: timm's pretrained configuration, whose `mean` and `std` of RGB in [0, 1] the weights expect.
        weights: File of the whole network's weights that timm can read.

    Returns:
        A frozen network on the CPU, in eval mode.

    Raises:
        ModelError: If the file holds other weights, or the network has no such blocks.
    """
    import timm

    overlay = {"file": str(weights)}
    try:
        network = timm.create_model(
            name, pretrained=True, pretrained_cfg_overlay=overlay, dynamic_img_size=True, num_classes=0
        )
    except (RuntimeError, SafetensorError) as error:
        raise ModelError(f"{weights} does not hold '{name}': {error}", hint="fetch it anew") from error
    return _take(network, name, blocks, config)


def _take(network: Any, name: str, blocks: Sequence[int], config: Any) -> TokenFeatures:
    try:
        return TokenFeatures(network, blocks, config.mean, config.std)
    except ValueError as error:
        raise ModelError(
            f"layers {list(blocks)} do not fit backbone '{name}': {error}",
            hint=(
                "choose some of its blocks as `layers` (or `auxiliary.layers`) in the algorithm's settings, e.g. [5, 8]"
            ),
        ) from error
