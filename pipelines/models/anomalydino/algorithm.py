"""AnomalyDINO as an algorithm among others."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pipelines.core.geometry import TilePlan
from pipelines.core.records import Precision, Strategy
from pipelines.imaging.tile_plan import TRANSFORMER_INPUT_SIZE
from pipelines.models.algorithm import BaseAlgorithm, Cost
from pipelines.models.anomalydino.settings import BLOCK, SEARCH, AnomalydinoSettings
from pipelines.models.settings import UnlabelledSettings

if TYPE_CHECKING:
    import torch

    from pipelines.imaging.tiling import TileSet
    from pipelines.models.fitted import Fitted

_MB = 1e6
_CHANNELS = {"dinov2": 384}
_WIDEST = 1024  # of the transformers that one would run without a graphics card


class AnomalyDino(BaseAlgorithm):
    """Needs no training, and is usable from one image on."""

    name = "anomalydino"
    about = "AnomalyDINO (Damm et al. 2025): the distance of DINOv2's tokens to the nearest ones of normal images"
    settings = AnomalydinoSettings()
    search = SEARCH
    preference = 4
    input_size = TRANSFORMER_INPUT_SIZE
    memorises = True
    # In int8 only convolutions are computed, of which a transformer has one.
    precisions = (Precision.F32, Precision.BF16)
    strategies = (Strategy.REUSE, Strategy.STATISTICS, Strategy.SCRATCH)
    structural = ("backbone", "layers", "scales")

    def fit(self, tiles: "TileSet", validation: "TileSet", settings: AnomalydinoSettings, seed: int) -> "Fitted":
        """Fill the bank in one pass. See `Algorithm.fit`."""
        from pipelines.models.anomalydino.fit import fit_bank

        return fit_bank(tiles, settings)

    def fit_unlabelled(
        self,
        tiles: "TileSet",
        validation: "TileSet",
        settings: AnomalydinoSettings,
        unlabelled: UnlabelledSettings,
        seed: int,
    ) -> "Fitted":
        """Leave out tokens instead of whole tiles. See `Algorithm.fit_unlabelled`."""
        from pipelines.models.anomalydino.unlabelled import fit_unlabelled_bank

        return fit_unlabelled_bank(tiles, settings, unlabelled, seed)

    def fit_folds(
        self,
        strategy: Strategy,
        tiles: "TileSet",
        folds: Sequence[int],
        settings: AnomalydinoSettings,
        state: "Mapping[str, torch.Tensor]",
    ) -> "list[dict[str, torch.Tensor]]":
        """Fill a bank a fold; one that is taken as it is knows none of the tiles. See `Algorithm.fit_folds`."""
        from pipelines.models.anomalydino.folds import fit_folds

        if strategy == Strategy.REUSE:
            return [dict(state)] * (max(folds) + 1)
        return fit_folds(tiles, folds, settings, state if strategy == Strategy.STATISTICS else None)

    def open_folds(
        self, states: "Sequence[Mapping[str, torch.Tensor]]", settings: AnomalydinoSettings
    ) -> "list[Fitted]":
        """Make a network a fold, with one transformer among them. See `Algorithm.open_folds`."""
        from pipelines.models.anomalydino.folds import open_folds

        return open_folds(settings, states)

    def transfers(self) -> "Mapping[Strategy, Callable[..., Fitted]]":
        """Take the source's bank as it is, or with this surface's tokens added."""
        from pipelines.models.anomalydino.fit import extend_bank, reuse_bank

        def reuse(tiles: Any, validation: Any, settings: AnomalydinoSettings, seed: int, state: Any) -> "Fitted":  # noqa: ARG001
            return reuse_bank(settings, state)

        def statistics(tiles: Any, validation: Any, settings: AnomalydinoSettings, seed: int, state: Any) -> "Fitted":  # noqa: ARG001
            return extend_bank(tiles, settings, state)

        return {Strategy.REUSE: reuse, Strategy.STATISTICS: statistics}

    def estimate_cost(self, plan: TilePlan, settings: AnomalydinoSettings) -> Cost:
        """Estimate the banks, which are stored twice, and what they are compared by. See `Algorithm.estimate_cost`."""
        channels = _CHANNELS.get(settings.backbone, _WIDEST) * len(settings.layers)
        tokens = settings.bank * len(settings.scales)
        # While a bank is thinned out it is there twice, and one tile's tokens beside it.
        compared = BLOCK * settings.bank
        one_tile = (plan.tile_height // 16) * (plan.tile_width // 16) * max(settings.scales) ** 2
        return Cost(
            what=f"{tokens:,} tokens of {channels} channels",
            memory_mb=4 * (3 * tokens * channels + 2 * compared + 2 * one_tile * channels) / _MB,
            version_mb=2 * 2 * tokens * channels / _MB,
        )


ANOMALYDINO = AnomalyDino()
