"""Training on images that nobody labelled: what tiles look like, cluster by cluster, and which of them to leave out."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from pipelines.core.progress import track
from pipelines.core.records import Precision
from pipelines.imaging.tiling import TileSet
from pipelines.models.engine.augment import as_tensor
from pipelines.models.features.backbone import make_features
from pipelines.models.openvino.compiled import compile_frozen
from pipelines.models.openvino.runtime import usable_cores
from pipelines.models.padim.model import TilePadimModel
from pipelines.models.padim.robust import Floats, RobustGaussian, find_clusters, fit_robust
from pipelines.models.padim.settings import PadimSettings
from pipelines.models.settings import UnlabelledSettings

# Cells kept of one view, float16: 140 MB at 176 channels however many images there are. Fitting Gaussians to them
# takes up to six times as much.
_MOST_CELLS = 400_000
_PEAK = 0.99  # of a tile's cells: what the tile is judged by
_MARGIN = 32  # pixels, a whole cell of the coarsest layer, which keeps all layers in step
_TEACHER_MARGIN = 16  # pixels, what a patch description network without padding loses on every side


@dataclass(frozen=True)
class FeatureSample:
    """Cells (tiles, cells, c) float16 of each view, and each tile's cluster."""

    cells: tuple[NDArray[np.float16], ...]
    clusters: NDArray[np.intp]

    def fit(self, contamination: float, ridge: float) -> list[list[RobustGaussian]]:
        """Fit one Gaussian a view and cluster.

        Args:
            contamination: Share of each cluster's cells that may be anything, 0 to 0.5.
            ridge: Added to every variance; above 0.

        Returns:
            One list a view, in the order of `cells`, of one Gaussian a cluster, by the cluster's number.
        """
        clusters = range(int(self.clusters.max()) + 1)
        return [
            [fit_robust(_flat(cells[self.clusters == cluster]), contamination, ridge) for cluster in clusters]
            for cells in self.cells
        ]

    def keep(self, gaussians: Sequence[RobustGaussian], contamination: float) -> list[int]:
        """List the tiles left when of each cluster those with the farthest cells of the last view are left out.

        Args:
            gaussians: The last view's, one a cluster, as `fit` returns them.
            contamination: Share of each cluster's tiles that is left out, 0 to 0.5, by the 99 % quantile of a tile's
                distances; one tile of each is always kept.

        Returns:
            Numbers of the kept tiles, ascending.
        """
        peaks = np.array(
            [
                np.quantile(gaussians[cluster].distances(cells), _PEAK)
                for cells, cluster in zip(self.cells[-1], self.clusters, strict=True)
            ]
        )
        kept: list[int] = []
        for cluster in np.unique(self.clusters):
            members = np.flatnonzero(self.clusters == cluster)
            count = max(1, round((1 - contamination) * members.size))
            kept += members[np.argsort(peaks[members])[:count]].tolist()
        return sorted(kept)


_USUAL_FEATURES = PadimSettings()


class View(nn.Module):
    """How tiles (n, 3, h, w) in [0, 1] are looked at: reduced by a whole number, then embedded.

    Tiles are continued by their mirror image on every side: next to the zeros that convolutions pad with, normal wood
    is twice as far from the mean as elsewhere. `stride` is that of a network that pads, whose view of the mirror image
    is cut off again; without, the margin is what the network cuts off by itself. `precision` is what a sample may be
    taken in.
    """

    def __init__(
        self,
        features: nn.Module,
        margin: int,
        stride: int | None = None,
        reduced: int = 1,
        precision: Precision = Precision.F32,
    ) -> None:
        super().__init__()
        self.features = features.eval()
        self.precision = precision
        self._margin, self._stride, self._reduced = margin, stride, reduced

    def forward(self, tiles: torch.Tensor) -> torch.Tensor:
        """Return embeddings (n, c, h, w)."""
        seen = tiles if self._reduced == 1 else torch.nn.functional.avg_pool2d(tiles, self._reduced)
        # Only what is larger than the margin can be mirrored by it.
        margin = self._margin if min(seen.shape[-2:]) >= 2 * self._margin else 0
        mirrored = torch.nn.functional.pad(seen, (margin,) * 4, mode="reflect")
        with torch.no_grad():
            embedding: torch.Tensor = self.features(mirrored)
        cells = margin // self._stride if self._stride else 0
        rows, columns = embedding.shape[-2] - cells, embedding.shape[-1] - cells
        return embedding[..., cells:rows, cells:columns]


class _Embedding(nn.Module):
    """PaDiM's features (n, c, h, w) of tiles, without a Gaussian."""

    def __init__(self, settings: PadimSettings, seed: int) -> None:
        super().__init__()
        self.model = TilePadimModel(settings, seed).eval()

    def forward(self, tiles: torch.Tensor) -> torch.Tensor:
        return self.model.embed(tiles)


