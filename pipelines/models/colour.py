"""Colour beside what is learnt: ImageNet's features were trained to see past it, and some stains are little else."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from pipelines.errors import ModelError
from pipelines.imaging.tiling import TileSet
from pipelines.models.anomalib_api import InferenceBatch
from pipelines.models.fitted import Fitted
from pipelines.models.gaussian import whiten
from pipelines.models.moments import Moments
from pipelines.models.views import as_tensor

CHANNELS = 3
_STRIDE = 8
# Of a tile that is darker than five grey levels, a ratio of colours says nothing.
_DARKEST = 0.02
# Added to a variance: a share of it, and about what rounding to 256 levels amounts to at middle grey, so that the hues
# of grey photographs, which do not vary, are no division by nothing.
_RIDGE = 0.02
_ROUNDING = 1e-5
_LEAST = 0.01  # where all places have one colour, nothing may be divided by
# Three channels need no more to be known: a tile has a thousand cells.
_MOST_TILES = 200
_LEVEL_TILES = 8
_PREFIX = "colour."


def colour_cells(tiles: torch.Tensor) -> torch.Tensor:
    """Return how cells of 8 px differ in colour from their tile's mean, (n, 3, h / 8, w / 8).

    Two channels are hues, the logarithms of red and of blue over green; the third is brightness, the mean logarithm of
    the three, averaged over 3 x 3 cells. Light that dims or tints a whole tile (n, 3, h, w) in [0, 1] is a factor, and
    cancels out.
    """
    height, width = tiles.shape[-2:]
    usual = tiles.mean((2, 3), keepdim=True).clamp_min(_DARKEST)
    # What is computed in 16 bits keeps small numbers, not small differences of large ones: the mean is taken off first,
    # and 2 (c - m) / (c + m) stands for log(c / m), which it is to third order. Means of cells are no pooling layers,
    # which would be computed in 8 bits where convolutions are.
    parts = (tiles - usual).reshape(-1, 3, height // _STRIDE, _STRIDE, width // _STRIDE, _STRIDE)
    apart = parts.mean((3, 5))
    logs = 2 * apart / (apart + 2 * usual)
    red, green, blue = logs.split(1, 1)
    padded = F.pad(logs.mean(1, keepdim=True), (1, 1, 1, 1), mode="replicate")
    rows, columns = logs.shape[-2:]
    around = sum(padded[..., row : row + rows, column : column + columns] for row in range(3) for column in range(3))
    found = torch.cat([red - green, blue - green, around / 9], 1)
    return found - found.mean((2, 3), keepdim=True)


class WithColour(nn.Module):
    """A fitted network whose map has the squared Mahalanobis distance in colour, times a weight, added to it.

    The distance is that of `colour_cells` to one Gaussian of all places.
    """

    mean: torch.Tensor
    whitening: torch.Tensor
    weight: torch.Tensor

    def __init__(self, learnt: nn.Module, mean: torch.Tensor, whitening: torch.Tensor, weight: torch.Tensor) -> None:
        super().__init__()
        self.learnt = learnt
        for name, value in (("mean", mean), ("whitening", whitening), ("weight", weight)):
            self.register_buffer(name, value.float())

    def forward(self, tiles: torch.Tensor) -> Any:
        """Score tiles (n, 3, h, w) in [0, 1]."""
        cells = colour_cells(tiles).permute(0, 2, 3, 1) - self.mean
        squares = (cells @ self.whitening).square().sum(3)[:, None]
        colour = F.interpolate(squares, size=tiles.shape[-2:], mode="bilinear", align_corners=False)
        found = self.learnt(tiles).anomaly_map + self.weight * colour
        return InferenceBatch(pred_score=found.amax(dim=(-2, -1)), anomaly_map=found)


def add_colour(fitted: Fitted, tiles: TileSet, share: float) -> Fitted:
    """Let a fitted network see colour as well, as sound tiles have it.

    `share` is what colour adds to the mean of the learnt map on these tiles; 0 leaves the network as it is.

    Raises:
        ModelError: where there is no tile.
    """
    if not share:
        return fitted
    if not len(tiles):
        raise ModelError("no tile to fit colour to", cure="add normal photographs to the surface")
    moments = Moments(CHANNELS, 1, 1)
    for index in tiles.spread(_MOST_TILES):
        moments.update(colour_cells(as_tensor(tiles[index])).flatten(2)[..., None].permute(2, 1, 0, 3))
    covariance = moments.scatter[0] / moments.images
    steadied = covariance + torch.diag(_RIDGE * covariance.diagonal() + _ROUNDING)
    # The mean squared distance of what it was fitted to: less than a channel each, because of the ridge.
    usual = torch.linalg.solve(steadied, covariance).trace().clamp_min(_LEAST)
    few = tiles.spread(_LEVEL_TILES)
    with torch.no_grad():
        level = torch.stack([fitted.model(as_tensor(tiles[index])).anomaly_map.mean() for index in few]).mean()
    parts = {
        "mean": moments.mean[0],
        "whitening": whiten(steadied[None])[0],
        "weight": share * level / usual,
    }
    return _attach(fitted, parts)


def restore_colour(fitted: Fitted, state: Mapping[str, torch.Tensor]) -> Fitted:
    """Let a network that was made again from a state see colour as it did; one that saw none stays as it is."""
    parts = {name.removeprefix(_PREFIX): value for name, value in state.items() if name.startswith(_PREFIX)}
    return _attach(fitted, parts) if parts else fitted


def without_colour(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return a state's tensors that are the algorithm's own."""
    return {name: value for name, value in state.items() if not name.startswith(_PREFIX)}


def _attach(fitted: Fitted, parts: Mapping[str, torch.Tensor]) -> Fitted:
    model = WithColour(fitted.model, **parts).eval()
    kept = {f"{_PREFIX}{name}": value.float() for name, value in parts.items()}
    return replace(fitted, model=model, state={**fitted.state, **kept})
