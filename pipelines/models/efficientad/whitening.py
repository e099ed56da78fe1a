"""Features whose channels are uncorrelated: estimated, and folded into the layer that says them."""

import torch
from torch import nn

from pipelines.models.moments import Moments

# What every direction's variance is raised by, of channels scaled to variance 1: those of the bundled teacher vary
# 60,000 times less in their weakest direction than in their strongest, which would be noise made large.
_RIDGE = 0.1


def as_points(features: torch.Tensor) -> torch.Tensor:
    """Take every position of features (c, h, w) for an image of its own, (hw, c, 1, 1)."""
    return features.float().flatten(1).T[:, :, None, None]


def whitening_of(points: Moments) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the mean (c,) of features and the matrix W (c, c), float32, with which (features - mean) @ W is whitened.

    Channels are scaled to variance 1 first. W is then the symmetric root (Kessy, Lewin, Strimmer 2018, ZCA-cor), so
    that each channel stays as near as possible to what it was; its output has the mean variance 1.
    """
    covariance = points.scatter[0] / max(1.0, points.images)
    scale = covariance.diagonal().clamp_min(1e-12).rsqrt()
    values, vectors = torch.linalg.eigh(covariance * scale * scale[:, None])
    steadied = (values.clamp_min(0) + _RIDGE).rsqrt()
    level = (values.clamp_min(0) * steadied.square()).mean().clamp_min(1e-12).rsqrt()
    whitening = scale[:, None] * (vectors * (steadied * level) @ vectors.T)
    return points.mean[0].float(), whitening.float()


def whiten(features: torch.Tensor, mean: torch.Tensor, whitening: torch.Tensor) -> torch.Tensor:
    """Return (features - mean) @ whitening at every place.

    Args:
        features: (n, c, h, w), float32.
        mean: (c,), as `whitening_of` gives it.
        whitening: (c, c), as `whitening_of` gives it.

    Returns:
        (n, c, h, w); over the tiles that were measured, channels have mean 0 and variances whose mean is 1.
    """
    return torch.einsum("nchw,cd->ndhw", features - mean[:, None, None], whitening)


@torch.no_grad()
def mix(layer: nn.Conv2d, matrix: torch.Tensor, offset: torch.Tensor) -> None:
    """Let a layer say x @ matrix + offset where it said x.

    Args:
        layer: Has c output channels and a bias; changed in place.
        matrix: (c, c).
        offset: (c,).
    """
    layer.weight.copy_(torch.einsum("iabc,ij->jabc", layer.weight, matrix))
    layer.bias.copy_(layer.bias @ matrix + offset)
