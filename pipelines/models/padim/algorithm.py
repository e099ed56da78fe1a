"""PaDiM as an algorithm among others."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from pipelines.core.geometry import TilePlan
from pipelines.core.records import Strategy
from pipelines.models.algorithm import BaseAlgorithm, Cost
from pipelines.models.padim.settings import SEARCH, PadimSettings
from pipelines.models.settings import UnlabelledSettings

if TYPE_CHECKING:
    from pipelines.imaging.tiling import TileSet
    from pipelines.models.fitted import Fitted


class Padim(BaseAlgorithm):
    """Wants the fewest images, and has no training that could end at a wrong moment."""

    name = "padim"
    about = "PaDiM (Defard et al. 2021): Gaussians of ImageNet features, and the distance from them"
    settings = PadimSettings()
    search = SEARCH
    preference = 1
    # Without labels it looks at two scales.
    unlabelled_tile = 2
    strategies = (Strategy.REUSE, Strategy.STATISTICS, Strategy.SCRATCH, Strategy.NEAREST)
    # Covariances of one image need a prior. A network that learnt another material does not help from so few
    # (docs/results.md, "Transfer").
    by_rule = Strategy.STATISTICS
    structural = ("backbone", "layers", "features", "stride")

    def fit(self, tiles: "TileSet", validation: "TileSet", settings: PadimSettings, seed: int) -> "Fitted":
        """Fit one Gaussian a position, in one pass, without `validation`. See `Algorithm.fit`."""
        from pipelines.models.padim.model import fit_padim

        return fit_padim(tiles, settings, seed)

    def fit_unlabelled(
        self,
        tiles: "TileSet",
        validation: "TileSet",
        settings: PadimSettings,
        unlabelled: UnlabelledSettings,
        seed: int,
    ) -> "Fitted | None":
        """In a grid, leave out cells instead of whole tiles. See `Algorithm.fit_unlabelled`."""
        if tiles.plan.mode != "grid":
            return None
        from pipelines.models.padim.unlabelled import fit_clustered_padim

        return fit_clustered_padim(tiles, settings, unlabelled, seed)

    def keep_normal(
        self, tiles: "TileSet", settings: PadimSettings, unlabelled: UnlabelledSettings, seed: int
    ) -> list[int]:
        """Leave out those with the most unusual of its own features. See `Algorithm.keep_normal`."""
        from pipelines.models.outliers import keep_normal

        return keep_normal(tiles, unlabelled, seed, settings)

    def transfers(self) -> "Mapping[Strategy, Callable[..., Fitted]]":
        """Take the source's Gaussians as they are, as a prior, or its features for neighbours."""
        from pipelines.models.padim import transfer

        return {
            Strategy.REUSE: transfer.reuse,
            Strategy.STATISTICS: transfer.statistics,
            Strategy.NEAREST: transfer.nearest,
        }

    def estimate_cost(self, plan: TilePlan, settings: PadimSettings) -> Cost:
        """Estimate the covariances, which settings can make outgrow the machine. See `Algorithm.estimate_cost`."""
        from pipelines.models.padim.cost import estimate_padim

        return estimate_padim(plan, settings)


PADIM = Padim()
