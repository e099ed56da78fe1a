"""What colour tells beside learnt features: ImageNet's networks were trained to see past it, stains are little else."""

import torch
import torch.nn.functional as F

# Darker than five grey levels, a ratio of colours says nothing.
_DARKEST = 0.02


def colour_cells(tiles: torch.Tensor, stride: int) -> torch.Tensor:
    """Return how cells differ in colour from their tile's mean, (n, 5, h / stride, w / stride).

    The first two channels are hues, the logarithms of red and of blue over green, of a cell of `stride` pixels; the
    others the logarithms of red, green and blue, averaged over 3 x 3 cells. Light that dims or tints a whole tile
    (n, 3, h, w) in [0, 1] is a factor, and cancels out. `pipelines.run_settings.COLOUR_CHANNELS` counts the channels.
    """
    cells = F.avg_pool2d(tiles, stride).clamp_min(_DARKEST).log()
    red, green, blue = cells.split(1, 1)
    around = F.avg_pool2d(F.pad(cells, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    found = torch.cat([red - green, blue - green, around], 1)
    return found - found.mean((2, 3), keepdim=True)
