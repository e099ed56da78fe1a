"""PaDiM for images that nobody labelled: a robust Gaussian for each cluster of surfaces, in three views."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from pipelines.core.errors import ModelError
from pipelines.imaging.tiling import TileSet
from pipelines.models.efficientad.teacher import load_teacher
from pipelines.models.engine.anomalib import AnomalyMapGenerator, InferenceBatch
from pipelines.models.engine.enlarge import enlarge
from pipelines.models.fitted import Fitted
from pipelines.models.outliers import View, make_views, take_sample
from pipelines.models.padim.model import TilePadimModel, choose_gaussian, gather
from pipelines.models.padim.robust import RobustGaussian
from pipelines.models.padim.settings import PadimSettings
from pipelines.models.settings import UnlabelledSettings

_TEACHER = "bundled"
_MOST_TILES = 200  # whose plain statistics are kept: some 100,000 cells tell a covariance of 100 channels


def fit_clustered_padim(tiles: TileSet, settings: PadimSettings, unlabelled: UnlabelledSettings, seed: int) -> Fitted:
    """Fit to tiles of a grid, of which some show defects, of one cluster of surfaces or several.

    Args:
        tiles: Tiles that nobody labelled, whose sides are multiples of 32 px; at least one.
        settings: PaDiM's: which features, and the ridge.
        unlabelled: The largest share of anomalous cells, and how clusters are told apart.
        seed: For the channels and cells that are drawn.

    Returns:
        A network whose map is the mean of all views' Mahalanobis distances; 1 is what 99 % of the remainder of a tile's
        cluster stays below. Its state is that of a plain PaDiM, for a later transfer.

    Raises:
        ModelError: If there is no tile, or the settings do not fit the backbone.
    """
    if not len(tiles):
        raise ModelError("no tile to fit PaDiM to", hint="add images to the surface")
    teacher, described = load_teacher(_TEACHER)
    views = make_views(settings, seed, teacher)
    sample = take_sample(views, tiles, unlabelled, seed)
    gaussians = sample.fit(unlabelled.contamination, settings.ridge)
    model = ClusteredPadimModel(views, gaussians)
    count = int(sample.clusters.max()) + 1
    share = f"{100 * unlabelled.contamination:g} %"
    gaussian = f"robust, farthest {share} left out; clusters of surfaces found: {count}"
    notes = {"gaussian": gaussian, "teacher": f"of one of three views: {described}"}
    # Another surface's PaDiM starts from plain statistics, of the tiles that are least like a defect.
    kept = tiles.subset(sample.keep(gaussians[-1], unlabelled.contamination))
    plain = gather(
        TilePadimModel(choose_gaussian(settings, tiles.plan), seed), kept.subset(kept.subsample(_MOST_TILES))
    )
    return Fitted(model.eval(), plain.state(), notes)


class ClusteredPadimModel(nn.Module):
    """Tiles (n, 3, h, w) in [0, 1] to maps; each tile is judged as the cluster that most of it is likeliest to be."""

    def __init__(self, views: Sequence[View], gaussians: list[list[RobustGaussian]]) -> None:
        super().__init__()
        self.views = nn.ModuleList(views)
        self._smoothing = AnomalyMapGenerator().blur
        for place, clusters in enumerate(gaussians):
            for name in ("mean", "whitening"):
                stacked = torch.stack([torch.from_numpy(getattr(g, name)) for g in clusters])
                self.register_buffer(f"{name}_{place}", stacked)
            self.register_buffer(f"level_{place}", torch.tensor([g.level for g in clusters]))
            self.register_buffer(f"log_det_{place}", torch.tensor([g.log_det for g in clusters]))
        self._clusters = len(gaussians[0])

    def forward(self, tiles: torch.Tensor) -> Any:
        squares = [self._distances(tiles, place) for place in range(len(self.views))]
        likely = self._choose(squares[-1]) if self._clusters > 1 else None
        size = tiles.shape[-2:]
        found = torch.stack([self._map(square, place, likely, size) for place, square in enumerate(squares)]).mean(0)
        return InferenceBatch(pred_score=found.amax(dim=(-2, -1)), anomaly_map=found)

    def _distances(self, tiles: torch.Tensor, place: int) -> torch.Tensor:
        """Return squared distances (n, clusters, h, w)."""
        embedding = self.views[place](tiles)
        cells = embedding.flatten(2).transpose(1, 2)
        mean, whitening = getattr(self, f"mean_{place}"), getattr(self, f"whitening_{place}")
        squares = [((cells - mean[k]) @ whitening[k]).square().sum(2) for k in range(self._clusters)]
        count, _, height, width = embedding.shape
        return torch.stack(squares, 1).reshape(count, self._clusters, height, width)

    def _choose(self, squares: torch.Tensor) -> torch.Tensor:
        """Return 1 for the likeliest cluster of each tile (n, clusters, 1, 1): the median cell's likelihood.

        A defect that fills less than half of a tile does not change its cluster.
        """
        flat = squares.flatten(2)
        median = flat.topk(flat.shape[2] // 2, dim=2, largest=False).values.amax(2)
        unlikely = median + getattr(self, f"log_det_{len(self.views) - 1}")
        return (unlikely <= unlikely.amin(1, keepdim=True)).float()[:, :, None, None]

    def _map(self, squares: torch.Tensor, place: int, likely: torch.Tensor | None, size: torch.Size) -> torch.Tensor:
        scaled = squares.sqrt() / getattr(self, f"level_{place}")[:, None, None]
        own = scaled if likely is None else (scaled * likely).sum(1, keepdim=True)
        return enlarge(own, size, self._smoothing)
