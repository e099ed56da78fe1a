"""Tiles as networks are trained on them: as they are, and once in other light."""

from typing import Any

import numpy as np
import torch
from torchvision.transforms import functional as tv

from pipelines.imaging.tiling import TileSet

VARIANTS = 2  # every tile as it is, and once in other light


class Views:
    """Each tile (1, 3, h, w) in [0, 1] as it is and once in other light; which light follows from seed and tile."""

    def __init__(self, tiles: TileSet, seed: int) -> None:
        self._tiles, self._seed = tiles, seed

    def __len__(self) -> int:
        return len(self._tiles) * VARIANTS

    def __getitem__(self, row: int) -> torch.Tensor:
        number, variant = divmod(row, VARIANTS)
        tile = as_tensor(self._tiles[number])
        if not variant:
            return tile
        random = np.random.default_rng((self._seed, number))
        change = (tv.adjust_brightness, tv.adjust_contrast, tv.adjust_saturation)[random.integers(3)]
        changed: torch.Tensor = change(tile, float(random.uniform(0.8, 1.2)))
        return changed


def as_tensor(tile: np.ndarray[Any, Any]) -> torch.Tensor:
    """Bring a tile (h, w, 3) uint8 to (1, 3, h, w) in [0, 1], in the order in memory that convolutions are fast in."""
    pixels = torch.from_numpy(np.array(tile)).permute(2, 0, 1)[None].float() / 255
    return pixels.contiguous(memory_format=torch.channels_last)
