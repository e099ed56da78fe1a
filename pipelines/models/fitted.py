"""What every algorithm's fit gives."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import nn


@dataclass(frozen=True)
class Fitted:
    """A fitted network, on the CPU and in eval mode.

    It takes float tiles (n, 3, h, w) in [0, 1] of the plan's size and returns anomalib's InferenceBatch with
    `anomaly_map` (n, 1, h, w), raw, finite and >= 0. `state` is what a later fit on other images may start from;
    `notes` says in words what belongs on the model card. `likelihood_gains` is, for each held-out image, how much more
    a fit that started from another surface expects it than one that did not: log-density a dimension. `densities` are
    those log-densities themselves, without their constant: fits to the same tiles can be compared by them. `curves` are
    values by step, where training took steps.
    """

    model: nn.Module
    state: Mapping[str, torch.Tensor] = field(default_factory=dict)
    notes: Mapping[str, str] = field(default_factory=dict)
    likelihood_gains: tuple[float, ...] = ()
    densities: tuple[float, ...] = ()
    curves: Mapping[str, tuple[tuple[int, float], ...]] = field(default_factory=dict)


def average_tiles(values: Sequence[float], owners: Sequence[int]) -> tuple[float, ...]:
    """Average values of tiles over each image, whose tiles are no independent witnesses.

    Args:
        values: One figure a tile.
        owners: The number of each tile's image, in the same order, as `TileSet.owners` gives them.

    Returns:
        One mean an image, by ascending number of the image; empty for no tile.

    >>> average_tiles([1.0, 3.0, 5.0], [0, 0, 4])
    (2.0, 5.0)
    """
    found = np.asarray(values, np.float64)
    return tuple(float(found[np.asarray(owners) == owner].mean()) for owner in sorted(set(owners)))
