"""Colour beside what is learnt: ImageNet's features were trained to see past it, and some stains are little else."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from pipelines.core.errors import ModelError
from pipelines.imaging.measures import has_colour
from pipelines.imaging.tiling import TileSet
from pipelines.models.engine.anomalib import InferenceBatch
from pipelines.models.engine.augment import as_tensor
from pipelines.models.fitted import Fitted
from pipelines.models.moments import Moments
from pipelines.models.padim.gaussian import whiten

CHANNELS = 3
_STRIDE = 8
# Darker than five grey levels, a ratio of colours says nothing.
_DARKEST = 0.02
# Added to a variance: a share of it, and about what rounding to 256 levels amounts to at middle grey, so that the hues
# of images of one hue, which do not vary, are no division by nothing.
_RIDGE = 0.02
_ROUNDING = 1e-5
# Three channels need no more to be known: a tile has hundreds of cells.
_MOST_TILES = 200
_LEVEL_TILES = 16
_LEAST = 0.01  # where all places have one colour, nothing may be divided by
_PREFIX = "colour."


def colour_cells(tiles: torch.Tensor) -> torch.Tensor:
    """Return how cells of 8 px differ in colour from their tile's mean, (n, 3, h / 8, w / 8).

    Two channels are hues, the logarithms of red and of blue over green; the third is brightness, the mean logarithm of
    the three, averaged over 3 x 3 cells. Light that dims or tints a whole tile (n, 3, h, w) in [0, 1] is a factor, and
    cancels out; so does a stain that fills a tile.

    >>> half_blue = torch.full((1, 3, 8, 16), 0.5)
    >>> half_blue[:, 2, :, 8:] = 0.25
    >>> red_over_green, blue_over_green, _ = colour_cells(half_blue)[0, :, 0]
    >>> [round(float(cell), 4) for cell in blue_over_green]
    [0.3466, -0.3466]
    """
    height, width = tiles.shape[-2:]
    # Not a pooling layer, which would be computed in 8 bits where convolutions are.
    cells = tiles.reshape(-1, 3, height // _STRIDE, _STRIDE, width // _STRIDE, _STRIDE).mean((3, 5))
    logs = cells.clamp_min(_DARKEST).log()
    red, green, blue = logs.split(1, 1)
    padded = F.pad(logs.mean(1, keepdim=True), (1, 1, 1, 1), mode="replicate")
    rows, columns = logs.shape[-2:]
    around = sum(padded[..., row : row + rows, column : column + columns] for row in range(3) for column in range(3))
    found = torch.cat([red - green, blue - green, around / 9], 1)
    return found - found.mean((2, 3), keepdim=True)


def colour_map(tiles: torch.Tensor, whitening: torch.Tensor) -> torch.Tensor:
    """Return the squared Mahalanobis distance of tiles in colour.

    There is no convolution, matrix product or interpolation in it: OpenVINO computes what stands above one of those in
    16 bits where a version is, and the rest in float32. In 16 bits, small differences of colour came out up to 20 %
    wrong.

    Args:
        tiles: RGB float32 (n, 3, h, w) in [0, 1]; h and w are multiples of 8 px.
        whitening: (3, 3), of the covariance of `colour_cells` on normal tiles, whose Gaussian is centred on 0.

    Returns:
        Map (n, 1, h, w), at least 0, about 3 on average where tiles are normal. Linear between the centres of 8 px
        cells.
    """
    cells = colour_cells(tiles)
    whitened = (cells[:, :, None] * whitening[None, :, :, None, None]).sum(1)
    squares = whitened.square().sum(1, keepdim=True)
    for axis in (2, 3):
        squares = _enlarge(squares, axis)
    return squares


def _enlarge(cells: torch.Tensor, axis: int) -> torch.Tensor:
    """Enlarge cells to pixels along an axis, linearly between their centres."""
    count = cells.shape[axis]
    centres = ((torch.arange(count * _STRIDE) + 0.5) / _STRIDE - 0.5).clamp(0, count - 1).to(cells.device)
    before = centres.floor().long()
    after = (before + 1).clamp(max=count - 1)
    share = (centres - before).reshape([-1 if place == axis else 1 for place in range(4)])
    return cells.index_select(axis, before) * (1 - share) + cells.index_select(axis, after) * share


class WithColour(nn.Module):
    """A fitted network whose map has `colour_map`, times a weight, added to it."""

    whitening: torch.Tensor
    weight: torch.Tensor

    def __init__(self, learnt: nn.Module, whitening: torch.Tensor, weight: torch.Tensor) -> None:
        super().__init__()
        self.learnt = learnt
        self.register_buffer("whitening", whitening.float())
        self.register_buffer("weight", weight.float())

    def forward(self, tiles: torch.Tensor) -> Any:
        """Score tiles (n, 3, h, w) in [0, 1]."""
        found = self.learnt(tiles).anomaly_map + self.weight * colour_map(tiles, self.whitening)
        return InferenceBatch(pred_score=found.amax(dim=(-2, -1)), anomaly_map=found)


def add_colour(fitted: Fitted, tiles: TileSet, validation: TileSet, share: float) -> Fitted:
    """Let a fitted network see colour as well, as normal tiles have it.

    Args:
        fitted: What an algorithm's fit gave; not changed.
        tiles: Normal tiles, of which up to 200, evenly over the set, give the covariance of colour.
        validation: Other normal tiles, of which up to 16 give the weight of colour; if empty, `tiles` do.
        share: What colour adds to the mean of the learnt map, as a share of that: 0.07 adds 7 %. 0 leaves it as it is.

    Returns:
        A `Fitted` whose network adds colour to its map, with `colour.` tensors in its state and a note. The network
        stays as it is if `share` is 0, and unless most tiles have colour: what is learnt sees how bright they are.

    Raises:
        ModelError: If there is no tile, unless `share` is 0.
    """
    if not share:
        return fitted
    if not len(tiles):
        raise ModelError("no tile to fit colour to", hint="add normal images to the surface")
    if not _have_colour(tiles):
        return _say_none(fitted)
    moments = Moments(CHANNELS, 1, 1)
    for index in tiles.subsample(_MOST_TILES):
        moments.update(colour_cells(as_tensor(tiles[index])).flatten(2)[..., None].permute(2, 1, 0, 3))
    covariance = moments.scatter[0] / moments.images
    whitening = whiten((covariance + torch.diag(_RIDGE * covariance.diagonal() + _ROUNDING))[None])[0].float()
    held_out = validation if len(validation) else tiles
    shown = [as_tensor(held_out[index]) for index in held_out.subsample(_LEVEL_TILES)]
    with torch.no_grad():
        learnt = torch.stack([fitted.model(tile).anomaly_map.mean() for tile in shown]).mean()
        colour = torch.stack([colour_map(tile, whitening).mean() for tile in shown]).mean()
    words = f"adds {100 * share:g} % to the learnt map of normal tiles"
    return _attach(fitted, whitening, share * learnt / colour.clamp_min(_LEAST), words)


def _have_colour(tiles: TileSet) -> bool:
    """Tell whether most tiles have colour, of some that are spread over the set."""
    seen = [has_colour(np.asarray(tiles[index])) for index in tiles.subsample(_LEVEL_TILES)]
    return sum(seen) > len(seen) / 2


def _say_none(fitted: Fitted) -> Fitted:
    return replace(fitted, notes={**fitted.notes, "colour": "these images have none"})


def restore_colour(fitted: Fitted, tiles: TileSet, state: Mapping[str, torch.Tensor]) -> Fitted:
    """Let a network that was made again from a state see colour as it did.

    Args:
        fitted: The network that `reuse` made from the state's other tensors; not changed.
        tiles: Tiles of the target. Unless most have colour, none is seen: what the source's colours are says nothing of
            them. If there is no tile, the source decides.
        state: All tensors of the source's version; those of colour begin with `colour.`.

    Returns:
        A `Fitted` with the source's weight and whitening of colour; one that saw none stays as it is.

    Raises:
        ModelError: If the state's parts of colour are not what this version writes.
    """
    if len(tiles) and not _have_colour(tiles):
        return _say_none(fitted)
    parts = {name.removeprefix(_PREFIX): value for name, value in state.items() if name.startswith(_PREFIX)}
    if not parts:
        return fitted
    if {name: tuple(value.shape) for name, value in parts.items()} != {"whitening": (CHANNELS,) * 2, "weight": ()}:
        raise ModelError(
            f"the source's state has other parts of colour: {', '.join(sorted(parts))}",
            hint="retrain the source, or upgrade knotwatch if the source is newer",
        )
    return _attach(fitted, parts["whitening"], parts["weight"], "as the source has it")


def without_colour(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return a state's tensors that are the algorithm's own."""
    return {name: value for name, value in state.items() if not name.startswith(_PREFIX)}


def _attach(fitted: Fitted, whitening: torch.Tensor, weight: torch.Tensor, words: str) -> Fitted:
    kept = {f"{_PREFIX}whitening": whitening, f"{_PREFIX}weight": weight.float()}
    return replace(
        fitted,
        model=WithColour(fitted.model, whitening, weight).eval(),
        state={**fitted.state, **kept},
        notes={**fitted.notes, "colour": words},
    )