def make_views(settings: PadimSettings, seed: int, teacher: nn.Module) -> list[View]:
    """Look closely, by all channels of the finer layers and by those of EfficientAD's teacher, and from a distance.

    Hairlines show at the first two; what a knot is shows from a distance, by channels of all layers. Together they
    outline better than each.

    Args:
        settings: PaDiM's. The closest view has all layers but the last, and half of the stride, at least 4 px.
        seed: For the channels that are drawn.
        teacher: A frozen patch description network without padding: (n, 3, h, w) gives (n, c, h/4 - 8, w/4 - 8).

    Returns:
        Three views; the last sees tiles at half of their size and all layers, and is the one that tells tiles apart.

    Raises:
        ModelError: If the settings do not fit the backbone.
    """
    layers = settings.layers[:-1] or settings.layers
    channels = sum(make_features(settings.backbone, layers).channels)
    close = {"layers": layers, "features": channels, "stride": max(4, settings.stride // 2)}
    return [
        padim_view(settings.model_copy(update=close), seed),
        # In float32 it would take five times as long.
        View(teacher, _TEACHER_MARGIN, precision=Precision.BF16),
        padim_view(settings, seed, reduced=2),
    ]


def padim_view(settings: PadimSettings, seed: int, reduced: int = 1) -> View:
    """Look at tiles by the channels that PaDiM would draw.

    Args:
        settings: PaDiM's: backbone, layers, number of channels and stride.
        seed: For the channels that are drawn.
        reduced: Whole number by which both sides of a tile are divided first, by averaging; 1 leaves it as it is.

    Returns:
        A view of float tiles (n, 3, h, w) in [0, 1] whose embeddings have `settings.features` channels.

    Raises:
        ModelError: If the settings do not fit the backbone.
    """
    embedding = _Embedding(settings, seed)
    return View(embedding, _MARGIN, embedding.model.stride, reduced)


def take_sample(views: Sequence[View], tiles: TileSet, settings: UnlabelledSettings, seed: int) -> FeatureSample:
    """Embed every tile once in each view and keep as many of its cells as there is memory for.

    Args:
        views: At least one; the last tells clusters apart.
        tiles: Tiles of one plan, at least one.
        settings: The most clusters that are told apart, and the silhouette that they must exceed.
        seed: For the cells that are drawn where not all can be kept.

    Returns:
        Equally many cells of each tile, up to 400,000 a view over all tiles, and each tile's cluster.
    """
    torch.set_num_threads(usable_cores())
    random = np.random.default_rng(seed)
    most = max(1, _MOST_CELLS // max(1, len(tiles)))
    checks = [(view, compile_frozen(view, tiles, precision=view.precision)) for view in views]
    kept: list[list[NDArray[np.float16]]] = [[] for _ in views]
    pooled = []
    for number in track(range(len(tiles)), len(tiles), "clusters"):
        pixels = as_tensor(tiles[number])
        for place, (view, compiled) in enumerate(checks):
            embedding = compiled(pixels)[0] if compiled else view(pixels)
            cells = embedding[0].flatten(1).T.numpy()
            drawn = cells if len(cells) <= most else cells[random.choice(len(cells), most, replace=False)]
            kept[place].append(drawn.astype(np.float16))
        pooled.append(cells.mean(axis=0))
    clusters = find_clusters(np.stack(pooled), np.asarray(tiles.owners), settings.most_clusters, settings.separation)
    return FeatureSample(tuple(np.stack(found) for found in kept), clusters)


def keep_normal(
    tiles: TileSet, settings: UnlabelledSettings, seed: int, features: PadimSettings = _USUAL_FEATURES
) -> list[int]:
    """List the tiles that are left when of each cluster those with the farthest cells are left out.

    Args:
        tiles: Tiles that nobody labelled; may be empty.
        settings: `contamination` is the share of each cluster that is left out, 0 to 0.5; also how clusters are found.
        seed: For the channels and cells that are drawn.
        features: PaDiM's settings, whose channels describe the cells, whichever algorithm is fitted to the rest.

    Returns:
        Numbers of the kept tiles, ascending.

    Raises:
        ModelError: If `features` do not fit the backbone.
    """
    if not len(tiles):
        return []
    sample = take_sample([padim_view(features, seed)], tiles, settings, seed)
    (gaussians,) = sample.fit(settings.contamination, features.ridge)
    return sample.keep(gaussians, settings.contamination)


def _flat(cells: NDArray[np.float16]) -> Floats:
    return cells.reshape(-1, cells.shape[-1]).astype(np.float32)
