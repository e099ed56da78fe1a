"""Training on photographs that nobody labelled: what tiles look like, kind by kind, and which of them to leave out."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from pipelines.config import PadimSettings, UnlabelledSettings
from pipelines.imaging.tiling import TileSet
from pipelines.models.kinds import Floats, RobustGaussian, find_kinds, fit_robust
from pipelines.models.padim import TilePadimModel
from pipelines.models.runtime import usable_cores
from pipelines.progress import track

# Cells kept of one scale, float16: 200 MB at 100 channels however many photographs there are.
_MOST_CELLS = 1_000_000
_PEAK = 0.99  # of a tile's cells: what the tile is judged by


@dataclass(frozen=True)
class Sample:
    """Cells (tiles, cells, c) float16 at each scale, the pooled features (tiles, c), and each tile's kind."""

    cells: tuple[NDArray[np.float16], ...]
    kinds: NDArray[np.intp]

    def fit(self, contamination: float, ridge: float) -> list[list[RobustGaussian]]:
        """Fit one Gaussian a scale and kind."""
        kinds = range(int(self.kinds.max()) + 1)
        return [
            [fit_robust(_flat(cells[self.kinds == kind]), contamination, ridge) for kind in kinds]
            for cells in self.cells
        ]


def take_sample(
    embedder: TilePadimModel, tiles: TileSet, scales: tuple[int, ...], settings: UnlabelledSettings, seed: int
) -> Sample:
    """Embed every tile once at each scale (1 whole, 2 halved) and keep as many of its cells as there is memory for."""
    torch.set_num_threads(usable_cores())
    random = np.random.default_rng(seed)
    most = max(1, _MOST_CELLS // max(1, len(tiles)))
    kept: list[list[NDArray[np.float16]]] = [[] for _ in scales]
    pooled = []
    for number in track(range(len(tiles)), len(tiles), "kinds"):
        pixels = torch.from_numpy(np.array(tiles[number])).permute(2, 0, 1)[None].float() / 255
        for place, scale in enumerate(scales):
            cells = embed(embedder, pixels, scale)[0].flatten(1).T.numpy()
            drawn = cells if len(cells) <= most else cells[random.choice(len(cells), most, replace=False)]
            kept[place].append(drawn.astype(np.float16))
        pooled.append(cells.mean(axis=0))
    kinds = find_kinds(np.stack(pooled), np.asarray(tiles.owners), settings.most_kinds, settings.separation)
    return Sample(tuple(np.stack(found) for found in kept), kinds)


def embed(embedder: TilePadimModel, tiles: torch.Tensor, scale: int) -> torch.Tensor:
    """Return embeddings (n, c, h, w) of float tiles, reduced by a whole number first."""
    reduced = tiles if scale == 1 else torch.nn.functional.avg_pool2d(tiles, scale)
    with torch.no_grad():
        return embedder.generate_embedding(embedder.feature_extractor(reduced))


def keep_sound(tiles: TileSet, padim: PadimSettings, settings: UnlabelledSettings, seed: int) -> list[int]:
    """List the tiles that are left when of each kind the share `contamination` with the farthest cells is left out."""
    sample = take_sample(TilePadimModel(padim, seed).eval(), tiles, (1,), settings, seed)
    (gaussians,) = sample.fit(settings.contamination, padim.ridge)
    peaks = np.array(
        [
            np.quantile(gaussians[kind].distances(cells), _PEAK)
            for cells, kind in zip(sample.cells[0], sample.kinds, strict=True)
        ]
    )
    kept: list[int] = []
    for kind in np.unique(sample.kinds):
        members = np.flatnonzero(sample.kinds == kind)
        count = max(1, round((1 - settings.contamination) * members.size))
        kept += members[np.argsort(peaks[members])[:count]].tolist()
    return sorted(kept)


def _flat(cells: NDArray[np.float16]) -> Floats:
    return cells.reshape(-1, cells.shape[-1]).astype(np.float32)
