"""How far each place of an image is from what other images show: DINOv2's tokens, compared across folds alone."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from pipelines.core.progress import track
from pipelines.core.records import Precision
from pipelines.imaging.tile_plan import InputSize
from pipelines.imaging.tiling import TileSet, subsample
from pipelines.models.anomalydino.model import Tokens
from pipelines.models.anomalydino.settings import AnomalydinoSettings
from pipelines.models.engine.augment import as_tensor
from pipelines.models.engine.feature_cache import FeatureCache, cache_outputs
from pipelines.models.openvino.compiled import compile_frozen
from pipelines.models.openvino.runtime import usable_cores

# About 400 tokens of a whole image: half of what the algorithm anomalydino looks at, in less than half of the time.
HELD_OUT_SIZE = InputSize(area=320 * 320, growth=1.5)
BANK = 3000  # tokens of a fold


def map_held_out(tiles: TileSet, folds: Sequence[int], scratch: Path | None = None) -> NDArray[np.float32]:
    """Compare the tokens of each image with tokens of all folds but its own.

    Args:
        tiles: One tile an image, sides multiples of 32 px; at least one.
        folds: The fold of each, from 0 on; at least two folds that are not empty.
        scratch: Folder for a file of all tokens while it is used, 0.6 MB an image; None is the system's.

    Returns:
        Distances (images, rows, columns) as `compare_folds` returns them.

    Raises:
        ModelError: If the weights of DINOv2 are not installed.
    """
    with cache_tokens(tiles, scratch) as cache:
        return compare_folds(lambda number: cache.get([number])[0][0], folds)


def cache_tokens(tiles: TileSet, scratch: Path | None = None) -> FeatureCache:
    """Embed each tile once; unit vectors (c, rows, columns) a row.

    Args:
        tiles: Sides multiples of 32 px; at least one.
        scratch: Folder for the file; None is the system's.

    Returns:
        The open cache, to be used as a context or closed.

    Raises:
        ModelError: If the weights of DINOv2 are not installed.
    """
    torch.set_num_threads(usable_cores())
    tokens = Tokens(AnomalydinoSettings())
    compiled = compile_frozen(tokens, tiles, precision=Precision.BF16)

    def embed(number: int) -> list[torch.Tensor]:
        with torch.no_grad():
            (found,) = (compiled or tokens)(as_tensor(tiles[number]))
        return [found[0]]

    return cache_outputs(len(tiles), embed, "features", scratch)


def compare_folds(
    read: Callable[[int], torch.Tensor], folds: Sequence[int], seed: int = 0, bank: int = BANK
) -> NDArray[np.float32]:
    """Measure how far each token is from tokens of the other folds, as the mean over these folds.

    The mean, not the nearest of all: where a second image shows the same defect, three of four folds still find it odd.

    Args:
        read: Returns the tokens (c, rows, columns) of an image by its number, unit vectors.
        folds: The fold of each image, from 0 on; at least two folds that are not empty.
        seed: For the tokens that are drawn of each image.
        bank: Tokens of a fold that are compared with; 1 or more.

    Returns:
        Cosine distances (images, rows, columns), 0 to 2, to the nearest token of a fold.
    """
    banks = _fill_banks(read, folds, seed, bank)
    return np.stack(
        [
            _compare(read(number), [held for fold, held in banks.items() if fold != folds[number]])
            for number in track(range(len(folds)), len(folds), "compare")
        ]
    )


def _fill_banks(
    read: Callable[[int], torch.Tensor], folds: Sequence[int], seed: int, bank: int
) -> dict[int, torch.Tensor]:
    """Draw equally many tokens of each image of a fold: unit vectors (tokens, c), by the fold."""
    banks = {}
    for fold in sorted(set(folds)):
        # Of its own, so that what is drawn here does not depend on what the other folds hold.
        generator = torch.Generator().manual_seed(seed + fold)
        members = [number for number, own in enumerate(folds) if own == fold]
        share = -(-bank // len(members))
        drawn = []
        # With more images than tokens in a bank, some of the images stand for all.
        for number in subsample(members, bank):
            points = _points(read(number))
            drawn.append(points[torch.randperm(len(points), generator=generator)[:share]])
        banks[fold] = torch.cat(drawn)
    return banks


def _compare(found: torch.Tensor, banks: Sequence[torch.Tensor]) -> NDArray[np.float32]:
    """Return the mean over banks of the distance (rows, columns) of tokens (c, rows, columns) to the nearest."""
    points = _points(found)
    nearest = torch.stack([(points @ bank.T).amax(1) for bank in banks]).mean(0)
    distances: NDArray[np.float32] = (1 - nearest).clamp(0, 2).reshape(found.shape[-2:]).numpy()
    return distances


def _points(found: torch.Tensor) -> torch.Tensor:
    return found.flatten(1).T
